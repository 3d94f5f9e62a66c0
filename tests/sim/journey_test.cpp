// Where a request's time went; and times between arrivals.
#include "sim/journey.h"

#include <doctest/doctest.h>

#include "sim/exponential.h"
#include "sim/simulation.h"

namespace journey_test {

namespace {

using sim::Time;

sim::RequestId first_byte(std::span<const std::byte> frame) {
    return frame.empty() ? 0 : static_cast<sim::RequestId>(frame[0]);
}

std::int64_t of(const sim::Journeys::Sums& sums, std::string_view cause) {
    const auto place = sums.causes.find(cause);
    return place == sums.causes.end() ? 0 : place->second.time.ps();
}

TEST_CASE("a request's time goes to its causes without a rest") {
    sim::Simulation simulation;
    sim::Agenda& agenda = simulation.agenda();
    sim::Journeys& journeys = simulation.scope("x").journeys();
    const auto group = journeys.add_group();
    const std::byte frame[] = {std::byte{5}};
    constexpr sim::GuestCause driver{"client.driver", "server.driver"};

    journeys.begin(5, group, Time::zero());
    CHECK(journeys.open_requests() == 0);  // it is off

    journeys.switch_on(&first_byte);
    agenda.run_until(Time::ns(100));
    journeys.begin(5, group, Time::ns(90));
    journeys.mark(5, "client.stack", agenda.now());
    agenda.run_until(Time::ns(200));
    journeys.mark_frame(frame, "wait.processor", Time::ns(130));  // what happened before
    journeys.mark_frame(frame, driver, sim::Travel::sent, Time::ns(180));
    journeys.mark_frame(frame, "nobody", Time::ns(150));  // earlier than the last: nothing
    journeys.mark_frame(frame, "wire", Time::ns(200));
    journeys.turn(5);
    agenda.run_until(Time::ns(250));
    journeys.mark_frame(frame, driver, sim::Travel::sent, Time::ns(220));
    journeys.mark_frame(frame, driver, sim::Travel::received, Time::ns(240));
    journeys.mark(6, "another", agenda.now());
    journeys.end(5, "client.application");
    journeys.end(5, "twice");

    const auto sums = journeys.sums(group);
    CHECK(sums.count == 1);
    CHECK(sums.total == Time::ns(160));
    CHECK(of(sums, "client.stack") == 10'000);
    CHECK(of(sums, "wait.processor") == 30'000);
    CHECK(of(sums, "client.driver") == 50'000 + 20'000);
    CHECK(of(sums, "server.driver") == 20'000);
    CHECK(of(sums, "wire") == 20'000);
    CHECK(of(sums, "client.application") == 10'000);
    CHECK(sums.causes.size() == 6);
    CHECK(sums.causes.find("client.driver")->second.count == 2);
    CHECK(journeys.open_requests() == 0);

    // A stage that said more of the future than came: another copy was faster.
    const auto early = journeys.add_group();
    journeys.begin(9, early, Time::ns(220));
    journeys.mark(9, "nic", Time::ns(240));
    journeys.mark(9, "wire", Time::ns(300));
    journeys.mark(9, "beyond", Time::ns(400));
    journeys.end(9, "rest");
    CHECK(journeys.sums(early).total == Time::ns(30));
    CHECK(of(journeys.sums(early), "nic") == 20'000);
    CHECK(of(journeys.sums(early), "wire") == 10'000);
    CHECK(of(journeys.sums(early), "beyond") == 0);

    // Kept apart by group; forgotten on request; and saved.
    const auto other = journeys.add_group();
    journeys.begin(7, other, Time::ns(250));
    journeys.begin(8, other, Time::ns(250));
    agenda.run_until(Time::ns(300));
    journeys.end(7, "wire");
    const std::vector<std::byte> saved = simulation.save();
    journeys.reset(group);
    journeys.end(8, "wire");
    CHECK(journeys.sums(group) == sim::Journeys::Sums{});
    CHECK(journeys.sums(other).total == Time::ns(100));
    simulation.restore(saved);
    CHECK(journeys.sums(group) == sums);
    CHECK(journeys.sums(other).total == Time::ns(50));
    CHECK(journeys.open_requests() == 1);
}

TEST_CASE("exponential times: mean, deciles, independence") {
    sim::Random random{3};
    constexpr int draws = 200'000;
    const Time mean = Time::us(10);
    // -ln(1 - k/10) in picoseconds for a mean of 10 us.
    const std::int64_t deciles[] = {1'053'605, 2'231'436,  3'566'749,  5'108'256, 6'931'472,
                                    9'162'907, 12'039'728, 16'094'379, 23'025'851};
    std::int64_t below[9] = {};
    std::int64_t sum = 0;
    std::int64_t rising = 0;
    Time before;
    for (int n = 0; n < draws; ++n) {
        const Time time = sim::exponential(random, mean);
        sum += time.ps();
        for (int k = 0; k < 9; ++k) below[k] += time.ps() < deciles[k] ? 1 : 0;
        rising += time > before ? 1 : 0;
        before = time;
    }
    // Four standard deviations: 10 us / sqrt(draws), and sqrt(p (1 - p) draws).
    CHECK(sum / draws == doctest::Approx(10'000'000).epsilon(4.0 / 447));
    for (int k = 0; k < 9; ++k) {
        CAPTURE(k);
        CHECK(below[k] > draws * (k + 1) / 10 - 900);
        CHECK(below[k] < draws * (k + 1) / 10 + 900);
    }
    CHECK(rising > draws / 2 - 900);
    CHECK(rising < draws / 2 + 900);
    CHECK(sim::exponential(random, Time::zero()) == Time::zero());
}

}  // namespace

}  // namespace journey_test
