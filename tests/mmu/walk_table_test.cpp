// The page walk, rule by rule: one row per clause, with exact fault codes and results.
#include <doctest/doctest.h>

#include <vector>

#include "mmu/walk.h"
#include "sim/archive.h"

namespace walk_table_test {

namespace {

using namespace mmu;

constexpr u64 memory_bytes = 0x10'000;
constexpr u64 P = pte::present, W = pte::writable, U = pte::user, A = pte::accessed, D = pte::dirty, PS = pte::large,
              G = pte::global, NX = pte::no_execute;
constexpr AccessKind load{Access::read}, store{Access::write}, fetch{Access::execute};
constexpr AccessKind user_read{Access::read, true}, user_write{Access::write, true}, user_fetch{Access::execute, true};
constexpr AccessKind implicit_read{Access::read, true, true};

// Tables at fixed places: level n lives in page n, so a chain is easy to write down. The leaf page is 0x8000.
struct Machine {
    std::vector<std::byte> bytes = std::vector<std::byte>(memory_bytes);
    SystemMemory memory{bytes.data(), memory_bytes};
    PhysicalPort port{memory};
    PagingState state;

    void entry(int level, u64 index, u64 value) { memory.store<u64>(table(level) + 8 * index, value); }
    u64 entry(int level, u64 index) const { return memory.load<u64>(table(level) + 8 * index); }
    static u64 table(int level) { return static_cast<u64>(level) << 12; }
};

Machine long_mode(int levels = 4) {
    Machine m;
    m.state.cr0 = cr0::pg | cr0::wp;
    m.state.cr4 = cr4::pae | cr4::pge | (levels == 5 ? cr4::la57 : 0);
    m.state.efer = efer::lme | efer::lma | efer::nxe;
    m.state.cr3 = Machine::table(levels);
    for (int level = levels; level > 1; --level) m.entry(level, 0, Machine::table(level - 1) | P | W | U);
    m.entry(1, 0, 0x8000 | P | W | U);
    return m;
}

}  // namespace

TEST_CASE("access rights in long mode: every clause of 4.6.1") {
    struct Row {
        const char* why;
        u64 leaf;       // flags of the PTE besides the address
        u64 upper;      // flags of the PDE
        u64 cr0_clear;  // bits cleared in CR0
        u64 cr4_set;
        bool ac;
        AccessKind kind;
        int code;  // -1: allowed
    };
    constexpr u64 rw = P | W | U;
    const Row rows[] = {
        {"user reads a user page", P | U, rw, 0, 0, false, user_read, -1},
        {"user writes a user page", rw, rw, 0, 0, false, user_write, -1},
        {"user fetches from a user page", P | U, rw, 0, 0, false, user_fetch, -1},
        {"user reads a supervisor page", P | W, rw, 0, 0, false, user_read, 0x5},
        {"user writes a supervisor page", P | W, rw, 0, 0, false, user_write, 0x7},
        {"user fetches from a supervisor page", P | W, rw, 0, 0, false, user_fetch, 0x15},
        {"user writes a read-only page", P | U, rw, 0, 0, false, user_write, 0x7},
        {"user writes a read-only page with WP clear", P | U, rw, cr0::wp, 0, false, user_write, 0x7},
        {"user bit clear above the leaf", rw, P | W, 0, 0, false, user_read, 0x5},
        {"writable bit clear above the leaf", rw, P | U, 0, 0, false, user_write, 0x7},
        {"no-execute above the leaf", rw, rw | NX, 0, 0, false, user_fetch, 0x15},
        {"no-execute leaf", rw | NX, rw, 0, 0, false, user_fetch, 0x15},
        {"no-execute does not stop reads", rw | NX, rw, 0, 0, false, user_read, -1},
        {"supervisor reads a read-only page", P, rw, 0, 0, false, load, -1},
        {"supervisor writes a read-only page", P, rw, 0, 0, false, store, 0x3},
        {"supervisor writes a read-only page with WP clear", P, rw, cr0::wp, 0, false, store, -1},
        {"supervisor fetches from a no-execute page", P | NX, rw, 0, 0, false, fetch, 0x11},
        {"supervisor fetches from a user page", rw, rw, 0, 0, false, fetch, -1},
        {"the same with SMEP", rw, rw, 0, cr4::smep, false, fetch, 0x11},
        {"SMEP leaves supervisor pages alone", P, rw, 0, cr4::smep, false, fetch, -1},
        {"SMEP leaves user fetches alone", rw, rw, 0, cr4::smep, false, user_fetch, -1},
        {"supervisor reads a user page", rw, rw, 0, 0, false, load, -1},
        {"the same with SMAP", rw, rw, 0, cr4::smap, false, load, 0x1},
        {"SMAP and write", rw, rw, 0, cr4::smap, false, store, 0x3},
        {"SMAP with EFLAGS.AC", rw, rw, 0, cr4::smap, true, load, -1},
        {"SMAP with EFLAGS.AC, read-only page", P | U, rw, 0, cr4::smap, true, store, 0x3},
        {"SMAP and write with WP clear", P | U, rw, cr0::wp, cr4::smap, false, store, 0x3},
        {"SMAP with EFLAGS.AC and WP clear", P | U, rw, cr0::wp, cr4::smap, true, store, -1},
        {"SMAP does not concern fetches", rw, rw, 0, cr4::smap, false, fetch, -1},
        {"an implicit access is a supervisor access", P | W, rw, 0, 0, false, implicit_read, -1},
        {"SMAP and an implicit access: AC does not excuse it", rw, rw, 0, cr4::smap, true, implicit_read, 0x1},
        {"not present", W | U, rw, 0, 0, false, user_write, 0x6},
        {"not present above the leaf", rw, W | U, 0, 0, false, fetch, 0x10},
        {"not present, supervisor read", 0, rw, 0, 0, false, load, 0x0},
    };
    for (const Row& row : rows) {
        CAPTURE(row.why);
        Machine m = long_mode();
        m.entry(1, 0, 0x8000 | row.leaf);
        m.entry(2, 0, Machine::table(1) | row.upper);
        m.state.cr0 &= ~row.cr0_clear;
        m.state.cr4 |= row.cr4_set;
        m.state.ac = row.ac;
        const Walk walk = mmu::walk(m.state, 0x123, row.kind, m.port);
        CHECK((walk.ok() ? -1 : static_cast<int>(walk.error_code)) == row.code);
        CHECK(walk.kind == (row.code < 0 ? WalkKind::ok : WalkKind::page_fault));
        CHECK(walk.gva == 0x123);
        if (walk.ok()) CHECK(walk.gpa == 0x8123);
        // A failing walk leaves no flag behind.
        CHECK((m.entry(1, 0) & (A | D)) == (!walk.ok() ? 0 : row.kind.access == Access::write ? A | D : A));
        CHECK((m.entry(4, 0) & (A | D)) == (walk.ok() ? A : 0));
    }
}

TEST_CASE("the instruction-fetch bit of a fault code needs no-execute or SMEP") {
    struct Row {
        u64 efer_nxe, cr4_smep;
        u32 code;
    };
    for (const Row& row : {Row{0, 0, 0x4}, Row{efer::nxe, 0, 0x14}, Row{0, cr4::smep, 0x14}}) {
        Machine m = long_mode();
        m.entry(1, 0, 0);
        m.state.efer = efer::lme | efer::lma | row.efer_nxe;
        m.state.cr4 |= row.cr4_smep;
        CHECK(mmu::walk(m.state, 0, user_fetch, m.port).error_code == row.code);
    }
}

TEST_CASE("reserved bits by mode, level and capability") {
    struct Row {
        const char* why;
        int levels;
        int level;  // the entry that is changed
        u64 flags;  // set in it
        u8 phys_bits;
        bool nxe, gib, amd;
        bool reserved;
    };
    const Row rows[] = {
        {"bit 46 with 46 address bits, PTE", 4, 1, u64{1} << 46, 46, true, true, false, true},
        {"bit 51 with 46 address bits, PTE", 4, 1, u64{1} << 51, 46, true, true, false, true},
        {"bit 52 is software's", 4, 1, u64{1} << 52, 46, true, true, false, false},
        {"bit 62 is software's", 4, 1, u64{1} << 62, 46, true, true, false, false},
        {"bit 46 with 46 address bits, PML4E", 4, 4, u64{1} << 46, 46, true, true, false, true},
        {"bit 46 with 46 address bits, PML5E", 5, 5, u64{1} << 46, 46, true, true, false, true},
        {"no-execute while EFER.NXE is clear", 4, 1, NX, 46, false, true, false, true},
        {"no-execute while EFER.NXE is clear, PML4E", 4, 4, NX, 46, false, true, false, true},
        {"no-execute", 4, 1, NX, 46, true, true, false, false},
        {"PS in a PML4E", 4, 4, PS, 46, true, true, false, true},
        {"PS in a PML5E", 5, 5, PS, 46, true, true, false, true},
        {"PS in a PDPTE without 1 GiB pages", 4, 3, PS, 46, true, false, false, true},
        {"1 GiB page", 4, 3, PS, 46, true, true, false, true},   // the address (0x2000) is not aligned
        {"2 MiB page", 4, 2, PS, 46, true, true, false, false},  // bit 12 is PAT
        {"2 MiB page, bit 13", 4, 2, PS | 1u << 13, 46, true, true, false, true},
        {"2 MiB page, bit 20", 4, 2, PS | 1u << 20, 46, true, true, false, true},
        {"bit 8 of a PML4E, Intel", 4, 4, G, 46, true, true, false, false},
        {"bit 8 of a PML4E, AMD", 4, 4, G, 46, true, true, true, true},
        {"bit 8 of a PDPTE, AMD", 4, 3, G, 46, true, true, true, true},
        {"bit 8 of a PDE, AMD", 4, 2, G, 46, true, true, true, false},
        {"bit 8 of a PML5E, AMD", 5, 5, G, 46, true, true, true, true},
        {"all 52 bits addressable", 4, 1, 0, 52, true, true, false, false},
    };
    for (const Row& row : rows) {
        CAPTURE(row.why);
        Machine m = long_mode(row.levels);
        m.entry(row.level, 0, m.entry(row.level, 0) | row.flags);
        m.state.phys_bits = row.phys_bits;
        if (!row.nxe) m.state.efer &= ~efer::nxe;
        m.state.gib_pages = row.gib;
        m.state.table_global_reserved = row.amd;
        const Walk walk = mmu::walk(m.state, 0, user_write, m.port);
        CHECK(walk.ok() == !row.reserved);
        if (row.reserved) {
            CHECK(walk.error_code == 0xf);
            CHECK(walk.level == row.level);
            CHECK(walk.references == row.levels - row.level + 1);
        }
    }
}

TEST_CASE("page sizes: address, size, memory type, global, number of references") {
    struct Row {
        const char* why;
        int levels, leaf_level;
        u64 leaf;
        u64 gva, gpa;
        int shift, type, references;
        bool global;
    };
    const Row rows[] = {
        {"4 KiB", 4, 1, 0x8000 | P | G, 0xabc, 0x8abc, 12, 0, 4, true},
        {"4 KiB, PAT PCD PWT", 4, 1, 0x8000 | P | 0x98, 0xabc, 0x8abc, 12, 7, 4, false},
        {"4 KiB, PCD", 4, 1, 0x8000 | P | 0x10, 0, 0x8000, 12, 2, 4, false},
        {"2 MiB", 4, 2, 0x4020'0000 | P | PS | G, 0x12'3456, 0x4032'3456, 21, 0, 3, true},
        {"2 MiB, PAT", 4, 2, 0x4020'0000 | P | PS | 1u << 12, 0x12'3456, 0x4032'3456, 21, 4, 3, false},
        {"1 GiB", 4, 3, 0x80'4000'0000 | P | PS, 0x3fff'ffff, 0x80'7fff'ffff, 30, 0, 2, false},
        {"1 GiB, PAT PWT", 4, 3, 0x4000'0000 | P | PS | 1u << 12 | 8, 0, 0x4000'0000, 30, 5, 2, false},
        {"4 KiB, five levels", 5, 1, 0x8000 | P, 0xabc, 0x8abc, 12, 0, 5, false},
        {"1 GiB, five levels", 5, 3, 0x4000'0000 | P | PS, 5, 0x4000'0005, 30, 0, 3, false},
    };
    for (const Row& row : rows) {
        CAPTURE(row.why);
        Machine m = long_mode(row.levels);
        m.entry(row.leaf_level, 0, row.leaf);
        const Walk walk = mmu::walk(m.state, row.gva, load, m.port);
        REQUIRE(walk.ok());
        CHECK(walk.gpa == row.gpa);
        CHECK(walk.page_shift == row.shift);
        CHECK(walk.memory_type_index == row.type);
        CHECK(walk.references == row.references);
        CHECK(walk.global == row.global);
        CHECK(walk.level == row.leaf_level);
        CHECK_FALSE(walk.dirty);
        m.state.cr4 &= ~cr4::pge;
        CHECK_FALSE(mmu::walk(m.state, row.gva, load, m.port).global);
    }
}

TEST_CASE("canonical addresses") {
    struct Row {
        int levels;
        u64 gva;
        bool canonical;
    };
    for (const Row& row : {Row{4, 0x0000'7fff'ffff'ffff, true}, Row{4, 0x0000'8000'0000'0000, false},
                           Row{4, 0xffff'7fff'ffff'ffff, false}, Row{4, 0xffff'8000'0000'0000, true},
                           Row{4, 0x8000'0000'0000'0000, false}, Row{5, 0x0000'8000'0000'0000, true},
                           Row{5, 0x00ff'ffff'ffff'ffff, true}, Row{5, 0x0100'0000'0000'0000, false},
                           Row{5, 0xfeff'ffff'ffff'ffff, false}, Row{5, 0xff00'0000'0000'0000, true}}) {
        CAPTURE(row.gva);
        Machine m = long_mode(row.levels);
        const Walk walk = mmu::walk(m.state, row.gva, load, m.port);
        CHECK((walk.kind != WalkKind::non_canonical) == row.canonical);
        if (!row.canonical) CHECK(walk.references == 0);
    }
}

TEST_CASE("32-bit paging: two levels of 1024, 4 MiB pages with 40 address bits") {
    Machine m;
    m.state.cr0 = cr0::pg | cr0::wp;
    m.state.cr3 = 0x2000 | 0x18;  // PWT and PCD of CR3 are no address
    const auto set = [&](u64 table, u64 index, u32 value) { m.memory.store<u32>(table + 4 * index, value); };
    set(0x2000, 0x3ff, 0x1000 | 7);
    set(0x1000, 0x3fe, 0xffff'f000 | 7);
    Walk walk = mmu::walk(m.state, 0xffff'ffff'ffff'e123, user_write, m.port);  // upper half of the address ignored
    REQUIRE(walk.ok());
    CHECK(walk.gpa == 0xffff'f123);
    CHECK(walk.gva == 0xffff'e123);
    CHECK(walk.references == 2);
    CHECK(walk.updates == 2);
    CHECK(m.memory.load<u32>(0x1ff8) == (0xffff'f000 | 7 | A | D));
    CHECK(m.memory.load<u32>(0x2ffc) == (0x1000 | 7 | A));

    // PSE-36: bits 20:13 of the entry are address bits 39:32.
    const u32 large = 0x1240'0000 | 0xab << 13 | 0x80 | 7;
    set(0x2000, 1, large);
    set(0x2000, 0, 0x1000 | 7);
    m.state.phys_bits = 40;
    m.state.cr4 = cr4::pse;
    walk = mmu::walk(m.state, 0x7f'ffff, load, m.port);
    REQUIRE(walk.ok());
    CHECK(walk.gpa == 0xab'127f'ffff);
    CHECK(walk.page_shift == 22);
    m.state.phys_bits = 36;  // 0xab needs 40
    CHECK(mmu::walk(m.state, 0x7f'ffff, load, m.port).error_code == 0x9);
    set(0x2000, 1, (large & ~(0xffu << 13)) | 1u << 21);
    CHECK(mmu::walk(m.state, 0x7f'ffff, load, m.port).error_code == 0x9);
    m.state.cr4 = 0;  // without PSE the flag is ignored: the entry refers to a table (out of memory: all ones)
    walk = mmu::walk(m.state, 0x7f'ffff, load, m.port);
    CHECK(walk.ok());
    CHECK(walk.gpa == 0xffff'ffff);
    // No-execute and its fault bit do not exist here, whatever EFER says.
    m.state.efer = efer::nxe;
    set(0x1000, 0, 0);
    CHECK(mmu::walk(m.state, 0, user_fetch, m.port).error_code == 0x4);
}

TEST_CASE("PAE paging: registers, not memory, hold the PDPTEs") {
    Machine m;
    m.state.cr0 = cr0::pg;
    m.state.cr4 = cr4::pae;
    m.state.efer = efer::nxe;
    m.state.cr3 = 0x3020;  // 32-byte aligned
    m.memory.store<u64>(0x3020 + 24, 0x2000 | P);
    m.memory.store<u64>(0x2000 + 8 * 0x1ff, 0x1000 | P | W | U);
    m.memory.store<u64>(0x1000 + 8 * 0x1ff, 0x8000 | P | U | NX);
    const u64 gva = 0xffff'f010;
    Walk walk = mmu::walk(m.state, gva, user_write, m.port);
    CHECK(walk.kind == WalkKind::page_fault);  // the registers are not loaded yet
    CHECK(walk.error_code == 0x6);
    CHECK(walk.references == 0);
    CHECK(walk.level == 3);
    REQUIRE(load_pdptes(m.state, m.port) == PdpteLoad::ok);
    m.memory.store<u64>(0x3020 + 24, 0);  // memory no longer matters
    walk = mmu::walk(m.state, gva, user_read, m.port);
    REQUIRE(walk.ok());
    CHECK(walk.gpa == 0x8010);
    CHECK(walk.references == 2);
    CHECK(mmu::walk(m.state, gva, user_fetch, m.port).error_code == 0x15);
    CHECK(mmu::walk(m.state, gva, user_write, m.port).error_code == 0x7);
    m.memory.store<u64>(0x1000 + 8 * 0x1ff, 0x8000 | P | U | u64{1} << 52);  // reserved here, software's in long mode
    CHECK(mmu::walk(m.state, gva, load, m.port).error_code == 0x9);
    m.memory.store<u64>(0x2000 + 8 * 0x1ff, 0x40'0000 | P | PS);
    walk = mmu::walk(m.state, gva, load, m.port);
    REQUIRE(walk.ok());
    CHECK(walk.gpa == 0x5f'f010);
    CHECK(walk.page_shift == 21);
    CHECK(walk.references == 1);
}

TEST_CASE("loading PDPTE registers: a reserved bit of a present entry is a general protection fault") {
    struct Row {
        u64 entry;
        PdpteLoad result;
    };
    for (const Row& row :
         {Row{0x2000 | P, PdpteLoad::ok}, Row{0x2000 | P | W, PdpteLoad::general_protection},
          Row{0x2000 | P | U, PdpteLoad::general_protection}, Row{0x2000 | P | 0x18, PdpteLoad::ok},
          Row{0x2000 | P | A, PdpteLoad::general_protection}, Row{0x2000 | P | G, PdpteLoad::general_protection},
          Row{0x2000 | P | 0xe00, PdpteLoad::ok}, Row{0x2000 | P | u64{1} << 46, PdpteLoad::general_protection},
          Row{0x2000 | P | NX, PdpteLoad::general_protection}, Row{~u64{1}, PdpteLoad::ok}}) {
        CAPTURE(row.entry);
        Machine m;
        m.state.cr3 = 0x3000;
        m.state.pdpte = {1, 2, 3, 4};
        m.memory.store<u64>(0x3010, row.entry);
        CHECK(load_pdptes(m.state, m.port) == row.result);
        const std::array<u64, 4> before{1, 2, 3, 4};
        const std::array<u64, 4> after{0, 0, row.entry, 0};
        CHECK(m.state.pdpte == (row.result == PdpteLoad::ok ? after : before));
    }
}

TEST_CASE("accessed and dirty: set once, by the access that needs them, and not by translate()") {
    Machine m = long_mode();
    Walk walk = mmu::translate(m.state, 0, store, m.port);
    CHECK(walk.ok());
    CHECK(walk.updates == 0);
    CHECK_FALSE(walk.dirty);
    CHECK(m.entry(1, 0) == (0x8000 | P | W | U));
    CHECK(mmu::walk(m.state, 0, load, m.port).updates == 4);
    CHECK(mmu::walk(m.state, 0, load, m.port).updates == 0);
    walk = mmu::walk(m.state, 0, store, m.port);
    CHECK(walk.updates == 1);
    CHECK(walk.dirty);
    CHECK(m.entry(1, 0) == (0x8000 | P | W | U | A | D));
    CHECK((m.entry(2, 0) & (A | D)) == A);
    CHECK(mmu::walk(m.state, 0, store, m.port).updates == 0);
}

TEST_CASE("a table that contains itself: the flags of one entry are set by two passes") {
    Machine m = long_mode();
    m.entry(4, 0, Machine::table(4) | P | W | U);
    const Walk walk = mmu::walk(m.state, 0x18, store, m.port);
    REQUIRE(walk.ok());
    CHECK(walk.gpa == 0x4018);
    CHECK(walk.updates == 2);
    CHECK(m.entry(4, 0) == (0x4000 | P | W | U | A | D));
}

TEST_CASE("a table outside memory reads as all ones: reserved bits, not a crash") {
    Machine m = long_mode();
    m.state.cr3 = 0x3fff'ffff'f000;
    CHECK(mmu::walk(m.state, 0, user_write, m.port).error_code == 0xf);
    m.state.cr3 = Machine::table(4);
    m.entry(2, 0, 0x1'0000 | P | W | U);  // the first page past memory
    CHECK(mmu::walk(m.state, 0, user_write, m.port).error_code == 0xf);
}

TEST_CASE("a port that fails ends the walk; a port that claims endless change does not hang it") {
    struct Port {
        int loads_left;
        EntryUpdate answer;
        bool load(u64, unsigned, u64& entry) {
            entry = 0x1000 | P | W | U;
            return loads_left-- > 0;
        }
        EntryUpdate update(u64, unsigned, u64, u64) { return answer; }
    };
    const PagingState state = long_mode().state;
    Port port{2, EntryUpdate::done};
    Walk walk = mmu::walk(state, 0, load, port);
    CHECK(walk.kind == WalkKind::nested_fault);
    CHECK(walk.references == 2);
    CHECK(walk.level == 2);
    port = {100, EntryUpdate::fault};
    walk = mmu::walk(state, 0, load, port);
    CHECK(walk.kind == WalkKind::nested_fault);
    CHECK(walk.level == 4);
    port = {100000, EntryUpdate::changed};
    walk = mmu::walk(state, 0x10, load, port);
    CHECK(walk.ok());
    CHECK(walk.gpa == 0x1010);
}

TEST_CASE("system memory: bounds") {
    std::vector<std::byte> bytes(16);
    const SystemMemory memory(bytes.data(), bytes.size());
    memory.store<u64>(8, 0x1122'3344'5566'7788);
    CHECK(memory.load<u64>(8) == 0x1122'3344'5566'7788);
    CHECK(memory.load<u32>(12) == 0x1122'3344);
    CHECK(memory.load<u64>(9) == ~u64{0});
    CHECK(memory.load<u8>(~u64{0}) == 0xff);
    memory.store<u64>(9, 0);
    CHECK(memory.load<u64>(8) == 0x1122'3344'5566'7788);
    u32 value = 7;
    CHECK_FALSE(memory.try_load(13, value));
    CHECK(value == 7);
    CHECK_FALSE(memory.try_store(~u64{0} - 2, value));
    CHECK(memory.at(16, 0) == bytes.data() + 16);
    CHECK(memory.at(16, 1) == nullptr);
    CHECK(memory.at(0, ~u64{0}) == nullptr);
    CHECK_FALSE(memory.fill(8, 9, std::byte{1}));
    CHECK(SystemMemory().load<u16>(0) == 0xffff);
}

TEST_CASE("paging state survives save and restore") {
    PagingState state = long_mode().state;
    state.pdpte = {1, 2, 3, 4};
    state.ac = true;
    state.phys_bits = 39;
    PagingState copy;
    sim::restore_from_bytes(copy, sim::save_to_bytes(state));
    CHECK(copy == state);
}

TEST_CASE("a write watch reports writes to watched pages, the last partial one too") {
    struct Listener final : WriteWatch::Listener {
        std::vector<u64> writes;
        void watched_page_written(u64 spa, u64) override { writes.push_back(spa); }
    } listener;
    std::vector<std::byte> bytes(0x2800);
    WriteWatch watch(bytes.size());
    watch.set_listener(&listener);
    const SystemMemory memory(bytes.data(), bytes.size(), &watch);
    watch.watch(0x2000, true);
    memory.store<u64>(0x1000, 1);
    memory.store<u64>(0x1ffc, 1);  // reaches into the watched page
    memory.store<u32>(0x27fc, 1);
    memory.store<u32>(0x27fd, 1);  // outside: nothing is written
    CHECK(listener.writes == std::vector<u64>{0x1ffc, 0x27fc});
}

}  // namespace walk_table_test
