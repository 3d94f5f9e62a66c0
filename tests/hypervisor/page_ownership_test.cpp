// Ownership by runs of pages against a table with a row for each page, on random histories.
#include "hypervisor/page_ownership.h"

#include <doctest/doctest.h>

#include <array>

#include "sim/archive.h"
#include "sim/random.h"

namespace page_ownership_test {

using hypervisor::PageOwnership;
using hypervisor::PageUse;
using hypervisor::PartitionId;

namespace {

constexpr std::uint64_t pages = 96;

struct Row {
    PageUse use = PageUse::root;
    PartitionId owner = 0;
    unsigned maps = 0;
};

}  // namespace

TEST_CASE("page ownership: runs say what a table of pages would say") {
    for (std::uint64_t seed = 1; seed <= 10; ++seed) {
        sim::Random random{seed};
        PageOwnership ownership{pages};
        std::array<Row, pages> table{};
        for (unsigned step = 0; step < 2000; ++step) {
            const std::uint64_t page = random.below(pages);
            const std::uint64_t count = 1 + random.below(pages - page);
            const PartitionId partition = random.between(2, 4);
            const auto one = [&](PageUse from, PageUse to) {
                Row& row = table[page];
                if (row.use != from || row.owner != (from == PageUse::root ? 0 : partition)) return false;
                row = {to, to == PageUse::root ? 0 : partition, 0};
                return true;
            };
            switch (random.below(6)) {
                case 0:
                    CHECK(ownership.deposit(page, partition) == one(PageUse::root, PageUse::deposited));
                    break;
                case 1:
                    CHECK(ownership.withdraw(page, partition) == one(PageUse::deposited, PageUse::root));
                    break;
                case 2:
                    CHECK(ownership.take(page, partition) == one(PageUse::deposited, PageUse::in_use));
                    break;
                case 3:
                    CHECK(ownership.put_back(page, partition) == one(PageUse::in_use, PageUse::deposited));
                    break;
                case 4: {
                    bool may = true;
                    for (std::uint64_t n = page; n < page + count; ++n) {
                        const Row& row = table[n];
                        may =
                            may && (row.use == PageUse::root || (row.use == PageUse::mapped && row.owner == partition));
                    }
                    for (std::uint64_t n = page; may && n < page + count; ++n) {
                        table[n] = {PageUse::mapped, partition, table[n].maps + 1};
                    }
                    CHECK(ownership.may_map(page, partition, count) == may);
                    CHECK(ownership.map(page, partition, count) == may);
                    break;
                }
                default: {
                    bool may = true;
                    for (std::uint64_t n = page; n < page + count; ++n) {
                        may = may && table[n].use == PageUse::mapped && table[n].owner == partition;
                    }
                    for (std::uint64_t n = page; may && n < page + count; ++n) {
                        if (--table[n].maps == 0) table[n] = {};
                    }
                    CHECK(ownership.unmap(page, partition, count) == may);
                    break;
                }
            }
        }
        for (std::uint64_t n = 0; n < pages; ++n) {
            CHECK(ownership.use_of(n) == table[n].use);
            CHECK(ownership.owner_of(n) == table[n].owner);
        }
        CHECK(ownership.consistent());
        PageOwnership restored{1};
        sim::restore_from_bytes(restored, sim::save_to_bytes(ownership));
        CHECK(restored == ownership);
    }
}

TEST_CASE("page ownership: nothing outside of memory can be had") {
    PageOwnership ownership{pages};
    CHECK_FALSE(ownership.map(pages, 2));
    CHECK_FALSE(ownership.map(pages - 1, 2, 2));
    CHECK_FALSE(ownership.map(~std::uint64_t{0}, 2, 2));
    CHECK_FALSE(ownership.map(0, 2, ~std::uint64_t{0}));
    CHECK_FALSE(ownership.deposit(pages, 2));
    CHECK(ownership.map(0, 2, pages));
    CHECK(ownership.totals(2).mapped == pages);
}

}  // namespace page_ownership_test
