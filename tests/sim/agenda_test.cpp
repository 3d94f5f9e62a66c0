// The agenda's order, cancellation, and survival of save and restore.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "sim/agenda.h"
#include "sim/archive.h"
#include "sim/random.h"

namespace agenda_test {

using namespace sim::literals;
using sim::Agenda;
using sim::Priority;
using sim::Time;
using sim::Timer;

namespace {

// Two timers that tell their order.
struct Box {
    Agenda agenda;
    std::string order;
    Timer a{agenda, "a", [this] { order += 'a'; }};
    Timer b{agenda, "b", [this] { order += 'b'; }};
};

}  // namespace

TEST_CASE("events fire by time, then devices before processors, then in the order they were armed") {
    Agenda agenda;
    std::string order;
    auto add = [&](char c, Priority p) {
        return std::make_unique<Timer>(
            agenda, std::string(1, c), [&order, c] { order += c; }, p);
    };
    auto a = add('a', Priority::processor);
    auto b = add('b', Priority::device);
    auto c = add('c', Priority::device);
    auto d = add('d', Priority::device);
    auto e = add('e', Priority::processor);
    a->arm(5_ns);
    b->arm(5_ns);
    c->arm(5_ns);
    d->arm(4_ns);
    e->arm(3_ns);
    b->arm(5_ns);  // armed again: goes behind c
    CHECK(agenda.next_event() == 3_ns);
    CHECK(agenda.next_deadline() == 4_ns);
    agenda.run_until(5_ns);
    CHECK(order == "edcba");
    CHECK(agenda.now() == 5_ns);
    CHECK_FALSE(agenda.run_next());
}

TEST_CASE("a timer that is disarmed or destroyed never fires; a past time means now") {
    Agenda agenda;
    int fired = 0;
    Timer kept{agenda, "kept", [&] { ++fired; }};
    {
        Timer gone{agenda, "gone", [&] { fired += 100; }};
        gone.arm(1_ns);
    }
    Timer off{agenda, "off", [&] { fired += 1000; }};
    off.arm(2_ns);
    off.disarm();
    CHECK(off.deadline().is_never());
    agenda.run_until(10_ns);
    kept.arm(3_ns);
    CHECK(kept.deadline() == 10_ns);
    agenda.run_until(10_ns);
    CHECK(fired == 1);
}

namespace {

// Timers that arm and disarm each other in what they fire, each as a generator of its own says; those that go on by
// themselves where they can, and those that arm themselves and return.
struct Crowd {
    explicit Crowd(bool goes_on) {
        for (std::size_t i = 0; i < 12; ++i) {
            const Priority priority = i % 4 == 3 ? Priority::processor : Priority::device;
            timers.push_back(std::make_unique<Timer>(
                agenda, "t", [this, i, goes_on] { act(i, goes_on); }, priority));
            timers[i]->arm(Time::ns(static_cast<std::int64_t>(i % 3)));
        }
    }
    void act(std::size_t i, bool goes_on) {
        Time next;
        do {
            fired.push_back({agenda.now(), i});
            seen.push_back(agenda.next_event());
            const std::size_t other = random.below(timers.size());
            if (random.below(3) == 0) timers[other]->disarm();
            if (random.below(3) == 0) timers[other]->arm(agenda.now() + ns(4));
            seen.push_back(agenda.next_deadline());
            if (timers[i]->armed() || random.below(8) == 0) return;
            next = agenda.now() + ns(4);
        } while (goes_on && timers[i]->go_on(next));
        timers[i]->arm(next);
    }
    Time ns(std::uint64_t most) { return Time::ns(static_cast<std::int64_t>(random.below(most))); }
    Agenda agenda;
    sim::Random random{11};
    std::vector<std::unique_ptr<Timer>> timers;
    std::vector<std::pair<Time, std::size_t>> fired;
    std::vector<Time> seen;
};

}  // namespace

TEST_CASE("a timer that goes on within what it has fired does what one that is armed and returns does") {
    Crowd goes{true}, returns{false};
    for (int turn = 0; turn < 2000; ++turn) {
        for (Crowd* crowd : {&goes, &returns}) {
            if (turn % 8 == 0) crowd->timers[static_cast<std::size_t>(turn) % 12]->arm(crowd->agenda.now());
            if (turn % 5 == 0) {
                crowd->agenda.run_next();
            } else {
                crowd->agenda.run_until(crowd->agenda.now() + 20_ns);
            }
        }
        REQUIRE(goes.fired == returns.fired);
        REQUIRE(goes.agenda.now() == returns.agenda.now());
        REQUIRE(sim::save_to_bytes(goes.agenda) == sim::save_to_bytes(returns.agenda));
        for (std::size_t i = 0; i < goes.timers.size(); ++i) {
            REQUIRE(sim::save_to_bytes(*goes.timers[i]) == sim::save_to_bytes(*returns.timers[i]));
        }
        for (Crowd* crowd : {&goes, &returns}) {
            REQUIRE(std::is_sorted(crowd->fired.begin(), crowd->fired.end(),
                                   [](const auto& a, const auto& b) { return a.first < b.first; }));
            crowd->fired.clear();
        }
        REQUIRE(goes.seen == returns.seen);
        goes.seen.clear();
        returns.seen.clear();
    }
    CHECK(goes.agenda.events_fired() > 5000);
}

// Timers and a list of them. A timer that fires arms and disarms others and itself.
struct Listed {
    static constexpr std::uint64_t most = 200;
    Listed(std::uint64_t seed, unsigned longest_bits) : random(seed), bits(longest_bits) {
        for (std::size_t i = 0; i < most; ++i) {
            timers.push_back(std::make_unique<Timer>(agenda, "t", [this, i] {
                REQUIRE(first() == i);
                REQUIRE(agenda.now() == list[i]->first);
                list[i].reset();
                for (std::uint64_t acts = random.below(3); acts > 0; --acts) act(acts == 1 ? i : random.below(most));
                REQUIRE(agenda.next_event() == next());
                ++fired;
            }));
        }
    }
    // Delays of all sizes up to 2^bits ps, half of them of that size.
    void act(std::size_t i) {
        if (random.below(3) == 0) {
            timers[i]->disarm();
            list[i].reset();
        } else {
            const std::uint64_t below = std::uint64_t{1} << (random.below(2) == 0 ? bits : random.below(bits));
            const Time at = agenda.now() + Time::ps(static_cast<std::int64_t>(random.below(below)));
            timers[i]->arm(at);
            list[i] = {at, order++};
        }
    }
    std::size_t first() const {
        std::size_t found = most;
        for (std::size_t i = 0; i < most; ++i) {
            if (list[i] && (found == most || *list[i] < *list[found])) found = i;
        }
        return found;
    }
    Time next() const { return first() == most ? Time::never() : list[first()]->first; }

    Agenda agenda;
    sim::Random random;
    unsigned bits;
    std::vector<std::unique_ptr<Timer>> timers;
    std::vector<std::optional<std::pair<Time, std::uint64_t>>> list{most};
    std::uint64_t order = 0, fired = 0;
};

TEST_CASE("random armings and cancellations come out as a sorted list would give them") {
    // Up to 1 ns, 1 us, 1 ms, 70 ms (all within the slots), 0.3 s, 1 s, 18 minutes.
    for (const unsigned bits : {10u, 20u, 30u, 36u, 38u, 40u, 50u}) {
        CAPTURE(bits);
        Listed all{bits, bits};
        for (int step = 0; step < 20'000; ++step) {
            // Now and then there are few, so that the next ones are far away; then many again.
            const bool few = step / 1000 % 2 == 0;
            if (all.random.below(few ? 3 : 2) == 0) all.act(all.random.below(few ? 3 : Listed::most));
            const bool any = all.first() != Listed::most;
            REQUIRE(all.agenda.next_event() == all.next());
            if (all.random.below(2) == 0) REQUIRE(all.agenda.run_next() == any);
        }
        CHECK(all.fired > 5000);
    }
}

TEST_CASE("a restored agenda fires equal times in the saved order") {
    Box first;
    first.b.arm(5_us);
    first.a.arm(5_us);
    sim::Writer writer;
    writer(first.agenda, first.a, first.b);
    Box second;
    sim::Reader reader{writer.data()};
    reader(second.agenda, second.a, second.b);
    second.agenda.run_until(5_us);
    CHECK(second.order == "ba");
    CHECK(second.agenda.now() == 5_us);
}

namespace {

struct Teller final : sim::Foresight {
    bool fetch_ahead(unsigned step) override {
        steps.push_back(step);
        return step + 1 < parts;
    }
    unsigned parts = 3;
    std::vector<unsigned> steps;
};

}  // namespace

TEST_CASE("who will need much is told before, a part at each event, once for each time that the timer is armed") {
    Agenda agenda;
    Teller teller;
    std::vector<Time> fired;
    Timer rare{agenda, "rare", [&] { fired.push_back(agenda.now()); }};
    rare.set_foresight(&teller);
    int ticks = 0;
    Timer often{agenda, "often", [&] {
                    ++ticks;
                    often.arm_after(1_us);
                }};
    often.arm(1_us);
    rare.arm(10_us);
    agenda.run_until(9_us);
    CHECK(fired.empty());
    CHECK(teller.steps == std::vector<unsigned>{0, 1, 2});
    agenda.run_until(10_us);
    CHECK(fired == std::vector<Time>{10_us});
    CHECK(teller.steps.size() == 3);
    // Armed again and again before anybody fires, it is told once.
    for (int n = 0; n < 1000; ++n) rare.arm(20_us + 1_ns * n);
    agenda.run_until(15_us);
    CHECK(teller.steps == std::vector<unsigned>{0, 1, 2, 0, 1, 2});
    agenda.run_until(30_us);
    CHECK(fired == std::vector<Time>{10_us, 20_us + 1_ns * 999});
    CHECK(ticks == 30);
}

TEST_CASE("of those with a foresight the next one is told, and all fire in the order in which they would without") {
    Agenda agenda;
    std::array<Teller, 3> tellers;
    std::string order;
    Timer first{agenda, "first", [&] { order += 'a'; }}, second{agenda, "second", [&] { order += 'b'; }};
    Timer third{agenda, "third", [&] { order += 'c'; }}, plain{agenda, "plain", [&] { order += 'p'; }};
    Timer tick{agenda, "tick", [&] { tick.arm_after(1_us); }};
    first.set_foresight(&tellers[0]);
    second.set_foresight(&tellers[1]);
    third.arm(40_us);
    third.set_foresight(&tellers[2]);  // it stays armed
    second.arm(20_us);
    plain.arm(20_us);
    first.arm(20_us);
    tick.arm(1_us);
    agenda.run_until(9_us);
    CHECK(tellers[0].steps.empty());
    CHECK(tellers[1].steps == std::vector<unsigned>{0, 1, 2});
    // One that comes before it is told instead.
    first.arm(15_us);
    agenda.run_until(15_us);
    CHECK(tellers[0].steps == std::vector<unsigned>{0, 1, 2});
    CHECK(tellers[2].steps.empty());
    first.arm(20_us);
    agenda.run_until(20_us);
    CHECK(order == "abpa");
    agenda.run_until(40_us);
    CHECK(order == "abpac");
    CHECK(tellers[2].steps == std::vector<unsigned>{0, 1, 2});
    // Disarmed and armed again: told again.
    tellers[0].steps.clear();
    first.arm(60_us);
    agenda.run_until(44_us);
    first.disarm();
    first.arm(60_us);
    agenda.run_until(48_us);
    CHECK(tellers[0].steps == std::vector<unsigned>{0, 1, 2, 0, 1, 2});
    first.disarm();
    // Without it a timer goes back among the others.
    order.clear();
    second.arm(50_us);
    second.set_foresight(nullptr);
    first.arm(50_us);
    plain.arm(50_us);
    CHECK(agenda.next_event() == 49_us);
    tick.disarm();
    CHECK(agenda.next_deadline() == 50_us);
    agenda.run_until(60_us);
    CHECK(order == "bap");
}

TEST_CASE("a timer far behind others is not told of; one that has gone, or whose foresight has, tells nobody") {
    Agenda agenda;
    std::vector<std::unique_ptr<Timer>> before;
    for (int n = 0; n < 100; ++n) {
        before.push_back(std::make_unique<Timer>(agenda, "before", [] {}));
        before.back()->arm(1_us + 1_ns * n);
    }
    Teller teller, other;
    auto last = std::make_unique<Timer>(agenda, "last", [] {});
    last->set_foresight(&teller);
    last->arm(1_ms);
    agenda.run_until(1_us + 20_ns);
    CHECK(teller.steps.empty());
    agenda.run_until(1_us + 97_ns);
    CHECK_FALSE(teller.steps.empty());
    const std::size_t told = teller.steps.size();
    last.reset();
    agenda.run_until(2_us);
    CHECK(teller.steps.size() == told);
    Timer changed{agenda, "changed", [] {}}, next{agenda, "next", [] {}};
    changed.set_foresight(&other);
    changed.arm(4_us);
    next.arm(3_us);
    changed.set_foresight(nullptr);
    agenda.run_until(5_us);
    CHECK(other.steps.empty());
}

}  // namespace agenda_test
