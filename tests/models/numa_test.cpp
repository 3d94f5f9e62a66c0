// NUMA nodes: whose memory a partition gets, and what crossing from one to another costs a device.
#include "models/numa.h"

#include <doctest/doctest.h>

#include <array>
#include <vector>

#include "models/partition_builder.h"
#include "models/partition_memory.h"
#include "models/pci/numa_timing.h"
#include "models/profiles.h"
#include "sim/check.h"

namespace numa_test {

using namespace models;
using sim::Time;
using Run = PageAllocator::Run;

namespace {

constexpr std::uint64_t mib = 1 << 20;
constexpr NumaNodes two{2, 8, 64 * mib};

}  // namespace

TEST_CASE("nodes have equal shares of processors and memory") {
    CHECK(two.of_processor(3) == 0);
    CHECK(two.of_processor(4) == 1);
    CHECK(two.first_processor(1) == 4);
    CHECK(two.processors_of(0) == 0x0f);
    CHECK(two.processors_of(1) == 0xf0);
    CHECK(two.of_address(32 * mib - 1) == 0);
    CHECK(two.of_address(32 * mib) == 1);
    CHECK(two.of_address(std::uint64_t{1} << 46) == 1);
    CHECK(NumaNodes{1, 64, mib}.processors_of(0) == ~std::uint64_t{0});
    CHECK(NumaNodes{1, 4, mib}.of_address(std::uint64_t{1} << 46) == 0);
}

TEST_CASE("pages of one node only, while there are any") {
    PageAllocator pages{mib, 64 * mib, 32 * mib};
    CHECK(pages.node_of(32 * mib) == 1);
    CHECK(pages.free_pages(32 * mib, 64 * mib) == 8192);
    CHECK(pages.allocate_many(1024 + 2, 32 * mib, 64 * mib) == std::vector<Run>{{32 * mib, 1026}});
    CHECK(pages.allocate_many(7167, 32 * mib, 64 * mib) == std::vector<Run>{});
    CHECK(pages.free_pages(32 * mib, 64 * mib) == 7166);
    CHECK(pages.allocate_many(3, 0, 32 * mib) == std::vector<Run>{{mib, 3}});
    CHECK(pages.allocate_many(1) == std::vector<Run>{{mib + 3 * 4096, 1}});
}

TEST_CASE("memory in equal parts of each node, clean whoever had it") {
    HostMemory memory{64 * mib};
    PageAllocator free_pages{mib, 64 * mib, 32 * mib};
    RootPages root{memory, free_pages};
    const std::array<AddressRange, 2> nodes{AddressRange{0, 32 * mib}, AddressRange{32 * mib, 32 * mib}};
    const std::array<AddressRange, 1> ram{AddressRange{0, 8 * mib}};
    const std::vector<MemoryRun> both{{0, 2 * mib, 1024}, {4 * mib, 32 * mib, 1024}};
    CHECK(root.allocate(ram, nodes) == both);
    memory.view().store<std::uint64_t>(2 * mib, 7);
    memory.view().store<std::uint64_t>(32 * mib + 8, 7);
    root.free(both);
    const std::vector<MemoryRun> second{{0, 32 * mib, 2048}};
    CHECK(root.allocate(ram, std::span{nodes}.last(1)) == second);
    CHECK(memory.view().load<std::uint64_t>(32 * mib + 8) == 0);
    // Of any: the lowest, which cross from one node to the other.
    const std::array<AddressRange, 1> more{AddressRange{0, 32 * mib}};
    const std::vector<MemoryRun> across = root.allocate(more);
    CHECK(across.size() == 2);
    CHECK(memory.view().load<std::uint64_t>(2 * mib) == 0);
    const std::array<AddressRange, 1> too_much{AddressRange{0, 30 * mib}};
    CHECK(root.allocate(too_much, std::span{nodes}.first(1)).empty());
}

TEST_CASE("a device's access to another node's memory, and its interrupts there, take longer") {
    struct Owners final : NumaTiming::Owners {
        bool own_memory(pci::RequesterId function) const override { return function.value == 0x0200; }
        std::uint32_t listening_node(pci::RequesterId function) const override { return function.value & 1; }
    } owners;
    NumaTiming timing{Time::ns(250), Time::ns(10), owners};
    const auto took = [&](std::uint16_t requester, std::uint64_t address, bool write) {
        return timing.served({pci::RequesterId{requester}, address, 64, write}, Time::us(1)) - Time::us(1);
    };
    CHECK(took(0x0100, 40 * mib, false) == Time::ns(250));  // one node
    NumaCosts costs;
    costs.dma_read = Time::ns(112);
    costs.dma_write = Time::ns(56);
    costs.message = Time::ns(30);
    timing.set_nodes(two, costs);
    timing.place(2, 1);
    struct Row {
        std::uint16_t requester;
        std::uint64_t address;
        bool write;
        Time time;
    };
    for (const Row& row : {
             Row{0x0100, 8 * mib, false, Time::ns(250)},
             Row{0x0100, 40 * mib, false, Time::ns(362)},
             Row{0x0100, 8 * mib, true, Time::ns(10)},
             Row{0x0100, 40 * mib, true, Time::ns(66)},
             Row{0x0201, 8 * mib, false, Time::ns(362)},  // the second bus is at the second node
             Row{0x0201, 40 * mib, true, Time::ns(10)},
             Row{0x0200, 8 * mib, false, Time::ns(250)},  // its own memory
             Row{0x0100, 0xfee0'0000, true, Time::ns(10)},
             Row{0x0101, 0xfee0'0000, true, Time::ns(40)},
             Row{0x0201, 0xfee0'0000, true, Time::ns(10)},
         }) {
        CAPTURE(row.requester);
        CAPTURE(row.address);
        CHECK(took(row.requester, row.address, row.write) == row.time);
    }
}

TEST_CASE("what the profile's constants make of a microsecond's work and of copying") {
    const NumaCosts costs = find_profile("sandy-bridge-ep").numa_costs;
    CHECK(costs.per_microsecond() == Time::ns(236));
    CHECK(costs.per_kibibyte() == Time::ps(94'400));
    CHECK(costs.dma_read == Time::ns(112));
    CHECK(costs.dma_write == Time::ns(56));
    CHECK(costs.message == Time::ns(56));
    CHECK(find_profile("sandy-bridge-ep").service_costs.remote_kibibyte == Time::ps(94'400));
    CHECK(find_profile("sandy-bridge-ep").memory_timing.remote_ps == 59'000);
}

TEST_CASE("a node that the host has not, and a host that cannot be divided") {
    HostConfig host;
    host.cores = 4;
    host.nodes = 2;
    PartitionConfig config;
    config.name = "vm";
    config.node = 1;
    CHECK_NOTHROW(check_partition(config, host));
    config.spans_nodes = true;
    CHECK_THROWS_WITH_AS(check_partition(config, host),
                         "partition 'vm': its memory is of one node, or spans them: not both", sim::UserError);
    config.node = 2;
    CHECK_THROWS_WITH_AS(check_partition(config, host), "partition 'vm': node 2: the host has 2", sim::UserError);
    sim::Simulation simulation{1};
    for (const auto& [cores, nodes] : std::vector<std::pair<unsigned, unsigned>>{{3, 2}, {4, 0}, {4, 3}}) {
        HostConfig wrong;
        wrong.cores = cores;
        wrong.nodes = nodes;
        CHECK_THROWS_AS((void)Host::create(simulation, wrong), sim::UserError);
    }
}

}  // namespace numa_test
