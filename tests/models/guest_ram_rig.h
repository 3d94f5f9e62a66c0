// A partition with RAM that comes and goes, on a host without processors.
#pragma once

#include <doctest/doctest.h>

#include <array>
#include <string>
#include <vector>

#include "models/guest_ram.h"
#include "tests/hypervisor/partition_machine.h"

inline constexpr std::uint64_t mib = 1 << 20;

// A partition with 8 MiB of RAM and a screen on a host of 64 MiB, whose first 4 MiB are the root's own.
struct GuestRamRig {
    GuestRamRig() {
        const auto created = client.create_partition();
        REQUIRE(created);
        id = *created;
        REQUIRE(client.deposit(id, 64) == hypervisor::HvStatus::success);
        REQUIRE(client.initialize_partition(id) == hypervisor::HvStatus::success);
        runs = pages.allocate(std::array{models::AddressRange{0, 8 * mib}, models::AddressRange{0xf800'0000, 2 * mib}});
        for (const models::MemoryRun& run : runs) {
            REQUIRE(client.map_range(id, run.gpa / models::page_bytes, run.spa / models::page_bytes, run.pages, 0xf) ==
                    hypervisor::HvStatus::success);
        }
    }

    std::string text() const {
        std::string all;
        for (const models::MemoryRun& run : runs) {
            all += (all.empty() ? "" : " ") + std::to_string(run.gpa / models::page_bytes) + "+" +
                   std::to_string(run.pages);
        }
        return all;
    }
    void write(std::uint64_t page, std::byte value) {
        REQUIRE(models::write_guest(memory, runs, page * models::page_bytes, std::array{value}));
    }
    // What the guest itself finds there: -1 for nothing.
    int read(std::uint64_t page) {
        std::array<std::byte, 1> byte{};
        if (!partitions.find(id)->gpa_space().read(page * models::page_bytes, byte)) return -1;
        return std::to_integer<int>(byte[0]);
    }
    std::uint64_t mapped() { return partitions.find(id)->gpa_space().mapped_pages(); }

    sim::Simulation simulation{1};
    models::HostMemory memory{64 * mib};
    models::PageAllocator allocator{4 * mib, 64 * mib};
    models::RootPages pages{memory, allocator};
    hypervisor::test::FakeHost host;
    hypervisor::test::Receiver receiver;
    hypervisor::Partitions partitions{simulation.scope("hypervisor"), {}, memory.view(), host};
    hypervisor::Ports ports{simulation.scope("hypervisor.ports"), hypervisor::root_partition, partitions, receiver};
    hypervisor::RootHypercalls hypercalls{simulation.scope("hypervisor"), partitions, ports};
    hypervisor::RootClient client{hypercalls, pages};
    hypervisor::PartitionId id = 0;
    std::vector<models::MemoryRun> runs;
    models::GuestRam ram{client, pages, 2, runs};
};
