// The translation unit: what a miss costs, and that with the flushes the architecture asks for it never differs from a
// walk without any cache.
#include <doctest/doctest.h>

#include <algorithm>
#include <vector>

#include "sim/archive.h"
#include "slat/table_writer.h"
#include "slat/translation_unit.h"
#include "tests/effort.h"
#include "tests/mmu/slow_paging.h"

namespace translation_unit_test {

namespace {

using namespace slat;

constexpr u64 P = mmu::pte::present, W = mmu::pte::writable, U = mmu::pte::user, G = mmu::pte::global,
              PS = mmu::pte::large, A = mmu::pte::accessed, D = mmu::pte::dirty;
constexpr mmu::AccessKind load{Access::read}, store{Access::write}, fetch{Access::execute};
constexpr u64 mib2 = u64{1} << 21;

struct Pages final : TablePages {
    Pages(SystemMemory m, u64 first, u64 end) : memory(m), next(first), last(end) {}
    SystemMemory memory;
    u64 next, last;
    std::vector<u64> free;
    std::optional<u64> allocate_table() override {
        u64 page = next;
        if (!free.empty()) {
            page = free.back();
            free.pop_back();
        } else {
            if (next >= last) return std::nullopt;
            next += 4096;
        }
        REQUIRE(memory.fill(page, 4096, std::byte{0}));
        return page;
    }
    void free_table(u64 spa) override { free.push_back(spa); }
};

mmu::PagingState long_mode(u64 cr3) {
    mmu::PagingState s;
    s.cr0 = mmu::cr0::pg | mmu::cr0::wp;
    s.cr4 = mmu::cr4::pae | mmu::cr4::pge | mmu::cr4::pcide;
    s.efer = mmu::efer::lma | mmu::efer::lme | mmu::efer::nxe;
    s.cr3 = cr3;
    return s;
}

// One guest with tables at gpa 0x1000 (PT) to 0x4000 (PML4) and gpa = spa.
struct Machine {
    std::vector<std::byte> bytes = std::vector<std::byte>(0x100'0000);
    SystemMemory memory{bytes.data(), bytes.size()};
    Pages pages{memory, 0x80'0000, 0x100'0000};
    TableWriter writer;
    TranslationUnit unit;

    explicit Machine(Format format, u8 nested_shift = 12, const TranslationUnitConfig& config = {})
        : writer({.format = format}, memory, pages), unit(config, memory) {
        REQUIRE(writer.create() == Edit::ok);
        REQUIRE(writer.map_range(0, 0, 0x80'0000, {}, nested_shift) == Edit::ok);
        for (u64 level = 4; level > 1; --level) memory.store<u64>(level << 12, (level - 1) << 12 | P | W | U);
        for (u64 i = 0; i < 512; ++i) memory.store<u64>(0x1000 + 8 * i, ((0x100 + i) << 12) | P | W | U);
        unit.set_context(long_mode(0x4000), writer.second_level(), 1, 1);
    }
};

}  // namespace

TEST_CASE("what each access costs: memory references by what the caches know") {
    for (const Format format : {Format::ept, Format::npt}) {
        CAPTURE(static_cast<int>(format));
        Machine m(format);
        struct Row {
            const char* why;
            u64 gva;
            mmu::AccessKind kind;
            LookUp level;
            std::size_t reads;
            u64 spa;
        };
        const Row rows[] = {
            // The four guest tables lie in one 2 MiB region: after the first 4 nested reads the nested
            // paging-structure cache leaves 1 for each further page. 4 + 1, three times 1 + 1, 1 for the page.
            {"cold", 0x123, load, LookUp::walk, 12, 0x10'0123},
            {"again", 0x456, load, LookUp::l1, 0, 0x10'0456},
            {"the next page: one guest entry, one nested", 0x1000, load, LookUp::walk, 2, 0x10'1000},
            // The PTE's table is known by its system address; the nested leaf is read again for its dirty flag.
            {"first write: the dirty flag has to be set", 0x123, store, LookUp::walk, 2, 0x10'0123},
            {"second write", 0x128, store, LookUp::l1, 0, 0x10'0128},
            {"fetch: found in the second level", 0x128, fetch, LookUp::l2, 0, 0x10'0128},
            {"fetch again", 0x128, fetch, LookUp::l1, 0, 0x10'0128},
        };
        for (const Row& row : rows) {
            CAPTURE(row.why);
            const TranslationUnit::Result r = m.unit.look_up(row.gva, row.kind);
            CHECK(r.level == row.level);
            CHECK(r.spa == row.spa);
            if (row.level != LookUp::walk) continue;
            std::size_t reads = 0;
            for (const Reference& reference : m.unit.references()) reads += reference.write ? 0 : 1;
            CHECK(reads == row.reads);
        }
        CHECK(m.unit.counts().walks == 3);
        CHECK(m.unit.counts().l1_hits == 3);
        CHECK(m.unit.counts().l2_hits == 1);
    }
}

TEST_CASE("without nested caches a cold walk makes all 24 references, each at its system address") {
    TranslationUnitConfig config;
    config.nested.nested_tlb.clear();
    config.nested.structures = {{}, {}, {}, {}};
    Machine m(Format::ept, 12, config);
    const Explanation e = explain(m.unit.paging_state(), m.writer.second_level(), m.memory, 0x123, load);
    CHECK(m.unit.look_up(0x123, load).level == LookUp::walk);
    std::vector<u64> reads;
    std::size_t writes = 0;
    for (const Reference& reference : m.unit.references()) {
        if (reference.write) {
            ++writes;
        } else {
            CHECK(reference.nested == (e.steps[reads.size()].dimension == Step::Dimension::nested));
            CHECK(reference.spa == e.steps[reads.size()].spa);
            reads.push_back(reference.spa);
        }
    }
    CHECK(reads.size() == 24);
    CHECK(writes == 4);  // the guest's accessed flags
    CHECK(m.unit.look_up(0x1000, load).level == LookUp::walk);
    CHECK(m.unit.references().size() == 6);  // PTE and its flag, four nested
}

TEST_CASE("large pages end in one entry of the smaller size") {
    struct Row {
        u64 pde;
        u8 nested_shift;
        int shift;
    };
    for (const Row& row :
         {Row{mib2 | PS | P | W, 21, 21}, Row{mib2 | PS | P | W, 12, 12}, Row{0x1000 | P | W, 21, 12}}) {
        Machine m(Format::ept, row.nested_shift);
        m.memory.store<u64>(0x2000, row.pde);
        CHECK(m.unit.look_up(0x3456, load).page_shift == row.shift);
        CHECK(m.unit.look_up(0x3457, load).level == LookUp::l1);
        CHECK(m.unit.look_up(0x3457, load).spa == (row.pde & PS ? mib2 + 0x3457 : 0x10'3457));
        // INVLPG anywhere in the guest's page.
        m.unit.flush(mmu::flush::invlpg(m.unit.context(), row.pde & PS ? 0x1f'ffff : 0x3000));
        CHECK(m.unit.look_up(0x3457, load).level == LookUp::walk);
    }
}

TEST_CASE("faults: exact, after a walk from both roots, and never from a stale entry") {
    Machine m(Format::ept);
    CHECK(m.unit.look_up(0x123, load).ok());
    // Rights grow without a flush: no spurious fault.
    m.memory.store<u64>(0x1008, 0);
    CHECK(m.unit.look_up(0x1000, load).level == LookUp::fault);
    CHECK(m.unit.last_walk().guest.error_code == 0);
    CHECK(m.unit.references().size() == 1);  // the PTE; confirming the fault is free
    m.memory.store<u64>(0x1008, 0x10'1000 | P);
    CHECK(m.unit.look_up(0x1000, load).ok());
    CHECK(m.unit.look_up(0x1000, store).level == LookUp::fault);
    CHECK(m.unit.last_walk().guest.error_code == 3);
    m.memory.store<u64>(0x1008, 0x10'1000 | P | W);
    CHECK(m.unit.look_up(0x1000, store).ok());
    CHECK(m.unit.look_up(0x1000, {Access::read, true}).level == LookUp::fault);
    CHECK(m.unit.last_walk().guest.error_code == 5);
    CHECK(m.unit.look_up(u64{1} << 47, load).level == LookUp::fault);
    CHECK(m.unit.last_walk().kind == TwoDimensionalKind::non_canonical);
    CHECK(m.writer.protect(0x10'2000, 4096, {true, false, true}) == Edit::ok);
    CHECK(m.unit.look_up(0x2000, load).ok());
    CHECK(m.unit.look_up(0x2000, store).level == LookUp::fault);
    CHECK(m.unit.last_walk().kind == TwoDimensionalKind::violation);
    CHECK(m.unit.last_walk().nested.exit_info1 == 0x7aa);
    CHECK(m.writer.protect(0x10'2000, 4096, {}) == Edit::ok);  // granted again, no flush
    CHECK(m.unit.look_up(0x2000, store).ok());
}

TEST_CASE("a measuring unit leaves the tables alone") {
    Machine m(Format::npt, 12, {.leave_flags = true});
    const std::vector<std::byte> before = m.bytes;
    CHECK(m.unit.look_up(0x123, load).level == LookUp::walk);
    CHECK(m.unit.look_up(0x123, load).level == LookUp::l1);
    CHECK(m.unit.look_up(0x123, store).level == LookUp::walk);
    CHECK(m.bytes == before);
}

TEST_CASE("random guests, processes and partitions: look_up agrees with the uncached walk") {
    // Two partitions of two virtual processors on one logical processor. Each edit of a table is followed by exactly
    // the flush that the architecture asks for; each access is compared with a walk that knows no cache.
    struct Vp {
        u16 slat, vmid;
        mmu::PagingState state;
    };
    constexpr u64 partition_bytes = 0x40'0000;
    for (const Format format : {Format::ept, Format::npt}) {
        std::vector<std::byte> bytes(0x180'0000);
        const SystemMemory memory(bytes.data(), bytes.size());
        Pages pages(memory, 2 * partition_bytes, 0x180'0000);
        std::vector<TableWriter> writers;
        slow::Dice dice(format == Format::ept ? 11 : 12);
        // Guest: PML4s of two processes at 0x1000, 0x2000; PDPT 0x3000, PDs 0x4000, 0x5000; PTs 0x6000 to 0xb000.
        const auto guest_pte = [&] {
            u64 entry = (0x10 + dice.below(0x3f0)) << 12 | P;
            if (dice.percent(80)) entry |= W;
            if (dice.percent(60)) entry |= U;
            if (dice.percent(20)) entry |= G;
            if (dice.percent(10)) entry |= mmu::pte::no_execute;
            if (dice.percent(8)) entry = 0;
            return entry;
        };
        const auto guest_pde = [&] {
            if (dice.percent(20)) return (dice.below(2) * mib2) | PS | P | (dice.next() & (W | U | G));
            return (6 + dice.below(6)) << 12 | P | W | (dice.percent(80) ? U : 0);
        };
        for (u64 partition = 0; partition < 2; ++partition) {
            const u64 base = partition * partition_bytes;
            writers.emplace_back(SecondLevel{.format = format}, memory, pages);
            REQUIRE(writers.back().create() == Edit::ok);
            const u8 shift = partition == 0 ? 12 : 21;
            REQUIRE(writers.back().map_range(0, base, partition_bytes, {}, shift) == Edit::ok);
            const auto put = [&](u64 gpa, u64 entry) { memory.store<u64>(base + gpa, entry); };
            for (u64 i = 0; i < 512; ++i) {
                put(0x1000 + 8 * i, 0x3000 | P | W | U);
                put(0x2000 + 8 * i, 0x3000 | P | W | U);
                put(0x3000 + 8 * i, (i % 2 ? 0x4000u : 0x5000u) | P | W | U);
                put(0x4000 + 8 * i, guest_pde());
                put(0x5000 + 8 * i, guest_pde());
                for (u64 pt = 6; pt < 12; ++pt) put((pt << 12) + 8 * i, guest_pte());
            }
        }
        TranslationUnitConfig config;
        config.tlb = {.l1_instruction = {{.shape = {8, 4}, .pages_4k = true, .pages_2m = true}},
                      .l1_data = {{.shape = {16, 4}}, {.shape = {4, 4}, .pages_4k = false, .pages_2m = true}},
                      .l2 = {{.shape = {64, 4}, .pages_4k = true, .pages_2m = true}}};
        TranslationUnit unit(config, memory);
        std::vector<Vp> vps;
        for (u16 i = 0; i < 4; ++i)
            vps.push_back({static_cast<u16>(1 + i / 2), static_cast<u16>(1 + i), long_mode(0x1000)});
        Vp* vp = &vps[0];
        const auto enter = [&] {
            unit.set_context(vp->state, writers[vp->slat - 1u].second_level(), vp->slat, vp->vmid);
        };
        enter();
        const auto flush_everywhere = [&](auto&& make) {  // what a guest's shoot-down does: each of its processors
            for (const Vp& other : vps) {
                if (other.slat == vp->slat) unit.flush(make(mmu::TlbContext{other.slat, other.vmid, 0}));
            }
        };
        const auto gva = [&] {
            return dice.below(2) << 39 | dice.below(2) << 30 | dice.below(3) << 21 | dice.below(12) << 12 |
                   dice.below(4096);
        };
        u64 faults = 0, checked = 0, address = 0;
        for (int step = 0; step < effort(400'000); ++step) {
            const u64 what = dice.below(300);
            const u64 base = (vp->slat - 1u) * partition_bytes;
            if (what < 285) {
                const mmu::AccessKind kind{static_cast<Access>(dice.below(3)), dice.percent(40), dice.percent(5)};
                if (dice.percent(40)) address = gva();
                const TwoDimensionalWalk expected =
                    slat::translate(vp->state, writers[vp->slat - 1u].second_level(), memory, address, kind);
                const TranslationUnit::Result seen = unit.look_up(address, kind);
                const bool same = seen.ok() ? expected.ok() && seen.spa == expected.spa
                                            : expected.kind == unit.last_walk().kind &&
                                                  expected.guest.error_code == unit.last_walk().guest.error_code &&
                                                  expected.nested.exit_info1 == unit.last_walk().nested.exit_info1;
                if (!same) {
                    CAPTURE(step);
                    CAPTURE(static_cast<int>(seen.level));
                    FAIL("the caches changed a translation");
                }
                if (seen.ok() && kind.access == Access::write) {  // no write may pass without its dirty flags
                    const TwoDimensionalWalk after =
                        slat::translate(vp->state, writers[vp->slat - 1u].second_level(), memory, address,
                                        {Access::read, kind.user, kind.implicit_supervisor});
                    if (!after.guest.dirty || !after.nested.dirty) FAIL("a dirty flag is missing");
                }
                ++checked;
                faults += seen.ok() ? 0 : 1;
            } else if (what < 288) {  // one page
                const u64 index = dice.below(12);
                memory.store<u64>(base + ((6 + dice.below(6)) << 12) + 8 * index, guest_pte());
                // The page table may serve several addresses: flush each of them, in every process.
                for (u64 a = 0; a < 2 * 2 * 3; ++a) {
                    const u64 stale = (a & 1) << 39 | (a >> 1 & 1) << 30 | (a >> 2) << 21 | index << 12;
                    flush_everywhere(
                        [&](mmu::TlbContext c) { return mmu::flush::hypercall_page(c, true, false, stale); });
                }
            } else if (what < 289) {  // one directory entry
                memory.store<u64>(base + ((4 + dice.below(2)) << 12) + 8 * dice.below(3), guest_pde());
                flush_everywhere([&](mmu::TlbContext c) { return mmu::flush::hypercall_space(c, true, false); });
            } else if (what < 290) {  // accessed and dirty flags taken back, as an aging kernel does
                const u64 at = base + ((6 + dice.below(6)) << 12) + 8 * dice.below(12);
                memory.store<u64>(at, memory.load<u64>(at) & ~(A | D));
                flush_everywhere([&](mmu::TlbContext c) { return mmu::flush::processor(c, false); });
            } else if (what < 293) {  // another process: by PCID, with and without keeping its entries
                const u64 process = dice.below(2);
                vp->state.cr3 = (process + 1) << 12 | process;
                enter();
                const bool keep = dice.percent(70);
                if (const auto flush = mmu::flush::mov_cr3(unit.context(), true, keep)) unit.flush(*flush);
            } else if (what < 296) {  // another virtual processor
                vp = &vps[dice.below(4)];
                enter();
            } else if (what < 297) {  // the hypervisor changes rights or backing of a data page
                const u64 gpa = (0x10 + dice.below(0x3f0)) << 12;
                constexpr PageRights choices[] = {
                    {}, {}, {true, false, true}, {true, true, false}, {false, false, false}};
                const PageRights rights = choices[dice.below(5)];
                const u64 spa = base + ((0x10 + dice.below(0x3f0)) << 12);
                REQUIRE(writers[vp->slat - 1u].map(gpa, spa, 12, rights) == Edit::ok);
                unit.flush_second_level(vp->slat);
                enter();
            } else {  // what needs no flush at all
                const u64 bit = dice.below(4);
                if (bit == 0) vp->state.cr0 ^= mmu::cr0::wp;
                if (bit == 1) vp->state.cr4 ^= mmu::cr4::smap;
                if (bit == 2) vp->state.ac = !vp->state.ac;
                const mmu::PagingState before = vp->state;
                if (bit == 3) vp->state.cr4 ^= mmu::cr4::smep;
                if (bit == 2) unit.set_ac(vp->state.ac);
                enter();
                if (const auto flush = mmu::flush::mode_change(unit.context(), before, vp->state)) unit.flush(*flush);
            }
        }
        CHECK(faults > 10'000);
        CHECK(checked > effort(300'000u));
        CHECK(unit.counts().l1_hits > effort(10'000u));
        CHECK(unit.counts().l2_hits > 1'000);
        CHECK(unit.counts().nested_hits > 10'000);
    }
}

TEST_CASE("a restored unit goes on like the straight run") {
    const TranslationUnitConfig config{.leave_flags = true};
    Machine straight(Format::ept, 12, config);
    slow::Dice dice(5);
    for (int i = 0; i < 500; ++i) (void)straight.unit.look_up(dice.below(512) << 12, i % 3 ? load : fetch);
    TranslationUnit resumed(config, straight.memory);
    sim::restore_from_bytes(resumed, sim::save_to_bytes(straight.unit));
    for (int i = 0; i < 500; ++i) {
        const u64 gva = dice.below(512) << 12;
        const TranslationUnit::Result a = resumed.look_up(gva, load);
        const TranslationUnit::Result b = straight.unit.look_up(gva, load);
        CHECK(a.level == b.level);
        CHECK(a.spa == b.spa);
        if (a.level == LookUp::walk) {
            CHECK(std::ranges::equal(resumed.references(), straight.unit.references()));
        }
    }
    CHECK(resumed.counts() == straight.unit.counts());
    CHECK(sim::save_to_bytes(resumed) == sim::save_to_bytes(straight.unit));
}

}  // namespace translation_unit_test
