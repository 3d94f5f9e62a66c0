// Which processor takes up what there is to do, and when: the scheduler's decisions as turns in simulated time.
#include "root_service.h"
#include "worker_machine.h"

namespace processor_turns_test {

using namespace hypervisor;
using namespace hypervisor::test;

TEST_CASE("one that its cap still holds back when it has work again does it as soon as it may") {
    Worker m;
    // 1.5625 ms of each 100 ms. What the piece leaves does not last for the halt.
    REQUIRE(m.client->set_property(m.id, HvPartitionProperty::cpu_cap, full_share / 64) == HvStatus::success);
    const Time piece = Time::ns(1'562'500) - Time::ns(100);
    m.run_until(Time::ms(10));
    m.first().add(piece);
    m.run_until(Time::ms(20));
    REQUIRE(m.halted(0, m.id));
    m.first().add(Time::us(1));
    m.run_until(Time::ms(110));
    CHECK(m.first().log == Log{{"piece", Time::ms(10) + piece}, {"piece", Time::ms(100) + Time::us(1)}});
}

TEST_CASE("two that their caps let go one after the other, while the first finds no processor") {
    Worker m{1, 2};
    Software other{m};
    const PartitionId id = m.make(1);
    m.hypervisor->set_software(id, 0, &other);
    m.set(HvRegister::explicit_suspend, 0, 0, id);
    for (const auto& [partition, processor] : {std::pair{m.id, 1u}, std::pair{id, 2u}}) {
        REQUIRE(m.client->set_property(partition, HvPartitionProperty::cpu_cap, full_share / 64) == HvStatus::success);
        REQUIRE(m.client->set_property(partition, scheduling_affinity_set, processor) == HvStatus::success);
    }
    Service root{m, 0};
    m.run_until(Time::ms(10));
    m.first().add(Time::ms(2));
    other.add(Time::ms(4));  // a debt that takes another period
    m.run_until(Time::ms(20));
    m.first().add(Time::us(1));
    other.add(Time::us(1));
    m.run_until(Time::ms(50));
    root.add(Time::ms(300));
    m.run_until(Time::ms(400));
    CHECK(other.log == Log{{"piece", Time::ms(14)}, {"piece", Time::ms(200) + Time::us(1)}});
    CHECK(m.first().log ==
          Log{{"piece", Time::ms(12)}, {"piece", Time::ms(350) + cost::context_switch * 2 + Time::us(1)}});
    m.hypervisor->set_software(id, 0, nullptr);
}

// A log of pieces of 15 us from a time on.
Log pieces(int count, Time from) {
    Log log;
    for (int n = 1; n <= count; ++n) log.emplace_back("piece", from + Time::us(15) * n);
    return log;
}
Log operator+(Log a, const Log& b) {
    a.insert(a.end(), b.begin(), b.end());
    return a;
}

TEST_CASE("a processor of the root's does not wait for a guest that could run elsewhere, and nor does the guest") {
    Worker m{1, 2};
    Service root{m, 0};
    // It has had so much that it is not its turn; the guest has its credit.
    root.add(Time::ms(15));
    m.run_until(Time::ms(16));
    for (int n = 0; n < 5; ++n) m.first().add(Time::us(15));
    m.run_until(Time::us(16'010));
    root.add(Time::us(7));
    m.run();
    // 20 us, and what it has begun then.
    const Time begin = Time::ms(16) + cost::context_switch, displaced = begin + Time::us(45);
    CHECK(root.done == std::vector{Time::ms(15), displaced + cost::context_switch + Time::us(7)});
    // It goes on at the other one, which has to be called.
    CHECK(m.first().log == pieces(3, begin) + pieces(2, displaced + cost::ipi));
}

TEST_CASE("a processor of the root's that waits gets its place when another one has nothing more to do") {
    Worker m{2, 2};
    Service root{m, 0};
    root.add(Time::ms(15));
    m.run_until(Time::ms(16));
    // The first one goes where it was last, the second one to the other processor.
    for (int n = 0; n < 8; ++n) m.first().add(Time::us(15));
    m.software[1]->add(Time::us(40));
    m.run_until(Time::us(16'005));
    root.add(Time::us(7));
    m.run();
    CHECK(m.software[1]->log == Log{{"piece", Time::us(16'040)}});
    // Then it is in its third piece.
    const Time begin = Time::ms(16) + cost::context_switch, displaced = begin + Time::us(75);
    CHECK(root.done == std::vector{Time::ms(15), displaced + cost::context_switch + Time::us(7)});
    // A change, as somebody else has run there.
    CHECK(m.first().log == pieces(5, begin) + pieces(3, displaced + cost::ipi + cost::context_switch));
}

TEST_CASE("a processor that was called in vain has been awake: the next call finds it in a light sleep") {
    HypervisorConfig config = round_numbers(1);
    config.exit_costs.idle_states = {{{Time::zero(), Time::us(1)},
                                      {Time::us(20), Time::us(10)},
                                      {Time::us(100), Time::us(50)},
                                      {Time::us(400), Time::us(80)}}};
    Worker m{2, 2, config};
    Service root{m, 1};
    m.run_until(Time::us(1'000));
    m.first().add(Time::us(30));
    m.run_until(Time::us(1'090));
    m.software[1]->add(Time::us(5));  // for which the second one is called; until it is awake the first one does it
    m.run_until(Time::us(1'175));
    root.add(Time::us(2));
    m.run();
    CHECK(m.first().log == Log{{"piece", Time::us(1'080 + 30)}});
    CHECK(m.software[1]->log == Log{{"piece", Time::us(1'110 + 5) + cost::halt + cost::context_switch}});
    CHECK(root.done == std::vector{Time::us(1'175 + 1 + 2)});
}

}  // namespace processor_turns_test
