// Both ends of a virtual PCI bus: the guest's client and the host's bus, in each version of the protocol.
#include "vmbus/virtual_pci/virtual_pci_client.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "tests/vmbus/loopback.h"

namespace virtual_pci_client_test {

using namespace vmbus;
using sim::Time;
namespace vp = vmbus::virtual_pci;

namespace {

struct FakeFunction final : VirtualPciFunction {
    std::array<std::uint32_t, vp::bars> bar_masks() override { return {0xffff'c004, 0xffff'ffff, 0, 0xfff0, 0, 0}; }
    bool place_window(std::uint64_t gpa) override {
        window = gpa;
        return allowed;
    }
    void remove_window() override { window = 0; }
    std::optional<PciMessage> create_interrupt(const PciInterrupt& interrupt) override {
        wanted.push_back(interrupt);
        if (wanted.size() > most) return std::nullopt;
        return PciMessage{0xfee0'0000, 100 + static_cast<std::uint32_t>(wanted.size()), 1};
    }
    void delete_interrupt(const PciMessage&) override {}
    void ejected() override { ++ejections; }

    bool allowed = true;
    std::size_t most = 100;
    std::uint64_t window = 0;
    std::vector<PciInterrupt> wanted;
    unsigned ejections = 0;
};

struct User final : VirtualPciUser {
    void function_found(const PciIdentity& who) override { found.push_back(who); }
    void interrupt_created(std::uint32_t vector, const std::optional<PciMessage>& message) override {
        created.emplace_back(vector, message ? message->data : 0);
    }
    void ejection_asked() override { ++asked; }
    void function_gone() override { ++gone; }

    std::vector<PciIdentity> found;
    std::vector<std::pair<std::uint32_t, std::uint32_t>> created;
    unsigned asked = 0, gone = 0;
};

struct Rig {
    explicit Rig(std::uint32_t newest = vp::version_1_4)
        : bus(loop.simulation.scope("vpci"), {loop.server, root, {}}, 1, function, newest),
          client(loop.simulation.scope("guest.vpci"), loop.client, user, {.window = 0x9000'0000}, guest) {
        loop.bindings[interface_type::pci] = {&client, true, {5, 5}, ReadMode::batched};
        loop.connect();
    }
    void offer() {
        PciIdentity who;
        who.vendor = 0x8086;
        who.device = 0x152e;
        who.revision = 1;
        who.class_of = 0x0200;
        who.subsystem_vendor = 0x8086;
        who.subsystem = 0xc;
        who.serial = 42;
        bus.offer(who);
        loop.run(Time::ms(1));
    }

    test::Loopback loop;
    sim::SerialProcessor root{loop.simulation.scope("root.cpu"), Time::zero()};
    sim::SerialProcessor guest{loop.simulation.scope("guest.cpu"), Time::zero()};
    FakeFunction function;
    User user;
    VirtualPci bus;
    VirtualPciClient client;
};

}  // namespace

TEST_CASE("virtual PCI client: every version, from the offer to an interrupt and back") {
    for (const std::uint32_t newest : vp::versions) {
        CAPTURE(newest);
        Rig rig(newest);
        CHECK_FALSE(rig.client.found());
        rig.offer();
        REQUIRE(rig.user.found.size() == 1);
        CHECK(rig.client.found());
        CHECK(rig.client.version() == newest);
        CHECK(rig.bus.version() == newest);
        CHECK(rig.user.found[0].vendor == 0x8086);
        CHECK(rig.user.found[0].device == 0x152e);
        CHECK(rig.user.found[0].class_of == 0x0200);
        CHECK(rig.user.found[0].subsystem == 0xc);
        CHECK(rig.user.found[0].serial == 42);
        CHECK(rig.client.bar_masks() == rig.function.bar_masks());
        CHECK(rig.function.window == 0x9000'0000);
        CHECK(rig.bus.in_d0());
        rig.client.create_interrupt(0x41, 3);
        rig.client.create_interrupt(0x42, 0);
        rig.loop.run(Time::ms(1));
        REQUIRE(rig.function.wanted.size() == 2);
        CHECK(rig.function.wanted[0] == PciInterrupt{0x41, 0, 1, 8});
        CHECK(rig.function.wanted[1] == PciInterrupt{0x42, 0, 1, 1});
        CHECK(rig.user.created == std::vector<std::pair<std::uint32_t, std::uint32_t>>{{0x41, 101}, {0x42, 102}});
        rig.bus.eject();
        rig.loop.run(Time::ms(1));
        CHECK(rig.user.asked == 1);
        CHECK(rig.function.ejections == 0);
        rig.client.eject();
        rig.loop.run(Time::ms(1));
        CHECK(rig.function.ejections == 1);
        rig.bus.rescind();
        rig.loop.run(Time::ms(1));
        CHECK(rig.user.gone == 1);
        CHECK_FALSE(rig.client.found());
        // Again.
        rig.offer();
        CHECK(rig.user.found.size() == 2);
        CHECK(rig.client.host_errors() == 0);
    }
}

TEST_CASE("virtual PCI client: what the host refuses") {
    {
        Rig rig;
        rig.function.allowed = false;
        rig.offer();
        CHECK(rig.user.found.empty());
        CHECK(rig.client.host_errors() == 1);
    }
    {
        Rig rig;
        rig.function.most = 1;
        rig.offer();
        rig.client.create_interrupt(0x41, 0);
        rig.client.create_interrupt(0x42, 0);
        rig.loop.run(Time::ms(1));
        CHECK(rig.user.created == std::vector<std::pair<std::uint32_t, std::uint32_t>>{{0x41, 101}, {0x42, 0}});
    }
}

TEST_CASE("virtual PCI client: taken away at any moment of its coming up") {
    for (unsigned n = 1; n < 60; ++n) {
        Rig rig;
        rig.bus.offer({});
        rig.loop.run(Time::us(1) * static_cast<std::int64_t>(n));
        rig.bus.rescind();
        rig.loop.run(Time::ms(1));
        CHECK_FALSE(rig.client.found());
        rig.offer();
        CHECK(rig.client.found());
    }
}

}  // namespace virtual_pci_client_test
