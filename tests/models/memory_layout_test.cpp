// Where RAM and device windows lie, by size.
#include "models/memory_layout.h"

#include <doctest/doctest.h>

#include "sim/check.h"

namespace memory_layout_test {

using models::AddressRange;
using models::MemoryLayout;
using models::MemoryMapEntry;
using models::MemoryType;

TEST_CASE("layout by size") {
    constexpr std::uint64_t gib = 1ull << 30;
    struct Row {
        std::uint64_t bytes;
        AddressRange low, high, window;
    };
    for (const Row& row : {
             Row{4ull << 20, {0, 4ull << 20}, {4 * gib, 0}, {64 * gib, 64 * gib}},
             Row{0xf8000000, {0, 0xf8000000}, {4 * gib, 0}, {64 * gib, 64 * gib}},
             Row{0xf8001000, {0, 0xf8000000}, {4 * gib, 0x1000}, {64 * gib, 64 * gib}},
             Row{64 * gib, {0, 0xf8000000}, {4 * gib, 60 * gib + 0x8000000}, {128 * gib, 64 * gib}},
         }) {
        CAPTURE(row.bytes);
        const MemoryLayout layout = MemoryLayout::of_size(row.bytes);
        CHECK(layout.low_ram == row.low);
        CHECK(layout.high_ram == row.high);
        CHECK(layout.high_window == row.window);
        CHECK(layout.low_window == AddressRange{0xf8000000, 0x6c00000});
        std::uint64_t ram = 0, end = 0;
        for (const MemoryMapEntry& entry : layout.memory_map()) {
            CHECK(entry.first >= end);
            end = entry.first + entry.length;
            if (entry.type == MemoryType::ram) ram += entry.length;
        }
        CHECK(ram == row.bytes - 0x60000);
    }
}

TEST_CASE("a size that can't be is refused in one line") {
    CHECK_THROWS_WITH_AS(MemoryLayout::of_size(5000),
                         "guest memory of 5000 bytes: give a size that is a multiple of 4 KiB", sim::UserError);
    CHECK_THROWS_WITH_AS(MemoryLayout::of_size(1 << 20), "guest memory of 1024 KiB: a guest needs at least 4 MiB",
                         sim::UserError);
    CHECK_THROWS_WITH_AS(MemoryLayout::of_size(1ull << 40),
                         "guest memory of 1024 GiB does not fit: a guest has at most 959 GiB", sim::UserError);
}

}  // namespace memory_layout_test
