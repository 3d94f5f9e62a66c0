// The table writer against a plain page-by-page record of what should be mapped, and edge by edge.
#include <doctest/doctest.h>

#include <map>
#include <set>

#include "slat/table_writer.h"
#include "tests/mmu/slow_paging.h"

namespace table_writer_test {

namespace {

using namespace slat;

constexpr u64 memory_bytes = 0x80'0000;
constexpr PageRights rwx{}, ro{true, false, false}, rx{true, false, true}, none{false, false, false};
constexpr u64 mib2 = u64{1} << 21, gib = u64{1} << 30;

// Hands out the lowest free pages; fails after `left`.
struct Pages final : TablePages {
    explicit Pages(SystemMemory m) : memory(m) {}
    SystemMemory memory;
    std::set<u64> used;
    u64 left = ~u64{0};
    std::optional<u64> allocate_table() override {
        if (left == 0) return std::nullopt;
        --left;
        u64 page = 0;
        while (used.contains(page)) page += 4096;
        REQUIRE(memory.fill(page, 4096, std::byte{0}));
        used.insert(page);
        return page;
    }
    void free_table(u64 spa) override { REQUIRE(used.erase(spa) == 1); }
};

struct Fixture {
    explicit Fixture(Format format, SecondLevel second = {}) : writer(with(second, format), memory, pages) {
        REQUIRE(writer.create() == Edit::ok);
    }
    static SecondLevel with(SecondLevel second, Format format) {
        second.format = format;
        return second;
    }
    std::vector<std::byte> bytes = std::vector<std::byte>(memory_bytes);
    SystemMemory memory{bytes.data(), memory_bytes};
    Pages pages{memory};
    TableWriter writer;
};

}  // namespace

TEST_CASE("map, split, protect, unmap: tables appear and disappear") {
    for (const Format format : {Format::ept, Format::npt}) {
        Fixture f(format);
        TableWriter& w = f.writer;
        CHECK(w.table_pages() == 1);
        CHECK(w.map(0, gib, 30, rwx) == Edit::ok);
        CHECK(w.table_pages() == 2);
        CHECK(w.query(0x1234'5678) == Mapping{.spa = gib + 0x1234'5678,
                                              .page_shift = 30,
                                              .memory_type = static_cast<u8>(format == Format::ept ? 6 : 0)});
        // One page made read-only: the gigabyte and then one large page are split.
        CHECK(w.protect(mib2 + 0x1000, 4096, ro) == Edit::ok);
        CHECK(w.table_pages() == 4);
        CHECK(w.query(mib2 + 0x1000)->rights == ro);
        CHECK(w.query(mib2 + 0x1000)->spa == gib + mib2 + 0x1000);
        CHECK(w.query(mib2 + 0x2000)->rights == rwx);
        CHECK(w.query(mib2 + 0x2000)->page_shift == 12);
        CHECK(w.query(3 * mib2)->page_shift == 21);
        // The same rights again split nothing.
        CHECK(w.protect(4 * mib2 + 0x1000, 4096, rwx) == Edit::ok);
        CHECK(w.table_pages() == 4);
        // The hardware sees what query() sees.
        CHECK(look_up(w.second_level(), f.memory, mib2 + 0x1008, {}).spa == gib + mib2 + 0x1008);
        CHECK_FALSE(look_up(w.second_level(), f.memory, mib2 + 0x1008, {.access = Access::write}).ok());
        CHECK(look_up(w.second_level(), f.memory, gib - 1, {.access = Access::write}).spa == 2 * gib - 1);
        // A large page over the split one gives its table back.
        CHECK(w.map(mib2, 0, 21, rx) == Edit::ok);
        CHECK(w.table_pages() == 3);
        CHECK(w.unmap(0, gib - 4096) == Edit::ok);
        CHECK(w.table_pages() == 4);
        CHECK_FALSE(w.query(gib - 4097).has_value());
        CHECK(w.query(gib - 1)->spa == 2 * gib - 1);
        CHECK(w.unmap(gib - 4096) == Edit::ok);
        CHECK(w.table_pages() == 1);
        CHECK(f.pages.used.size() == 1);
        CHECK(w.map(5 * gib, 0, 12, ro) == Edit::ok);
        w.destroy();
        CHECK(f.pages.used.empty());
        CHECK(w.table_pages() == 0);
    }
}

TEST_CASE("what cannot be mapped is refused") {
    struct Row {
        const char* why;
        Format format;
        u64 gpa, spa;
        u8 shift;
        PageRights rights;
        Edit result;
    };
    constexpr PageRights wo{false, true, false}, xo{false, false, true}, rw{true, true, false};
    const Row rows[] = {
        {"4 KiB", Format::ept, 0x1000, 0x2000, 12, rw, Edit::ok},
        {"gpa not aligned", Format::ept, 0x1000, 0, 21, rw, Edit::misaligned},
        {"spa not aligned", Format::ept, 0, 0x1000, 21, rw, Edit::misaligned},
        {"no such size", Format::ept, 0, 0, 22, rw, Edit::misaligned},
        {"gpa past 48 bits", Format::ept, u64{1} << 48, 0, 12, rw, Edit::misaligned},
        {"last gpa", Format::ept, (u64{1} << 48) - 4096, 0, 12, rw, Edit::ok},
        {"spa past the address width", Format::ept, 0, u64{1} << 46, 12, rw, Edit::misaligned},
        {"write-only", Format::ept, 0, 0, 12, wo, Edit::bad_rights},
        {"execute-only", Format::ept, 0, 0, 12, xo, Edit::ok},
        {"execute-only in the AMD format", Format::npt, 0, 0, 12, xo, Edit::bad_rights},
        {"write-only in the AMD format", Format::npt, 0, 0, 12, wo, Edit::bad_rights},
        {"no rights: unmapped", Format::npt, 0, 0, 12, none, Edit::ok},
    };
    for (const Row& row : rows) {
        CAPTURE(row.why);
        Fixture f(row.format);
        CHECK(f.writer.map(row.gpa, row.spa, row.shift, row.rights) == row.result);
        CHECK(f.writer.query(row.gpa).has_value() == (row.result == Edit::ok && row.rights != none));
        if (row.result != Edit::ok) CHECK(f.writer.table_pages() == 1);
    }
    Fixture no_gib(Format::ept, {.gib_pages = false, .execute_only = false});
    CHECK(no_gib.writer.map(0, 0, 30, rwx) == Edit::bad_rights);
    CHECK(no_gib.writer.map(0, 0, 12, {false, false, true}) == Edit::bad_rights);
    Fixture no_nx(Format::npt, {.no_execute = false});
    CHECK(no_nx.writer.map(0, 0, 12, ro) == Edit::bad_rights);
    CHECK(no_nx.writer.unmap(0x800, 4096) == Edit::misaligned);
    CHECK(no_nx.writer.unmap(0, 100) == Edit::misaligned);
    CHECK(no_nx.writer.unmap(0, ~u64{0xfff}) == Edit::misaligned);
}

TEST_CASE("out of table pages: refused, nothing lost, no empty table left") {
    for (u64 left = 0; left < 3; ++left) {
        Fixture f(Format::ept);
        f.pages.left = left;
        CHECK(f.writer.map(0x1000, 0x1000, 12, rwx) == Edit::no_memory);
        CHECK(f.writer.table_pages() == 1);
        CHECK(f.pages.used.size() == 1);
    }
    Fixture f(Format::ept);
    CHECK(f.writer.map(0, 0, 30, rwx) == Edit::ok);
    f.pages.left = 1;
    CHECK(f.writer.protect(0x1000, 4096, ro) == Edit::no_memory);
    CHECK(f.writer.query(0x1000)->rights == rwx);
    CHECK(f.writer.query(0x1000)->spa == 0x1000);
}

TEST_CASE("a split keeps accessed and dirty flags; dirty flags are taken one by one") {
    for (const Format format : {Format::ept, Format::npt}) {
        Fixture f(format);
        CHECK(f.writer.map(0, 0, 21, rwx) == Edit::ok);
        CHECK(translate(f.writer.second_level(), f.memory, 0x5000, {.access = Access::write}).ok());
        CHECK(f.writer.protect(0x1000, 4096, ro) == Edit::ok);
        for (const u64 gpa : {u64{0}, u64{0x1000}, mib2 - 1}) {
            CHECK(f.writer.query(gpa)->accessed);
            CHECK(f.writer.query(gpa)->dirty);
        }
        CHECK(f.writer.test_and_clear_dirty(0x2000));
        CHECK_FALSE(f.writer.test_and_clear_dirty(0x2000));
        CHECK(f.writer.test_and_clear_dirty(0x3000));
        CHECK_FALSE(f.writer.test_and_clear_dirty(gib));
    }
}

TEST_CASE("random edits agree with a page-by-page record") {
    constexpr u64 window = 6 * mib2;  // of gpa, from 1 GiB - 2 MiB on, so that three levels of table are involved
    constexpr u64 first = gib - mib2;
    struct Page {
        u64 spa;
        PageRights rights;
        bool operator==(const Page&) const = default;
    };
    for (const Format format : {Format::ept, Format::npt}) {
        Fixture f(format);
        std::map<u64, Page> record;
        slow::Dice dice(format == Format::ept ? 1 : 2);
        for (int step = 0; step < 3000; ++step) {
            u64 gpa = first + (dice.below(window) & ~u64{0xfff});
            u64 length = (dice.percent(50) ? 1 + dice.below(8) : dice.below(1200)) << 12;
            if (dice.percent(30)) gpa &= ~(mib2 - 1);
            length = std::min(length, first + window - gpa);
            constexpr PageRights choices[] = {rwx, ro, rx, none};
            const PageRights rights = choices[dice.below(4)];
            switch (dice.below(3)) {
                case 0: {
                    const u64 spa = dice.percent(50) ? gpa : dice.below(1 << 20) << 12;
                    REQUIRE(f.writer.map_range(gpa, spa, length, rights) == Edit::ok);
                    for (u64 at = 0; at < length; at += 4096) {
                        record.erase(gpa + at);
                        if (rights != none) record[gpa + at] = {spa + at, rights};
                    }
                    break;
                }
                case 1:
                    REQUIRE(f.writer.unmap(gpa, length) == Edit::ok);
                    for (u64 at = 0; at < length; at += 4096) record.erase(gpa + at);
                    break;
                default:
                    REQUIRE(f.writer.protect(gpa, length, rights) == Edit::ok);
                    for (u64 at = 0; at < length; at += 4096) {
                        const auto found = record.find(gpa + at);
                        if (found == record.end()) continue;
                        if (rights == none) {
                            record.erase(found);
                        } else {
                            found->second.rights = rights;
                        }
                    }
                    break;
            }
            if (step % 20 != 0) continue;
            for (u64 at = first; at < first + window; at += 4096) {
                const auto found = record.find(at);
                const auto mapping = f.writer.query(at);
                const Translation seen = look_up(f.writer.second_level(), f.memory, at, {.access = Access::execute});
                if (mapping.has_value() != (found != record.end())) FAIL("mapped or not");
                if (mapping && Page{mapping->spa, mapping->rights} != found->second) FAIL("mapping");
                if (seen.ok() != (mapping && mapping->rights.executable)) FAIL("hardware's view");
            }
            REQUIRE(f.pages.used.size() == f.writer.table_pages());
        }
        REQUIRE(f.writer.unmap(first, window) == Edit::ok);
        CHECK(f.writer.table_pages() == 1);
    }
}

}  // namespace table_writer_test
