// Behavioural guests' drivers in real partitions of a real host: the hypervisor's interrupts and exits, the root's
// services, the 82599 with its virtual functions paired to synthetic adapters.
#include <doctest/doctest.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "models/behavioural/behavioural_guest.h"
#include "models/behavioural/emulated_driver.h"
#include "models/behavioural/failover_driver.h"
#include "models/host.h"
#include "models/host_networks.h"
#include "models/legacy/generation1_partition.h"
#include "models/pci/adapter_cable.h"
#include "models/pci/partition_pci.h"
#include "models/profiles.h"
#include "models/synthetic_devices.h"
#include "sim/simulation.h"
#include "tests/models/driver_stack.h"

namespace behavioural_host_test {

using namespace models;
using namespace models::test;
using sim::Time;

namespace {

constexpr std::uint64_t memory_bytes = 64ull << 20;
const MacAddress one_mac = mac_address("02:00:00:00:00:01"), two_mac = mac_address("02:00:00:00:00:02"),
                 far_mac = mac_address("02:00:00:00:00:09");

struct Device final : HostDevice {
    Device(const sim::Scope& scope, HostPci& pci, const HostAdapterConfig& c)
        : adapter(scope, pci, pci.processor(), c) {}
    pci::Function& function() override { return adapter.function(); }
    HostAdapter adapter;
};

struct Machine {
    Machine() {
        HostConfig config;
        config.cores = 4;
        config.memory_bytes = 512ull << 20;
        host = Host::create(simulation, config);
        network = &host->networks().add_switch("lan", {});
    }
    Guest& add(const std::string& name, unsigned generation = 2) {
        PartitionConfig partition;
        partition.name = name;
        partition.generation = generation;
        partition.vps = 2;
        partition.memory_bytes = memory_bytes;
        partition.behavioural = true;
        return host->add_partition(partition);
    }
    SyntheticNic& add_nic(Guest& guest, const MacAddress& mac) {
        NetworkConfig config;
        config.name = guest.name() + "-net";
        config.port = adapter_port(mac);
        return guest.devices().add_network(*network, config);
    }
    void run(Time time) {
        host->run(
            host->now() + time, [] { return false; }, Time::never());
    }

    sim::Simulation simulation{7};
    std::unique_ptr<Host> host;
    Network* network = nullptr;
    const DriverCosts costs = find_profile("sandy-bridge-ep").driver_costs;
};

}  // namespace

TEST_CASE("behavioural drivers in a host: two partitions on a switch") {
    Machine m;
    TestStack stacks[2] = {TestStack{m.simulation.scope("stack1")}, TestStack{m.simulation.scope("stack2")}};
    std::vector<std::unique_ptr<SyntheticDriver>> drivers;
    for (unsigned n = 0; n < 2; ++n) {
        Guest& guest = m.add(n == 0 ? "one" : "two");
        m.add_nic(guest, n == 0 ? one_mac : two_mac);
        BehaviouralGuest& software = *guest.behavioural();
        drivers.push_back(std::make_unique<SyntheticDriver>(software.scope().child("net"), software, stacks[n],
                                                            SyntheticDriver::config(m.costs, 1)));
        stacks[n].driver = drivers[n].get();
        stacks[n].own = n == 0 ? one_mac : two_mac;
        stacks[n].peer = n == 0 ? two_mac : one_mac;
    }
    m.run(Time::ms(50));
    for (const auto& driver : drivers) REQUIRE(driver->is_up());
    stacks[0].send(500);
    stacks[1].send(300);
    m.run(Time::ms(50));
    CHECK(stacks[1].numbers.got.size() == 500);
    CHECK(stacks[1].numbers.counts_up());
    CHECK(stacks[0].numbers.got.size() == 300);
    CHECK(stacks[0].numbers.counts_up());
}

TEST_CASE("behavioural drivers in a host: the virtual function of a partition's adapter") {
    for (const sriov_nic::VfKind kind : {sriov_nic::VfKind::hyper_v, sriov_nic::VfKind::mailbox}) {
        Machine m;
        HostAdapterConfig config;
        config.name = "nic";
        config.mac = mac_address("02:00:00:00:00:08");
        config.vfs = 2;
        HostPci& pci = m.host->pci();
        HostAdapter& adapter =
            pci.keep(std::make_unique<Device>(m.simulation.scope("host.pci.nic"), pci, config)).adapter;
        adapter.connect_switch(m.network->ports(), "nic");
        FarEnd far{m.simulation.scope("far")};
        adapter.connect_wire(far);

        Guest& guest = m.add("one");
        SyntheticNic& nic = m.add_nic(guest, one_mac);
        VfPairing& pairing = guest.pci().pair("vf", nic, adapter.reserve_vf(one_mac, kind));
        BehaviouralGuest& software = *guest.behavioural();
        TestStack stack{m.simulation.scope("stack")};
        VfDriver::Config vf = VfDriver::config(m.costs, MemoryLayout::of_size(memory_bytes).high_window.first);
        vf.kind = kind;
        FailoverDriver driver(software.scope().child("net"), software, stack, SyntheticDriver::config(m.costs, 1), vf);
        stack.driver = &driver;
        stack.own = one_mac;
        stack.peer = far_mac;
        m.run(Time::ms(50));
        REQUIRE(driver.is_up());
        stack.send(100);
        m.run(Time::ms(10));
        CHECK(far.numbers.got.size() == 100);
        pairing.offer();
        m.run(Time::ms(50));
        CHECK(driver.on_vf());
        CHECK(pairing.traffic_on_vf());
        stack.send(1000);
        for (std::uint32_t n = 0; n < 200; ++n) {
            adapter.from_wire().receive(Frame{numbered_frame(one_mac, far_mac, n)});
            m.run(Time::us(10));
        }
        m.run(Time::ms(10));
        CHECK(far.numbers.got.size() == 1100);
        CHECK(far.numbers.counts_up());
        CHECK(stack.numbers.got.size() == 200);
        CHECK(stack.numbers.counts_up());
        CHECK(adapter.vf_statistics(0).sent >= 1000);
        pairing.revoke();
        m.run(Time::ms(10));
        CHECK_FALSE(pairing.given());
        CHECK_FALSE(driver.on_vf());
        stack.send(100);
        m.run(Time::ms(10));
        CHECK(far.numbers.got.size() == 1200);
        CHECK(far.numbers.counts_up());
        // And back, then by surprise.
        pairing.offer();
        m.run(Time::ms(50));
        CHECK(driver.on_vf());
        pairing.withdraw();
        m.run(Time::ms(10));
        CHECK_FALSE(driver.on_vf());
        stack.send(100);
        m.run(Time::ms(10));
        CHECK(far.numbers.got.size() == 1300);
    }
}

TEST_CASE("behavioural drivers in a host: the emulated adapter of a Generation 1 partition") {
    Machine m;
    Guest& guest = m.add("old", 1);
    NetworkConfig config;
    config.name = "old-net";
    config.port = adapter_port(one_mac);
    (void)guest.generation1()->add_network(*m.network, config);
    FarEnd far{m.simulation.scope("far")};
    const PortId port = m.network->ports().connect("far", far, adapter_port(far_mac));
    BehaviouralGuest& software = *guest.behavioural();
    TestStack stack{m.simulation.scope("stack")};
    EmulatedDriver::Config made;
    made.address.bytes = one_mac.bytes;
    made.costs = m.costs;
    EmulatedDriver driver(software.scope().child("net"), software, stack, made);
    stack.driver = &driver;
    stack.own = one_mac;
    stack.peer = far_mac;
    m.run(Time::ms(10));
    driver.start();
    m.run(Time::ms(10));
    REQUIRE(driver.is_up());
    stack.send(300);
    for (std::uint32_t n = 0; n < 200; ++n) {
        m.network->ports().send(port, Frame{numbered_frame(one_mac, far_mac, n)});
        m.run(Time::us(200));
    }
    m.run(Time::ms(50));
    CHECK(far.numbers.got.size() == 300);
    CHECK(far.numbers.counts_up());
    CHECK(stack.numbers.got.size() == 200);
    CHECK(stack.numbers.counts_up());
}

TEST_CASE("behavioural drivers in a host: a checkpoint in the middle of a virtual function's traffic") {
    struct WithVf : Machine {
        WithVf() {
            HostAdapterConfig config;
            config.name = "nic";
            config.mac = mac_address("02:00:00:00:00:08");
            config.vfs = 1;
            HostPci& pci = host->pci();
            adapter = &pci.keep(std::make_unique<Device>(simulation.scope("host.pci.nic"), pci, config)).adapter;
            adapter->connect_switch(network->ports(), "nic");
            adapter->connect_wire(far);
            Guest& guest = add("one");
            SyntheticNic& nic = add_nic(guest, one_mac);
            guest.pci().pair("vf", nic, adapter->reserve_vf(one_mac, sriov_nic::VfKind::hyper_v)).offer();
            BehaviouralGuest& software = *guest.behavioural();
            driver.emplace(software.scope().child("net"), software, stack, SyntheticDriver::config(costs, 1),
                           VfDriver::config(costs, MemoryLayout::of_size(memory_bytes).high_window.first));
            stack.driver = &*driver;
            stack.own = one_mac;
            stack.peer = far_mac;
        }
        FarEnd far{simulation.scope("far")};
        TestStack stack{simulation.scope("stack")};
        HostAdapter* adapter = nullptr;
        std::optional<FailoverDriver> driver;
    };
    for (const std::int64_t moment : {0, 137, 4711}) {
        CAPTURE(moment);
        WithVf straight;
        straight.run(Time::ms(60));
        REQUIRE(straight.driver->on_vf());
        straight.stack.send(3000);
        straight.run(Time::us(300) + Time::ns(moment));
        const std::vector<std::byte> checkpoint = straight.simulation.save();
        REQUIRE(straight.far.numbers.got.size() < 3000);
        WithVf restored;
        restored.simulation.restore(checkpoint);
        for (WithVf* machine : {&straight, &restored}) {
            machine->run(Time::ms(10));
            CHECK(machine->far.numbers.got.size() == 3000);
            CHECK(machine->far.numbers.counts_up());
        }
        CHECK(straight.simulation.trace().hash() == restored.simulation.trace().hash());
    }
}

}  // namespace behavioural_host_test
