// The root's processors among the guests': when a piece of work begins and ends, who waits for whom.
#include "hypervisor/root_processor.h"

#include "root_service.h"

namespace root_processor_test {

using namespace hypervisor;
using namespace hypervisor::test;

TEST_CASE("on an idle processor a piece takes its own time") {
    WholeMachine m;
    Service service{m, 0};
    m.simulation.agenda().run_until(Time::us(5));
    service.add(Time::us(3));
    service.add(Time::us(1));
    m.run();
    CHECK(service.done == std::vector{Time::us(8), Time::us(9)});
}

TEST_CASE("root and guest share a logical processor, each change costs a switch") {
    WholeMachine m;
    const PartitionId id = m.guest();
    Service service{m, 0};
    // The guest starts at 0 and is the first on this processor; it runs for the quantum at most.
    m.start(0, Code{}.stamp(place::data).spin(), id);
    m.simulation.agenda().run_until(Time::ms(20));
    const Time woken = m.simulation.agenda().now();
    service.add(Time::us(7));
    m.simulation.agenda().run_until(Time::ms(21));
    REQUIRE(service.done.size() == 1);
    // At the end of the guest's quantum, which has begun already: within 100 us. Then a switch and the work.
    const Time waited = service.done[0] - woken - cost::context_switch - Time::us(7);
    CHECK(waited >= Time::zero());
    CHECK(waited <= Time::us(100));
    const std::uint64_t guest_ns = m.hypervisor->instructions(id);
    // 21 ms of instructions of 1 ns, less the root's 7 us and two switches of 500 ns; the last slice may be ahead.
    const std::uint64_t spent = 7'000 + 2 * 500;
    CHECK(guest_ns >= 21'000'000 - spent - 200'000);
    CHECK(guest_ns <= 21'000'000 - spent + 100'000);
}

TEST_CASE("a processor of the root's is bound to its logical processor; others go elsewhere") {
    WholeMachine m{2};
    Service first{m, 0};
    Service second{m, 1};
    const PartitionId id = m.guest();
    first.add(Time::ms(1));
    m.simulation.agenda().run_until(Time::us(1));
    m.start(0, Code{}.stamp(place::data).stamp(place::data + 4).hlt(), id);
    m.run();
    CHECK(first.done == std::vector{Time::ms(1)});
    // The guest found the second processor free, at once.
    CHECK(m.data(0, id) == 1000);
    CHECK(m.data(4, id) == 1002);
    // Its own is free again, but the service waits for nobody else's.
    second.add(Time::us(2));
    m.run();
    CHECK(second.done == std::vector{Time::ms(1) + Time::us(2) + cost::context_switch});
}

TEST_CASE("a processor that idles wakes up first, from the deeper the longer; another one has to call it") {
    HypervisorConfig config = round_numbers(1);
    config.exit_costs.idle_states = {{{Time::zero(), Time::us(1)},
                                      {Time::us(20), Time::us(10)},
                                      {Time::us(100), Time::us(50)},
                                      {Time::us(400), Time::us(80)}}};
    WholeMachine m{2, config};
    // It calls the other one when it is done.
    struct Caller final : sim::Task {
        Caller(WholeMachine& m, Service& s) : callee(s), slot(m.hypervisor->root_processor(0), *this) {}
        std::optional<Time> begin() override {
            return std::exchange(called, false) ? std::optional{Time::us(3)} : std::nullopt;
        }
        void finish() override { callee.add(Time::us(2)); }
        Service& callee;
        bool called = true;
        sim::TaskSlot slot;
    };
    Service first{m, 0}, second{m, 1};
    for (const auto& [at, done] : {std::pair{5, 5 + 1 + 3}, std::pair{50, 50 + 10 + 3}, std::pair{200, 200 + 50 + 3}}) {
        m.simulation.agenda().run_until(Time::us(at));
        first.add(Time::us(3));
        m.run();
        CHECK(first.done.back() == Time::us(done));
    }
    m.simulation.agenda().run_until(Time::us(260));
    Caller caller{m, second};
    caller.slot.wake();
    m.run();
    CHECK(second.done == std::vector{Time::us(260 + 1 + 3 + 50 + 2) + config.exit_costs.ipi_latency});
}

TEST_CASE("root work goes on after a restore") {
    const auto run = [](bool restore) {
        WholeMachine m;
        Service service{m, 0};
        service.add(Time::us(10));
        m.simulation.agenda().run_until(Time::us(4));
        if (restore) {
            const auto saved = m.simulation.save();
            m.run();
            service.done.clear();
            m.simulation.restore(saved);
        }
        m.run();
        return service.done;
    };
    CHECK(run(false) == std::vector{Time::us(10)});
    CHECK(run(true) == run(false));
}

}  // namespace root_processor_test
