// The I/O APIC against the 82093AA data sheet.
#include "models/io_apic.h"

#include <doctest/doctest.h>

#include "tests/models/recorders.h"

namespace io_apic_test {

using models::DeliveryMode;
using models::DestinationMode;
using models::InterruptMessage;
using models::IoApic;
using models::TriggerMode;

namespace {
struct Rig {
    sim::Simulation simulation;
    RecordedMessages port;
    IoApic io_apic{simulation.scope("ioapic"), port, 3};

    void write(std::uint8_t index, std::uint32_t value) {
        io_apic.write_mmio(IoApic::gpa, 4, index);
        io_apic.write_mmio(IoApic::gpa + 0x10, 4, value);
    }
    std::uint32_t read(std::uint8_t index) {
        io_apic.write_mmio(IoApic::gpa, 4, index);
        return static_cast<std::uint32_t>(io_apic.read_mmio(IoApic::gpa + 0x10, 4));
    }
    void program(unsigned pin, std::uint64_t entry) {
        write(static_cast<std::uint8_t>(0x11 + 2 * pin), static_cast<std::uint32_t>(entry >> 32));
        write(static_cast<std::uint8_t>(0x10 + 2 * pin), static_cast<std::uint32_t>(entry));
    }
    std::size_t sent() const { return port.messages.size(); }
};
constexpr std::uint64_t level = 1ull << 15, masked = 1ull << 16;
}  // namespace

TEST_CASE("registers: reset values and what a write leaves") {
    struct Row {
        std::uint8_t index;
        std::uint32_t reset, written, after;
    };
    for (const Row& row : {
             Row{0x00, 0x03000000, 0xffffffff, 0x0f000000},
             Row{0x01, 0x00170011, 0xffffffff, 0x00170011},
             Row{0x02, 0x03000000, 0xffffffff, 0x03000000},
             Row{0x03, 0, 0xffffffff, 0},
             Row{0x10, 0x00010000, 0xffffffff, 0x0001afff},
             Row{0x11, 0, 0xffffffff, 0xff000000},
             Row{0x3e, 0x00010000, 0x00015a5a, 0x00010a5a},
             Row{0x3f, 0, 0x12345678, 0x12000000},
             Row{0x40, 0, 0xffffffff, 0},
         }) {
        CAPTURE(row.index);
        Rig rig;
        CHECK(rig.read(row.index) == row.reset);
        rig.write(row.index, row.written);
        CHECK(rig.read(row.index) == row.after);
    }
}

TEST_CASE("the window takes 32-bit accesses only; the rest of the page floats") {
    Rig rig;
    rig.io_apic.write_mmio(IoApic::gpa, 1, 0x01);
    CHECK(rig.io_apic.read_mmio(IoApic::gpa, 1) == 0x01);
    CHECK(rig.io_apic.read_mmio(IoApic::gpa + 0x10, 4) == 0x170011);
    CHECK(rig.io_apic.read_mmio(IoApic::gpa + 0x10, 8) == ~0ull);
    CHECK(rig.io_apic.read_mmio(IoApic::gpa + 0x20, 4) == ~0ull);
    rig.io_apic.write_mmio(IoApic::gpa + 0x40, 4, 0x30);  // no EOI register in this version
}

TEST_CASE("an entry becomes a message") {
    struct Row {
        std::uint64_t entry;
        InterruptMessage message;
    };
    for (const Row& row : {
             Row{0x0200'0000'0000'0024, {0x24, DeliveryMode::fixed, DestinationMode::physical, TriggerMode::edge, 2}},
             Row{0xff00'0000'0000'0931,
                 {0x31, DeliveryMode::lowest_priority, DestinationMode::logical, TriggerMode::edge, 0xff}},
             Row{0x0100'0000'0000'8031, {0x31, DeliveryMode::fixed, DestinationMode::physical, TriggerMode::level, 1}},
             Row{0x0100'0000'0000'8400, {0, DeliveryMode::nmi, DestinationMode::physical, TriggerMode::edge, 1}},
             Row{0x0000'0000'0000'0300, {0, DeliveryMode::reserved3, DestinationMode::physical, TriggerMode::edge, 0}},
         }) {
        CAPTURE(row.entry);
        Rig rig;
        rig.program(4, row.entry);
        rig.io_apic.line(4).set(true);
        CHECK(rig.port.messages == std::vector<InterruptMessage>{row.message});
    }
}

TEST_CASE("edge: one message per rise; an edge at a masked pin is lost") {
    Rig rig;
    rig.program(4, 0x24);
    rig.io_apic.set_pin(4, true);
    rig.io_apic.set_pin(4, true);
    CHECK(rig.sent() == 1);
    rig.io_apic.set_pin(4, false);
    rig.io_apic.set_pin(4, true);
    CHECK(rig.sent() == 2);
    rig.io_apic.set_pin(4, false);
    rig.program(4, 0x24 | masked);
    rig.io_apic.set_pin(4, true);
    rig.program(4, 0x24);
    CHECK(rig.sent() == 2);
    rig.io_apic.eoi(0x24);
    CHECK(rig.sent() == 2);
}

TEST_CASE("level: once until the end of interrupt, again while the wire is still up") {
    Rig rig;
    rig.program(9, 0x39 | level | masked);
    rig.io_apic.set_pin(9, true);
    CHECK(rig.sent() == 0);
    rig.program(9, 0x39 | level);  // unmasking an asserted wire sends
    CHECK(rig.sent() == 1);
    CHECK(rig.read(0x10 + 18) == 0xc039);  // remote IRR shows
    rig.io_apic.set_pin(9, false);
    rig.io_apic.set_pin(9, true);
    CHECK(rig.sent() == 1);
    rig.io_apic.eoi(0x38);  // somebody else's
    CHECK(rig.sent() == 1);
    rig.io_apic.eoi(0x39);
    CHECK(rig.sent() == 2);
    rig.io_apic.set_pin(9, false);
    rig.io_apic.eoi(0x39);
    CHECK(rig.sent() == 2);
    CHECK(rig.read(0x10 + 18) == 0x8039);
}

TEST_CASE("switching to edge and back ends a level interrupt by hand") {
    Rig rig;
    rig.program(9, 0x39 | level);
    rig.io_apic.set_pin(9, true);
    rig.write(0x10 + 18, 0x39 | masked);
    CHECK(rig.read(0x10 + 18) == (0x39 | masked));
    rig.write(0x10 + 18, 0x39 | level);
    CHECK(rig.sent() == 2);
}

TEST_CASE("reset keeps the wires; a restored one goes on alike") {
    Rig rig;
    rig.program(9, 0x39 | level);
    rig.io_apic.set_pin(9, true);
    Rig copy;
    sim::restore_from_bytes(copy.io_apic, sim::save_to_bytes(rig.io_apic));
    CHECK(copy.io_apic.state() == rig.io_apic.state());
    copy.io_apic.eoi(0x39);
    CHECK(copy.sent() == 1);
    rig.io_apic.reset();
    CHECK(rig.read(0x10 + 18) == 0x10000);
    rig.program(9, 0x39 | level);
    CHECK(rig.sent() == 2);
}

}  // namespace io_apic_test
