// Second-level translation rule by rule: exact exit qualifications and nested-page-fault codes.
#include <doctest/doctest.h>

#include <vector>

#include "sim/archive.h"
#include "slat/second_level.h"

namespace second_level_table_test {

namespace {

using namespace slat;

constexpr u64 memory_bytes = 0x10'000;
constexpr u64 rwx = ept::rights;
constexpr u64 wb = u64{6} << 3;
constexpr u64 P = mmu::pte::present, W = mmu::pte::writable, U = mmu::pte::user, NX = mmu::pte::no_execute;

// Level n's table is page n; the page at the end is 0x8000.
struct Machine {
    std::vector<std::byte> bytes = std::vector<std::byte>(memory_bytes);
    SystemMemory memory{bytes.data(), memory_bytes};
    SecondLevel second;

    explicit Machine(Format format) {
        second.format = format;
        second.root = 0x4000;
        const u64 link = format == Format::ept ? rwx : P | W | U;
        for (int level = 4; level > 1; --level) set(level, (static_cast<u64>(level - 1) << 12) | link);
        set(1, 0x8000 | (format == Format::ept ? rwx | wb : P | W | U));
    }
    void set(int level, u64 entry) { memory.store<u64>(static_cast<u64>(level) << 12, entry); }
    u64 get(int level) const { return memory.load<u64>(static_cast<u64>(level) << 12); }
};

constexpr Request page_read{}, page_write{.access = Access::write}, page_fetch{.access = Access::execute};
constexpr Request table{.purpose = Purpose::guest_table}, table_flag{.purpose = Purpose::table_update};
constexpr Request pdpte{.purpose = Purpose::pdpte_load};
constexpr Request physical{.linear_valid = false};

}  // namespace

TEST_CASE("EPT violations: the exit qualification of table 28-7, bit by bit") {
    struct Row {
        const char* why;
        int level;  // the entry that is changed
        u64 entry;
        Request request;
        bool accessed_dirty, advanced;
        u64 qualification;  // 0: no violation
    };
    const u64 leaf = 0x8000 | wb, upper = 0x1000;
    const Request kernel_page{.linear_user = false, .linear_writable = true, .linear_no_execute = true};
    const Row rows[] = {
        {"allowed read", 1, leaf | 1, page_read, true, false, 0},
        {"read, leaf not present", 1, leaf, page_read, true, false, 0x181},
        {"write, leaf not present", 1, 0, page_write, true, false, 0x182},
        {"fetch, leaf not present", 1, 0, page_fetch, true, false, 0x184},
        {"write to a read-only page", 1, leaf | 1, page_write, true, false, 0x18a},
        {"write to a read-execute page", 1, leaf | 5, page_write, true, false, 0x1aa},
        {"fetch from a read-write page", 1, leaf | 3, page_fetch, true, false, 0x19c},
        {"read of an execute-only page", 1, leaf | 4, page_read, true, false, 0x1a1},
        {"write, read-only above the leaf", 2, upper | 1, page_write, true, false, 0x18a},
        {"bits 5:3 are clear when an entry is not present", 2, 0, page_write, true, false, 0x182},
        {"guest table, not present, flags on: a write too", 1, 0, table, true, false, 0x083},
        {"guest table, not present, flags off", 1, 0, table, false, false, 0x081},
        {"guest table in a read-only page, flags on", 1, leaf | 1, table, true, false, 0x08b},
        {"guest table in a read-only page, flags off", 1, leaf | 1, table, false, false, 0},
        {"flag update in a read-only page, flags off", 1, leaf | 1, table_flag, false, false, 0x08a},
        {"flag update in a read-only page, flags on", 1, leaf | 1, table_flag, true, false, 0x08b},
        {"PDPTE load: no linear address, never a write", 1, 0, pdpte, true, true, 0x001},
        {"PDPTE load from a read-only page", 1, leaf | 1, pdpte, true, true, 0},
        {"no linear address", 1, 0, physical, true, true, 0x001},
        {"advanced: paging off, or a writable user page", 1, 0, page_read, true, true, 0x781},
        {"advanced: kernel page, no execute", 1, 0, kernel_page, true, true, 0xd81},
        {"advanced information is not for guest tables", 1, 0, table, true, true, 0x083},
    };
    for (const Row& row : rows) {
        CAPTURE(row.why);
        Machine m(Format::ept);
        m.set(row.level, row.entry);
        m.second.accessed_dirty = row.accessed_dirty;
        m.second.advanced_exit_info = row.advanced;
        const Translation t = translate(m.second, m.memory, 0x123, row.request);
        CHECK(t.ok() == (row.qualification == 0));
        CHECK(t.exit_info1 == row.qualification);
        CHECK(t.exit_info2 == (t.ok() ? 0 : 0x123));
        if (t.ok()) CHECK(t.spa == 0x8123);
        if (!t.ok()) CHECK((m.get(4) & ept::accessed) == 0);
    }
}

TEST_CASE("EPT misconfigurations by level (28.3.3.1)") {
    struct Row {
        const char* why;
        int level;
        u64 entry;
        bool execute_only, gib;
        Outcome outcome;
    };
    const u64 leaf = 0x8000 | wb | rwx, large = wb | rwx | ept::large;
    const Row rows[] = {
        {"write-only", 1, 0x8000 | wb | 2, true, true, Outcome::misconfiguration},
        {"write-execute", 1, 0x8000 | wb | 6, true, true, Outcome::misconfiguration},
        {"execute-only with the capability", 1, 0x8000 | wb | 4, true, true, Outcome::violation},
        {"execute-only without it", 1, 0x8000 | wb | 4, false, true, Outcome::misconfiguration},
        {"memory type 0", 1, 0x8000 | rwx, true, true, Outcome::ok},
        {"memory type 1", 1, 0x8000 | rwx | 1 << 3, true, true, Outcome::ok},
        {"memory type 2", 1, 0x8000 | rwx | 2 << 3, true, true, Outcome::misconfiguration},
        {"memory type 3", 1, 0x8000 | rwx | 3 << 3, true, true, Outcome::misconfiguration},
        {"memory type 4", 1, 0x8000 | rwx | 4 << 3, true, true, Outcome::ok},
        {"memory type 5", 1, 0x8000 | rwx | 5 << 3, true, true, Outcome::ok},
        {"memory type 7", 1, 0x8000 | rwx | 7 << 3, true, true, Outcome::misconfiguration},
        {"bit 7 of a PTE is ignored", 1, leaf | ept::large, true, true, Outcome::ok},
        {"past the physical address width", 1, leaf | u64{1} << 46, true, true, Outcome::misconfiguration},
        {"bits 62:52 are ignored", 1, leaf | u64{0x7ff} << 52, true, true, Outcome::ok},
        {"bit 63 is ignored (no #VE)", 1, leaf | u64{1} << 63, true, true, Outcome::ok},
        {"PML4E bit 3", 4, 0x3000 | rwx | 1 << 3, true, true, Outcome::misconfiguration},
        {"PML4E bit 7", 4, 0x3000 | rwx | 1 << 7, true, true, Outcome::misconfiguration},
        {"PML4E bit 6", 4, 0x3000 | rwx | 1 << 6, true, true, Outcome::misconfiguration},
        {"PML4E bits 11:8", 4, 0x3000 | rwx | 0xf00, true, true, Outcome::ok},
        {"PDPTE bit 6", 3, 0x2000 | rwx | 1 << 6, true, true, Outcome::misconfiguration},
        {"PDE bit 3", 2, 0x1000 | rwx | 1 << 3, true, true, Outcome::misconfiguration},
        {"2 MiB page", 2, large, true, true, Outcome::ok},
        {"2 MiB page, bit 12", 2, large | 1 << 12, true, true, Outcome::misconfiguration},
        {"2 MiB page, bit 20", 2, large | 1 << 20, true, true, Outcome::misconfiguration},
        {"1 GiB page", 3, large, true, true, Outcome::ok},
        {"1 GiB page, bit 29", 3, large | 1 << 29, true, true, Outcome::misconfiguration},
        {"1 GiB page without the capability", 3, large, true, false, Outcome::misconfiguration},
        {"not present: nothing is checked", 1, u64{1} << 46 | 2 << 3, true, true, Outcome::violation},
        {"a table outside memory reads as all ones", 2, 0x1'0000 | rwx, true, true, Outcome::misconfiguration},
    };
    for (const Row& row : rows) {
        CAPTURE(row.why);
        Machine m(Format::ept);
        m.set(row.level, row.entry);
        m.second.execute_only = row.execute_only;
        m.second.gib_pages = row.gib;
        const Translation t = translate(m.second, m.memory, 0x123, page_read);
        CHECK(t.outcome == row.outcome);
        if (t.outcome == Outcome::misconfiguration) {
            CHECK(t.exit_info1 == 0);
            CHECK(t.exit_info2 == 0x123);
        }
    }
    SUBCASE("a misconfiguration below an entry without rights comes before the violation") {
        Machine m(Format::ept);
        m.set(4, 0x3000 | ept::execute);
        m.set(1, 0x8000 | rwx | 7 << 3);
        CHECK(translate(m.second, m.memory, 0, page_read).outcome == Outcome::misconfiguration);
    }
}

TEST_CASE("EPT accessed and dirty flags, page sizes, memory type") {
    Machine m(Format::ept);
    Translation t = translate(m.second, m.memory, 0xfff, page_read);
    CHECK(t.updates == 4);
    CHECK(t.references == 4);
    CHECK_FALSE(t.dirty);
    CHECK(m.get(1) == (0x8000 | rwx | wb | ept::accessed));
    t = translate(m.second, m.memory, 0xfff, table);  // the use of a guest table is a write
    CHECK(t.updates == 1);
    CHECK(t.dirty);
    CHECK(m.get(1) == (0x8000 | rwx | wb | ept::accessed | ept::dirty));
    CHECK(m.get(2) == (0x1000 | rwx | ept::accessed));
    m.second.accessed_dirty = false;
    m.set(2, 0x4020'0000 | rwx | ept::large | ept::ignore_pat | 1 << 3);
    t = translate(m.second, m.memory, 0x1f'ffff, page_write);
    CHECK(t.spa == 0x403f'ffff);
    CHECK(t.page_shift == 21);
    CHECK(t.memory_type == 1);
    CHECK(t.ignore_pat);
    CHECK(t.updates == 0);
    CHECK(t.references == 3);
    m.set(3, 0x80'4000'0000 | rwx | ept::large | wb);
    t = translate(m.second, m.memory, 0x3fff'ffff, page_fetch);
    CHECK(t.spa == 0x80'7fff'ffff);
    CHECK(t.page_shift == 30);
    CHECK(t.references == 2);
    CHECK_FALSE(t.ignore_pat);
}

TEST_CASE("nested page faults: EXITINFO1 (15.25.6)") {
    struct Row {
        const char* why;
        int level;
        u64 entry;
        Request request;
        u64 info;  // 0: no fault
    };
    constexpr u64 page = u64{1} << 32, walk = u64{1} << 33, leaf = 0x8000;
    const Row rows[] = {
        {"allowed", 1, leaf | P | U, page_read, 0},
        {"read, not present", 1, 0, page_read, page | 0x4},
        {"write, not present", 1, 0, page_write, page | 0x6},
        {"fetch, not present", 1, 0, page_fetch, page | 0x14},
        {"write to a read-only page", 1, leaf | P | U, page_write, page | 0x7},
        {"fetch from a no-execute page", 1, leaf | P | U | W | NX, page_fetch, page | 0x15},
        {"a supervisor page is no guest page", 1, leaf | P | W, page_read, page | 0x5},
        {"supervisor above the leaf", 3, 0x2000 | P | W, page_read, page | 0x5},
        {"reserved bit", 1, leaf | P | W | U | u64{1} << 46, page_read, page | 0xd},
        {"bit 8 of a PML4E", 4, 0x3000 | P | W | U | 1 << 8, page_read, page | 0xd},
        {"guest table, not present: always a write", 1, 0, table, walk | 0x6},
        {"guest table in a read-only page", 1, leaf | P | U, table, walk | 0x7},
        {"flag update in a read-only page", 1, leaf | P | U, table_flag, walk | 0x7},
        {"guest table in a no-execute page", 1, leaf | P | U | W | NX, table, 0},
    };
    for (const Row& row : rows) {
        CAPTURE(row.why);
        Machine m(Format::npt);
        m.set(row.level, row.entry);
        const Translation t = translate(m.second, m.memory, 0x123, row.request);
        CHECK(t.ok() == (row.info == 0));
        CHECK(t.exit_info1 == row.info);
        CHECK(t.exit_info2 == (t.ok() ? 0 : 0x123));
        if (t.ok()) CHECK(t.spa == 0x8123);
    }
    SUBCASE("without the host's EFER.NXE the fetch bit stays clear and no-execute is reserved") {
        Machine m(Format::npt);
        m.second.no_execute = false;
        m.set(1, leaf | P | U | NX);
        CHECK(translate(m.second, m.memory, 0, page_fetch).exit_info1 == (page | 0xd));
    }
}

TEST_CASE("an address wider than 48 bits has no translation") {
    for (const Format format : {Format::ept, Format::npt}) {
        Machine m(format);
        const Translation t = translate(m.second, m.memory, u64{1} << 48, page_write);
        CHECK(t.outcome == Outcome::violation);
        CHECK(t.references == 0);
        CHECK(t.exit_info1 == (format == Format::ept ? 0x782 : 0x1'0000'0006));
        CHECK(t.exit_info2 == u64{1} << 48);
    }
    CHECK(translate({.format = Format::none}, {}, u64{1} << 50 | 5, page_write).spa == (u64{1} << 50 | 5));
}

TEST_CASE("look_up has no side effect") {
    for (const Format format : {Format::ept, Format::npt}) {
        Machine m(format);
        const std::vector<std::byte> before = m.bytes;
        const Translation t = look_up(m.second, m.memory, 5, page_write);
        CHECK(t.ok());
        CHECK(t.spa == 0x8005);
        CHECK_FALSE(t.dirty);
        CHECK(m.bytes == before);
    }
}

TEST_CASE("the second level's description survives save and restore") {
    SecondLevel second{.format = Format::npt, .root = 0x123000, .phys_bits = 39, .gib_pages = false};
    SecondLevel copy;
    sim::restore_from_bytes(copy, sim::save_to_bytes(second));
    CHECK(copy == second);
}

}  // namespace second_level_table_test
