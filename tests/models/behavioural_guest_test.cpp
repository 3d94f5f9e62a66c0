// A guest that executes no instructions in a real partition: its bus, its exits, its time, to the picosecond; and many
// of them on one host.
#include "models/behavioural/behavioural_guest.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <memory>
#include <string>
#include <vector>

#include "models/host.h"
#include "models/uart_16550.h"
#include "sim/processor.h"
#include "sim/simulation.h"
#include "tests/sim/looked_task.h"
#include "vmbus/integration/ic_service.h"

namespace behavioural_guest_test {

using models::BehaviouralGuest;
using models::Host;
using sim::Time;

namespace {

models::PartitionConfig worker(const std::string& name = "worker", unsigned vps = 1) {
    models::PartitionConfig config;
    config.name = name;
    config.vps = vps;
    config.memory_bytes = 64ull << 20;
    config.behavioural = true;
    return config;
}

// One instruction would be a nanosecond; an exit is a microsecond, the root's answer to an intercept five more.
struct Machine {
    explicit Machine(unsigned cores = 1, const models::PartitionConfig& config = worker(),
                     std::uint64_t memory_bytes = 256ull << 20) {
        models::HostConfig host_config;
        host_config.cores = cores;
        host_config.memory_bytes = memory_bytes;
        host_config.profile = "one-nanosecond";
        host = Host::create(simulation, host_config);
        guest = &host->add_partition(config);
    }
    BehaviouralGuest& software() { return *guest->behavioural(); }
    void run(Time until) {
        host->run(
            until, [] { return false; }, Time::never());
    }
    std::uint64_t count(const std::string& name) {
        const auto& all = simulation.statistics().all();
        const auto found = all.find(name);
        return found == all.end() ? ~std::uint64_t{0} : found->second.counter.value();
    }

    sim::Simulation simulation{7};
    std::unique_ptr<Host> host;
    models::Guest* guest = nullptr;
};

// Takes every channel of its type and opens it.
struct Opener final : vmbus::BusDriver, vmbus::ChannelDriver {
    explicit Opener(unsigned v) : vp(v) {}
    void offered(vmbus::ClientChannel& channel) override {
        channel.bind(*this);
        CHECK(channel.open({4, 4}, vp));
    }
    vmbus::ChannelDriver* adopt(vmbus::ClientChannel&) override { return this; }
    void opened(vmbus::ClientChannel& channel, std::uint32_t status) override {
        ++open;
        CHECK(status == 0);
        CHECK(channel.is_open());
    }
    void signalled(vmbus::ClientChannel&) override { ++signals; }
    unsigned vp;
    unsigned open = 0;
    unsigned signals = 0;
};

// Notes what it waited for.
struct Waiter final : models::Continuation {
    explicit Waiter(Machine& m) : machine(m), id(m.software().attach(*this)) {}
    void resume(std::uint32_t step, std::uint64_t value) override {
        answers.emplace_back(step, value);
        at.push_back(machine.host->now());
    }
    Machine& machine;
    models::ContinuationId id;
    std::vector<std::pair<std::uint32_t, std::uint64_t>> answers;
    std::vector<Time> at;
};

}  // namespace

TEST_CASE("a behavioural guest connects to its bus by the same messages, and is offered what its partition has") {
    Machine m;
    m.run(Time::ms(10));
    CHECK(m.software().connected());
    CHECK(m.software().bus().version() == vmbus::version::v5_3);
    CHECK(m.guest->state() == models::GuestState::running);
    CHECK(m.count("host.root.worker.vmbus.messages.offer_channel") == 9);
    CHECK(m.count("host.hypervisor.partitions.2.vp0.exits.hypercall") == 2);  // the contact, the request for offers
    CHECK(m.count("host.hypervisor.partitions.2.vp0.refused") == 0);
    CHECK(m.count("host.root.worker.vmbus.undelivered") == 0);
    CHECK(m.guest->instructions() == 0);
}

TEST_CASE("a driver's channel is opened, with interrupts for another processor") {
    Machine m{2, worker("worker", 2)};
    Opener opener{1};
    m.software().add_driver(vmbus::interface_type::heartbeat, opener);
    m.run(Time::ms(5));
    CHECK(opener.open == 1);
    // The host asks for a version at once; two seconds later for the first sign of life.
    CHECK(opener.signals == 1);
    CHECK(m.count("host.hypervisor.partitions.2.vp1.interrupts") == 1);
}

TEST_CASE("a driver that comes late is offered what is there") {
    Machine m;
    m.run(Time::ms(5));
    Opener opener{0};
    m.software().add_driver(vmbus::interface_type::heartbeat, opener);
    m.run(Time::ms(10));
    CHECK(opener.open == 1);
}

TEST_CASE("an emulated port takes an exit and the root's round trip, and answers what its device does") {
    Machine m;
    m.run(Time::ms(5));
    const Time start = m.host->now();
    Waiter waiter{m};
    // The line status register of the serial port: empty.
    m.software().read_port(0, models::Uart16550::com1_port + 5, 1, waiter.id, 1);
    m.software().write_port(0, models::Uart16550::com1_port, 1, 'x');
    m.software().processor(0).charge_then("test", Time::ns(10), waiter.id, 2, 9);
    m.run(Time::ms(6));
    CHECK(waiter.answers == std::vector<std::pair<std::uint32_t, std::uint64_t>>{{1, 0x60}, {2, 9}});
    CHECK(waiter.at == std::vector{start + Time::us(6), start + Time::us(12) + Time::ns(10)});
    CHECK(m.guest->console() == "x");
}

TEST_CASE("what passes on a processor has causes that sum to all of it") {
    Machine m;
    m.run(Time::ms(5));
    Time sum;
    const auto processors = m.host->processor_times();
    REQUIRE(processors.size() == 1);
    for (const auto& [cause, time] : processors[0]) sum += time;
    const Time guest = processors[0].at("guest.worker.vmbus.message");
    CHECK(sum == m.host->now());
    CHECK(guest == Time::us(11));  // the answer, nine offers, their end: a microsecond each
    // Nine registers of the interface, and nine times the end of a message behind which another waited.
    CHECK(processors[0].at("hypervisor.exit.msr") == Time::us(18));
}

TEST_CASE("a checkpoint while it boots and connects goes on as the straight run") {
    const auto run = [](Time at, bool restore) {
        Machine m{2, worker("worker", 2)};
        Opener opener{1};
        m.software().add_driver(vmbus::interface_type::heartbeat, opener);
        m.run(at);
        const auto saved = m.simulation.save();
        if (restore) {
            m.run(Time::ms(3));
            m.simulation.restore(saved);
        }
        m.run(Time::s(3));
        return m.simulation.trace().hash();
    };
    for (const Time at : {Time::us(7), Time::us(12), Time::us(20), Time::us(33), Time::us(50)}) {
        CAPTURE(at.ps());
        CHECK(run(at, true) == run(at, false));
    }
}

TEST_CASE("twenty partitions with 4 GiB each; at rest nothing is left to happen") {
    Machine m{8, worker("w0"), 128ull << 30};
    std::vector<models::Guest*> guests;
    for (unsigned n = 1; n <= 20; ++n) {
        models::PartitionConfig config = worker(fmt::format("w{}", n));
        config.memory_bytes = 4096ull << 20;
        guests.push_back(&m.host->add_partition(config));
    }
    m.run(Time::ms(20));
    for (models::Guest* guest : guests) CHECK(guest->behavioural()->connected());
    const std::uint64_t fired = m.simulation.agenda().events_fired();
    m.run(Time::s(1));
    CHECK(m.simulation.agenda().events_fired() - fired <= 2);
}

TEST_CASE("sixty-four virtual processors in one partition") {
    Machine m{8, worker("large", 64)};
    m.run(Time::ms(20));
    CHECK(m.software().connected());
    CHECK(m.count("host.hypervisor.partitions.2.vp63.exits.wrmsr") == 7);
}

TEST_CASE("what a processor needs is fetched to an end, and nothing is looked into that has ended on the way") {
    Machine m;
    m.run(Time::ms(10));
    models::BehaviouralCpu& cpu = m.software().processor(0);
    const auto steps = [&cpu](unsigned most) {
        unsigned step = 0;
        while (step < most && cpu.fetch_ahead(step)) ++step;
        return step;
    };
    constexpr unsigned all = 1000;
    unsigned until = 1;
    for (bool whole = false; !whole; ++until) {
        auto content = std::make_unique<std::vector<int>>(10);
        Looked task;
        auto slot = std::make_unique<sim::TaskSlot>(cpu, task);
        slot->needs_elements(*content);
        slot->wake();
        m.run(m.host->now() + Time::ms(1));
        (void)steps(all);  // the set is new: there is a list when none has changed since
        task.times = 0;
        CHECK(steps(all) >= 4);
        CHECK(task.times == 1);
        // Once more, and so many steps on it ends: what says where the content is lies in memory that is no more.
        task.times = 0;
        whole = steps(until) < until;
        slot.reset();
        content.reset();
        CHECK(task.times == (whole ? 1 : 0));
        CHECK_FALSE(cpu.fetch_ahead(until));
    }
    CHECK(until > 4);
}

}  // namespace behavioural_guest_test
