// The scheduler against exact shares: every row is a set of loads on some LPs and the run time that each must get.
#include "hypervisor/scheduler.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <vector>

#include "sim/archive.h"
#include "sim/random.h"

namespace scheduler_test {

using namespace sim::literals;
using hypervisor::Scheduler;
using hypervisor::SchedulerOptions;
using hypervisor::VpPolicy;
using hypervisor::VpRef;
using sim::Time;

namespace {

// All LPs advance in lock-step; each runs what next() says until its slice or the common step ends.
void run_until(Scheduler& scheduler, Time from, Time to, Time step) {
    for (Time now = from; now < to; now += step) {
        for (std::uint32_t lp = 0; lp < scheduler.lp_count(); ++lp) {
            Time local = now;
            const Time end = std::min(now + step, to);
            while (local < end) {
                const auto ref = scheduler.next(lp, local);
                if (!ref) break;
                const Time duration = std::min(end - local, scheduler.time_slice_left(*ref, local));
                REQUIRE(duration > Time::zero());
                scheduler.ran(*ref, local, duration);
                local += duration;
            }
        }
    }
}

struct Share {
    VpRef ref;
    VpPolicy policy;
    Time expected;
};
struct Row {
    const char* reason;
    std::uint32_t lps;
    Time step;
    Time duration;
    std::vector<Share> shares;
};

constexpr std::uint32_t percent(std::uint32_t p) {
    return hypervisor::full_share * p / 100;
}

const Row share_rows[] = {
    {"one VP has an LP for itself", 1, 1_ms, 1_s, {{{2, 0}, {}, 1_s}}},
    {"two partitions of two VPs on two LPs: a quarter of the machine each",
     2,
     1_ms,
     1_s,
     {{{2, 0}, {}, 500_ms}, {{2, 1}, {}, 500_ms}, {{3, 0}, {}, 500_ms}, {{3, 1}, {}, 500_ms}}},
    {"three VPs on two LPs: two thirds each",
     2,
     1_ms,
     600_ms,
     {{{2, 0}, {}, 400_ms}, {{2, 1}, {}, 400_ms}, {{2, 2}, {}, 400_ms}}},
    {"weight 2:1", 1, 1_ms, 600_ms, {{{2, 0}, {.weight = 200}, 400_ms}, {{3, 0}, {.weight = 100}, 200_ms}}},
    {"weight 7:3 in odd steps of 3 ms",
     1,
     3_ms,
     1_s,
     {{{2, 0}, {.weight = 700}, 700_ms}, {{3, 0}, {.weight = 300}, 300_ms}}},
    {"the extremes of weight: a slice of 10 ms every 100 s",
     1,
     10_ms,
     Time::ms(100'010),
     {{{2, 0}, {.weight = 10'000}, 100_s}, {{3, 0}, {.weight = 1}, 10_ms}}},
    {"a cap of 25 % holds although the LP is idle", 1, 1_ms, 1_s, {{{2, 0}, {.cap = percent(25)}, 250_ms}}},
    {"a cap of 30 % holds beside another, which gets the rest",
     1,
     7_ms,
     1_s,
     {{{2, 0}, {.cap = 19'661 /* 30.0003 % */}, Time::ps(300'003'051'750)}, {{3, 0}, {}, Time::ps(699'996'948'250)}}},
    {"a cap of 0 or 100 % is none", 2, 1_ms, 1_s, {{{2, 0}, {.cap = 0}, 1_s}, {{2, 1}, {.cap = percent(100)}, 1_s}}},
    {"a reserve of 75 % beats a hundred times its weight",
     1,
     1_ms,
     1_s,
     {{{2, 0}, {.weight = 100, .reserve = percent(75)}, 750_ms}, {{3, 0}, {.weight = 10'000}, 250_ms}}},
    {"affinity pins two to one LP",
     2,
     1_ms,
     1_s,
     {{{2, 0}, {.affinity = 1}, 500_ms}, {{2, 1}, {.affinity = 1}, 500_ms}, {{3, 0}, {.affinity = 2}, 1_s}}},
};

}  // namespace

TEST_CASE("scheduler: shares are exact") {
    for (const Row& row : share_rows) {
        CAPTURE(row.reason);
        Scheduler scheduler{row.lps};
        for (const Share& share : row.shares) {
            REQUIRE(scheduler.add(share.ref, share.policy));
            scheduler.wake(share.ref, Time::zero());
        }
        run_until(scheduler, Time::zero(), row.duration, row.step);
        for (const Share& share : row.shares) {
            CAPTURE(share.ref.partition);
            CAPTURE(share.ref.vp);
            CHECK(scheduler.run_time(share.ref).ps() == share.expected.ps());
        }
    }
}

TEST_CASE("scheduler: policies out of range are refused") {
    struct PolicyRow {
        VpPolicy policy;
        bool accepted;
    };
    const PolicyRow rows[] = {
        {{.weight = 0}, false},
        {{.weight = 1}, true},
        {{.weight = 10'000}, true},
        {{.weight = 10'001}, false},
        {{.cap = 65'536}, true},
        {{.cap = 65'537}, false},
        {{.reserve = 65'536}, true},
        {{.reserve = 65'537}, false},
        {{.reserve = 100, .cap = 99}, false},
        {{.reserve = 100, .cap = 100}, true},
        {{.affinity = 0}, false},
        {{.affinity = 0b100}, false},  // LP 2 of two LPs
        {{.affinity = 0b110}, true},
    };
    for (const PolicyRow& row : rows) {
        Scheduler scheduler{2};
        CHECK(scheduler.add({2, 0}, row.policy) == row.accepted);
    }
    Scheduler scheduler{2};
    REQUIRE(scheduler.add({2, 0}, {.reserve = hypervisor::full_share}));
    CHECK_FALSE(scheduler.add({2, 0}, {}));  // exists
    REQUIRE(scheduler.add({2, 1}, {.reserve = hypervisor::full_share - 1}));
    CHECK_FALSE(scheduler.add({2, 2}, {.reserve = 2}));  // more than two LPs
    CHECK(scheduler.add({2, 2}, {.reserve = 1}));
    CHECK_FALSE(scheduler.set_policy({2, 1}, {.reserve = hypervisor::full_share}));
    scheduler.remove({2, 2});
    CHECK(scheduler.set_policy({2, 1}, {.reserve = hypervisor::full_share}));
}

TEST_CASE("scheduler: a wake-up goes to the last LP if idle, else to an idle one, else it preempts") {
    Scheduler scheduler{3};
    for (std::uint32_t i = 0; i < 4; ++i) REQUIRE(scheduler.add({2, i}, {}));
    CHECK(scheduler.wake({2, 0}, 0_ms) == hypervisor::WakeDecision{.lp = 0});
    REQUIRE(scheduler.next(0, 0_ms) == VpRef{2, 0});
    CHECK(scheduler.wake({2, 0}, 0_ms) == hypervisor::WakeDecision{});  // already runnable
    CHECK(scheduler.wake({2, 1}, 0_ms) == hypervisor::WakeDecision{.lp = 1});
    REQUIRE(scheduler.next(1, 0_ms) == VpRef{2, 1});
    CHECK(scheduler.wake({2, 2}, 0_ms) == hypervisor::WakeDecision{.lp = 2});
    REQUIRE(scheduler.next(2, 0_ms) == VpRef{2, 2});
    scheduler.ran({2, 0}, 0_ms, 2_ms);
    scheduler.ran({2, 1}, 0_ms, 2_ms);
    scheduler.ran({2, 2}, 0_ms, 2_ms);
    // VP 1 sleeps and comes back: its LP is idle and preferred to the lower idle ones.
    scheduler.block({2, 0});
    scheduler.block({2, 1});
    CHECK(scheduler.running_on(1) == std::nullopt);
    CHECK(scheduler.wake({2, 1}, 3_ms) == hypervisor::WakeDecision{.lp = 1});
    REQUIRE(scheduler.next(1, 3_ms) == VpRef{2, 1});
    scheduler.wake({2, 0}, 3_ms);
    REQUIRE(scheduler.next(0, 3_ms) == VpRef{2, 0});
    // All LPs busy. VP 3 never ran: whoever is furthest ahead, and at least 1 ms, gives way.
    scheduler.ran({2, 1}, 3_ms, 2_ms);
    CHECK(scheduler.wake({2, 3}, 5_ms) == hypervisor::WakeDecision{.lp = 1, .preempts = true});
    CHECK(scheduler.next(1, 5_ms) == VpRef{2, 3});
    CHECK(scheduler.is_runnable({2, 1}));
    CHECK_FALSE(scheduler.is_running({2, 1}));
}

TEST_CASE("scheduler: a displaced virtual processor finds the idle LP that its mask allows") {
    Scheduler scheduler{2};
    REQUIRE(scheduler.add({2, 0}, {}));
    REQUIRE(scheduler.add({3, 0}, {.affinity = 1}));
    scheduler.wake({2, 0}, 0_ms);
    REQUIRE(scheduler.next(0, 0_ms) == VpRef{2, 0});
    CHECK(scheduler.idle_lp_with_work(0_ms) == std::nullopt);
    scheduler.ran({2, 0}, 0_ms, 5_ms);
    CHECK(scheduler.wake({3, 0}, 5_ms) == hypervisor::WakeDecision{.lp = 0, .preempts = true});
    CHECK(scheduler.next(0, 5_ms) == VpRef{3, 0});
    CHECK(scheduler.idle_lp_with_work(5_ms) == 1);
    CHECK(scheduler.next(1, 5_ms) == VpRef{2, 0});
    CHECK(scheduler.idle_lp_with_work(5_ms) == std::nullopt);
}

TEST_CASE("scheduler: a wake-up without lead waits for the slice to end") {
    Scheduler scheduler{1};
    REQUIRE(scheduler.add({2, 0}, {}));
    REQUIRE(scheduler.add({3, 0}, {}));
    scheduler.wake({2, 0}, 0_ms);
    REQUIRE(scheduler.next(0, 0_ms) == VpRef{2, 0});
    CHECK(scheduler.time_slice_left({2, 0}, 0_ms) == 10_ms);
    scheduler.ran({2, 0}, 0_ms, 999_us);
    CHECK(scheduler.wake({3, 0}, 999_us) == hypervisor::WakeDecision{});
    CHECK(scheduler.next(0, 999_us) == VpRef{2, 0});
    CHECK(scheduler.time_slice_left({2, 0}, 999_us) == Time::us(9'001));
    scheduler.ran({2, 0}, 999_us, Time::us(9'001));
    CHECK(scheduler.next(0, 10_ms) == VpRef{3, 0});
    scheduler.yield({3, 0});
    scheduler.ran({3, 0}, 10_ms, 11_ms);
    CHECK(scheduler.next(0, 21_ms) == VpRef{2, 0});
}

TEST_CASE("scheduler: sleep is not saved up beyond the wake credit") {
    Scheduler scheduler{1};
    REQUIRE(scheduler.add({2, 0}, {}));
    REQUIRE(scheduler.add({3, 0}, {}));
    scheduler.wake({2, 0}, 0_ms);
    run_until(scheduler, 0_ms, 1_s, 1_ms);
    scheduler.wake({3, 0}, 1_s);
    run_until(scheduler, 1_s, Time::ms(1'100), 1_ms);
    // 10 ms of credit, then turn and turn about: 55 ms and 45 ms, in slices 60 and 40 or 50 and 50.
    CHECK(scheduler.run_time({3, 0}) == 50_ms);
    CHECK(scheduler.run_time({2, 0}) == Time::ms(1'050));
}

TEST_CASE("scheduler: an overshot cap is a debt, and next_release says when it is paid") {
    Scheduler scheduler{1};
    REQUIRE(scheduler.add({2, 0}, {.cap = percent(50)}));
    scheduler.wake({2, 0}, 0_ms);
    CHECK(scheduler.next_release(0_ms) == Time::never());
    REQUIRE(scheduler.next(0, 0_ms) == VpRef{2, 0});
    scheduler.ran({2, 0}, 0_ms, 60_ms);  // 50 ms were its due: the caller overshot
    CHECK(scheduler.next(0, 60_ms) == std::nullopt);
    CHECK(scheduler.next_release(60_ms) == 100_ms);
    REQUIRE(scheduler.next(0, 100_ms) == VpRef{2, 0});
    CHECK(scheduler.time_slice_left({2, 0}, 100_ms) == 10_ms);
    scheduler.ran({2, 0}, 100_ms, 90_ms);  // debt of 60 ms: the whole next period and 10 ms of the one after
    CHECK(scheduler.next(0, 190_ms) == std::nullopt);
    CHECK(scheduler.next_release(190_ms) == 300_ms);
    REQUIRE(scheduler.next(0, 300_ms) == VpRef{2, 0});
    CHECK(scheduler.time_slice_left({2, 0}, 300_ms) == 10_ms);
}

TEST_CASE("scheduler: an affinity that crowded a VP earns it no monopoly elsewhere") {
    // Ten VPs crowd LP 0 for a second while one has LP 1 alone. Then one of the ten may use LP 1 too.
    Scheduler scheduler{2};
    for (std::uint32_t i = 0; i < 10; ++i) {
        REQUIRE(scheduler.add({2, i}, {.affinity = 1}));
        scheduler.wake({2, i}, 0_ms);
    }
    REQUIRE(scheduler.add({3, 0}, {.affinity = 2}));
    scheduler.wake({3, 0}, 0_ms);
    run_until(scheduler, 0_ms, 10_s, 10_ms);
    CHECK(scheduler.run_time({3, 0}) == 10_s);
    REQUIRE(scheduler.set_policy({2, 0}, {.affinity = 2}));
    run_until(scheduler, 10_s, 11_s, 10_ms);
    CHECK(scheduler.run_time({3, 0}) >= 10_s + 430_ms);  // it may lag by ten slices, and no more
    CHECK(scheduler.run_time({3, 0}) <= 10_s + 500_ms);
}

TEST_CASE("scheduler: nobody starves under random loads, no LP idles while somebody may run, and no time is lost") {
    for (std::uint64_t seed = 1; seed <= 30; ++seed) {
        CAPTURE(seed);
        sim::Random random{seed, "scheduler"};
        const auto lps = static_cast<std::uint32_t>(random.between(1, 4));
        Scheduler scheduler{lps};
        struct Load {
            VpRef ref;
            VpPolicy policy;
            bool always_runnable;
            Time last_run;
            Time max_wait;
        };
        std::vector<Load> loads;
        const std::uint64_t count = random.between(1, 12);
        for (std::uint64_t i = 0; i < count; ++i) {
            VpPolicy policy{.weight = static_cast<std::uint32_t>(random.between(50, 400)),
                            .affinity = random.one_in(3) ? std::uint64_t{1} << random.below(lps) : ~0ull};
            if (random.one_in(4)) policy.cap = percent(static_cast<std::uint32_t>(random.between(5, 90)));
            loads.push_back({{2 + i % 3, static_cast<std::uint32_t>(i)}, policy, random.one_in(2), {}, {}});
            REQUIRE(scheduler.add(loads.back().ref, policy));
            scheduler.wake(loads.back().ref, Time::zero());
        }
        std::vector<Time> local(lps);
        Time charged;
        for (int step = 0; step < 20'000; ++step) {
            const auto lp = static_cast<std::uint32_t>(std::min_element(local.begin(), local.end()) - local.begin());
            const Time now = local[lp];
            for (Load& load : loads) {
                if (!load.always_runnable && random.one_in(8)) {
                    scheduler.is_runnable(load.ref) ? scheduler.block(load.ref) : void(scheduler.wake(load.ref, now));
                }
            }
            const auto ref = scheduler.next(lp, now);
            if (!ref) {
                for (const Load& load : loads) {
                    const bool waits = scheduler.is_runnable(load.ref) && !scheduler.is_running(load.ref);
                    const bool uncapped = load.policy.cap == 0;
                    const bool idles_beside_work = waits && uncapped && ((load.policy.affinity >> lp) & 1) != 0;
                    CHECK_FALSE(idles_beside_work);
                }
                local[lp] += 1_ms;
                continue;
            }
            const Time duration = std::min(scheduler.time_slice_left(*ref, now),
                                           Time::us(static_cast<std::int64_t>(random.between(1, 12'000))));
            scheduler.ran(*ref, now, duration);
            charged += duration;
            local[lp] += std::max(duration, 1_ns);
            for (Load& load : loads) {
                if (load.ref == *ref) {
                    load.max_wait = std::max(load.max_wait, now - load.last_run);
                    load.last_run = now + duration;
                }
            }
        }
        const Time end = *std::min_element(local.begin(), local.end());
        Time sum;
        for (const Load& load : loads) {
            sum += scheduler.run_time(load.ref);
            // Twelve VPs of weights 50..400 on one LP: a round of everybody's slices is at most 12 * 8 slices of 10 ms;
            // a cap of 5 % adds a period.
            if (load.always_runnable) {
                CHECK(std::max(load.max_wait, end - load.last_run) <= 1'100_ms);
            }
            if (load.policy.cap != 0) {
                const auto periods = end / scheduler.options().period + 2;
                CHECK(scheduler.run_time(load.ref) <= scheduler.options().period * periods * load.policy.cap /
                                                          static_cast<std::int64_t>(hypervisor::full_share));
            }
        }
        CHECK(sum == charged);
    }
}

TEST_CASE("scheduler: a restored state goes on exactly as the straight run") {
    Scheduler straight{2};
    for (std::uint32_t i = 0; i < 5; ++i) {
        REQUIRE(straight.add({2, i}, {.weight = 100 + i * 37, .cap = i == 1 ? percent(20) : 0}));
        straight.wake({2, i}, 0_ms);
    }
    run_until(straight, 0_ms, 333_ms, 3_ms);
    Scheduler restored{2};
    sim::restore_from_bytes(restored, sim::save_to_bytes(straight));
    CHECK(restored == straight);
    run_until(straight, 333_ms, 700_ms, 3_ms);
    CHECK_FALSE(restored == straight);
    run_until(restored, 333_ms, 700_ms, 3_ms);
    CHECK(restored == straight);
}

TEST_CASE("scheduler: a checkpoint with a name that is too large, or of nobody who could run, is refused") {
    constexpr std::uint8_t name = 0x2a, other = 0x2b;
    Scheduler scheduler{1};
    REQUIRE(scheduler.add({3, name}, {}));
    scheduler.wake({3, name}, 0_ms);
    REQUIRE(scheduler.next(0, 0_ms));
    const auto bytes = sim::save_to_bytes(scheduler);
    const auto as_if_named = [&](std::size_t place, std::uint8_t vp, std::uint8_t high) {
        auto changed = bytes;
        auto at = changed.begin();
        for (std::size_t n = 0;; ++n, ++at) {
            at = std::find(at, changed.end(), std::byte{name});
            REQUIRE(at != changed.end());
            if (n == place) break;
        }
        *at = std::byte{vp};
        std::fill_n(at + 1, 3, std::byte{high});
        return changed;
    };
    Scheduler restored{1};
    sim::restore_from_bytes(restored, bytes);
    CHECK(restored == scheduler);
    // The one there is; then the one that runs.
    CHECK_THROWS_AS(sim::restore_from_bytes(restored, as_if_named(0, 0xff, 0xff)), sim::UserError);
    CHECK_THROWS_AS(sim::restore_from_bytes(restored, as_if_named(0, other, 0)), sim::UserError);
    CHECK_THROWS_AS(sim::restore_from_bytes(restored, as_if_named(1, other, 0)), sim::UserError);
}

}  // namespace scheduler_test
