// Second-level translation and the two-dimensional walk against the slow model on random, hostile tables.
#include <doctest/doctest.h>

#include <cstring>

#include "slat/two_dimensional.h"
#include "tests/effort.h"
#include "tests/slat/slow_second_level.h"

namespace second_level_random_test {

namespace {

using slow::Dice;
using slow::U;

// Nested tables fill the first 64 KiB; the guest's memory is the 192 KiB from 2 MiB on, so that large nested pages
// can map it with an aligned base. Guest physical addresses are the same modulo 1 GiB.
constexpr U nested_pages = 16;
constexpr U guest_pages = 48;
constexpr U nested_bytes = nested_pages * 4096;
constexpr U guest_base = 0x20'0000;
constexpr U memory_bytes = guest_base + guest_pages * 4096;

constexpr int level_of_page(U page) {
    return 1 + static_cast<int>(page % 4);
}

U aligned_base(Dice& dice, int level) {
    if (level == 1) return dice.percent(95) ? guest_base + (dice.below(guest_pages) << 12) : dice.next() & 0xffff'f000;
    if (dice.percent(10)) return dice.next() & 0xc000'0000;
    return level == 2 ? guest_base : 0;
}

U link(Dice& dice, int level) {
    U page = dice.below(4) * 4 + static_cast<U>(level - 2);  // a table one level down
    if (dice.percent(2)) page = dice.below(nested_pages);
    return page << 12;
}

U random_ept_entry(Dice& dice, int level, const slow::Second& second) {
    const bool leaf = level == 1 || (level < 4 && dice.percent(25));
    U entry = leaf ? aligned_base(dice, level) : link(dice, level);
    entry |= dice.percent(85) ? 7 : dice.below(8);
    entry |= dice.next() & 0x7ff0'0000'0000'0f00;  // A D and ignored bits
    if (leaf) {
        constexpr U types[] = {0, 1, 4, 5, 6, 6, 6};
        entry |= (dice.percent(97) ? types[dice.below(7)] : dice.below(8)) << 3;
        entry |= dice.next() & 0x40;
        if (level > 1) entry |= 0x80;
    } else if (dice.percent(1)) {
        entry |= dice.next() & 0xf8;
    }
    if (level > 1 && leaf && dice.percent(4)) entry |= U{1} << (12 + dice.below(18));
    if (dice.percent(1))
        entry |= U{1} << (static_cast<U>(second.width) + dice.below(static_cast<U>(53 - second.width)));
    if (dice.below(1000) < 3) entry = dice.next();
    return entry;
}

U random_npt_entry(Dice& dice, int level, const slow::Second& second) {
    const bool leaf = level == 1 || (level < 4 && dice.percent(25));
    U entry = leaf ? aligned_base(dice, level) : link(dice, level);
    entry |= dice.percent(97) ? 1 : 0;
    entry |= dice.percent(93) ? 2 : 0;
    entry |= dice.percent(96) ? 4 : 0;
    entry |= dice.next() & 0xe78;
    if (leaf) entry |= dice.next() & 0x100;
    if (!leaf && dice.percent(1)) entry |= 0x100;
    if (level == 1) entry |= dice.next() & 0x80;
    if (leaf && level > 1) entry |= 0x80 | (dice.percent(4) ? U{1} << (13 + dice.below(17)) : 0);
    if (level == 4 && dice.percent(1)) entry |= 0x80;
    entry |= dice.next() & 0x7ff0'0000'0000'0000;
    if (dice.percent(5)) entry |= U{1} << 63;
    if (dice.percent(1))
        entry |= U{1} << (static_cast<U>(second.width) + dice.below(static_cast<U>(53 - second.width)));
    if (dice.below(1000) < 3) entry = dice.next();
    return entry;
}

U random_guest_entry(Dice& dice, bool wide, int maxphyaddr) {
    U entry = guest_base + (dice.below(guest_pages) << 12);
    if (wide && dice.percent(20)) entry += dice.below(8) << 30;
    if (dice.percent(2)) entry = dice.next() & 0xffff'f000;
    entry |= dice.next() & 0xf78;
    if (dice.percent(97)) entry |= 1;
    if (dice.percent(88)) entry |= 2;
    if (dice.percent(88)) entry |= 4;
    if (dice.percent(12)) {
        entry |= 0x80;
        entry &= ~U{0x1f'e000};
        if (dice.percent(60)) entry &= ~U{0x3fff'e000};
        if (dice.percent(5)) entry |= U{1} << (13 + dice.below(9));
    }
    if (!wide) return entry & 0xffff'ffff;
    if (dice.percent(6)) entry |= U{1} << 63;
    if (dice.percent(4)) entry |= dice.next() & 0x7ff0'0000'0000'0000;
    if (dice.percent(1)) entry |= U{1} << (static_cast<U>(maxphyaddr) + dice.below(static_cast<U>(53 - maxphyaddr)));
    return entry;
}

slow::Second random_second(Dice& dice, bool ept) {
    slow::Second s;
    constexpr int widths[] = {36, 40, 46, 48, 52};
    s.ept = ept;
    s.width = widths[dice.below(5)];
    s.root = (dice.below(4) * 4 + 3) << 12;
    if (dice.percent(2)) s.root = dice.next();
    s.one_gib = dice.percent(80);
    s.nxe = dice.percent(85);
    s.flags = dice.percent(60);
    s.execute_only = dice.percent(60);
    s.advanced = dice.percent(60);
    return s;
}

slat::SecondLevel second_of(const slow::Second& s) {
    return {.format = s.ept ? slat::Format::ept : slat::Format::npt,
            .root = s.root,
            .phys_bits = static_cast<std::uint8_t>(s.width),
            .gib_pages = s.one_gib,
            .no_execute = s.nxe,
            .accessed_dirty = s.flags,
            .execute_only = s.execute_only,
            .advanced_exit_info = s.advanced};
}

mmu::Access access_of(const slow::Access& a) {
    return a.write ? mmu::Access::write : a.fetch ? mmu::Access::execute : mmu::Access::read;
}

slow::Access random_access(Dice& dice) {
    slow::Access a{dice.percent(40), false, dice.percent(50), dice.percent(10)};
    a.fetch = !a.write && dice.percent(40);
    return a;
}

// Two copies of the same memory: one for each model.
struct World {
    std::vector<std::byte> bytes = std::vector<std::byte>(memory_bytes);
    slow::Bytes shadow{std::vector<std::uint8_t>(memory_bytes)};
    mmu::SystemMemory memory{bytes.data(), memory_bytes};

    void fill_nested(Dice& dice, const slow::Second& second) {
        for (U at = 0; at < nested_bytes; at += 8) {
            const int level = level_of_page(at >> 12);
            put(at, second.ept ? random_ept_entry(dice, level, second) : random_npt_entry(dice, level, second), 8);
        }
    }
    void fill_guest(Dice& dice, bool wide, int maxphyaddr) {
        const U step = wide ? 8 : 4;
        for (U at = guest_base; at < memory_bytes; at += step) {
            put(at, random_guest_entry(dice, wide, maxphyaddr), step);
        }
    }
    void put(U at, U entry, U count) {
        std::memcpy(&bytes[at], &entry, count);
        std::memcpy(&shadow.bytes[at], &entry, count);
    }
    bool same() const {
        return std::memcmp(bytes.data(), shadow.bytes.data(), nested_bytes) == 0 &&
               std::memcmp(&bytes[guest_base], &shadow.bytes[guest_base], memory_bytes - guest_base) == 0;
    }
};

std::string difference(const slat::Translation& fast, const slow::Answer& a) {
    if (static_cast<int>(fast.outcome) != static_cast<int>(a.what)) return "outcome";
    if (fast.references != a.reads) return "references";
    if (fast.updates != a.writes) return "updates";
    if (fast.exit_info1 != a.info1) return "information 1";
    if (!fast.ok()) return fast.exit_info2 == fast.gpa ? "" : "information 2";
    if (fast.spa != a.address) return "address";
    if (fast.page_shift != a.page_bits) return "page size";
    if (fast.rights != slat::PageRights{a.read, a.write, a.fetch}) return "rights";
    if (fast.memory_type != a.type) return "memory type";
    if (fast.ignore_pat != a.ignore_pat) return "ignore PAT";
    if (fast.dirty != a.dirty) return "dirty";
    return "";
}

struct Tally {
    U ok = 0, violation = 0, misconfiguration = 0, page_fault = 0, large = 0, updates = 0, abandoned = 0, walks = 0;
};

void run_second_level(World& world, bool ept, int trees, int walks, Tally& tally) {
    for (int tree = 0; tree < trees; ++tree) {
        Dice dice(0xe97'0000u + static_cast<U>(tree) * 2 + (ept ? 1 : 0));
        const slow::Second second = random_second(dice, ept);
        const slat::SecondLevel fast_second = second_of(second);
        world.fill_nested(dice, second);
        for (int i = 0; i < walks; ++i) {
            const U gpa = dice.percent(98) ? dice.next() >> 16 : dice.next();
            slow::Question q;
            q.how = random_access(dice);
            q.why = static_cast<slow::Why>(dice.percent(60) ? 0 : dice.below(4));
            q.linear = dice.percent(90);
            q.user_page = dice.percent(50);
            q.writable_page = dice.percent(50);
            q.nx_page = dice.percent(50);
            const slat::Request request{.access = access_of(q.how),
                                        .purpose = static_cast<slat::Purpose>(q.why),
                                        .linear_valid = q.linear,
                                        .linear_user = q.user_page,
                                        .linear_writable = q.writable_page,
                                        .linear_no_execute = q.nx_page};
            slow::SecondLevel model(second, world.shadow);
            model.keep_flags = dice.percent(20);
            const slow::Answer expected = model.ask(gpa, q);
            const slat::Translation fast = model.keep_flags ? slat::look_up(fast_second, world.memory, gpa, request)
                                                            : slat::translate(fast_second, world.memory, gpa, request);
            const std::string wrong = difference(fast, expected);
            if (!wrong.empty()) {
                CAPTURE(tree);
                CAPTURE(i);
                CAPTURE(gpa);
                CAPTURE(fast.exit_info1);
                CAPTURE(expected.info1);
                FAIL(wrong);
            }
            ++tally.walks;
            tally.updates += fast.updates;
            if (fast.ok()) {
                ++tally.ok;
                if (fast.page_shift > 12) ++tally.large;
            } else if (fast.outcome == slat::Outcome::violation) {
                ++tally.violation;
            } else {
                ++tally.misconfiguration;
            }
        }
        if (!world.same()) {
            CAPTURE(tree);
            FAIL("accessed and dirty flags in memory differ");
        }
    }
}

slow::Machine random_machine(Dice& dice, int mode) {
    slow::Machine m;
    constexpr int widths[] = {36, 40, 46, 48, 52};
    m.maxphyaddr = widths[dice.below(5)];
    m.cr0 = 1 | (mode != 0 ? 0x8000'0000 : 0) | (dice.percent(70) ? 0x1'0000 : 0);
    m.cr4 = dice.next() & (1 << 4 | 1 << 7 | 1 << 20 | 1 << 21);
    if (mode >= 2) m.cr4 |= 1 << 5;
    if (mode == 4) m.cr4 |= 1 << 12;
    m.efer = (mode >= 3 ? 0x500 : 0) | (dice.percent(80) ? 1 << 11 : 0);
    m.ac = dice.percent(50);
    m.one_gib = dice.percent(80);
    m.amd = dice.percent(10);
    m.cr3 = guest_base + (dice.below(guest_pages) << 12);
    for (U& pdpte : m.pdpte) pdpte = (guest_base + (dice.below(guest_pages) << 12)) | (dice.percent(95) ? 1 : 0);
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

struct Expected {
    slow::Verdict verdict;
    slow::Answer last;
    int reads = 0, writes = 0;
    bool repeats = false, abandon = false;
};

Expected slow_walk(const slow::Machine& machine, const slow::Second& second, slow::Bytes& memory, U gva,
                   slow::Access how, bool keep_flags) {
    Expected e;
    slow::GuestMemory guest(second, memory);
    guest.level.keep_flags = keep_flags;
    guest.private_below = nested_bytes;
    slow::Paging paging(machine, guest);
    paging.keep_flags = keep_flags;
    e.verdict = paging.access(gva, how);
    e.reads = guest.reads + static_cast<int>(guest.touched.size());
    e.writes = guest.writes + e.verdict.writes;
    e.abandon = guest.wrote_below;
    for (std::size_t i = 0; i < guest.touched.size(); ++i) {
        for (std::size_t j = 0; j < i; ++j) e.repeats = e.repeats || guest.touched[i] == guest.touched[j];
    }
    e.last = guest.last;
    if (e.verdict.what != slow::Verdict::translated) return e;
    slow::Question q;
    q.how = how;
    q.user_page = e.verdict.user;
    q.writable_page = e.verdict.write;
    q.nx_page = !e.verdict.fetch;
    e.last = guest.level.ask(e.verdict.address, q);
    e.reads += e.last.reads;
    e.writes += e.last.writes;
    return e;
}

std::string difference(const slat::TwoDimensionalWalk& fast, const Expected& e) {
    using Kind = slat::TwoDimensionalKind;
    // A walk that passes one entry twice may read it again after setting a flag.
    if (e.repeats ? fast.references < e.reads : fast.references != e.reads) return "references";
    if (fast.updates != e.writes) return "updates";
    switch (e.verdict.what) {
        case slow::Verdict::page_fault:
            return fast.kind == Kind::page_fault && fast.guest.error_code == e.verdict.error_code ? "" : "page fault";
        case slow::Verdict::general_protection:
            return fast.kind == Kind::non_canonical ? "" : "canonical";
        case slow::Verdict::refused:
        case slow::Verdict::translated:
            break;
    }
    if (e.last.what != slow::Answer::translated) {
        const Kind kind = e.last.what == slow::Answer::violation ? Kind::violation : Kind::misconfiguration;
        if (fast.kind != kind) return "second-level fault";
        return fast.nested.exit_info1 == e.last.info1 ? "" : "information 1";
    }
    if (fast.kind != Kind::ok) return "kind";
    if (fast.guest.gpa != e.verdict.address) return "guest physical address";
    if (fast.spa != e.last.address) return "system physical address";
    if (fast.page_shift != std::min(e.verdict.page_bits, e.last.page_bits)) return "page size";
    return "";
}

void run_two_dimensional(World& world, bool ept, int mode, int trees, int walks, Tally& tally) {
    for (int tree = 0; tree < trees; ++tree) {
        Dice dice(0x2d0'0000u + static_cast<U>(tree) * 16 + static_cast<U>(mode) * 2 + (ept ? 1 : 0));
        const slow::Second second = random_second(dice, ept);
        const slat::SecondLevel fast_second = second_of(second);
        const slow::Machine machine = random_machine(dice, mode);
        const mmu::PagingState state = state_of(machine);
        world.fill_nested(dice, second);
        world.fill_guest(dice, mode >= 2, machine.maxphyaddr);
        bool abandoned = false;
        for (int i = 0; i < walks; ++i) {
            const unsigned unused = mode == 4 ? 7 : 16;
            const U raw = dice.next();
            const U gva = dice.percent(97) ? static_cast<U>(static_cast<std::int64_t>(raw << unused) >> unused) : raw;
            const slow::Access how = random_access(dice);
            const bool quiet = dice.percent(15);
            const mmu::AccessKind kind{access_of(how), how.user, how.implicit};
            const Expected expected = slow_walk(machine, second, world.shadow, gva, how, quiet);
            const slat::TwoDimensionalWalk fast = quiet ? slat::translate(state, fast_second, world.memory, gva, kind)
                                                        : slat::walk(state, fast_second, world.memory, gva, kind);
            if (expected.abandon) {  // the guest rewrote the nested tables under the walk: no order is prescribed
                abandoned = true;
                ++tally.abandoned;
                break;
            }
            const std::string wrong = difference(fast, expected);
            if (!wrong.empty()) {
                CAPTURE(mode);
                CAPTURE(tree);
                CAPTURE(i);
                CAPTURE(gva);
                FAIL(wrong);
            }
            ++tally.walks;
            tally.updates += fast.updates;
            switch (fast.kind) {
                case slat::TwoDimensionalKind::ok:
                    ++tally.ok;
                    break;
                case slat::TwoDimensionalKind::violation:
                    ++tally.violation;
                    break;
                case slat::TwoDimensionalKind::misconfiguration:
                    ++tally.misconfiguration;
                    break;
                default:
                    ++tally.page_fault;
                    break;
            }
        }
        if (!abandoned && !world.same()) {
            CAPTURE(mode);
            CAPTURE(tree);
            FAIL("accessed and dirty flags in memory differ");
        }
    }
}

}  // namespace

TEST_CASE("half a million random translations in each format agree with the slow model") {
    World world;
    for (const bool ept : {true, false}) {
        CAPTURE(ept);
        Tally tally;
        run_second_level(world, ept, effort(1000), 500, tally);
        CHECK(tally.walks == effort(500'000u));
        CHECK(tally.ok > effort(50'000u));
        CHECK(tally.large > effort(20'000u));
        CHECK(tally.violation > effort(20'000u));
        CHECK(tally.updates > effort(20'000u));
        if (ept) CHECK(tally.misconfiguration > effort(10'000u));
    }
}

TEST_CASE("half a million random two-dimensional walks agree with the slow model") {
    World world;
    for (const bool ept : {true, false}) {
        Tally tally;
        for (const auto& [mode, trees] : {std::pair{0, 20}, {1, 200}, {2, 200}, {3, 300}, {4, 150}}) {
            run_two_dimensional(world, ept, mode, effort(trees), 350, tally);
        }
        CAPTURE(ept);
        CAPTURE(tally.walks);
        CHECK(tally.walks > effort(250'000u));
        CHECK(tally.ok > effort(15'000u));
        CHECK(tally.page_fault > effort(20'000u));
        CHECK(tally.violation > effort(20'000u));
        if (ept) CHECK(tally.misconfiguration > effort(10'000u));
        CHECK(tally.updates > effort(50'000u));
        CHECK(tally.abandoned < 60);
    }
}

}  // namespace second_level_random_test
