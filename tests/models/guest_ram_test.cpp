// A guest's RAM under dynamic memory: which pages it has, what becomes of those that go, that what comes is clean, and
// that the host's and the hypervisor's accounts agree after each step.
#include "guest_ram_rig.h"

namespace guest_ram_test {

using vmbus::PageRange;

TEST_CASE("guest ram: which pages the guest has") {
    GuestRamRig rig;
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
    GuestRamRig rig;
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
    GuestRamRig rig;
    rig.ram.pages_taken(std::vector<PageRange>{{10, 1}, {20, 1}});
    CHECK(rig.ram.give_pages(std::vector<PageRange>{{10, 1}}));
    // The page at 10 lies elsewhere in the host now, so the range touches three runs.
    rig.ram.pages_taken(std::vector<PageRange>{{5, 15}, {30, 2}});
    CHECK(rig.text() == "0+5 21+9 32+2016 1015808+512");
}

TEST_CASE("guest ram: more than the host has is not given") {
    GuestRamRig rig;
    const std::uint64_t free = rig.pages.free_pages();
    CHECK_FALSE(rig.ram.add_memory({rig.ram.next_free_page(1), free + 1}));
    CHECK_FALSE(rig.ram.give_pages(std::vector<PageRange>{{0x100000, free}, {0x200000, 512}}));
    CHECK(rig.text() == "0+2048 1015808+512");
    CHECK(rig.ram.assigned_pages() == 2048);
}

TEST_CASE("guest ram: new memory lies from 4 GiB on, aligned as asked") {
    GuestRamRig rig;
    CHECK(rig.ram.next_free_page(1) == 0x100000);
    CHECK(rig.ram.next_free_page(32768) == 0x100000);
    CHECK_FALSE(rig.ram.add_memory({4096, 512}));             // before 4 GiB
    CHECK_FALSE(rig.ram.add_memory({0x1000000 - 256, 512}));  // the devices' window begins at 64 GiB
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
    GuestRamRig rig;
    rig.ram.pages_taken(std::vector<PageRange>{{8, 8}});
    rig.ram.close();
    CHECK_FALSE(rig.ram.give_pages(std::vector<PageRange>{{8, 8}}));
    CHECK_FALSE(rig.ram.add_memory({0x100000, 512}));
    CHECK(rig.text() == "0+8 16+2032 1015808+512");
}

}  // namespace guest_ram_test
