// Guest physical address spaces: mappings in both table formats, overlays, and the wall between two partitions.
#include "hypervisor/gpa_space.h"

#include <doctest/doctest.h>

#include <map>
#include <string>
#include <vector>

#include "sim/archive.h"
#include "sim/random.h"
#include "tests/effort.h"

namespace gpa_space_test {

using hypervisor::GpaEdit;
using hypervisor::GpaMapping;
using hypervisor::GpaSpace;
using hypervisor::MemoryPool;
using hypervisor::PageOwnership;
using hypervisor::PageTotals;
using hypervisor::PageUse;
using mmu::u64;
using mmu::u8;

namespace {

constexpr slat::PageRights rwx{true, true, true};
constexpr slat::PageRights rw{true, true, false};
constexpr slat::PageRights ro{true, false, false};
constexpr slat::PageRights rx{true, false, true};

struct Memory {
    explicit Memory(u64 pages) : bytes(pages * 4096), view(bytes.data(), bytes.size()) {}
    std::vector<std::byte> bytes;
    mmu::SystemMemory view;
};

struct Flushes final : hypervisor::MappingListener {
    void mapping_changed(u64 gpa, u64 length) override { seen.emplace_back(gpa, length); }
    std::vector<std::pair<u64, u64>> seen;
};

// One partition's space with a pool of `pool_pages`, the first pages of memory.
struct Space {
    Space(Memory& memory, PageOwnership& ownership, slat::Format format, hypervisor::PartitionId id, u64 pool_first,
          u64 pool_pages)
        : pool(id, ownership, memory.view), space(id, {.format = format}, memory.view, pool, ownership, flushes) {
        for (u64 page = pool_first; page < pool_first + pool_pages; ++page) REQUIRE(pool.deposit(page));
        REQUIRE(space.create() == GpaEdit::ok);
    }
    Flushes flushes;
    MemoryPool pool;
    GpaSpace space;
};

constexpr slat::Format formats[] = {slat::Format::npt, slat::Format::ept};

}  // namespace

TEST_CASE("gpa space: translation of each mapping size") {
    struct Row {
        const char* reason;
        u64 gpa_page, spa_page;
        u8 shift;
        GpaEdit expected;
        u64 probe;  // a guest physical address, and what it becomes
        std::optional<u64> spa;
    };
    // 4096 pages of memory, 16 MiB.
    const Row rows[] = {
        {"4 KiB", 5, 1000, 12, GpaEdit::ok, 0x5abc, 1000 * 4096 + 0xabc},
        {"the page beside it is not mapped", 5, 1000, 12, GpaEdit::ok, 0x6000, std::nullopt},
        {"2 MiB", 1024, 512, 21, GpaEdit::ok, 0x4'23'456, 512 * 4096 + 0x23456},
        {"2 MiB at a misaligned guest page", 1025, 512, 21, GpaEdit::invalid, 0x401000, std::nullopt},
        {"2 MiB from a misaligned host page", 1024, 513, 21, GpaEdit::invalid, 0x400000, std::nullopt},
        {"1 GiB is more than there is", 0, 0, 30, GpaEdit::not_owned, 0, std::nullopt},
        {"the last page of memory", 1, 4095, 12, GpaEdit::ok, 0x1fff, 4096 * 4096 - 1},
        {"one page past memory", 1, 4096, 12, GpaEdit::not_owned, 0x1000, std::nullopt},
        {"the last page number", 1, ~0ull, 12, GpaEdit::not_owned, 0x1000, std::nullopt},
        {"2 MiB that wrap around", 512, ~0ull - 511, 21, GpaEdit::not_owned, 0x200000, std::nullopt},
        {"the last guest page of 48 bits", (1ull << 36) - 1, 1000, 12, GpaEdit::ok, 0xffff'ffff'f123,
         1000 * 4096 + 0x123},
        {"one page past 48 bits", 1ull << 36, 1000, 12, GpaEdit::invalid, 1ull << 48, std::nullopt},
        {"no such page size", 0, 0, 22, GpaEdit::invalid, 0, std::nullopt},
        {"a page of the pool itself", 1, 3, 12, GpaEdit::not_owned, 0x1000, std::nullopt},
    };
    for (const slat::Format format : formats) {
        for (const Row& row : rows) {
            CAPTURE(std::string{row.reason});
            Memory memory{4096};
            PageOwnership ownership{4096};
            Space partition{memory, ownership, format, 2, 0, 64};
            CHECK(partition.space.map(row.gpa_page, row.spa_page, row.shift, rwx) == row.expected);
            const auto found = partition.space.translate(row.probe);
            CHECK(found.has_value() == row.spa.has_value());
            if (found && row.spa) CHECK(found->spa == *row.spa);
            CHECK(partition.flushes.seen.size() == (row.expected == GpaEdit::ok ? 1 : 0));
            CHECK(ownership.consistent());
            partition.space.destroy();
            CHECK(ownership.totals(2) == PageTotals{.deposited = 64});
        }
    }
}

TEST_CASE("gpa space: contiguous pages become one large page in any order of calls, and split when a part changes") {
    for (const slat::Format format : formats) {
        for (const bool upward : {true, false}) {
            Memory memory{2048};
            PageOwnership ownership{2048};
            Space partition{memory, ownership, format, 2, 0, 8};
            GpaSpace& space = partition.space;
            for (u64 i = 0; i < 512; ++i) {
                const u64 page = upward ? i : 511 - i;
                CHECK(space.translate(page << 12) == std::nullopt);
                REQUIRE(space.map(page, 512 + page, 12, rwx) == GpaEdit::ok);
                CHECK(space.translate(page << 12)->page_shift == (i < 511 ? 12 : 21));
            }
            CHECK(space.table_pages() == 3);  // the 4 KiB table went back to the pool
            CHECK(partition.pool.available() == 5);
            REQUIRE(space.protect(7, 1, ro) == GpaEdit::ok);
            CHECK(space.translate(0x7000) == GpaMapping{(512 + 7) << 12, 12, ro, false});
            CHECK(space.translate(0x8000) == GpaMapping{(512 + 8) << 12, 12, rwx, false});
            REQUIRE(space.map(7, 519, 12, rwx) == GpaEdit::ok);  // alike again
            CHECK(space.translate(0x7000)->page_shift == 21);
            REQUIRE(space.unmap(0, 1) == GpaEdit::ok);
            CHECK(space.translate(0) == std::nullopt);
            CHECK(space.mapped_pages() == 511);
            CHECK(ownership.use_of(512) == PageUse::root);
            REQUIRE(space.unmap(0, 512) == GpaEdit::ok);
            CHECK(space.mapped_pages() == 0);
            CHECK(space.table_pages() == 1);
        }
    }
}

TEST_CASE("gpa space: without a page for a table nothing changes") {
    for (const slat::Format format : formats) {
        Memory memory{2048};
        PageOwnership ownership{2048};
        Space partition{memory, ownership, format, 2, 0, 3};
        GpaSpace& space = partition.space;
        CHECK(space.map(0, 512, 12, rwx) == GpaEdit::insufficient_memory);  // needs three more tables, two are left
        CHECK(ownership.use_of(512) == PageUse::root);
        CHECK(partition.pool.available() == 2);
        REQUIRE(space.map(0, 512, 21, rwx) == GpaEdit::ok);
        CHECK(partition.pool.available() == 0);
        CHECK(space.unmap(5, 1) == GpaEdit::insufficient_memory);
        CHECK(space.protect(5, 1, ro) == GpaEdit::insufficient_memory);
        CHECK(space.translate(0x5000) == GpaMapping{(512 + 5) << 12, 21, rwx, false});
        CHECK(space.mapped_pages() == 512);
        REQUIRE(partition.pool.deposit(3));
        CHECK(space.unmap(5, 1) == GpaEdit::ok);
        CHECK(space.translate(0x5000) == std::nullopt);
        CHECK(space.mapped_pages() == 511);
    }
}

TEST_CASE("gpa space: a page of memory is in one partition at most") {
    Memory memory{64};
    PageOwnership ownership{64};
    Space first{memory, ownership, slat::Format::ept, 2, 0, 8};
    Space second{memory, ownership, slat::Format::npt, 3, 8, 8};
    REQUIRE(first.space.map(0, 32, 12, rwx) == GpaEdit::ok);
    CHECK(second.space.map(0, 32, 12, ro) == GpaEdit::not_owned);
    CHECK(second.space.map(0, 0, 12, ro) == GpaEdit::not_owned);  // a table of the other
    CHECK_FALSE(second.pool.deposit(32));
    CHECK_FALSE(second.pool.deposit(0));
    // The same page twice in one partition is one page; it is free when both mappings are gone.
    REQUIRE(first.space.map(9, 32, 12, ro) == GpaEdit::ok);
    CHECK(first.space.mapped_pages() == 1);
    REQUIRE(first.space.unmap(0, 1) == GpaEdit::ok);
    CHECK(second.space.map(0, 32, 12, ro) == GpaEdit::not_owned);
    REQUIRE(first.space.unmap(9, 1) == GpaEdit::ok);
    CHECK(second.space.map(0, 32, 12, ro) == GpaEdit::ok);
    CHECK(ownership.consistent());
}

TEST_CASE("gpa space: access holds to the rights, crosses pages whole or not at all, and marks pages dirty") {
    for (const slat::Format format : formats) {
        Memory memory{64};
        PageOwnership ownership{64};
        Space partition{memory, ownership, format, 2, 0, 8};
        GpaSpace& space = partition.space;
        REQUIRE(space.map(1, 40, 12, rw) == GpaEdit::ok);
        REQUIRE(space.map(2, 30, 12, rw) == GpaEdit::ok);
        REQUIRE(space.map(3, 20, 12, ro) == GpaEdit::ok);
        struct Row {
            const char* reason;
            u64 gpa;
            bool readable, writable;
        };
        const Row rows[] = {
            {"within a page", 0x1100, true, true},
            {"across two pages", 0x1ffc, true, true},
            {"into a read-only page", 0x2ffc, true, false},
            {"read-only", 0x3100, true, false},
            {"from a hole", 0x0ffc, false, false},
            {"into a hole", 0x3ffc, false, false},
            {"far away", 1ull << 47, false, false},
            {"past 48 bits", 1ull << 48, false, false},
            {"up to the end of 64 bits", ~0ull - 7, false, false},
            {"around the end of 64 bits", ~0ull - 3, false, false},
        };
        for (const Row& row : rows) {
            CAPTURE(std::string{row.reason});
            const std::vector<std::byte> before = memory.bytes;
            std::byte buffer[8] = {};
            CHECK(space.read(row.gpa, buffer) == row.readable);
            const std::vector<std::byte> pattern(8, std::byte{0x5a});
            CHECK(space.write(row.gpa, pattern) == row.writable);
            std::size_t changed = 0;
            for (std::size_t i = 8 * 4096; i < before.size(); ++i) changed += before[i] != memory.bytes[i];
            CHECK(changed == (row.writable ? 8 : 0));
            if (row.writable) {
                CHECK(space.read(row.gpa, buffer));
                CHECK(std::vector<std::byte>(buffer, buffer + 8) == pattern);
                memory.bytes = before;
            }
        }
        CHECK(space.write(0x1ffc, std::vector<std::byte>(8, std::byte{0x77})));
        CHECK(memory.bytes[40 * 4096 + 0xffc] == std::byte{0x77});
        CHECK(memory.bytes[30 * 4096 + 3] == std::byte{0x77});
    }
}

TEST_CASE("gpa space: an overlay hides the page beneath and gives it back") {
    for (const slat::Format format : formats) {
        Memory memory{2048};
        PageOwnership ownership{2048};
        Space partition{memory, ownership, format, 2, 0, 12};
        GpaSpace& space = partition.space;
        REQUIRE(space.map(0, 512, 21, rwx) == GpaEdit::ok);
        const u64 code = *space.allocate_overlay_page();
        const u64 clock = *space.allocate_overlay_page();
        REQUIRE(space.place_overlay(5, code, rx) == GpaEdit::ok);
        CHECK(space.translate(0x5010) == GpaMapping{(code << 12) + 0x10, 12, rx, true});
        CHECK(space.translate(0x6000) == GpaMapping{(512 + 6) << 12, 12, rwx, false});
        CHECK_FALSE(space.write(0x5000, std::vector<std::byte>(1)));
        REQUIRE(space.place_overlay(5, clock, ro) == GpaEdit::ok);  // the last placed is seen
        CHECK(space.translate(0x5000)->spa == clock << 12);
        // The root changes what is beneath: unseen for now.
        REQUIRE(space.map(5, 1500, 12, rw) == GpaEdit::ok);
        CHECK(space.translate(0x5000)->spa == clock << 12);
        CHECK(ownership.use_of(512 + 5) == PageUse::root);
        CHECK(ownership.use_of(1500) == PageUse::mapped);
        space.remove_overlay(5, clock);
        CHECK(space.translate(0x5000)->spa == code << 12);
        space.remove_overlay(5, clock);  // is no longer there: nothing happens
        space.remove_overlay(6, code);
        CHECK(space.translate(0x5000)->spa == code << 12);
        space.remove_overlay(5, code);
        CHECK(space.translate(0x5000) == GpaMapping{1500 << 12, 12, rw, false});
        // Over nothing, and over what goes away meanwhile.
        REQUIRE(space.place_overlay(0x40000, code, rx) == GpaEdit::ok);
        space.remove_overlay(0x40000, code);
        CHECK(space.translate(0x4000'0000) == std::nullopt);
        REQUIRE(space.place_overlay(7, code, rx) == GpaEdit::ok);
        REQUIRE(space.unmap(0, 512) == GpaEdit::ok);
        CHECK(space.translate(0x7000)->spa == code << 12);
        CHECK(space.translate(0x8000) == std::nullopt);
        CHECK(space.mapped_pages() == 0);
        // A large page over an overlay arrives around and beneath it.
        REQUIRE(space.map(0, 1024, 21, rwx) == GpaEdit::ok);
        CHECK(space.translate(0x7000)->spa == code << 12);
        CHECK(space.translate(0x8000)->spa == (1024 + 8) << 12);
        space.remove_overlay(7, code);
        CHECK(space.translate(0x7000)->spa == (1024 + 7) << 12);
        space.free_overlay_page(code);
        space.free_overlay_page(clock);
        space.destroy();
        CHECK(ownership.totals(2) == PageTotals{.deposited = 12});
        CHECK(ownership.consistent());
    }
}

TEST_CASE("gpa space: random changes agree with a plain map, and no page is lost") {
    for (u64 seed = 1; seed <= 6; ++seed) {
        CAPTURE(seed);
        sim::Random random{seed, "gpa space"};
        Memory memory{8192};
        PageOwnership ownership{8192};
        Space partition{memory, ownership, formats[seed % 2], 2, 0, 24};
        GpaSpace& space = partition.space;
        struct Page {
            u64 spa = 0;
            slat::PageRights rights;
        };
        std::map<u64, Page> model;
        std::map<u64, u64> overlays;
        std::vector<u64> overlay_pages{*space.allocate_overlay_page(), *space.allocate_overlay_page()};
        const auto where = [&] {
            return random.below(3) * 512 + random.below(512) + (random.one_in(4) ? 1ull << 30 : 0);
        };
        for (int step = 0; step < effort(4'000); ++step) {
            const u64 gpa = where();
            const slat::PageRights rights = random.one_in(2) ? rwx : random.one_in(2) ? rw : ro;
            switch (random.below(5)) {
                case 0: {  // a run of pages
                    const u64 spa = 1024 + random.below(3) * 512 + gpa % 512;
                    for (u64 i = 0, n = random.between(1, 300); i < n; ++i) {
                        if (space.map(gpa + i, spa + i, 12, rights) != GpaEdit::ok) break;
                        model[gpa + i] = {spa + i, rights};
                    }
                    break;
                }
                case 1: {
                    const u64 base = gpa & ~511ull;
                    const u64 spa = 1024 + random.below(10) * 512;
                    // Over an overlay it may stop half-way; the next edit of the same page finds it as it is.
                    const bool plain = overlays.lower_bound(base) == overlays.lower_bound(base + 512);
                    if (plain && space.map(base, spa, 21, rights) == GpaEdit::ok) {
                        for (u64 i = 0; i < 512; ++i) model[base + i] = {spa + i, rights};
                    }
                    break;
                }
                case 2: {
                    const u64 n = random.between(1, 900);
                    if (space.unmap(gpa, n) == GpaEdit::ok)
                        model.erase(model.lower_bound(gpa), model.lower_bound(gpa + n));
                    break;
                }
                case 3: {
                    const u64 n = random.between(1, 900);
                    if (space.protect(gpa, n, rights) != GpaEdit::ok) break;
                    for (auto page = model.lower_bound(gpa); page != model.end() && page->first < gpa + n; ++page) {
                        page->second.rights = rights;
                    }
                    break;
                }
                case 4: {
                    if (!overlays.empty() && random.one_in(2)) {
                        space.remove_overlay(overlays.begin()->first, overlays.begin()->second);
                        overlay_pages.push_back(overlays.begin()->second);
                        overlays.erase(overlays.begin());
                    } else if (!overlay_pages.empty() && !overlays.contains(gpa) &&
                               space.place_overlay(gpa, overlay_pages.back(), rx) == GpaEdit::ok) {
                        overlays[gpa] = overlay_pages.back();
                        overlay_pages.pop_back();
                    }
                    break;
                }
            }
            for (int probe = 0; probe < 20; ++probe) {
                const u64 page = where();
                const auto found = space.translate(page << 12);
                if (overlays.contains(page)) {
                    REQUIRE(found);
                    CHECK(found->spa == overlays[page] << 12);
                    CHECK(found->overlay);
                    continue;
                }
                REQUIRE(found.has_value() == model.contains(page));
                if (!found) continue;
                CHECK(found->spa == model[page].spa << 12);
                CHECK(found->rights == model[page].rights);
            }
            if (step % 500 == 0) {
                CHECK(ownership.consistent());
                const PageTotals totals = ownership.totals(2);
                CHECK(totals.deposited + totals.in_use == 24);
                CHECK(totals.in_use == space.table_pages() + 2);
            }
        }
        CHECK(ownership.consistent());
        for (const auto& [gpa, spa] : overlays) space.remove_overlay(gpa, spa), overlay_pages.push_back(spa);
        for (const u64 page : overlay_pages) space.free_overlay_page(page);
        space.destroy();
        CHECK(ownership.totals(2) == PageTotals{.deposited = 24});
        for (int i = 0; i < 24; ++i) CHECK(partition.pool.withdraw());
        CHECK(partition.pool.withdraw() == std::nullopt);
        CHECK(ownership.totals(2) == PageTotals{});
    }
}

TEST_CASE("gpa space: state is saved and restored") {
    Memory memory{2048};
    PageOwnership ownership{2048};
    Space straight{memory, ownership, slat::Format::ept, 2, 0, 12};
    REQUIRE(straight.space.map(0, 512, 21, rwx) == GpaEdit::ok);
    const u64 code = *straight.space.allocate_overlay_page();
    REQUIRE(straight.space.place_overlay(5, code, rx) == GpaEdit::ok);
    const auto space_bytes = sim::save_to_bytes(straight.space);
    const auto pool_bytes = sim::save_to_bytes(straight.pool);
    const auto ownership_bytes = sim::save_to_bytes(ownership);

    Memory other_memory{2048};
    PageOwnership other_ownership{2048};
    Space restored{other_memory, other_ownership, slat::Format::ept, 2, 0, 12};
    other_memory.bytes = memory.bytes;
    other_memory.view = {other_memory.bytes.data(), other_memory.bytes.size()};
    sim::restore_from_bytes(other_ownership, ownership_bytes);
    sim::restore_from_bytes(restored.pool, pool_bytes);
    sim::restore_from_bytes(restored.space, space_bytes);
    CHECK(other_ownership == ownership);
    CHECK(restored.space.translate(0x5000) == straight.space.translate(0x5000));
    restored.space.remove_overlay(5, code);
    CHECK(restored.space.translate(0x5000) == GpaMapping{(512 + 5) << 12, 12, rwx, false});
    restored.space.free_overlay_page(code);
    restored.space.destroy();
    CHECK(other_ownership.totals(2) == PageTotals{.deposited = 12});
}

}  // namespace gpa_space_test
