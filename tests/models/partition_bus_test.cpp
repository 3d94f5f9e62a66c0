// Numbers of the root's ports (models/partition_bus.h).
#include "models/partition_bus.h"

#include <doctest/doctest.h>

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

}  // namespace partition_bus_test
