// Numbers of the root's ports, and what the root sees of a guest's memory (models/partition_bus.h).
#include "models/partition_bus.h"

#include <doctest/doctest.h>

#include <vector>

#include "models/touched_memory.h"
#include "sim/archive.h"

namespace partition_bus_test {

using models::PortNumbers;

TEST_CASE("port numbers: a guest that opens and closes its channel without end uses no more than one") {
    PortNumbers numbers;
    const auto bus = numbers.take(), first = numbers.take();
    numbers.give_back(first);
    for (unsigned n = 0; n < 100'000; ++n) {
        const auto number = numbers.take();
        REQUIRE(number == first);
        numbers.give_back(number);
    }
    CHECK(bus == 1);
    CHECK(first == 2);
}

TEST_CASE("port numbers: what is free is so after a restore, too") {
    PortNumbers numbers;
    for (unsigned n = 0; n < 3; ++n) (void)numbers.take();
    numbers.give_back(2);
    sim::Writer writer;
    writer(numbers);
    sim::Reader reader{writer.data()};
    PortNumbers restored;
    reader(restored);
    CHECK(reader.remaining() == 0);
    CHECK(restored.take() == 2);
    CHECK(restored.take() == 4);
}

TEST_CASE("a guest's memory is asked for without a touch, and what it will fill stays as it is") {
    constexpr std::uint64_t page = models::page_bytes, large = models::large_page_bytes;
    const models::HostMemory memory{8 * large};
    // 3 MiB from guest address 0 on, in two pieces; and a page above a hole.
    const std::vector<models::MemoryRun> runs{
        {0, 4 * large, large / page}, {large, large, large / 2 / page}, {4 * large, 0, 1}};
    models::RootViewOfGuest guest{memory, runs};
    struct Row {
        std::uint64_t gpa;
        bool is_memory;
    };
    for (const Row& row : {Row{0, true}, Row{large - 1, true}, Row{large, true}, Row{large + large / 2 - 1, true},
                           Row{large + large / 2, false}, Row{4 * large - 1, false}, Row{4 * large, true},
                           Row{4 * large + page, false}, Row{~std::uint64_t{0}, false}}) {
        CAPTURE(row.gpa);
        CHECK(guest.is_memory(row.gpa) == row.is_memory);
    }
    const std::vector<models::TouchedRun> touched = models::touched_memory(memory.base(), memory.size_bytes());
    const bool nobody_tells = touched == std::vector<models::TouchedRun>{{0, memory.size_bytes()}};
    CHECK((touched.empty() || nobody_tells));

    memory.base()[5 * large - 1] = static_cast<std::byte>(1);
    memory.base()[large] = static_cast<std::byte>(2);
    guest.will_fill(page, 16 * large);  // up to the hole
    CHECK(memory.base()[5 * large - 1] == static_cast<std::byte>(1));
    CHECK(memory.base()[large] == static_cast<std::byte>(2));
}

}  // namespace partition_bus_test
