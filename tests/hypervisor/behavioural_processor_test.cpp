// Virtual processors that execute no instructions: what each thing costs them, to the picosecond, and in which order.
#include "hypervisor/behavioural_processor.h"

#include "worker_machine.h"

namespace behavioural_processor_test {

using namespace hypervisor;
using namespace hypervisor::test;

namespace {

Time sum_of(const CpuLedger& ledger, PartitionId partition, std::string_view cause) {
    Time sum;
    for (const auto& entry : ledger.entries()) {
        if (entry.partition == partition && entry.cause == cause) sum += entry.time;
    }
    return sum;
}

}  // namespace

TEST_CASE("setting up the interface costs an exit for each register, and then the processor halts") {
    Worker m;
    CHECK(m.boot() == cost::msr * 8 + cost::x2apic + cost::halt);
    CHECK(m.halted(0, m.id));
    CHECK(m.reg(HvRegister::simp, 0, m.id) == (page(11) | 1));
    CHECK(m.reg(HvRegister::scontrol, 0, m.id) == 1);
}

TEST_CASE("pieces, then what they wanted done, in the order of the calls; then it halts") {
    Worker m;
    m.boot();
    m.first().on_piece = [](BehaviouralProcessor& vp) {
        vp.charge("stack", Time::ns(5));
        vp.charge("copy", Time::ns(7), 3, 1, 42);
        vp.write_msr(msr::eom, 0, 3, 2);
    };
    m.run_until(Time::us(5));
    m.first().add(Time::us(1));
    m.first().add(Time::us(2));
    m.run();
    const Time one = Time::us(6), two = one + Time::ns(12) + cost::msr + Time::us(2);
    CHECK(m.first().log == Log{{"piece", one},
                               {"resume 3 1 42", one + Time::ns(12)},
                               {"resume 3 2 0", one + Time::ns(12) + cost::msr},
                               {"piece", two},
                               {"resume 3 1 42", two + Time::ns(12)},
                               {"resume 3 2 0", two + Time::ns(12) + cost::msr}});
    CHECK(m.simulation.agenda().now() == two + Time::ns(12) + cost::msr + cost::halt);
}

TEST_CASE("an interrupt of an idle processor costs its delivery; its end is excused") {
    Worker m;
    m.boot();
    m.run_until(Time::us(5));
    m.assert_vector(0x41);
    m.run();
    CHECK(m.first().log == Log{{"interrupt 65", Time::us(5) + cost::delivery}});
    CHECK(m.simulation.agenda().now() == Time::us(5) + cost::delivery + cost::halt);
}

TEST_CASE("without the assist page the end of an interrupt is an exit") {
    Worker m;
    m.boot(0, false);
    m.run_until(Time::us(5));
    m.assert_vector(0x41);
    m.run();
    CHECK(m.simulation.agenda().now() == Time::us(5) + cost::delivery + cost::x2apic + cost::halt);
}

TEST_CASE("an interrupt of a processor at work waits for the piece's end, and costs an exit besides") {
    Worker m;
    m.boot();
    m.run_until(Time::us(5));
    m.first().add(Time::us(3));
    m.first().add(Time::us(3));
    m.run_until(Time::us(6));
    m.assert_vector(0x41);
    m.assert_vector(0x51);
    m.run();
    // Two at once: of the first to be taken, the end is no longer excused.
    const Time first = Time::us(8) + cost::exit + cost::delivery;
    const Time second = first + cost::x2apic + cost::delivery;
    CHECK(m.first().log == Log{{"piece", Time::us(8)},
                               {"interrupt 81", first},
                               {"interrupt 65", second},
                               {"piece", second + Time::us(3)}});
}

TEST_CASE("what an interrupt's handler wants done comes before its end") {
    Worker m;
    m.boot();
    m.first().on_interrupt = [](BehaviouralProcessor& vp) { vp.charge("driver", Time::ns(30), 1, 1); };
    m.run_until(Time::us(5));
    m.assert_vector(0x41);
    m.run_until(Time::us(5) + cost::delivery + Time::ns(29));
    // The same class waits: it is in service still.
    m.assert_vector(0x42);
    m.run();
    const Time first = Time::us(5) + cost::delivery;
    const Time second = first + Time::ns(30) + cost::x2apic + cost::delivery;
    CHECK(m.first().log == Log{{"interrupt 65", first},
                               {"resume 1 1 0", first + Time::ns(30)},
                               {"interrupt 66", second},
                               {"resume 1 1 0", second + Time::ns(30)}});
}

TEST_CASE("messages and signals are hypercalls with a guest's privileges, and take effect when they are made") {
    Worker m;
    m.boot();
    REQUIRE(m.client->create_event_port({root_partition, 9}, m.id, 0, 2, 0, 1) == HvStatus::success);
    REQUIRE(m.client->connect_port({m.id, 9}, {root_partition, 9}, HvPortType::event) == HvStatus::success);
    m.run_until(Time::us(5));
    m.first().vp->call_signal_event(9, 0);
    m.first().vp->call_signal_event(10, 0);  // no such connection
    m.run_until(Time::us(5) + cost::hypercall - Time::ps(1));
    CHECK(*m.client->port_property({root_partition, 9}, HvPortProperty::signal_count) == 0);
    m.run_until(Time::us(5) + cost::hypercall);
    CHECK(*m.client->port_property({root_partition, 9}, HvPortProperty::signal_count) == 1);
    m.run();
    CHECK(m.simulation.agenda().now() == Time::us(5) + cost::hypercall * 2 + cost::halt);
    CHECK(m.simulation.statistics().all().at("hypervisor.partitions.2.vp0.refused").counter.value() == 1);
}

TEST_CASE("a port is an intercept: the processor stands until the root lets it go on") {
    Worker m;
    m.boot();
    REQUIRE(m.client->install_intercept(m.id, intercept_access_mask::read | intercept_access_mask::write,
                                        HvInterceptType::x64_io_port, 0x60) == HvStatus::success);
    m.run_until(Time::us(5));
    m.first().vp->read_port(0x60, 2, 7, 1);
    m.first().vp->read_port(0x61, 1, 7, 2);  // nobody's
    m.run_until(Time::us(9));
    REQUIRE(m.root.intercepts.size() == 1);
    const auto message =
        payload_of<HvX64IoPortInterceptMessage>(m.root.intercepts[0], HvMessageType::x64_io_port_intercept);
    REQUIRE(message);
    CHECK(message->port_number == 0x60);
    CHECK((message->access_info & io_port_access::size_mask) == 2);
    CHECK(m.reg(HvRegister::intercept_suspend, 0, m.id) == 1);
    CHECK(m.first().log.empty());
    m.set(HvRegister::x64_rax, 0xabcd'1234'5678, 0, m.id);
    m.set(HvRegister::intercept_suspend, 0, 0, m.id);
    m.run();
    CHECK(m.first().log == Log{{"resume 7 1 22136", Time::us(9)}, {"resume 7 2 255", Time::us(9) + cost::exit}});
}

TEST_CASE("an exit and the root's round trip pass before the root hears of an access") {
    Worker m;
    m.boot();
    m.run_until(Time::us(5));
    std::optional<Time> heard;
    m.root.answer = [&](const HvMessage&) {
        heard = m.simulation.agenda().now();
        m.set(HvRegister::x64_rax, 0x77, 0, m.id);
        m.set(HvRegister::intercept_suspend, 0, 0, m.id);
    };
    m.first().vp->write_register(0x8000'0000, 4, 5);
    m.first().vp->read_register(0x8000'0000, 4, 1, 1);
    m.run();
    const Time each = cost::nested_fault + cost::root;
    CHECK(m.first().log == Log{{"resume 1 1 119", Time::us(5) + each * 2}});
    CHECK(heard == Time::us(5) + each * 2);
    REQUIRE(m.root.intercepts.size() == 2);
    const auto write = payload_of<HvX64MemoryInterceptMessage>(m.root.intercepts[0], HvMessageType::unmapped_gpa);
    REQUIRE(write);
    CHECK(write->guest_physical_address == 0x8000'0000);
    CHECK(write->instruction_byte_count == 2);
    CHECK(write->instruction_bytes[0] == 0x89);
}

TEST_CASE("interrupts between processors arrive after their latency") {
    Worker m{2, 2};
    m.boot(0);
    m.boot(1);
    const Time start = Time::us(20);
    m.run_until(start);
    m.first().vp->send_ipi(2, 0x55);
    m.run();
    CHECK(m.first().log.empty());
    CHECK(m.software[1]->log == Log{{"interrupt 85", start + cost::hypercall + cost::ipi + cost::delivery}});
}

TEST_CASE("two on one processor share its time by weight, each change costs a switch") {
    Worker m{2, 1};
    for (unsigned n = 0; n < 2; ++n) {
        for (unsigned i = 0; i < 100; ++i) m.software[n]->queue.push_back(Time::ms(1));
        m.software[n]->vp->work_arrived();
    }
    m.run_until(Time::ms(101));
    const std::size_t one = m.software[0]->log.size(), other = m.software[1]->log.size();
    CHECK(one + other == 100);
    CHECK(one == 50);
    CHECK(sum_of(m.hypervisor->ledger(0), m.id, "hypervisor.switch") == cost::context_switch * 10);
}

TEST_CASE("a processor's time is the sum of its causes, to the picosecond") {
    Worker m;
    m.boot();
    m.first().on_piece = [](BehaviouralProcessor& vp) {
        vp.charge("stack", Time::ns(5));
        vp.call_signal_event(9, 0);
    };
    m.run_until(Time::us(5));
    m.first().add(Time::us(1));
    m.run_until(Time::us(5) + Time::ns(500));
    m.assert_vector(0x41);
    m.run_until(Time::us(10));
    const CpuLedger& ledger = m.hypervisor->ledger(0);
    CHECK(sum_of(ledger, m.id, "copy") == Time::ns(10));
    CHECK(sum_of(ledger, m.id, "work") == Time::ns(990));
    CHECK(sum_of(ledger, m.id, "stack") == Time::ns(5));
    CHECK(sum_of(ledger, m.id, "hypervisor.exit.hypercall") == cost::hypercall);
    CHECK(sum_of(ledger, m.id, "hypervisor.exit.interrupt") == cost::exit);
    CHECK(sum_of(ledger, m.id, "hypervisor.interrupt") == cost::delivery);
    CHECK(sum_of(ledger, m.id, "hypervisor.exit.msr") == cost::msr * 8 + cost::x2apic);
    CHECK(sum_of(ledger, m.id, "hypervisor.exit.halt") == cost::halt * 2);
    const CpuLedger::Sums sums = ledger.sums(m.simulation.agenda().now());
    CHECK(sums.busy + sums.idle == Time::us(10));
    CHECK(sums.end == Time::us(10));
}

TEST_CASE("machine code's time has causes, too") {
    WholeMachine m;
    const PartitionId id = m.guest();
    m.start(0, Code{}.cpuid().cpuid().hlt(), id);
    m.run();
    const CpuLedger& ledger = m.hypervisor->ledger(0);
    CHECK(sum_of(ledger, id, "hypervisor.exit.cpuid") == cost::cpuid * 2);
    CHECK(sum_of(ledger, id, "hypervisor.exit.halt") == cost::halt);
    CHECK(sum_of(ledger, id, "instructions") == Time::ns(3));
    const Time now = m.simulation.agenda().now();
    const CpuLedger::Sums sums = ledger.sums(now);
    CHECK(sums.busy + sums.idle == now);
}

TEST_CASE("a checkpoint in the middle of anything goes on as the straight run") {
    const auto run = [](std::optional<Time> restore_at) {
        Worker m;
        m.boot();
        REQUIRE(m.client->install_intercept(m.id, intercept_access_mask::read, HvInterceptType::x64_io_port, 0x60) ==
                HvStatus::success);
        m.root.answer = [&](const HvMessage&) {
            m.set(HvRegister::x64_rax, 0x12, 0, m.id);
            m.set(HvRegister::intercept_suspend, 0, 0, m.id);
        };
        m.first().on_piece = [](BehaviouralProcessor& vp) {
            vp.charge("stack", Time::ns(50), 1, 1);
            vp.read_port(0x60, 1, 1, 2);
            vp.call_signal_event(9, 0);
            vp.charge("stack", Time::ns(50), 1, 3);
        };
        m.run_until(Time::us(5));
        m.first().add(Time::us(1));
        m.run_until(Time::us(5) + Time::ns(300));
        m.assert_vector(0x41);
        if (restore_at) {
            m.run_until(*restore_at);
            const auto memory = m.bytes;
            const auto saved = m.simulation.save();
            const Log before = m.first().log;
            const auto queue = m.first().queue;
            m.run();
            m.bytes = memory;
            m.simulation.restore(saved);
            m.first().log = before;
            m.first().queue = queue;
        }
        m.run();
        std::vector<CpuLedger::Entry> entries = m.hypervisor->ledger(0).entries();
        Time busy;
        for (const auto& entry : entries) busy += entry.time;
        return std::pair{m.first().log, busy};
    };
    const auto straight = run(std::nullopt);
    REQUIRE(straight.first.size() == 5);
    // Within the piece, each action, the interrupt, the halt.
    for (Time at = Time::us(5) + Time::ns(301); at < Time::us(8); at += Time::ns(131)) {
        CAPTURE(at.ps());
        CHECK(run(at) == straight);
    }
}

TEST_CASE("work waits for another node's memory; exits and actions do not") {
    Worker m;
    m.boot();
    m.hypervisor->set_remote_work(m.id, {Time::ns(236)});
    m.first().on_piece = [](BehaviouralProcessor& vp) { vp.write_msr(msr::eom, 0); };
    const Time begun = m.simulation.agenda().now();
    m.first().add(Time::ns(1500));
    m.run();
    REQUIRE(m.first().log.size() == 1);
    CHECK(m.first().log[0].second == begun + Time::ns(1500 + 354));
    CHECK(sum_of(m.hypervisor->ledger(0), m.id, "remote_memory") == Time::ns(354));
    CHECK(m.simulation.agenda().now() == begun + Time::ns(1500 + 354) + cost::msr + cost::halt);
}

}  // namespace behavioural_processor_test
