// Virtual processors by name, whatever the order in which they come and go.
#include "hypervisor/vp_table.h"

#include <doctest/doctest.h>

#include <array>
#include <cstdint>
#include <map>
#include <utility>

#include "sim/random.h"

namespace vp_table_test {

using hypervisor::VpRef;

TEST_CASE("a table of virtual processors finds who was put there last") {
    std::array<int, 16> objects{};
    hypervisor::VpTable<int> table;
    std::map<std::pair<std::uint64_t, std::uint32_t>, int*> expected;
    sim::Random random{1, "vp_table"};
    CHECK(table.find({0, 0}) == nullptr);
    // Rows grow in turn, so that each has others behind it; a third of what is put there is nobody.
    for (int n = 0; n < 2000; ++n) {
        const auto partition = random.below(12);
        const auto vp = static_cast<std::uint32_t>(random.below(1 + static_cast<std::uint64_t>(n) / 40));
        int* const object = random.below(3) == 0 ? nullptr : &objects[random.below(objects.size())];
        table.set(VpRef{partition, vp}, object);
        expected[{partition, vp}] = object;
        if (n % 50 != 0) continue;
        for (std::uint64_t p = 0; p < 14; ++p) {
            for (std::uint32_t v = 0; v < 60; ++v) {
                const auto known = expected.find({p, v});
                CHECK(table.find(VpRef{p, v}) == (known != expected.end() ? known->second : nullptr));
            }
        }
    }
    table.clear();
    CHECK(table.find({1, 0}) == nullptr);
    table.set({1, 0}, objects.data());
    CHECK(table.find({1, 0}) == objects.data());
    CHECK(table.find({0, 0}) == nullptr);
}

}  // namespace vp_table_test
