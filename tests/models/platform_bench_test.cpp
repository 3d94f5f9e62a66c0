// The agenda's benchmark runs, counts right and reports what the clock says; what the clock says is not tested.
#include "models/platform_bench.h"

#include <doctest/doctest.h>

#include "sim/check.h"

namespace platform_bench_test {

namespace {
// SystemC modules can't be made after the first run, which may be in another file's test.
models::AgendaBench& bench() {
    static models::AgendaBench one{{1, 20}};
    return one;
}
[[maybe_unused]] const models::AgendaBench& bench_at_start = bench();
}  // namespace

TEST_CASE("agenda benchmark") {
    std::uint64_t ns = 0;
    const auto rows = bench().run(500, [&ns] { return ns += 1000; });
    REQUIRE(rows.size() == 6);
    for (std::size_t i = 0; i < rows.size(); ++i) {
        static constexpr const char* queues[] = {"sim::Agenda", "sc_event", "sc_event_queue"};
        CHECK(rows[i].queue == queues[i % 3]);
        CHECK(rows[i].timers == (i < 3 ? 1 : 20));
        CHECK(rows[i].events == 500);
        CHECK(rows[i].ps_per_event == 2000);  // 1 us for 500 events
    }
    CHECK_THROWS_AS(bench().run(0, [] { return 0; }), sim::UserError);
    CHECK_THROWS_WITH_AS(models::AgendaBench{},
                         "bench agenda: something has run under SystemC already; run it in a process of its own",
                         sim::UserError);
}

}  // namespace platform_bench_test
