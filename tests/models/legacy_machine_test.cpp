// A Generation 1 machine's devices together: what a guest finds on the bus, how interrupts travel, power, resets.
#include "models/legacy/generation1_devices.h"

#include <doctest/doctest.h>

#include "sim/check.h"
#include "tests/models/legacy_ide_rig.h"
#include "tests/models/legacy_nic_rig.h"

namespace legacy_machine_test {

using namespace legacy_test;
using models::Generation1Devices;
using models::Piix4Power;
using sim::Time;

namespace {

struct FlatMemory final : vmbus::GuestMemory {
    std::vector<std::byte> bytes = std::vector<std::byte>(0x10000);
    bool read(std::uint64_t gpa, std::span<std::byte> out) override {
        if (gpa > bytes.size() || out.size() > bytes.size() - gpa) return false;
        std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(gpa), out.size(), out.begin());
        return true;
    }
    bool write(std::uint64_t gpa, std::span<const std::byte> data) override {
        if (gpa > bytes.size() || data.size() > bytes.size() - gpa) return false;
        std::copy(data.begin(), data.end(), bytes.begin() + static_cast<std::ptrdiff_t>(gpa));
        return true;
    }
};

struct Machine {
    sim::Simulation simulation;
    RecordedMessages messages;
    models::IoApic io_apic{simulation.scope("io_apic"), messages, 0};
    models::IoPortMap ports{simulation.scope("ports")};
    models::MmioMap memory_map{simulation.scope("mmio")};
    FlatMemory memory;
    RecordedPower power;
    MemoryBlocks blocks{simulation.agenda(), 1u << 20};
    RecordedFrames wire{simulation.agenda()};
    Generation1Devices devices{simulation.scope("gen1"), {io_apic, messages, memory, power}};
    models::Dec21140& adapter = devices.add_adapter(NicRig::mac, wire);

    Machine() {
        devices.add_disk(0, 0, blocks);
        devices.add_cd(1, 0, nullptr);
        devices.add_adapter({2, 0, 0, 0, 0, 1}, wire);
        devices.connect(ports, memory_map);
        for (unsigned pin = 0; pin < 24; ++pin) route(pin, 0x30 + pin);
    }
    void route(unsigned pin, std::uint32_t entry) {
        for (const auto& [index, value] : {std::pair{0x10 + 2 * pin, entry}, std::pair{0x11 + 2 * pin, 0u}}) {
            io_apic.write_mmio(models::IoApic::gpa, 4, index);
            io_apic.write_mmio(models::IoApic::gpa + 0x10, 4, value);
        }
    }
    std::uint32_t in(unsigned port, unsigned size = 1) { return ports.read(static_cast<std::uint16_t>(port), size); }
    void out(unsigned port, std::uint32_t value, unsigned size = 1) {
        ports.write(static_cast<std::uint16_t>(port), size, value);
    }
    std::uint32_t config_read(unsigned device, unsigned function, unsigned offset, unsigned size = 4) {
        out(0xcf8, 0x8000'0000 | device << 11 | function << 8 | (offset & 0xfc), 4);
        return in(0xcfc + (offset & 3), size);
    }
    void config_write(unsigned device, unsigned function, unsigned offset, unsigned size, std::uint32_t value) {
        out(0xcf8, 0x8000'0000 | device << 11 | function << 8 | (offset & 0xfc), 4);
        out(0xcfc + (offset & 3), value, size);
    }
    std::vector<unsigned> vectors() const {
        std::vector<unsigned> all;
        for (const auto& message : messages.messages) all.push_back(message.vector);
        return all;
    }
};

}  // namespace

TEST_CASE("what a guest finds on bus 0, as firmware leaves it") {
    Machine machine;
    struct Row {
        unsigned device, function;
        std::uint32_t id, class_revision;
    };
    for (const Row& row :
         {Row{0, 0, 0x7192'8086, 0x0600'0003}, Row{7, 0, 0x7110'8086, 0x0601'0001}, Row{7, 1, 0x7111'8086, 0x0101'8001},
          Row{7, 2, ~0u, ~0u}, Row{7, 3, 0x7113'8086, 0x0680'0002}, Row{10, 0, 0x0009'1011, 0x0200'0020},
          Row{11, 0, 0x0009'1011, 0x0200'0020}, Row{12, 0, ~0u, ~0u}}) {
        CAPTURE(row.device);
        CHECK(machine.config_read(row.device, row.function, 0) == row.id);
        CHECK(machine.config_read(row.device, row.function, 8) == row.class_revision);
    }
    CHECK(machine.config_read(7, 0, 0x0e, 1) == 0x80);
    CHECK(machine.config_read(7, 1, 0x20) == 0xffa1);
    CHECK(machine.config_read(7, 3, 0x40) == 0x401);
    CHECK(machine.config_read(10, 0, 0x10) == 0xec01);
    CHECK(machine.config_read(10, 0, 0x14) == 0xfebf'f000);
    CHECK(machine.config_read(10, 0, 0x3c, 2) == 0x010b);
    CHECK(machine.config_read(11, 0, 0x10) == 0xeb81);
    CHECK(machine.config_read(11, 0, 0x14) == 0xfebf'e000);
    CHECK(machine.in(0xec28, 4) == 0xfc00'0000);
    CHECK(machine.memory_map.read(0xfebf'f028, 4) == 0xfc00'0000);
    CHECK(machine.in(0x1f7) == 0x50);
    CHECK(machine.in(0x1234) == 0xff);  // the bus's, but nobody's
    CHECK(machine.memory_map.read(0xf900'0000, 8) == ~0ull);
}

TEST_CASE("interrupts: the timer on pin 2, IDE on 14 and 15, adapters on lane A") {
    Machine machine;
    machine.out(0x43, 0x34);
    machine.out(0x40, 100);
    machine.out(0x40, 0);
    machine.simulation.agenda().run_until(Time::us(100));
    CHECK(machine.vectors() == std::vector<unsigned>{0x32});
    machine.out(0x43, 0x30);
    machine.messages.messages.clear();
    machine.out(0x1f7, 0xe1);
    machine.out(0x177, 0xa1);  // the drive's data is there at once
    CHECK(machine.vectors() == std::vector<unsigned>{0x3e, 0x3f});
    CHECK(machine.devices.pic().state().chips[1].irr == 0xc0);
    machine.messages.messages.clear();

    // Level: the adapter's timer event, until it is taken back.
    machine.route(11, 0x803b);
    machine.out(0xec38, 0x1'0800, 4);
    machine.out(0xec58, 1, 4);
    machine.simulation.agenda().run_until(Time::ms(1));
    CHECK(machine.vectors() == std::vector<unsigned>{0x3b});
    machine.io_apic.eoi(0x3b);
    CHECK(machine.vectors() == std::vector<unsigned>{0x3b, 0x3b});
    machine.out(0xec28, 0x1'0800, 4);
    machine.io_apic.eoi(0x3b);
    CHECK(machine.vectors().size() == 2);
}

TEST_CASE("lane routing: moved while asserted, switched off, shared") {
    Machine machine;
    for (const unsigned pin : {5u, 10u, 11u}) machine.route(pin, 0x8030 + pin);
    const auto assert_adapter = [&](unsigned base) {
        machine.out(base + 0x38, 0x1'0800, 4);
        machine.out(base + 0x58, 1, 4);
    };
    assert_adapter(0xec00);
    assert_adapter(0xeb80);
    machine.simulation.agenda().run_until(Time::ms(1));
    CHECK(machine.vectors() == std::vector<unsigned>{0x3b});  // one wire for both
    machine.config_write(7, 0, 0x60, 1, 10);
    CHECK(machine.vectors() == std::vector<unsigned>{0x3b, 0x3a});
    CHECK((machine.io_apic.state().asserted & 1u << 11) == 0);
    machine.config_write(7, 0, 0x60, 1, 0x80);
    CHECK((machine.io_apic.state().asserted & 1u << 10) == 0);
    machine.config_write(7, 0, 0x60, 1, 5);
    CHECK((machine.io_apic.state().asserted & 1u << 5) != 0);
    machine.out(0xec28, 0x800, 4);
    CHECK((machine.io_apic.state().asserted & 1u << 5) != 0);
    machine.out(0xeb80 + 0x28, 0x800, 4);
    CHECK((machine.io_apic.state().asserted & 1u << 5) == 0);
}

TEST_CASE("power: ACPI on and off, the button, the timer, sleep, the ways to reset") {
    Machine machine;
    machine.route(9, 0x8039);
    CHECK((machine.in(0x404, 2) & 1) == 0);
    machine.out(0xb2, 0xe1);
    CHECK(machine.in(0x404, 2) == 1);
    machine.devices.press_power_button();
    CHECK(machine.in(0x400, 2) == 0x100);
    CHECK(machine.vectors().empty());
    machine.out(0x402, 0x100, 2);
    CHECK(machine.vectors() == std::vector<unsigned>{0x39});
    machine.out(0x400, 0x100, 2);
    CHECK(machine.in(0x400, 4) == 0x0100'0000);
    CHECK((machine.io_apic.state().asserted & 1u << 9) == 0);
    machine.out(0xb2, 0x1e);
    CHECK(machine.in(0x404, 2) == 0);

    machine.simulation.agenda().run_until(Time::ms(1));
    CHECK(machine.in(0x408, 4) == 3579);
    CHECK(machine.in(0x409) == 3579 >> 8);
    machine.out(0x402, 0x001, 2);  // carries wanted: at tick 2^23
    machine.simulation.agenda().run_until(sim::first_time_of_cycle(1u << 23, Piix4Power::timer_hz) - Time::ps(1));
    CHECK(machine.in(0x400, 2) == 0);
    machine.simulation.agenda().run_until(sim::first_time_of_cycle(1u << 23, Piix4Power::timer_hz));
    CHECK(machine.in(0x400, 2) == 1);

    machine.out(0x404, 5u << 10 | 1u << 13, 2);
    CHECK(machine.power.events.empty());  // no such sleep
    machine.out(0x404, 1u << 13, 2);
    machine.out(0x433, 0);
    machine.out(0x433, 1);
    machine.out(0x64, 0xfe);
    machine.out(0x92, 0x01);
    machine.out(0xcf9, 0x02);
    machine.out(0xcf9, 0x06);
    CHECK(machine.power.events == std::vector<std::string>{"off", "reset 0", "reset 1", "reset 2", "reset 2"});
    CHECK(machine.in(0xcf9) == 0x06);
    CHECK(machine.in(0xcf8, 4) == 0);  // not the address register's
    machine.config_write(7, 3, 0x80, 1, 0);
    CHECK(machine.in(0x404, 2) == 0xffff);
    machine.config_write(7, 3, 0x40, 4, 0x1000);
    machine.config_write(7, 3, 0x80, 1, 1);
    CHECK(machine.in(0x1004, 2) == 0x1c00 - 0x1c00);
}

TEST_CASE("devices reach memory and send messages with the machine's own ports") {
    Machine machine;
    machine.config_write(10, 0, 4, 2, 5);
    machine.out(0xec20, 0x1000, 4);
    const std::uint32_t descriptor[] = {1u << 31, 0x6000'0000 | 60, 0x2000, 0};
    std::memcpy(&machine.memory.bytes[0x1000], descriptor, sizeof descriptor);
    machine.out(0xec30, 0x2000, 4);
    machine.simulation.agenda().run_until(Time::us(100));
    CHECK(machine.wire.frames.size() == 1);
    auto& master = machine.adapter.function().master();
    master.message(0xfee0'3004, 0x8155);
    CHECK(machine.messages.messages ==
          std::vector<models::InterruptMessage>{{0x55, models::DeliveryMode::lowest_priority,
                                                 models::DestinationMode::logical, models::TriggerMode::level, 3}});
}

TEST_CASE("a reset brings back what firmware leaves, and silence") {
    Machine machine;
    machine.config_write(10, 0, 0x10, 4, 0x2000);
    machine.config_write(7, 0, 0x60, 4, 0x0a0a0a0a);
    machine.out(0xec38, 0x1'0800, 4);
    machine.out(0x2058, 1, 4);
    machine.out(0x43, 0x34);
    machine.out(0x40, 100);
    machine.out(0x40, 0);
    machine.devices.reset();
    CHECK(machine.config_read(10, 0, 0x10) == 0xec01);
    CHECK(machine.config_read(7, 0, 0x60) == 0x8080'800b);
    machine.messages.messages.clear();
    machine.simulation.agenda().run_until(Time::ms(10));
    CHECK(machine.messages.messages.empty());
    CHECK(machine.simulation.agenda().next_event().is_never());
}

TEST_CASE("what such a machine cannot have is a user's mistake") {
    Machine machine;
    MemoryBlocks wide{machine.simulation.agenda(), 1u << 16};
    wide.shape.logical_sector_bytes = 4096;
    auto& devices = machine.devices;
    CHECK_THROWS_AS(devices.add_disk(2, 0, machine.blocks), sim::UserError);
    CHECK_THROWS_AS(devices.add_disk(0, 2, machine.blocks), sim::UserError);
    CHECK_THROWS_AS(devices.add_cd(0, 0, nullptr), sim::UserError);
    CHECK_THROWS_AS(devices.add_disk(1, 1, wide), sim::UserError);
    devices.add_adapter(NicRig::mac, machine.wire);
    devices.add_adapter(NicRig::mac, machine.wire);
    CHECK_THROWS_AS(devices.add_adapter(NicRig::mac, machine.wire), sim::UserError);
}

TEST_CASE("saved and restored: nothing moves, everything goes on") {
    Machine first;
    first.out(0xec38, 0x1'0800, 4);
    first.out(0xec58, 100, 4);
    first.out(0x43, 0x34);
    first.out(0x40, 0);
    first.out(0x40, 0x10);
    first.simulation.agenda().run_until(Time::ms(2));
    sim::Writer writer;
    writer(first.simulation.agenda(), first.io_apic, first.devices);
    Machine second;
    second.messages.messages.clear();
    sim::Reader reader{writer.data()};
    reader(second.simulation.agenda(), second.io_apic, second.devices);
    CHECK(reader.remaining() == 0);
    CHECK(second.messages.messages.empty());
    first.messages.messages.clear();
    first.simulation.agenda().run_until(Time::ms(20));
    second.simulation.agenda().run_until(Time::ms(20));
    CHECK(first.vectors() == second.vectors());
    CHECK(first.vectors().size() > 2);
    CHECK(sim::save_to_bytes(first.devices) == sim::save_to_bytes(second.devices));
}

}  // namespace legacy_machine_test
