// How fast packets go through rings, in time of the computer that simulates: bare rings, and a channel between a device
// and a behavioural guest's driver with both ends of the bus.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

namespace vmbus {

struct RingBenchRow {
    std::string_view what;            // "ring" or "channel"
    std::uint32_t payload_bytes = 0;  // of a packet
    std::uint32_t ring_pages = 0;
    std::uint64_t packets = 0;  // in a channel, requests and completions both
    std::uint64_t wall_ns = 0;

    std::uint64_t packets_per_second() const { return wall_ns == 0 ? 0 : packets * 1'000'000'000 / wall_ns; }
};

// About so many packets for each row. `clock_ns` reads the computer's clock: the simulated world has none.
std::vector<RingBenchRow> run_ring_bench(std::uint64_t packets, const std::function<std::uint64_t()>& clock_ns);

}  // namespace vmbus
