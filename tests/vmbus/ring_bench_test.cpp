// The rows of the bench, with a clock that counts its readings.
#include "vmbus/ring_bench.h"

#include <doctest/doctest.h>

#include "sim/check.h"

namespace ring_bench_test {

namespace {

TEST_CASE("the ring bench measures bare rings and channels") {
    std::uint64_t now = 0;
    const auto rows = vmbus::run_ring_bench(300, [&now] { return now += 1000; });
    REQUIRE(rows.size() == 8);
    for (std::size_t n = 0; n < rows.size(); ++n) {
        CHECK(rows[n].what == (n < 4 ? "ring" : "channel"));
        CHECK(rows[n].packets >= 300);
        CHECK(rows[n].packets < 300 + 128);
        CHECK(rows[n].wall_ns == 1000);
        CHECK(rows[n].packets_per_second() == rows[n].packets * 1'000'000);
    }
    CHECK(rows[0].payload_bytes == 40);
    CHECK(rows[0].ring_pages == 16);
    CHECK_THROWS_AS(vmbus::run_ring_bench(0, [] { return std::uint64_t{}; }), sim::UserError);
}

}  // namespace

}  // namespace ring_bench_test
