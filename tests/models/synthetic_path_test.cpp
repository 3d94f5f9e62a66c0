// The synthetic path between behavioural ends: what limits it, and that more channels and processors move more.
#include <doctest/doctest.h>

#include "models/synthetic_path_bench.h"
#include "sim/check.h"

namespace synthetic_path_test {

using models::PathForm;
using models::SyntheticPathRow;

namespace {

SyntheticPathRow run(PathForm form, std::uint16_t channels, std::uint64_t connections) {
    std::uint64_t now = 0;
    const auto clock = [&now] { return now += 1000; };
    return models::run_synthetic_path(form, channels, connections, sim::Time::ms(5),
                                      models::find_profile("sandy-bridge-ep"), clock);
}

}  // namespace

TEST_CASE("one channel is limited by the root's processor, four move four times as much") {
    const SyntheticPathRow one = run(PathForm::receives, 1, 2);
    const SyntheticPathRow four = run(PathForm::receives, 4, 16);
    CHECK(one.wall_ns == 1000);
    CHECK(one.duration == sim::Time::ms(5));
    CHECK(one.root_busy > sim::Time::us(4900));
    // Published for one processor: 3 to 5 Gb/s.
    CHECK(one.megabits_per_second() > 3'000);
    CHECK(one.megabits_per_second() < 5'000);
    CHECK(four.megabits_per_second() > one.megabits_per_second() * 7 / 2);
    CHECK(four.megabits_per_second() < one.megabits_per_second() * 9 / 2);
}

TEST_CASE("the same path twice gives the same figures") {
    for (const PathForm form : {PathForm::sends, PathForm::two_guests, PathForm::small_frames}) {
        const SyntheticPathRow first = run(form, 2, 2), second = run(form, 2, 2);
        CAPTURE(models::name_of(form));
        CHECK(first.bytes == second.bytes);
        CHECK(first.frames == second.frames);
        CHECK(first.guest_busy == second.guest_busy);
        CHECK(first.frames > 1000);
    }
    CHECK_THROWS_AS(run(PathForm::sends, 0, 1), sim::UserError);
}

TEST_CASE("round trips") {
    const auto row = models::run_synthetic_round_trips(5, models::find_profile("sandy-bridge-ep"));
    CHECK(row.count == 5);
    CHECK(row.least <= row.average);
    CHECK(row.least > sim::Time::us(10));
    CHECK(row.average < sim::Time::us(60));
}

}  // namespace synthetic_path_test
