// TLBs: flushes instruction by instruction, replacement, and random sequences against the set of translations that a
// processor may still use.
#include <doctest/doctest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "mmu/paging_structure_cache.h"
#include "mmu/tlb.h"
#include "sim/archive.h"
#include "tests/mmu/slow_paging.h"

namespace tlb_test {

namespace {

using namespace mmu;

constexpr u64 all_rights = TlbEntry::rights_mask;
constexpr AccessKind load{Access::read}, store{Access::write}, fetch{Access::execute};

const AccessMasks& masks() {
    static const AccessMasks m = AccessMasks::of(PagingState{});  // paging off: the TLB's own rights decide
    return m;
}

TlbConfig small() {
    return {.l1_instruction = {{.shape = {8, 2}, .pages_4k = true, .pages_2m = true}},
            .l1_data = {{.shape = {8, 2}}, {.shape = {4, 4}, .pages_4k = false, .pages_2m = true, .pages_1g = true}},
            .l2 = {{.shape = {32, 4}, .pages_4k = true, .pages_2m = true}}};
}

TlbConfig roomy() {
    return {.l1_instruction = {}, .l1_data = {{.shape = {32, 8}}}, .l2 = {{.shape = {64, 8}}}};
}

// Pages that differ from the first in one property each.
struct Filled {
    Tlb tlb{roomy()};
    static constexpr TlbContext here{1, 7, 3}, other_process{1, 7, 4}, other_vp{1, 8, 3}, host{0, 0, 3},
        other_slat{2, 7, 3};
    static constexpr u64 gva = 0x7000, far = 0x9000;

    struct Page {
        const char* name;
        TlbContext context;
        u64 gva;
        bool global;
    };
    static constexpr Page pages[] = {{"this page", here, gva, false},
                                     {"another page", here, far, false},
                                     {"global page", here, 0xb000, true},
                                     {"another process", other_process, gva, false},
                                     {"another processor", other_vp, gva, false},
                                     {"its global page", other_vp, 0xb000, true},
                                     {"the host", host, gva, false},
                                     {"another second level", other_slat, gva, false}};
    Filled() {
        u64 frame = 0x10'0000;
        for (const Page& page : pages) {
            tlb.insert(page.gva, 12, page.context, page.global, {frame += 0x1000, all_rights, 0, 0, 12}, Access::read);
        }
    }
    std::string left() {
        std::string out;
        for (const Page& page : pages) {
            out += tlb.find_in(page.context, page.gva, masks(), load).level == TlbLevel::miss ? '-' : 'x';
        }
        return out;
    }
};

}  // namespace

TEST_CASE("each flush removes what it must and leaves what it may") {
    struct Row {
        const char* why;
        std::optional<TlbFlush> flush;
        const char* left;  // of Filled::pages, in order
    };
    using F = Filled;
    PagingState on, off, no_pge;
    on.cr0 = cr0::pg;
    on.cr4 = cr4::pae | cr4::pge | cr4::pcide;
    no_pge = on;
    no_pge.cr4 &= ~cr4::pge;
    PagingState smep = on, no_pcide = on, wp = on;
    smep.cr4 |= cr4::smep;
    no_pcide.cr4 &= ~cr4::pcide;
    wp.cr0 |= cr0::wp;
    const Row rows[] = {
        {"nothing", std::nullopt, "xxxxxxxx"},
        {"everything", flush::everything(), "--------"},
        {"INVLPG", flush::invlpg(F::here, F::gva), "-xxxxxx-"},
        {"INVLPG, inside the page", flush::invlpg(F::here, F::gva + 0xfff), "-xxxxxx-"},
        {"INVLPG of the global page", flush::invlpg(F::here, 0xb123), "xx-xxxxx"},
        {"INVLPG of the global page, another process", flush::invlpg(F::other_process, 0xb123), "xx-xxxxx"},
        {"MOV CR3", flush::mov_cr3(F::here, true, false), "--xxxxx-"},
        {"MOV CR3 keeping the target's entries", flush::mov_cr3(F::here, true, true), "xxxxxxxx"},
        {"MOV CR3, bit 63 without PCIDE", flush::mov_cr3(F::here, false, true), "--xxxxx-"},
        {"CR4.PGE", flush::mode_change(F::here, on, no_pge), "----xxx-"},
        {"CR4.PGE set", flush::mode_change(F::here, no_pge, on), "----xxx-"},
        {"CR4.PCIDE cleared", flush::mode_change(F::here, on, no_pcide), "----xxx-"},
        {"CR4.PCIDE set", flush::mode_change(F::here, no_pcide, on), "xxxxxxxx"},
        {"CR4.SMEP set", flush::mode_change(F::here, on, smep), "---xxxx-"},
        {"CR4.SMEP cleared", flush::mode_change(F::here, smep, on), "xxxxxxxx"},
        {"CR0.PG", flush::mode_change(F::here, on, off), "----xxx-"},
        {"CR0.WP", flush::mode_change(F::here, on, wp), "xxxxxxxx"},
        {"INVPCID 0", flush::invpcid(0, F::other_process, 3, F::gva), "-xxxxxx-"},
        {"INVPCID 0 spares global pages", flush::invpcid(0, F::here, 3, 0xb000), "xxxxxxxx"},
        {"INVPCID 1", flush::invpcid(1, F::here, 4, 0), "xxx-xxxx"},
        {"INVPCID 2", flush::invpcid(2, F::here, 0, 0), "----xxx-"},
        {"INVPCID 3", flush::invpcid(3, F::here, 0, 0), "--x-xxx-"},
        {"INVVPID 0", flush::invvpid(0, 7, F::gva), "-xx-xxx-"},
        {"INVVPID 1", flush::invvpid(1, 8, 0), "xxxx--xx"},
        {"INVVPID 2 spares the host", flush::invvpid(2, 0, 0), "------x-"},
        {"INVVPID 3 spares global pages", flush::invvpid(3, 8, 0), "xxxx-xxx"},
        {"INVEPT 1", flush::invept(1, 1), "------xx"},
        {"INVEPT 2", flush::invept(2, 0), "--------"},
        {"TLB_CONTROL 0", flush::tlb_control(0, 7), "xxxxxxxx"},
        {"TLB_CONTROL 1", flush::tlb_control(1, 7), "--------"},
        {"TLB_CONTROL 3", flush::tlb_control(3, 7), "----xxx-"},
        {"TLB_CONTROL 7", flush::tlb_control(7, 7), "--x-xxx-"},
        {"hypercall: one space", flush::hypercall_space(F::here, false, true), "--xxxxx-"},
        {"hypercall: one space and global pages", flush::hypercall_space(F::here, false, false), "---xxxx-"},
        {"hypercall: all spaces", flush::hypercall_space(F::other_vp, true, false), "xxxx--xx"},
        {"hypercall: list", flush::hypercall_page(F::here, false, true, F::far), "x-xxxxxx"},
        {"hypercall: list, all spaces, global page", flush::hypercall_page(F::here, true, false, 0xb000), "xx-xxxxx"},
    };
    for (const Row& row : rows) {
        CAPTURE(row.why);
        Filled filled;
        if (row.flush) filled.tlb.flush(*row.flush);
        CHECK(filled.left() == row.left);
    }
    CHECK_FALSE(flush::invpcid(4, Filled::here, 0, 0).has_value());
    CHECK_FALSE(flush::invvpid(4, 1, 0).has_value());
    CHECK_FALSE(flush::invvpid(1, 0, 0).has_value());
    CHECK_FALSE(flush::invept(0, 0).has_value());
    CHECK_FALSE(flush::invept(3, 0).has_value());
}

TEST_CASE("a page that is held in parts goes as a whole") {
    Tlb tlb(small());
    const TlbContext c{1, 1, 0};
    // A 4 MiB page in two halves, a 2 MiB page over 4 KiB of nested pages.
    for (const u64 half : {u64{0x80'0000}, u64{0xa0'0000}}) {
        tlb.insert(half, 21, c, false, {half, all_rights, 0, 0, 22}, Access::read);
    }
    tlb.insert(0x40'1000, 12, c, false, {0x1000, all_rights, 0, 0, 21}, Access::read);
    tlb.insert(0x40'2000, 12, c, true, {0x2000, all_rights, 0, 0, 21}, Access::read);
    tlb.insert(0x60'0000, 12, c, true, {0x3000, all_rights, 0, 0, 21}, Access::read);
    tlb.flush(flush::invlpg(c, 0x80'0000));
    CHECK(tlb.find_in(c, 0x80'0000, masks(), load).level == TlbLevel::miss);
    CHECK(tlb.find_in(c, 0xa0'0000, masks(), load).level == TlbLevel::miss);
    CHECK(tlb.find_in(c, 0x40'1000, masks(), load).level == TlbLevel::l1);
    tlb.flush(flush::invlpg(c, 0x5f'ffff));
    CHECK(tlb.find_in(c, 0x40'1000, masks(), load).level == TlbLevel::miss);
    CHECK(tlb.find_in(c, 0x40'2000, masks(), load).level == TlbLevel::miss);
    CHECK(tlb.find_in(c, 0x60'0000, masks(), load).level == TlbLevel::l1);
}

TEST_CASE("pages larger than an array holds go in by parts") {
    Tlb tlb(small());
    const TlbContext c{};
    tlb.insert(0x1'2345'6000, 30, c, false, {0x4000'0000, all_rights, 5, 14, 30}, Access::execute);
    const Tlb::Result hit = tlb.find_in(c, 0x1'2345'6789, masks(), fetch);
    CHECK(hit.level == TlbLevel::l1);
    CHECK(hit.shift == 21);  // the instruction TLB holds 2 MiB at most
    CHECK(hit.entry.frame() == 0x4000'0000 + 0x2340'0000);
    CHECK(hit.entry.guest_type() == 5);
    CHECK(hit.entry.host_type() == 14);
    CHECK(hit.entry.guest_shift() == 30);
    CHECK(tlb.find_in(c, 0x1'2365'6789, masks(), fetch).level == TlbLevel::miss);
    // Data finds it in the second level, and then in its first.
    CHECK(tlb.find_in(c, 0x1'2345'6789, masks(), load).level == TlbLevel::l2);
    CHECK(tlb.find_in(c, 0x1'2345'6789, masks(), load).level == TlbLevel::l1);
    tlb.insert(0x8000'0000, 30, c, false, {0xc000'0000, all_rights, 0, 0, 30}, Access::read);
    CHECK(tlb.find_in(c, 0xbfff'ffff, masks(), load).shift == 30);
}

TEST_CASE("a hit needs the rights of the access, as the state of the moment has them") {
    using E = TlbEntry;
    struct Row {
        const char* why;
        u64 rights;
        u64 cr0, cr4;
        bool ac;
        AccessKind kind;
        bool hit;
    };
    constexpr u64 full = E::readable | E::writable | E::user | E::executable | E::write_ready;
    constexpr AccessKind user_read{Access::read, true}, user_write{Access::write, true};
    const Row rows[] = {
        {"user write", full, 0, 0, false, user_write, true},
        {"write before the dirty flag is set", full & ~E::write_ready, 0, 0, false, user_write, false},
        {"write by a supervisor, WP clear", full & ~E::writable, 0, 0, false, store, true},
        {"write by a supervisor, WP set", full & ~E::writable, cr0::wp, 0, false, store, false},
        {"write by a user, WP clear", full & ~E::writable, 0, 0, false, user_write, false},
        {"user read of a supervisor page", full & ~E::user, 0, 0, false, user_read, false},
        {"SMAP", full, 0, cr4::smap, false, load, false},
        {"SMAP with AC", full, 0, cr4::smap, true, load, true},
        {"SMAP, implicit, with AC", full, 0, cr4::smap, true, {Access::read, false, true}, false},
        {"SMEP", full, 0, cr4::smep, false, fetch, false},
        {"fetch", full, 0, 0, false, fetch, true},
        {"fetch, no execute", full & ~E::executable, 0, 0, false, fetch, false},
        {"read of what the second level lets only be fetched", full & ~E::readable, 0, 0, false, load, false},
        {"fetch of the same", full & ~E::readable, 0, 0, false, fetch, true},
    };
    for (const Row& row : rows) {
        CAPTURE(row.why);
        PagingState state;
        state.cr0 = cr0::pg | row.cr0;
        state.cr4 = cr4::pae | row.cr4;
        state.ac = row.ac;
        Tlb tlb(small());
        tlb.insert(0x1000, 12, {}, false, {0x5000, row.rights, 0, 0, 12}, row.kind.access);
        CHECK((tlb.find_in({}, 0x1000, AccessMasks::of(state), row.kind).level == TlbLevel::l1) == row.hit);
    }
}

TEST_CASE("replacement is least recently used within the set") {
    Tlb tlb({.l1_data = {{.shape = {8, 2}}}});  // four sets
    const auto insert = [&](u64 page) {
        tlb.insert(page << 12, 12, {}, false, {page << 12, all_rights, 0, 0, 12}, Access::read);
    };
    const auto hit = [&](u64 page) { return tlb.find_in({}, page << 12, masks(), load).level == TlbLevel::l1; };
    insert(0);
    insert(4);
    insert(1);  // another set
    CHECK(hit(0));
    insert(8);  // displaces 4
    CHECK(hit(0));
    CHECK_FALSE(hit(4));
    CHECK(hit(8));
    CHECK(hit(1));
    insert(0);  // a second fill of the same page displaces nothing
    CHECK(hit(8));
    tlb.flush(flush::invlpg({}, 8 << 12));
    insert(12);  // takes the empty way
    CHECK(hit(0));
    CHECK(hit(12));
}

TEST_CASE("a shape without a power of two of sets is a user's mistake") {
    CHECK_THROWS_AS(Tlb({.l1_data = {{.shape = {12, 4}}}}), sim::UserError);
    CHECK_THROWS_AS(Tlb({.l1_data = {{.shape = {10, 4}}}}), sim::UserError);
    CHECK_THROWS_AS(Tlb({.l1_data = {{.shape = {8, 0}}}}), sim::UserError);
    Tlb empty({});
    empty.insert(0, 12, {}, false, {}, Access::read);
    CHECK(empty.find_in({}, 0, masks(), load).level == TlbLevel::miss);
}

TEST_CASE("random fills, flushes and look-ups: no hit returns what a flush had to remove") {
    // The slow model: every translation ever put in and not flushed since, as the clauses say it, with no notion of
    // capacity. A TLB may forget more; it may not remember more.
    struct Known {
        TlbContext context;
        bool global;
        u64 first, last;            // of what the entry may answer
        u64 page_first, page_last;  // of the guest's page
        u64 offset;                 // frame - first
        u64 serial;
    };
    Tlb tlb(small());
    slow::Dice dice(0x71b);
    std::vector<Known> known;
    const auto context = [&] {
        const u16 vmid = static_cast<u16>(dice.below(3));
        return TlbContext{static_cast<u16>(vmid == 0 ? 0 : dice.below(2) + 1), vmid, static_cast<u16>(dice.below(3))};
    };
    const auto address = [&] {
        return dice.below(4) << 30 | dice.below(3) << 21 | dice.below(6) << 12 | dice.below(4096);
    };
    u64 hits = 0, misses = 0;
    for (u64 step = 0; step < 300'000; ++step) {
        const TlbContext c = context();
        const u64 gva = address();
        const u64 what = dice.below(100);
        if (what < 35) {
            constexpr u8 guest_shifts[] = {12, 12, 12, 21, 22, 30};
            constexpr u8 shifts[] = {12, 21, 30};
            const u8 guest = guest_shifts[dice.below(6)];
            u8 shift = shifts[dice.below(3)];
            if (shift > guest) shift = 12;
            const u64 offset = step << 30;  // frames tell the fills apart
            const u64 first = gva >> shift << shift;
            const bool global = dice.percent(30);
            known.push_back({c, global, first, first + (u64{1} << shift) - 1, gva >> guest << guest,
                             (gva >> guest << guest) + (u64{1} << guest) - 1, offset, step});
            tlb.insert(gva, shift, c, global, {first + offset, all_rights, 0, 0, guest},
                       dice.percent(30) ? Access::execute : Access::read);
            if (known.size() > 1500) known.erase(known.begin(), known.begin() + 500);
        } else if (what < 90) {
            const AccessKind kind = dice.percent(30) ? fetch : load;
            const Tlb::Result hit = tlb.find_in(c, gva, masks(), kind);
            if (hit.level == TlbLevel::miss) {
                ++misses;
                continue;
            }
            ++hits;
            const u64 spa = hit.entry.frame() + (gva & ((u64{1} << hit.shift) - 1));
            const bool permitted = std::any_of(known.begin(), known.end(), [&](const Known& k) {
                return k.context.slat == c.slat && k.context.vmid == c.vmid && (k.global || k.context.pcid == c.pcid) &&
                       gva >= k.first && gva <= k.last && ((gva + k.offset) & pte::address) == (spa & pte::address);
            });
            if (!permitted) {
                CAPTURE(step);
                FAIL("a hit that no permitted translation explains");
            }
        } else {
            const auto in_page = [&](const Known& k) { return gva >= k.page_first && gva <= k.page_last; };
            const auto mine = [&](const Known& k) { return k.context.vmid == c.vmid && k.context.slat == c.slat; };
            const auto process = [&](const Known& k) { return mine(k) && k.context.pcid == c.pcid; };
            std::optional<TlbFlush> flush;
            std::function<bool(const Known&)> gone;
            switch (dice.below(12)) {
                case 0:
                case 1:
                case 2:
                    flush = flush::invlpg(c, gva);
                    gone = [&](const Known& k) { return in_page(k) && (process(k) || (mine(k) && k.global)); };
                    break;
                case 3:
                    flush = flush::mov_cr3(c, true, false);
                    gone = [&](const Known& k) { return process(k) && !k.global; };
                    break;
                case 4:
                    flush = flush::invpcid(0, c.with_pcid(0), c.pcid, gva);
                    gone = [&](const Known& k) { return in_page(k) && process(k) && !k.global; };
                    break;
                case 5:
                    flush = flush::invpcid(3, c, 0, 0);
                    gone = [&](const Known& k) { return mine(k) && !k.global; };
                    break;
                case 6:
                    flush = flush::invpcid(2, c, 0, 0);
                    gone = mine;
                    break;
                case 7:
                    if (c.vmid == 0) continue;
                    flush = flush::invvpid(0, c.vmid, gva);
                    gone = [&](const Known& k) { return k.context.vmid == c.vmid && in_page(k); };
                    break;
                case 8:
                    if (c.vmid == 0) continue;
                    flush = flush::invvpid(3, c.vmid, 0);
                    gone = [&](const Known& k) { return k.context.vmid == c.vmid && !k.global; };
                    break;
                case 9:
                    flush = flush::invept(1, c.slat);
                    gone = [&](const Known& k) { return k.context.slat == c.slat; };
                    break;
                case 10:
                    flush = flush::hypercall_page(c, true, false, gva);
                    gone = [&](const Known& k) { return mine(k) && in_page(k); };
                    break;
                default:
                    flush = flush::hypercall_space(c, false, false);
                    gone = [&](const Known& k) { return mine(k) && (k.global || k.context.pcid == c.pcid); };
                    break;
            }
            tlb.flush(*flush);
            std::erase_if(known, gone);
        }
        if (step % 1000 != 0) continue;
        tlb.for_each_array([&](const TlbArray& array) {
            std::map<u64, u32> in_set;
            u32 held = 0;
            for (std::size_t i = 0; i < array.array().slots().size(); ++i) {
                const auto& slot = array.array().slots()[i];
                if (slot.key == ~u64{0}) continue;
                ++held;
                CHECK(++in_set[slot.key] <= array.array().ways());
                const u64 sets = array.array().capacity() / array.array().ways();
                CHECK(i / array.array().ways() == (slot.key & (sets - 1)));
            }
            CHECK(held == array.array().size());
            CHECK(held <= array.array().capacity());
        });
    }
    CHECK(hits > 10'000);
    CHECK(misses > 10'000);
}

TEST_CASE("a restored TLB goes on like the saved one") {
    Filled saved;
    Tlb restored(roomy());
    sim::restore_from_bytes(restored, sim::save_to_bytes(saved.tlb));
    Filled straight;
    std::swap(straight.tlb, restored);
    CHECK(straight.left() == saved.left());
    CHECK(sim::save_to_bytes(straight.tlb) == sim::save_to_bytes(saved.tlb));
    Tlb other(TlbConfig::sandy_bridge());
    CHECK_THROWS_AS(sim::restore_from_bytes(other, sim::save_to_bytes(saved.tlb)), sim::UserError);
}

TEST_CASE("paging-structure cache: the lowest table that is known, by process") {
    PagingStructureCache cache({});
    const TlbContext c{1, 1, 5};
    const u64 gva = 0x7f12'3456'7000;
    CHECK(cache.find(gva, c.tag(), 4, 9).level == 0);
    cache.insert(gva, c.tag(), 4, 9, {0x3000, 0x13000, {}});
    cache.insert(gva, c.tag(), 2, 9, {0x1000, 0x11000, {true, false, true}});
    CHECK(cache.find(gva, c.tag(), 4, 9).level == 2);
    CHECK(cache.find(gva, c.tag(), 4, 9).table == PagingStructureCache::Table{0x1000, 0x11000, {true, false, true}});
    CHECK(cache.find(gva + 0x20'0000, c.tag(), 4, 9).level == 4);
    CHECK(cache.find(gva + (u64{1} << 39), c.tag(), 4, 9).level == 0);
    CHECK(cache.find(gva, c.with_pcid(6).tag(), 4, 9).level == 0);
    cache.flush(flush::invlpg(c.with_pcid(6), gva));
    CHECK(cache.find(gva, c.tag(), 4, 9).level == 2);
    cache.flush(flush::invlpg(c, 0x1234'5000));  // any address: the whole process (4.10.4.1)
    CHECK(cache.find(gva, c.tag(), 4, 9).level == 0);
}

}  // namespace tlb_test
