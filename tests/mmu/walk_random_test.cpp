// The page walk against the slow model on random, hostile table trees: every mode, every kind of access, verdicts,
// translations and the accessed and dirty flags left in memory.
#include <doctest/doctest.h>

#include <cstring>

#include "mmu/walk.h"
#include "tests/effort.h"
#include "tests/mmu/slow_paging.h"

namespace walk_random_test {

namespace {

using slow::Dice;
using slow::U;

constexpr U pages = 16;
constexpr U memory_bytes = pages * 4096;

// Plain memory: all ones outside, stores there vanish.
struct ShadowMemory final : slow::Memory {
    std::vector<std::uint8_t> bytes = std::vector<std::uint8_t>(memory_bytes);

    std::optional<U> read(U address, int count) override {
        U value = 0;
        for (int i = 0; i < count; ++i) {
            const U at = address + static_cast<U>(i);
            value |= U{at < memory_bytes ? bytes[at] : std::uint8_t{0xff}} << (8 * i);
        }
        return value;
    }
    std::optional<U> peek(U address, int count) override { return read(address, count); }
    bool may_set_flags(U) override { return true; }
    void set_flags(U address, int, U flags) override {
        if (address < memory_bytes) bytes[address] = static_cast<std::uint8_t>(bytes[address] | flags);
    }
};

U random_entry(Dice& dice, bool wide, int maxphyaddr) {
    U entry = dice.below(pages) << 12;
    if (dice.percent(2)) entry = dice.next() & 0x0000'0000'ffff'f000;  // mostly out of memory
    entry |= dice.next() & 0xf78;                                      // PWT PCD A D G AVL
    if (dice.percent(96)) entry |= 1;
    if (dice.percent(85)) entry |= 2;
    if (dice.percent(85)) entry |= 4;
    if (dice.percent(12)) {
        entry |= 0x80;
        if (dice.percent(70)) entry &= ~U{0x3fffe000};  // aligned for any size of page
        if (dice.percent(30)) entry |= dice.next() & 0xc000'0000;
        if (dice.percent(10)) entry |= U{1} << (13 + dice.below(9));
    }
    if (!wide) return entry & 0xffff'ffff;
    if (dice.percent(6)) entry |= U{1} << 63;
    if (dice.percent(6)) entry |= dice.next() & 0x7ff0'0000'0000'0000;
    if (dice.percent(2)) entry |= U{1} << (static_cast<U>(maxphyaddr) + dice.below(static_cast<U>(53 - maxphyaddr)));
    if (dice.percent(1)) entry = dice.next();
    return entry;
}

slow::Machine random_machine(Dice& dice, int mode) {
    slow::Machine m;
    constexpr int widths[] = {32, 34, 36, 40, 46, 48, 52};
    m.maxphyaddr = widths[dice.below(7)];
    m.cr0 = 1 | (mode != 0 ? 0x8000'0000 : 0) | (dice.percent(70) ? 0x1'0000 : 0);
    if (mode >= 2) m.cr4 |= 1 << 5;
    if (mode == 4) m.cr4 |= 1 << 12;
    if (mode >= 3) m.efer |= 0x500;
    if (dice.percent(70)) m.cr4 |= 1 << 4;
    if (dice.percent(50)) m.cr4 |= 1 << 7;
    if (dice.percent(40)) m.cr4 |= 1 << 20;
    if (dice.percent(40)) m.cr4 |= 1 << 21;
    if (dice.percent(75)) m.efer |= 1 << 11;
    m.ac = dice.percent(50);
    m.one_gib = dice.percent(70);
    m.amd = dice.percent(10);
    m.cr3 = dice.below(pages) << 12 | (dice.next() & 0x18);
    if (dice.percent(3)) m.cr3 = dice.next();
    for (U& pdpte : m.pdpte) {
        pdpte = dice.below(pages) << 12 | (dice.percent(90) ? 1 : 0);
        if (dice.percent(5)) pdpte |= dice.next() & 0xffff'f000;
    }
    return m;
}

mmu::PagingState state_of(const slow::Machine& m) {
    mmu::PagingState s;
    s.cr0 = m.cr0;
    s.cr3 = m.cr3;
    s.cr4 = m.cr4;
    s.efer = m.efer;
    for (unsigned i = 0; i < 4; ++i) s.pdpte[i] = m.pdpte[i];
    s.phys_bits = static_cast<std::uint8_t>(m.maxphyaddr);
    s.ac = m.ac;
    s.gib_pages = m.one_gib;
    s.table_global_reserved = m.amd;
    return s;
}

// Empty when the two agree.
std::string difference(const mmu::Walk& fast, const slow::Verdict& v) {
    using What = slow::Verdict::What;
    constexpr What kinds[] = {What::translated, What::page_fault, What::general_protection, What::refused};
    if (kinds[static_cast<int>(fast.kind)] != v.what) return "kind";
    if (fast.references != v.path.size()) return "references";
    if (v.what == What::page_fault && fast.error_code != v.error_code) return "error code";
    if (v.what != What::translated) return "";
    if (fast.gpa != v.address) return "address";
    if (fast.page_shift != v.page_bits) return "page size";
    if (fast.rights != mmu::Rights{v.write, v.user, v.fetch}) return "rights";
    if (fast.global != v.global) return "global";
    if (fast.dirty != v.dirty) return "dirty";
    if (fast.memory_type_index != v.pat_index) return "memory type";
    if (fast.updates != v.writes) return "updates";
    return "";
}

struct Tally {
    U translated = 0, not_present = 0, reserved = 0, rights = 0, general_protection = 0, updates = 0, large = 0;
};

void run_mode(int mode, int trees, int walks, Tally& tally) {
    for (int tree = 0; tree < trees; ++tree) {
        Dice dice(0x5eed'0000u + static_cast<U>(mode) * 1'000'003 + static_cast<U>(tree));
        slow::Machine machine = random_machine(dice, mode);
        const bool wide = mode >= 2;
        std::vector<std::byte> memory(memory_bytes);
        for (U at = 0; at < memory_bytes; at += wide ? 8 : 4) {
            const U entry = random_entry(dice, wide, machine.maxphyaddr);
            std::memcpy(&memory[at], &entry, wide ? 8 : 4);
        }
        ShadowMemory shadow;
        std::memcpy(shadow.bytes.data(), memory.data(), memory_bytes);
        mmu::PhysicalPort port(mmu::SystemMemory(memory.data(), memory_bytes));
        for (int i = 0; i < walks; ++i) {
            U gva = dice.next();
            if (dice.percent(95)) {
                const unsigned unused = mode == 4 ? 7 : 16;
                gva = static_cast<U>(static_cast<std::int64_t>(gva << unused) >> unused);
            }
            if (dice.percent(10)) machine.ac = !machine.ac;
            const slow::Access how{dice.percent(40), false, dice.percent(50), dice.percent(10)};
            slow::Access access = how;
            access.fetch = !how.write && dice.percent(40);
            const mmu::PagingState state = state_of(machine);
            const mmu::AccessKind kind{access.write   ? mmu::Access::write
                                       : access.fetch ? mmu::Access::execute
                                                      : mmu::Access::read,
                                       access.user, access.implicit};
            slow::Paging model(machine, shadow);
            const U variant = dice.below(8);
            model.keep_flags = variant == 0 || variant == 1;
            model.ignore_rights = variant == 1;
            const slow::Verdict expected = model.access(gva, access);
            mmu::Walk walk;
            if (variant == 0) {
                walk = mmu::translate(state, gva, kind, port);
            } else if (variant == 1) {
                walk = mmu::walk<mmu::WalkOptions{.leave_accessed_dirty = true, .ignore_rights = true}>(state, gva,
                                                                                                        kind, port);
            } else {
                walk = mmu::walk(state, gva, kind, port);
            }
            const std::string wrong = difference(walk, expected);
            if (!wrong.empty()) {
                CAPTURE(mode);
                CAPTURE(tree);
                CAPTURE(i);
                CAPTURE(gva);
                FAIL(wrong);
            }
            if (walk.ok()) {
                ++tally.translated;
                tally.updates += walk.updates;
                if (walk.page_shift > 12) ++tally.large;
            } else if (walk.kind == mmu::WalkKind::non_canonical) {
                ++tally.general_protection;
            } else if (!(walk.error_code & 1)) {
                ++tally.not_present;
            } else if (walk.error_code & 8) {
                ++tally.reserved;
            } else {
                ++tally.rights;
            }
        }
        if (std::memcmp(memory.data(), shadow.bytes.data(), memory_bytes) != 0) {
            CAPTURE(mode);
            CAPTURE(tree);
            FAIL("accessed and dirty flags in memory differ");
        }
    }
}

}  // namespace

TEST_CASE("a million random walks agree with the slow model") {
    struct Row {
        const char* name;
        int mode;  // 0 none, 1 32-bit, 2 PAE, 3 four levels, 4 five levels
        int trees;
    };
    for (const Row& row : {Row{"paging off", 0, 10}, Row{"32-bit", 1, 600}, Row{"PAE", 2, 600},
                           Row{"four levels", 3, 900}, Row{"five levels", 4, 500}}) {
        CAPTURE(row.name);
        Tally tally;
        run_mode(row.mode, effort(row.trees), 400, tally);
        if (row.mode == 0) continue;
        // The trees are of use only if every kind of ending is common.
        const U all = static_cast<U>(effort(row.trees)) * 400;
        CHECK(tally.translated > all / 10);
        CHECK(tally.large > all / 50);
        CHECK(tally.not_present > all / 100);
        CHECK(tally.rights > all / 50);
        CHECK(tally.reserved > all / 100);
        CHECK(tally.updates > all / 50);
        if (row.mode >= 3) CHECK(tally.general_protection > all / 50);
    }
}

}  // namespace walk_random_test
