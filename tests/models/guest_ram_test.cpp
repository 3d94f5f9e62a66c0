// A guest's RAM under dynamic memory: which pages it has, what becomes of those that go, that what comes is clean, and
// that the host's and the hypervisor's accounts agree after each step.
#include "models/guest_ram.h"

#include <doctest/doctest.h>

#include <array>
#include <string>
#include <vector>

#include "tests/hypervisor/partition_machine.h"

using models::GuestRam;
using models::MemoryRun;
using models::page_bytes;
using vmbus::PageRange;
namespace h = hypervisor;

namespace {

constexpr std::uint64_t mib = 1 << 20;

// A partition with 8 MiB of RAM and a screen on a host of 64 MiB, whose first 4 MiB are the root's own.
struct Rig {
    Rig() {
        const auto created = client.create_partition();
        REQUIRE(created);
        id = *created;
        REQUIRE(client.deposit(id, 64) == h::HvStatus::success);
        REQUIRE(client.initialize_partition(id) == h::HvStatus::success);
        runs = pages.allocate(std::array{models::AddressRange{0, 8 * mib}, models::AddressRange{0xf800'0000, 2 * mib}});
        for (const MemoryRun& run : runs) {
            REQUIRE(client.map_range(id, run.gpa / page_bytes, run.spa / page_bytes, run.pages, 0xf) ==
                    h::HvStatus::success);
        }
    }

    std::string text() const {
        std::string all;
        for (const MemoryRun& run : runs) {
            all += (all.empty() ? "" : " ") + std::to_string(run.gpa / page_bytes) + "+" + std::to_string(run.pages);
        }
        return all;
    }
    void write(std::uint64_t page, std::byte value) {
        REQUIRE(models::write_guest(memory, runs, page * page_bytes, std::array{value}));
    }
    // What the guest itself finds there: -1 for nothing.
    int read(std::uint64_t page) {
        std::array<std::byte, 1> byte{};
        if (!partitions.find(id)->gpa_space().read(page * page_bytes, byte)) return -1;
        return std::to_integer<int>(byte[0]);
    }
    std::uint64_t mapped() { return partitions.find(id)->gpa_space().mapped_pages(); }

    sim::Simulation simulation{1};
    models::HostMemory memory{64 * mib};
    models::PageAllocator allocator{4 * mib, 64 * mib};
    models::RootPages pages{memory, allocator};
    h::test::FakeHost host;
    h::test::Receiver receiver;
    h::Partitions partitions{simulation.scope("hypervisor"), {}, memory.view(), host};
    h::Ports ports{simulation.scope("hypervisor.ports"), h::root_partition, partitions, receiver};
    h::RootHypercalls hypercalls{simulation.scope("hypervisor"), partitions, ports};
    h::RootClient client{hypercalls, pages};
    h::PartitionId id = 0;
    std::vector<MemoryRun> runs;
    GuestRam ram{client, pages, 2, runs};
};

}  // namespace

TEST_CASE("guest ram: which pages the guest has") {
    Rig rig;
    REQUIRE(rig.id == 2);
    CHECK(rig.ram.assigned_pages() == 2048);
    struct Row {
        PageRange range;
        bool has;
        const char* why;
    };
    for (const Row& row : std::vector<Row>{{{0, 2048}, true, "all"},
                                           {{2047, 1}, true, "the last"},
                                           {{2047, 2}, false, "one beyond"},
                                           {{0, 0}, false, "nothing"},
                                           {{~std::uint64_t{0}, 2}, false, "around the end"},
                                           {{0xf8000, 1}, false, "the screen's"}}) {
        CAPTURE(row.why);
        CHECK(rig.ram.has_memory(row.range) == row.has);
    }
}

TEST_CASE("guest ram: pages go, and others come back clean") {
    Rig rig;
    const std::uint64_t free = rig.pages.free_pages();
    const std::uint64_t mapped = rig.mapped();
    for (const std::uint64_t page : {0, 511, 512, 513, 1024}) rig.write(page, std::byte{0x5a});
    rig.ram.pages_taken(std::vector<PageRange>{{1024, 512}, {512, 1}});  // in any order
    CHECK(rig.text() == "0+512 513+511 1536+512 1015808+512");
    CHECK(rig.pages.free_pages() == free + 513);
    CHECK(rig.mapped() == mapped - 513);
    CHECK(rig.ram.assigned_pages() == 1535);
    CHECK(rig.read(511) == 0x5a);
    CHECK(rig.read(512) == -1);
    CHECK(rig.read(513) == 0x5a);
    CHECK(rig.read(1024) == -1);
    CHECK_FALSE(rig.ram.has_memory({511, 2}));

    CHECK(rig.ram.give_pages(std::vector<PageRange>{{512, 1}, {1024, 256}}));
    CHECK(rig.ram.assigned_pages() == 1792);
    CHECK(rig.pages.free_pages() == free + 256);
    CHECK(rig.mapped() == mapped - 256);
    CHECK(rig.read(512) == 0);
    CHECK(rig.read(1024) == 0);
    CHECK(rig.read(511) == 0x5a);
    CHECK(rig.ram.has_memory({0, 1280}));
    CHECK_FALSE(rig.ram.has_memory({1280, 1}));
}

TEST_CASE("guest ram: a range over several runs") {
    Rig rig;
    rig.ram.pages_taken(std::vector<PageRange>{{10, 1}, {20, 1}});
    CHECK(rig.ram.give_pages(std::vector<PageRange>{{10, 1}}));
    // The page at 10 lies elsewhere in the host now, so the range touches three runs.
    rig.ram.pages_taken(std::vector<PageRange>{{5, 15}, {30, 2}});
    CHECK(rig.text() == "0+5 21+9 32+2016 1015808+512");
}

TEST_CASE("guest ram: more than the host has is not given") {
    Rig rig;
    const std::uint64_t free = rig.pages.free_pages();
    CHECK_FALSE(rig.ram.add_memory({rig.ram.next_free_page(1), free + 1}));
    CHECK_FALSE(rig.ram.give_pages(std::vector<PageRange>{{0x100000, free}, {0x200000, 512}}));
    CHECK(rig.text() == "0+2048 1015808+512");
    CHECK(rig.ram.assigned_pages() == 2048);
}

TEST_CASE("guest ram: new memory lies from 4 GiB on, aligned as asked") {
    Rig rig;
    CHECK(rig.ram.next_free_page(1) == 0x100000);
    CHECK(rig.ram.next_free_page(32768) == 0x100000);
    CHECK_FALSE(rig.ram.add_memory({4096, 512}));              // before 4 GiB
    CHECK_FALSE(rig.ram.add_memory({0x10000000 - 256, 512}));  // beyond the address space
    CHECK(rig.ram.add_memory({0x100000, 512}));
    CHECK(rig.read(0x100000) == 0);
    CHECK(rig.ram.assigned_pages() == 2560);
    CHECK(rig.ram.next_free_page(1) == 0x100200);
    CHECK(rig.ram.next_free_page(32768) == 0x108000);
    // The guest took half of it.
    rig.ram.memory_refused({0x100100, 256});
    CHECK(rig.text() == "0+2048 1015808+512 1048576+256");
    CHECK(rig.read(0x100100) == -1);
}

TEST_CASE("guest ram: nothing is given to a partition that goes") {
    Rig rig;
    rig.ram.pages_taken(std::vector<PageRange>{{8, 8}});
    rig.ram.close();
    CHECK_FALSE(rig.ram.give_pages(std::vector<PageRange>{{8, 8}}));
    CHECK_FALSE(rig.ram.add_memory({0x100000, 512}));
    CHECK(rig.text() == "0+8 16+2032 1015808+512");
}
