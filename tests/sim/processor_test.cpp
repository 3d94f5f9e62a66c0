// A processor's time shared by tasks: turns, exact times, tasks that go away, and restoring in the middle.
#include "sim/processor.h"

#include <doctest/doctest.h>

#include <deque>
#include <string>
#include <vector>

#include "sim/simulation.h"

namespace processor_test {

using namespace sim;
using namespace sim::literals;

namespace {

struct Log {
    Simulation simulation;
    std::vector<std::pair<std::int64_t, std::string>> lines;
    void add(const std::string& text) { lines.emplace_back(simulation.agenda().now().ps(), text); }
};

struct Worker final : Task {
    Worker(Log& log, Processor& processor, std::string name)
        : log_(log), name_(std::move(name)), slot(processor, *this) {}
    std::optional<Time> begin() override {
        if (queue.empty()) return std::nullopt;
        const Time cost = queue.front();
        queue.pop_front();
        return cost;
    }
    void finish() override { log_.add(name_); }

    Log& log_;
    std::string name_;
    std::deque<Time> queue;
    TaskSlot slot;
};

using Lines = std::vector<std::pair<std::int64_t, std::string>>;

}  // namespace

TEST_CASE("a processor's tasks take turns, each piece has its effect when its time has passed") {
    Log log;
    SerialProcessor processor{log.simulation.scope("cpu"), 100_ps};
    Worker a{log, processor, "a"};
    Worker b{log, processor, "b"};
    a.queue = {10_ps, 20_ps};
    b.queue = {5_ps};
    a.slot.wake();
    b.slot.wake();
    b.slot.wake();
    log.simulation.agenda().run_until(1000_ps);
    CHECK(log.lines == Lines{{110, "a"}, {115, "b"}, {135, "a"}});
    CHECK(log.simulation.scope("cpu").counter("busy", "ps", "").value() == 35);
    SUBCASE("idle again, the next dispatch takes its time") {
        a.queue = {1_ps};
        a.slot.wake();
        log.simulation.agenda().run_until(2000_ps);
        CHECK(log.lines.back() == std::pair<std::int64_t, std::string>{1101, "a"});
    }
    SUBCASE("nothing to do costs nothing") {
        b.slot.wake();
        log.simulation.agenda().run_until(2000_ps);
        CHECK(log.simulation.scope("cpu").counter("busy", "ps", "").value() == 35);
    }
}

TEST_CASE("a task that goes away in the middle of its piece has no effect any more") {
    Log log;
    SerialProcessor processor{log.simulation.scope("cpu"), Time::zero()};
    Worker b{log, processor, "b"};
    {
        Worker a{log, processor, "a"};
        a.queue = {10_ps};
        a.slot.wake();
        b.queue = {3_ps};
        b.slot.wake();
        log.simulation.agenda().run_until(5_ps);
    }
    log.simulation.agenda().run_until(100_ps);
    CHECK(log.lines == Lines{{13, "b"}});
}

TEST_CASE("a processor's work goes on after a restore") {
    const auto run = [](bool restore) {
        Log log;
        SerialProcessor processor{log.simulation.scope("cpu"), 1_ps};
        Worker a{log, processor, "a"};
        Worker b{log, processor, "b"};
        std::vector<std::byte> saved;
        {
            a.queue = {10_ps, 10_ps};
            b.queue = {7_ps};
            a.slot.wake();
            b.slot.wake();
            log.simulation.agenda().run_until(5_ps);
            saved = log.simulation.save();
        }
        if (restore) {
            log.simulation.agenda().run_until(100_ps);
            log.lines.clear();
            log.simulation.restore(saved);
            a.queue = {10_ps};
            b.queue = {7_ps};
        }
        log.simulation.agenda().run_until(100_ps);
        return log.lines;
    };
    CHECK(run(false) == Lines{{11, "a"}, {18, "b"}, {28, "a"}});
    CHECK(run(true) == run(false));
}

}  // namespace processor_test
