// A behavioural guest's driver of the emulated 21140: frames, and how many intercepts they cost.
#include "models/behavioural/emulated_driver.h"

#include <doctest/doctest.h>

#include "models/legacy/dec21140.h"
#include "models/profiles.h"
#include "pci/config_access.h"
#include "pci/config_registers.h"
#include "pci/root_complex.h"
#include "tests/models/driver_stack.h"
#include "tests/models/plain_guest.h"

namespace behavioural_emulated_test {

using namespace models;
using namespace models::test;
using sim::Time;

namespace {

const MacAddress own_mac = mac_address("02:00:00:00:00:01"), far_mac = mac_address("02:00:00:00:00:02");

// As much of a Generation 1 machine as the adapter needs.
struct Machine final : RegisterTarget, pci::HostPort, FramePort {
    explicit Machine(PlainGuest& the_guest)
        : guest(the_guest),
          root(guest.loop.simulation.scope("pci"), *this, pci::Wiring::straight),
          nic(guest.loop.simulation.scope("nic"), root.bus().slot(10, 0), *this, own_mac.bytes),
          registration(guest.loop.simulation.scope("machine").register_state(*this)) {
        guest.target = this;
        root.write_config(nic.function().id(), pci::header::bar0, 4, 0xec00);
        root.write_config(nic.function().id(), pci::header::command, 2, pci::command::io_space);
    }
    std::uint64_t read(bool port, std::uint64_t address, unsigned bytes) override {
        REQUIRE(port);
        return root.read(pci::Space::io, address, bytes);
    }
    void write(bool port, std::uint64_t address, unsigned bytes, std::uint64_t value) override {
        if (!port) return;  // the I/O APIC: the line is wired to the guest here
        if (address == 0xcf8) {
            config_address = static_cast<std::uint32_t>(value);
        } else if (address == 0xcfc) {
            root.write_config(nic.function().id(), config_address & 0xff, bytes, static_cast<std::uint32_t>(value));
        } else {
            root.write(pci::Space::io, address, bytes, value);
        }
    }
    pci::DmaStatus read_memory(pci::RequesterId, std::uint64_t address, std::span<std::byte> out) override {
        return guest.memory().read(address, out) ? pci::DmaStatus::ok : pci::DmaStatus::unsupported;
    }
    pci::DmaStatus write_memory(pci::RequesterId, std::uint64_t address, std::span<const std::byte> data) override {
        return guest.memory().write(address, data) ? pci::DmaStatus::ok : pci::DmaStatus::unsupported;
    }
    void interrupt(const pci::InterruptMessage&) override {}
    void line(unsigned, bool asserted) override { guest.vps[0]->set_level(vector, asserted); }
    void transmit(std::span<const std::byte> frame) override { far.take(frame); }

    template <class Archive>
    void fields(Archive& archive) {
        archive(root, nic, config_address, far);
    }

    PlainGuest& guest;
    std::uint8_t vector = 0;
    std::uint32_t config_address = 0;
    Numbers far;
    pci::RootComplex root;
    Dec21140 nic;
    sim::StateRegistration registration;
};

EmulatedDriver::Config config() {
    EmulatedDriver::Config made;
    made.address.bytes = own_mac.bytes;
    made.costs = find_profile("one-nanosecond").driver_costs;
    return made;
}

struct Rig {
    Rig() : guest(loop, 1), machine(guest), driver(loop.simulation.scope("guest.nic"), guest, stack, config()) {
        machine.vector = driver.vector();
        stack.driver = &driver;
        stack.own = own_mac;
        stack.peer = far_mac;
    }
    void up() {
        driver.start();
        run(Time::ms(1));
        REQUIRE(driver.is_up());
        guest.clear_ledgers();
    }
    void run(Time time) { loop.run(time); }
    void to_guest(std::uint32_t first, std::uint32_t count, std::size_t bytes = 60) {
        for (std::uint32_t n = first; n < first + count; ++n) {
            taken += machine.nic.receive(numbered_frame(own_mac, far_mac, n, bytes)) ? 1 : 0;
        }
    }
    std::uint64_t accesses() const { return guest.reads + guest.writes; }

    vmbus::test::Loopback loop;
    PlainGuest guest;
    Machine machine;
    TestStack stack{loop.simulation.scope("stack")};
    EmulatedDriver driver;
    std::uint64_t taken = 0;
};

}  // namespace

TEST_CASE("behavioural emulated driver: up, and frames both ways") {
    Rig rig;
    CHECK_FALSE(rig.driver.is_up());
    rig.up();
    CHECK(rig.stack.ups == 1);
    CHECK(rig.driver.path() == "emulated");
    CHECK(rig.driver.address().bytes == own_mac.bytes);
    CHECK_FALSE(rig.driver.offloads().large_send_ipv4);
    rig.stack.frame_bytes = 1514;
    rig.stack.send(2000);  // 62 times around the ring, at 100 Mb/s
    CHECK(rig.stack.sent == 1000);
    for (std::uint32_t n = 0; n < 3000; n += 10) {
        rig.to_guest(n, 10, 500);
        rig.run(Time::us(900));
    }
    rig.run(Time::ms(20));
    CHECK(rig.stack.sent == 2000);
    CHECK(rig.stack.rooms > 0);
    CHECK(rig.machine.far.got.size() == 2000);
    CHECK(rig.machine.far.counts_up());
    CHECK(rig.taken == 3000);
    CHECK(rig.stack.numbers.got.size() == 3000);
    CHECK(rig.stack.numbers.counts_up());
}

TEST_CASE("behavioural emulated driver: intercepts of one frame") {
    Rig rig;
    rig.up();
    const DriverCosts costs = config().costs;
    std::uint64_t before = rig.accesses();
    rig.stack.send(1);
    rig.run(Time::ms(1));
    REQUIRE(rig.machine.far.got.size() == 1);
    // CSR1. Then the chip has nothing to send, and says so: CSR5 read, acknowledged, read again; CSR8.
    CHECK(rig.accesses() - before == 5);
    CHECK(rig.guest.spent("guest.network.send") == costs.legacy_frame);
    CHECK(rig.guest.busy() == costs.legacy_frame + PlainGuest::intercept * 5 + PlainProcessor::interrupt_time);

    rig.guest.clear_ledgers();
    before = rig.accesses();
    rig.to_guest(0, 1);
    rig.run(Time::ms(1));
    REQUIRE(rig.stack.numbers.got.size() == 1);
    // CSR5 read, CSR7 masks, CSR5 acknowledged, read again, CSR8; then the poll: CSR5 read, acknowledged; read again;
    // CSR7 unmasks.
    CHECK(rig.accesses() - before == 9);
    CHECK(rig.guest.spent("guest.network.receive") == costs.legacy_frame);
    CHECK(rig.guest.spent("guest.network.poll") == costs.poll);
    CHECK(rig.guest.busy() ==
          costs.legacy_frame + costs.poll + PlainGuest::intercept * 9 + PlainProcessor::interrupt_time);

    // Ten at once share all but their own cost.
    before = rig.accesses();
    rig.to_guest(1, 10);
    rig.run(Time::ms(1));
    CHECK(rig.accesses() - before == 9);
    CHECK(rig.stack.numbers.got.size() == 11);
}

TEST_CASE("behavioural emulated driver: more than the receive ring holds") {
    Rig rig;
    rig.up();
    rig.to_guest(0, 300);
    CHECK(rig.taken == EmulatedDriver::receive_descriptors);
    rig.run(Time::ms(5));
    CHECK(rig.stack.numbers.got.size() == EmulatedDriver::receive_descriptors);
    rig.to_guest(EmulatedDriver::receive_descriptors, 100);
    rig.run(Time::ms(5));
    CHECK(rig.stack.numbers.got.size() == EmulatedDriver::receive_descriptors + 100);
    CHECK(rig.stack.numbers.counts_up());
}

TEST_CASE("behavioural emulated driver: a checkpoint in the middle of traffic") {
    const auto begin = [](Rig& rig, Time more) {
        rig.up();
        rig.stack.send(300);
        rig.to_guest(0, 50);
        rig.run(Time::us(700) + more);
    };
    // In the middle of whatever it is: an intercept, a handler, a poll.
    for (unsigned n = 0; n < 12; ++n) {
        CAPTURE(n);
        Rig straight;
        begin(straight, Time::ns(1'310) * static_cast<std::int64_t>(n));
        const std::vector<std::byte> checkpoint = straight.loop.simulation.save();
        Rig restored;
        restored.loop.simulation.restore(checkpoint);
        for (Rig* rig : {&straight, &restored}) {
            rig->to_guest(50, 50);
            rig->run(Time::ms(20));
            CHECK(rig->machine.far.got.size() == 300);
            CHECK(rig->machine.far.counts_up());
            CHECK(rig->stack.numbers.got.size() == 100);
            CHECK(rig->stack.numbers.counts_up());
        }
        CHECK(straight.loop.simulation.save() == restored.loop.simulation.save());
    }
}

}  // namespace behavioural_emulated_test
