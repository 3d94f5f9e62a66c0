// The synthetic driver of a behavioural guest, against the root's service and a switch.
#include "models/behavioural/synthetic_driver.h"

#include <doctest/doctest.h>

#include "models/network/virtual_switch.h"
#include "models/profiles.h"
#include "models/switch_adapter.h"
#include "tests/models/driver_stack.h"
#include "tests/models/plain_guest.h"
#include "vmbus/network/network_provider.h"

namespace behavioural_synthetic_test {

using namespace models;
using namespace models::test;
using sim::Time;

namespace {

const MacAddress guest_mac = mac_address("02:00:00:00:00:01"), far_mac = mac_address("02:00:00:00:00:02");

DriverCosts round_costs() {
    return find_profile("one-nanosecond").driver_costs;
}

struct Rig {
    explicit Rig(std::uint16_t channels = 1, std::uint32_t backlog = 1024)
        : guest(loop, 4), network(loop.simulation.scope("switch")), adapter(network, "guest", adapter_port(guest_mac)) {
        vmbus::NetworkProvider::Config host;
        host.adapter.address.bytes = guest_mac.bytes;
        host.adapter.queues = channels;
        host.adapter.offloads = vmbus::OffloadSettings::all(true);
        provider.emplace(loop.simulation.scope("root.net"), loop.server, adapter, host,
                         [this](std::uint16_t) -> sim::Processor& { return root; });
        adapter.connect(*provider);
        far_port = network.connect("far", far, adapter_port(far_mac));
        SyntheticDriver::Config config = SyntheticDriver::config(round_costs(), channels);
        config.backlog = backlog;
        driver.emplace(loop.simulation.scope("guest.net"), guest, stack, config);
        stack.driver = &*driver;
        stack.own = guest_mac;
        stack.peer = far_mac;
    }
    void up() {
        loop.client.connect();
        loop.run(Time::ms(20));
        REQUIRE(driver->is_up());
    }
    void to_guest(std::uint32_t first, std::uint32_t count, std::size_t bytes = 60) {
        for (std::uint32_t n = first; n < first + count; ++n) {
            network.send(far_port, Frame{numbered_frame(guest_mac, far_mac, n, bytes)});
        }
    }

    vmbus::test::Loopback loop;
    PlainGuest guest;
    sim::SerialProcessor root{loop.simulation.scope("root.cpu"), Time::zero()};
    VirtualSwitch network;
    SwitchAdapter adapter;
    std::optional<vmbus::NetworkProvider> provider;
    FarEnd far{loop.simulation.scope("far")};
    PortId far_port = no_port;
    TestStack stack{loop.simulation.scope("stack")};
    std::optional<SyntheticDriver> driver;
    sim::StateRegistration adapter_registration{loop.simulation.scope("adapter").register_state(adapter)};
};

}  // namespace

TEST_CASE("behavioural synthetic driver: up, and what it says of itself") {
    Rig rig(4);
    CHECK_FALSE(rig.driver->is_up());
    rig.up();
    CHECK(rig.stack.ups == 1);
    CHECK(rig.driver->queues() == 4);
    CHECK(rig.driver->processor_of(3) == 3);
    CHECK(rig.driver->address().bytes == guest_mac.bytes);
    CHECK(rig.driver->mtu() == 1500);
    CHECK(rig.driver->offloads().large_send_ipv4);
    CHECK(rig.driver->path() == "synthetic");
}

TEST_CASE("behavioural synthetic driver: frames both ways, more than rings hold") {
    Rig rig;
    rig.up();
    rig.stack.frame_bytes = 1514;
    rig.stack.send(5000);  // 7.5 MB through rings of half a MiB, in messages of up to 8 frames
    CHECK(rig.stack.sent == 1024);
    rig.to_guest(0, 200);
    for (std::uint32_t at = 200; at < 3000; at += 200) {
        rig.loop.run(Time::ms(1));
        rig.to_guest(at, 200);
    }
    rig.loop.run(Time::ms(100));
    CHECK(rig.stack.sent == 5000);
    CHECK(rig.stack.rooms > 0);
    CHECK(rig.far.numbers.got.size() == 5000);
    CHECK(rig.far.numbers.counts_up());
    CHECK(rig.stack.numbers.got.size() == 3000);
    CHECK(rig.stack.numbers.counts_up());
    CHECK(rig.driver->client().host_errors() == 0);
}

TEST_CASE("behavioural synthetic driver: what a frame costs, to the picosecond") {
    Rig rig;
    rig.up();
    rig.stack.send(1);
    rig.loop.run(Time::ms(1));
    rig.guest.clear_ledgers();
    rig.stack.send(1);
    rig.loop.run(Time::ms(1));
    REQUIRE(rig.far.numbers.got.size() == 2);
    const DriverCosts costs = round_costs();
    // Out: one packet on the ring, the frame copied with its header into a section, a signal. Back: an interrupt with
    // the completion.
    CHECK(rig.guest.spent("guest.network.frame") == costs.frame);
    CHECK(rig.guest.spent("guest.vmbus.packet") == costs.bus.per_packet * 2);
    CHECK(rig.guest.spent("guest.vmbus.signal") == costs.bus.signal);
    CHECK(rig.guest.spent("guest.vmbus.copy") == costs.bus.copy(60));
    CHECK(rig.guest.spent("guest.network.interrupt").ps() == costs.interrupt.ps());
    CHECK(rig.guest.spent("guest.vmbus.message") == Time::zero());
    CHECK(rig.guest.spent("guest.other") == Time::zero());
    CHECK(rig.guest.busy() ==
          costs.frame + costs.bus.per_packet * 2 + costs.bus.signal + costs.bus.copy(60) + costs.interrupt);

    rig.guest.clear_ledgers();
    rig.to_guest(0, 1);
    rig.loop.run(Time::ms(1));
    REQUIRE(rig.stack.numbers.got.size() == 1);
    CHECK(rig.guest.spent("guest.network.frame") == costs.frame);
    CHECK(rig.guest.spent("guest.network.interrupt").ps() == costs.interrupt.ps());
    CHECK(rig.guest.spent("guest.vmbus.packet") == costs.bus.per_packet);
    // One with its RNDIS header.
    CHECK(rig.guest.spent("guest.vmbus.copy") == costs.bus.copy(60 + 44));
}

TEST_CASE("behavioural synthetic driver: a checkpoint in the middle of traffic") {
    const auto begin = [](Rig& rig) {
        rig.up();
        rig.stack.frame_bytes = 700;
        rig.stack.send(3000);
        for (std::uint32_t at = 0; at < 500; at += 100) {
            rig.to_guest(at, 100);
            rig.loop.run(Time::us(137));
        }
    };
    Rig straight(2);
    begin(straight);
    const std::vector<std::byte> checkpoint = straight.loop.simulation.save();
    Rig restored(2);
    restored.loop.simulation.restore(checkpoint);
    REQUIRE(restored.far.numbers.got.size() == straight.far.numbers.got.size());
    REQUIRE(restored.far.numbers.got.size() < 3000);
    for (Rig* rig : {&straight, &restored}) {
        rig->loop.run(Time::ms(50));
        CHECK(rig->far.numbers.got.size() == 3000);
        CHECK(rig->far.numbers.counts_up());
        CHECK(rig->stack.numbers.got.size() == 500);
        CHECK(rig->stack.numbers.counts_up());
    }
    CHECK(straight.guest.busy() == restored.guest.busy());
    CHECK(straight.loop.simulation.save() == restored.loop.simulation.save());
}

}  // namespace behavioural_synthetic_test
