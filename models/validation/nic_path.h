// The whole way of a virtual function's frames: driver's rings in memory, doorbells, link, IOMMU with a domain for each
// function, switch, interrupts through remapping. Drivers are behavioural and take no time of their own.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace models {

enum class NicWay : std::uint8_t { vf_to_wire, wire_to_vf, vf_to_vf };

struct NicPathRow {
    NicWay way = NicWay::vf_to_wire;
    std::uint32_t frame_bytes = 0;  // with FCS
    unsigned vfs = 0;
    std::uint64_t frames = 0;
    std::uint64_t frame_bits = 0;  // without FCS
    std::uint64_t simulated_ps = 0;
    std::uint64_t interrupts = 0;
    std::uint64_t dma_operations = 0;
    std::uint64_t events = 0;  // of the agenda
    std::uint64_t wall_ns = 0;
    std::string trace_hash;  // of the whole run: the same on every computer
};

std::string_view name_of(NicWay way);

// A driver's rings, and at how many different lines its buffers begin.
struct NicRings {
    std::uint32_t descriptors = 128;
    std::uint32_t colours = 1;
};
// For a comparison of one function with many: all drivers together have as many buffers as one has by itself, so that
// what more of them cost the simulating computer's caches is not laid to the adapter.
NicRings even_rings(unsigned vfs, std::uint32_t frame_bytes);

// About so many frames, by as many functions (of which half receive, from one to the other), each with such
// rings for each direction. `clock_ns` reads the computer's clock, nothing where nobody wants to know.
NicPathRow run_nic_path(NicWay way, std::uint32_t frame_bytes, unsigned vfs, std::uint64_t frames,
                        const std::function<std::uint64_t()>& clock_ns = {}, NicRings rings = {});

// What the simulator needs for a virtual function with its driver, without the guests' memory: by `heap_bytes`, which
// tells how much is allocated.
struct NicMemory {
    std::uint64_t adapter_bytes = 0;  // with link, IOMMU and one function
    std::uint64_t function_bytes = 0;
};
NicMemory nic_memory(const std::function<std::uint64_t()>& heap_bytes);

// A function whose vector has this EITR interval, in units of the register's quantum, and frames that come all the
// time: interrupts per second, thousandths.
std::int64_t nic_interrupt_rate(unsigned interval);
// A function whose driver takes nothing any more, and frames at line rate: from the moment that its ring is full to
// the first frame that finds no room on the chip, in picoseconds.
std::int64_t nic_time_to_full(std::uint32_t frame_bytes);

}  // namespace models
