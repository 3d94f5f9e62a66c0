// Where a virtual processor goes that has something to do: rows of who runs where, who wakes up, and what that does.
#include <doctest/doctest.h>

#include <optional>
#include <vector>

#include "hypervisor/scheduler.h"
#include "sim/archive.h"

namespace scheduler_placing_test {

using namespace sim::literals;
using hypervisor::Scheduler;
using hypervisor::VpPolicy;
using hypervisor::VpRef;
using hypervisor::WakeDecision;
using sim::Time;

namespace {

constexpr std::uint32_t half = hypervisor::full_share / 2;
constexpr VpRef woken{9, 0};

// On processor i runs partition 2 + i, if it is in the list with a time; it has run for so long.
struct Runner {
    VpPolicy policy;
    Time has_run;
    bool idle = false;
};
constexpr Runner nobody{.policy = {}, .has_run = {}, .idle = true};

struct Row {
    const char* reason;
    std::vector<Runner> runners;
    VpPolicy policy;  // of the one that wakes up
    Time has_run;
    std::uint64_t waking;
    WakeDecision expected;
    // Afterwards, by processor: partitions; 0: it idles.
    std::vector<std::uint64_t> after;
};

constexpr WakeDecision waits{};
constexpr WakeDecision goes_to(std::uint32_t lp) {
    return {.lp = lp, .preempts = false};
}
constexpr WakeDecision takes(std::uint32_t lp) {
    return {.lp = lp, .preempts = true};
}

const Row rows[] = {
    {"an idle processor that it may use", {{{}, 1_ms}, nobody}, {}, 9_ms, 0, goes_to(1), {2, 9}},
    {"bound to a busy one, another idles: who runs there moves",
     {{{}, 1_ms}, nobody},
     {.affinity = 1},
     9_ms,
     0,
     waits,
     {9, 2}},
    {"who runs there is owed a reserve: it is kept, elsewhere",
     {{{.reserve = half}, 1_ms}, nobody},
     {.affinity = 1},
     9_ms,
     0,
     waits,
     {9, 2}},
    {"who runs there may not leave, and is not ahead",
     {{{.affinity = 1}, 1_ms}, nobody},
     {.affinity = 1},
     1_ms,
     0,
     waits,
     {2, 0}},
    {"who runs there may not leave, and is ahead by just too little",
     {{{.affinity = 1}, Time::us(1'999)}, nobody},
     {.affinity = 1},
     1_ms,
     0,
     waits,
     {2, 0}},
    {"who runs there may not leave, but is ahead",
     {{{.affinity = 1}, 2_ms}, nobody},
     {.affinity = 1},
     1_ms,
     0,
     takes(0),
     {9, 0}},
    {"of two that it may displace, the one that can move",
     {{{.affinity = 1}, 1_ms}, {{}, 1_ms}, nobody},
     {.affinity = 3},
     1_ms,
     0,
     waits,
     {2, 9, 3}},
    {"one that is ahead gives way at once", {{{}, 2_ms}, nobody}, {.affinity = 1}, 1_ms, 0, takes(0), {9, 2}},
    {"an idle one that is on its way to somebody else is not counted on",
     {{{}, 1_ms}, nobody},
     {.affinity = 1},
     1_ms,
     2,
     waits,
     {2, 0}},
    {"no idle one: the furthest ahead gives way", {{{}, 5_ms}, {{}, 6_ms}}, {}, 1_ms, 0, takes(1), {2, 9}},
    {"nobody is ahead", {{{}, 5_ms}, {{}, 6_ms}}, {}, 6_ms, 0, waits, {2, 3}},
    {"a reserve takes its place from one without, however far behind that is",
     {{{}, 1_ms}},
     {.reserve = half},
     9_ms,
     0,
     takes(0),
     {9}},
    {"a reserve that is used up does not", {{{}, 1_ms}}, {.reserve = half / 10}, 9_ms, 0, waits, {2}},
    {"a reserve takes the place of one whose reserve is used up",
     {{{.reserve = half / 100}, 1_ms}},
     {.reserve = half},
     9_ms,
     0,
     takes(0),
     {9}},
    {"between two reserves who is behind", {{{.reserve = half}, 9_ms}}, {.reserve = half}, 1_ms, 0, takes(0), {9}},
    {"between two reserves who is not", {{{.reserve = half}, 1_ms}}, {.reserve = half}, 1_ms, 0, waits, {2}},
    {"nobody without takes the place of one that is owed a reserve",
     {{{.reserve = half}, 9_ms}},
     {},
     1_ms,
     0,
     waits,
     {2}},
    {"of two, the one without a reserve, though the other is further ahead",
     {{{.reserve = half}, 9_ms}, {{}, 1_ms}},
     {.reserve = half},
     1_ms,
     0,
     takes(1),
     {2, 9}},
};

// For so long one runs on that is to make room.
constexpr Time stay = hypervisor::SchedulerOptions{}.move_after;

void idle_ones_go_on(Scheduler& scheduler, Time now) {
    for (int turns = 0; const auto lp = scheduler.idle_lp_with_work(now); ++turns) {
        REQUIRE(turns < 10);
        (void)scheduler.next(*lp, now);
    }
}

}  // namespace

TEST_CASE("scheduler: where one that wakes up goes, and who makes room") {
    for (const Row& row : rows) {
        CAPTURE(row.reason);
        const auto lps = static_cast<std::uint32_t>(row.runners.size());
        Scheduler scheduler{lps};
        REQUIRE(scheduler.add(woken, row.policy));
        scheduler.ran(woken, 0_ms, row.has_run);
        for (std::uint32_t lp = 0; lp < lps; ++lp) {
            const Runner& runner = row.runners[lp];
            if (runner.idle) continue;
            const VpRef ref{2 + lp, 0};
            REQUIRE(scheduler.add(ref, runner.policy));
            REQUIRE(scheduler.wake(ref, 0_ms) == goes_to(lp));
            REQUIRE(scheduler.next(lp, 0_ms) == ref);
        }
        for (std::uint32_t lp = 0; lp < lps; ++lp) {
            if (!row.runners[lp].idle) scheduler.ran({2 + lp, 0}, 0_ms, row.runners[lp].has_run);
        }
        const WakeDecision decision = scheduler.wake(woken, 9_ms, row.waking);
        CHECK(decision.lp == row.expected.lp);
        CHECK(decision.preempts == row.expected.preempts);
        if (decision.lp != WakeDecision::nowhere) (void)scheduler.next(decision.lp, 9_ms);
        idle_ones_go_on(scheduler, 9_ms);
        scheduler.make_room(9_ms, row.waking);
        for (std::uint32_t lp = 0; lp < lps; ++lp) {
            const auto running = scheduler.running_on(lp);
            if (!running) continue;
            scheduler.ran(*running, 9_ms, stay);
            (void)scheduler.next(lp, 9_ms + stay);
        }
        idle_ones_go_on(scheduler, 9_ms + stay);
        for (std::uint32_t lp = 0; lp < lps; ++lp) {
            CAPTURE(lp);
            const auto running = scheduler.running_on(lp);
            CHECK((running ? running->partition : 0) == row.after[lp]);
        }
    }
}

TEST_CASE("scheduler: who is to make room stays for a while, in which most rest") {
    Scheduler scheduler{2};
    REQUIRE(scheduler.add({2, 0}, {}));
    REQUIRE(scheduler.add(woken, {.affinity = 1}));
    scheduler.wake({2, 0}, 0_ms);
    REQUIRE(scheduler.next(0, 0_ms) == VpRef{2, 0});
    scheduler.ran({2, 0}, 0_ms, 9_us);
    CHECK(scheduler.wake(woken, 9_us) == waits);
    CHECK(scheduler.time_slice_left({2, 0}, 9_us) == stay);
    scheduler.ran({2, 0}, 9_us, stay - 1_ns);
    CHECK(scheduler.next(0, 9_us + stay - 1_ns) == VpRef{2, 0});
    scheduler.ran({2, 0}, 9_us + stay - 1_ns, 1_ns);
    CHECK(scheduler.next(0, 9_us + stay) == woken);
}

TEST_CASE("scheduler: two that are bound, room for one of those they displace") {
    // The second wakes up when the first one has its place, or before.
    for (const bool later : {true, false}) {
        CAPTURE(later);
        Scheduler scheduler{3};
        for (std::uint32_t i = 0; i < 2; ++i) {
            REQUIRE(scheduler.add({2, i}, {}));
            scheduler.wake({2, i}, 0_ms);
            REQUIRE(scheduler.next(i, 0_ms) == VpRef{2, i});
            REQUIRE(scheduler.add({9, i}, {.affinity = 1ull << i}));
        }
        CHECK(scheduler.wake({9, 0}, 0_ms) == waits);
        if (!later) CHECK(scheduler.wake({9, 1}, 0_ms) == waits);
        scheduler.make_room(0_ms, 0);
        for (std::uint32_t i = 0; i < 2; ++i) scheduler.ran({2, i}, 0_ms, stay);
        CHECK(scheduler.next(0, stay) == VpRef{9, 0});
        CHECK(scheduler.idle_lp_with_work(stay) == 2);
        // Somebody is on his way to the third.
        if (later) CHECK(scheduler.wake({9, 1}, stay, 0b100) == waits);
        scheduler.make_room(stay, 0b100);
        scheduler.ran({2, 1}, stay, stay);
        CHECK(scheduler.next(1, stay * 2) == VpRef{2, 1});
        CHECK(scheduler.next(2, stay * 2) == VpRef{2, 0});
        scheduler.make_room(stay * 2, 0);
        scheduler.ran({2, 1}, stay * 2, stay);
        CHECK(scheduler.next(1, stay * 3) == VpRef{2, 1});
        CHECK(scheduler.consistent(stay * 3));
    }
}

TEST_CASE("scheduler: who waits for a processor is not forgotten when another one becomes idle") {
    Scheduler scheduler{2};
    REQUIRE(scheduler.add({2, 0}, {}));
    REQUIRE(scheduler.add({3, 0}, {}));
    REQUIRE(scheduler.add({9, 0}, {.affinity = 1}));
    for (const std::uint32_t lp : {0u, 1u}) {
        scheduler.wake({2 + lp, 0}, 0_ms);
        REQUIRE(scheduler.next(lp, 0_ms) == VpRef{2 + lp, 0});
    }
    CHECK(scheduler.wake({9, 0}, 0_ms) == waits);
    scheduler.make_room(0_ms, 0);
    CHECK(scheduler.time_slice_left({2, 0}, 0_ms) == 10_ms);
    scheduler.block({3, 0});
    CHECK(scheduler.next(1, 0_ms) == std::nullopt);
    scheduler.make_room(0_ms, 0b10);
    CHECK(scheduler.time_slice_left({2, 0}, 0_ms) == 10_ms);
    scheduler.make_room(0_ms, 0);
    CHECK(scheduler.time_slice_left({2, 0}, 0_ms) == stay);
    scheduler.ran({2, 0}, 0_ms, stay);
    scheduler.make_room(0_ms, 0);  // not for longer
    CHECK(scheduler.next(0, stay) == VpRef{9, 0});
    CHECK(scheduler.idle_lp_with_work(stay) == 1);
    CHECK(scheduler.next(1, stay) == VpRef{2, 0});
}

TEST_CASE("scheduler: room is not made for one that is gone or held back by the time, nor with nowhere to move to") {
    enum class What { nothing, blocked, removed, capped, elsewhere, taken };
    for (const What what : {What::nothing, What::blocked, What::removed, What::capped, What::elsewhere, What::taken}) {
        CAPTURE(static_cast<int>(what));
        Scheduler scheduler{2};
        REQUIRE(scheduler.add({2, 0}, {}));
        REQUIRE(scheduler.add({3, 0}, {}));
        REQUIRE(scheduler.add(woken, {.affinity = 1}));
        scheduler.wake({2, 0}, 0_ms);
        REQUIRE(scheduler.next(0, 0_ms) == VpRef{2, 0});
        scheduler.ran(woken, 0_ms, 9_ms);
        REQUIRE(scheduler.wake(woken, 9_ms) == waits);
        if (what == What::blocked) scheduler.block(woken);
        if (what == What::removed) scheduler.remove(woken);
        if (what == What::capped) REQUIRE(scheduler.set_policy(woken, {.cap = half / 10, .affinity = 1}));
        if (what == What::elsewhere) REQUIRE(scheduler.set_policy(woken, {.affinity = 2}));
        if (what == What::taken) {
            REQUIRE(scheduler.wake({3, 0}, 9_ms) == goes_to(1));
            REQUIRE(scheduler.next(1, 9_ms) == VpRef{3, 0});
        }
        scheduler.ran({2, 0}, 9_ms, stay);
        CHECK(scheduler.next(0, 9_ms + stay) == (what == What::nothing ? woken : VpRef{2, 0}));
        if (what != What::nothing) CHECK(scheduler.time_slice_left({2, 0}, 9_ms + stay) == 10_ms);
        CHECK(scheduler.consistent(9_ms + stay));
    }
}

TEST_CASE(
    "scheduler: who was to make room and rests leaves the place to whom it was promised; likewise when restored") {
    Scheduler scheduler{2};
    REQUIRE(scheduler.add({2, 0}, {}));
    REQUIRE(scheduler.add(woken, {.affinity = 1}));
    scheduler.ran(woken, 0_ms, 9_ms);
    scheduler.wake({2, 0}, 0_ms);
    REQUIRE(scheduler.next(0, 0_ms) == VpRef{2, 0});
    REQUIRE(scheduler.wake(woken, 0_ms) == waits);
    Scheduler restored{2};
    sim::restore_from_bytes(restored, sim::save_to_bytes(scheduler));
    CHECK(restored == scheduler);
    restored.ran({2, 0}, 0_ms, stay);
    CHECK(restored.next(0, stay) == woken);
    scheduler.block({2, 0});
    CHECK(scheduler.next(0, 0_ms) == woken);
    CHECK(scheduler.idle_lp_with_work(0_ms) == std::nullopt);
}

}  // namespace scheduler_placing_test
