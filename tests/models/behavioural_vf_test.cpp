// A behavioural guest's driver of a virtual function, against the 82599 behind its link and the IOMMU.
#include "models/behavioural/vf_driver.h"

#include <doctest/doctest.h>

#include "models/profiles.h"
#include "tests/models/vf_rig.h"

using namespace models;
using namespace models::test;
using sim::Time;
using sriov_nic::VfKind;

namespace {

constexpr std::uint64_t device_space = 0x10'0000'0000;

struct Rig {
    explicit Rig(VfDriver::Config config = VfDriver::config(find_profile("one-nanosecond").driver_costs, device_space))
        : host(loop, config.kind), guest(loop, 4), function(guest, host.pci, host.root, *host.source) {
        driver.emplace(loop.simulation.scope("guest.vf"), guest, stack, config);
        stack.driver = &*driver;
        stack.own = VfHost::guest_mac;
        stack.peer = VfHost::far_mac;
    }
    void up() {
        loop.client.connect();
        loop.run(Time::ms(1));
        function.offer();
        loop.run(Time::ms(20));
        REQUIRE(driver->is_up());
        host.source->steer_to_vf(true);
    }
    void run(Time time) { loop.run(time); }

    vmbus::test::Loopback loop;
    VfHost host;
    PlainGuest guest;
    PlainFunction function;
    TestStack stack{loop.simulation.scope("stack")};
    std::optional<VfDriver> driver;
};

VfDriver::Config small(VfKind kind = VfKind::hyper_v, std::uint16_t queues = 1) {
    VfDriver::Config config = VfDriver::config(find_profile("one-nanosecond").driver_costs, device_space);
    config.kind = kind;
    config.queues = queues;
    config.layout.transmit_descriptors = 64;
    config.layout.receive_descriptors = 64;
    return config;
}

}  // namespace

TEST_CASE("behavioural VF driver: both kinds come up") {
    struct Row {
        VfKind kind;
        std::uint16_t wanted, given;
    };
    for (const Row& row : {Row{VfKind::hyper_v, 1, 1}, Row{VfKind::hyper_v, 4, 1}, Row{VfKind::mailbox, 1, 1},
                           Row{VfKind::mailbox, 2, 2}, Row{VfKind::mailbox, 4, 2}}) {
        CAPTURE(row.wanted);
        Rig rig(small(row.kind, row.wanted));
        CHECK_FALSE(rig.driver->is_up());
        rig.up();
        CHECK(rig.stack.ups == 1);
        CHECK(rig.driver->queues() == row.given);
        CHECK(rig.driver->address().bytes == VfHost::guest_mac.bytes);
        CHECK(rig.driver->serial() == 7);
        CHECK(rig.driver->pci().version() == vmbus::virtual_pci::version_1_4);
        CHECK(rig.driver->path() == "virtual function");
        CHECK(rig.host.pci.iommu().faults().size() == 0);
    }
}

TEST_CASE("behavioural VF driver: frames both ways, many times around the rings") {
    for (const VfKind kind : {VfKind::hyper_v, VfKind::mailbox}) {
        VfDriver::Config config = small(kind);
        config.layout.receive_descriptors = 256;  // more than come in the 50 us between interrupts
        Rig rig(config);
        rig.up();
        rig.stack.frame_bytes = 1514;
        rig.stack.send(3000);
        CHECK(rig.stack.sent == 1024);
        rig.host.from_wire(0, 2000, 1000);
        rig.run(Time::ms(20));
        CHECK(rig.stack.sent == 3000);
        CHECK(rig.stack.rooms > 0);
        CHECK(rig.host.far.numbers.got.size() == 3000);
        CHECK(rig.host.far.numbers.counts_up());
        CHECK(rig.stack.numbers.got.size() == 2000);
        CHECK(rig.stack.numbers.counts_up());
        CHECK(rig.host.pci.iommu().faults().size() == 0);
    }
}
