// The two-dimensional walk: references by page sizes, faults of both dimensions, the explanation.
#include <doctest/doctest.h>

#include <algorithm>
#include <vector>

#include "slat/table_writer.h"
#include "slat/two_dimensional.h"

namespace two_dimensional_test {

namespace {

using namespace slat;

constexpr u64 guest_memory = 0x40'0000;  // 4 MiB at system address 0; then table pages
constexpr u64 memory_bytes = 0x80'0000;
constexpr u64 P = mmu::pte::present, W = mmu::pte::writable, U = mmu::pte::user, PS = mmu::pte::large;
constexpr mmu::AccessKind load{Access::read}, store{Access::write};

struct Pages final : TablePages {
    explicit Pages(SystemMemory m) : memory(m) {}
    SystemMemory memory;
    u64 next = guest_memory;
    std::optional<u64> allocate_table() override {
        if (next + 4096 > memory_bytes) return std::nullopt;
        CHECK(memory.fill(next, 4096, std::byte{0}));
        next += 4096;
        return next - 4096;
    }
    void free_table(u64) override {}
};

// A guest whose tables are pages 1 to 5 (the level's number) and whose gva 0 maps gpa 0; gpa = spa.
struct Machine {
    std::vector<std::byte> bytes = std::vector<std::byte>(memory_bytes);
    SystemMemory memory{bytes.data(), memory_bytes};
    Pages pages{memory};
    mmu::PagingState state;
    TableWriter writer;

    Machine(Format format, int guest_levels, int guest_leaf, u8 nested_shift)
        : writer({.format = format}, memory, pages) {
        state.cr0 = mmu::cr0::pg | mmu::cr0::wp;
        state.cr4 = mmu::cr4::pae | (guest_levels == 5 ? mmu::cr4::la57 : 0);
        state.efer = mmu::efer::lma | mmu::efer::lme | mmu::efer::nxe;
        state.cr3 = static_cast<u64>(guest_levels) << 12;
        for (int level = guest_levels; level >= guest_leaf; --level) {
            const u64 entry = level > guest_leaf ? static_cast<u64>(level - 1) << 12 : level > 1 ? PS : 0;
            set(level, entry | P | W | U);
        }
        CHECK(writer.create() == Edit::ok);
        CHECK(writer.map_range(0, 0, u64{1} << 30, {}, nested_shift) == Edit::ok);
    }
    void set(int level, u64 entry) { memory.store<u64>(static_cast<u64>(level) << 12, entry); }
    u64 get(int level) const { return memory.load<u64>(static_cast<u64>(level) << 12); }
};

}  // namespace

TEST_CASE("references of a walk: (guest levels + 1) * (nested levels + 1) - 1") {
    struct Row {
        const char* pages;  // guest, nested
        int guest_levels, guest_leaf;
        u8 nested_shift;
        int references;
    };
    const Row rows[] = {
        {"4 KiB, 4 KiB", 4, 1, 12, 24},
        {"4 KiB, 2 MiB", 4, 1, 21, 19},
        {"4 KiB, 1 GiB", 4, 1, 30, 14},
        {"2 MiB, 4 KiB", 4, 2, 12, 19},
        {"2 MiB, 2 MiB", 4, 2, 21, 15},
        {"2 MiB, 1 GiB", 4, 2, 30, 11},
        {"1 GiB, 4 KiB", 4, 3, 12, 14},
        {"1 GiB, 2 MiB", 4, 3, 21, 11},
        {"1 GiB, 1 GiB", 4, 3, 30, 8},
        {"five levels: 4 KiB, 4 KiB", 5, 1, 12, 29},
        {"five levels: 2 MiB, 2 MiB", 5, 2, 21, 19},
    };
    for (const Format format : {Format::ept, Format::npt}) {
        for (const Row& row : rows) {
            CAPTURE(row.pages);
            Machine m(format, row.guest_levels, row.guest_leaf, row.nested_shift);
            const TwoDimensionalWalk walk = slat::walk(m.state, m.writer.second_level(), m.memory, 0x123, load);
            REQUIRE(walk.ok());
            CHECK(walk.references == row.references);
            CHECK(walk.spa == 0x123);
            CHECK(walk.page_shift == std::min<int>(9 * row.guest_leaf + 3, row.nested_shift));
            const Explanation explained = explain(m.state, m.writer.second_level(), m.memory, 0x123, load);
            CHECK(explained.steps.size() == static_cast<std::size_t>(row.references));
        }
    }
    SUBCASE("paging off: the nested walk alone") {
        Machine m(Format::ept, 4, 1, 12);
        m.state.cr0 = 0;
        CHECK(slat::walk(m.state, m.writer.second_level(), m.memory, 0x123, load).references == 4);
    }
    SUBCASE("no second level: the guest walk alone") {
        Machine m(Format::ept, 4, 1, 12);
        CHECK(slat::walk(m.state, {.format = Format::none}, m.memory, 0x123, load).references == 4);
    }
}

TEST_CASE("faults of the two dimensions") {
    using Kind = TwoDimensionalKind;
    struct Row {
        const char* why;
        Format format;
        u64 hidden;         // gpa whose page the second level does not map
        PageRights rights;  // of that page instead, unless none
        u64 pte;
        mmu::AccessKind access;
        Kind kind;
        u64 info1, info2;
    };
    constexpr PageRights none{false, false, false}, read_only{true, false, false};
    const u64 pte = 0x8000 | P | W | U;
    const Row rows[] = {
        {"guest fault", Format::ept, 0x20'0000, none, 0, store, Kind::page_fault, 0, 0},
        {"EPT: final page", Format::ept, 0x8000, none, pte, store, Kind::violation, 0x782, 0x8123},
        {"EPT: final page of a kernel read-only page", Format::ept, 0x8000, none, 0x8000 | P, load, Kind::violation,
         0x181, 0x8123},
        {"EPT: page table", Format::ept, 0x1000, none, pte, load, Kind::violation, 0x083, 0x1000},
        {"EPT: PML4", Format::ept, 0x4000, none, pte, load, Kind::violation, 0x083, 0x4000},
        {"EPT: read-only page table", Format::ept, 0x1000, read_only, pte, load, Kind::violation, 0x08b, 0x1000},
        {"NPT: final page", Format::npt, 0x8000, none, pte, store, Kind::violation, 0x1'0000'0006, 0x8123},
        {"NPT: page table", Format::npt, 0x1000, none, pte, load, Kind::violation, 0x2'0000'0006, 0x1000},
        {"NPT: read-only page table", Format::npt, 0x1000, read_only, pte, load, Kind::violation, 0x2'0000'0007,
         0x1000},
        {"guest rights come before the second level's", Format::ept, 0x8000, none, 0x8000 | P, store, Kind::page_fault,
         0, 0},
    };
    for (const Row& row : rows) {
        CAPTURE(row.why);
        Machine m(row.format, 4, 1, 12);
        m.set(1, row.pte);
        CHECK(m.writer.protect(row.hidden, 4096, row.rights) == Edit::ok);
        const TwoDimensionalWalk walk = slat::walk(m.state, m.writer.second_level(), m.memory, 0x123, row.access);
        CHECK(walk.kind == row.kind);
        if (row.kind == Kind::page_fault) continue;
        CHECK(walk.nested.exit_info1 == row.info1);
        CHECK(walk.nested.exit_info2 == row.info2);
    }
}

TEST_CASE("EPT without its own flags: a guest flag that cannot be set violates as a write") {
    Machine m(Format::ept, 4, 1, 12);
    CHECK(m.writer.protect(0x2000, 4096, {true, false, true}) == Edit::ok);
    SecondLevel second = m.writer.second_level();
    second.accessed_dirty = false;
    TwoDimensionalWalk walk = slat::walk(m.state, second, m.memory, 0, load);
    CHECK(walk.kind == TwoDimensionalKind::violation);
    CHECK(walk.nested.exit_info1 == 0x0aa);
    CHECK(walk.nested.exit_info2 == 0x2000);
    CHECK(slat::translate(m.state, second, m.memory, 0, load).ok());
    // With the flag set already nothing is written, and the walk goes through.
    m.set(2, m.get(2) | mmu::pte::accessed);
    walk = slat::walk(m.state, second, m.memory, 0, load);
    CHECK(walk.ok());
    CHECK(walk.updates == 1);  // the PTE: the upper two have theirs from the first, failing, try
}

TEST_CASE("PDPTE registers load through the second level") {
    for (const Format format : {Format::ept, Format::npt}) {
        Machine m(format, 4, 1, 12);
        m.state.cr3 = 0x3000;
        m.memory.store<u64>(0x3008, 0x2000 | P);
        m.memory.store<u64>(0x3000, 0);
        Translation nested;
        CHECK(slat::load_pdptes(m.state, m.writer.second_level(), m.memory, nested) == mmu::PdpteLoad::ok);
        CHECK(m.state.pdpte[1] == (0x2000 | P));
        CHECK(m.writer.unmap(0x3000) == Edit::ok);
        CHECK(slat::load_pdptes(m.state, m.writer.second_level(), m.memory, nested) == mmu::PdpteLoad::nested_fault);
        CHECK(nested.exit_info1 == (format == Format::ept ? 0x001 : 0x2'0000'0004));
        CHECK(nested.exit_info2 == 0x3000);
    }
}

TEST_CASE("the explanation lists the references in the order of the walk") {
    Machine m(Format::ept, 4, 1, 12);
    const std::vector<std::byte> before = m.bytes;
    const Explanation e = explain(m.state, m.writer.second_level(), m.memory, 0x123, store);
    CHECK(m.bytes == before);
    REQUIRE(e.steps.size() == 24);
    for (int i = 0; i < 24; ++i) {
        const Step& step = e.steps[static_cast<std::size_t>(i)];
        const bool guest = i % 5 == 4;
        CHECK((step.dimension == Step::Dimension::guest) == guest);
        CHECK(step.level == (guest ? 4 - i / 5 : 4 - i % 5));
        CHECK(step.purpose == (i < 20 ? Purpose::guest_table : Purpose::final_address));
        if (i < 20) CHECK(step.gpa == static_cast<u64>(4 - i / 5) << 12);
    }
    const std::string text = to_text(e);
    CHECK(std::count(text.begin(), text.end(), '\n') == 26);
    CHECK(text.find("  5  guest     PML4E  0x4000") != std::string::npos);
    CHECK(
        text.find("24 memory references. gva 0x123 -> gpa 0x123 -> spa 0x123; guest page 4 KiB, nested page 4 KiB\n") !=
        std::string::npos);
    m.set(1, 0);
    CHECK(to_text(explain(m.state, m.writer.second_level(), m.memory, 0x123, store))
              .find("page fault in the guest: error code 0x2, CR2 0x123") != std::string::npos);
}

}  // namespace two_dimensional_test
