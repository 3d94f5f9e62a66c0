// The rows of the bench, with a clock that counts its readings.
#include <doctest/doctest.h>

#include "sim/check.h"
#include "sriov_nic/nic_bench.h"

namespace bench_test {

namespace {

TEST_CASE("the bench measures three ways, two sizes, one VF and all") {
    std::uint64_t now = 0;
    const auto rows = sriov_nic::run_nic_bench(200, [&now] { return now += 1000; });
    REQUIRE(rows.size() == 12);
    for (std::size_t n = 0; n < rows.size(); ++n) {
        CAPTURE(n);
        constexpr std::string_view ways[] = {"VF to wire", "wire to VF", "VF to VF"};
        CHECK(rows[n].way == ways[n % 3]);
        CHECK(rows[n].frame_bytes == (n / 3 % 2 == 0 ? 64 : 1518));
        CHECK(rows[n].vfs == (n >= 6 ? 63 : n % 3 == 2 ? 2 : 1));
        CHECK(rows[n].frames >= 200);
        CHECK(rows[n].wall_ns == 1000);
        CHECK(rows[n].simulated_ps > 0);
    }
    CHECK_THROWS_AS(sriov_nic::run_nic_bench(0, [] { return std::uint64_t{}; }), sim::UserError);
}

}  // namespace

}  // namespace bench_test
