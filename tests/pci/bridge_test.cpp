// Bridges and root ports: routing by number and by window, the way up, pin rotation, resets, slots, virtual places.
#include <doctest/doctest.h>

#include "pci/bridge.h"
#include "pci/capabilities.h"
#include "tests/pci/rig.h"

namespace bridge_test {

using namespace pci_test;
namespace command = pci::command;
namespace header = pci::header;
namespace header1 = pci::header1;

namespace {

constexpr pci::Bar one_bar[] = {
    {pci::BarKind::memory32, 0x1000}, {pci::BarKind::memory64, 0x1000, true}, {}, {pci::BarKind::io, 0x100}};

pci::FunctionLayout endpoint(bool express) {
    pci::FunctionLayout layout =
        pci::device_function(identity(), one_bar, express ? pci::extended_config_bytes : pci::legacy_config_bytes);
    if (express) {
        pci::add_express(layout.config, {});
        pci::add_aer(layout.config, false);
    }
    return layout;
}

struct Bridged : Rig {
    std::unique_ptr<pci::Bridge> bridge;
    std::unique_ptr<pci::Bridge> further;
    unsigned x = 0;  // the port's express capability
    pci::RequesterId port = id(0, 3);

    explicit Bridged(bool express, bool msi = false) {
        bridge = make(root.bus(), 3, express, msi);
        set_config(port, header1::primary_bus, 1, 0);
        set_config(port, header1::secondary_bus, 1, 4);
        set_config(port, header1::subordinate_bus, 1, 9);
        set_config(port, header1::memory_base, 2, 0x1000);
        set_config(port, header1::memory_limit, 2, 0x10f0);
        set_config(port, header1::prefetch_base, 2, 0x2000);
        set_config(port, header1::prefetch_limit, 2, 0x2000);
        set_config(port, header1::prefetch_base_upper, 4, 2);
        set_config(port, header1::prefetch_limit_upper, 4, 2);
        set_config(port, header1::io_base, 1, 0x30);
        set_config(port, header1::io_limit, 1, 0x30);
        set_config(port, header::command, 2, command::memory_space | command::io_space | command::bus_master);
    }
    std::unique_ptr<pci::Bridge> make(pci::Bus& bus, unsigned number, bool express, bool msi) {
        pci::Identity who = identity(0x3420);
        who.class_of = pci::class_of::pci_bridge;
        pci::FunctionLayout layout =
            pci::bridge_function(who, {}, express ? pci::extended_config_bytes : pci::legacy_config_bytes);
        if (msi) pci::add_msi(layout.config, {});
        if (express) {
            pci::PciExpress link;
            link.type = pci::express::PortType::root_port;
            link.slot = true;
            link.ari_forwarding = true;
            x = pci::add_express(layout.config, link, 0x80);
            pci::add_aer(layout.config, true);
        }
        return std::make_unique<pci::Bridge>(simulation.scope("bridge" + std::to_string(number)), bus.slot(number, 0),
                                             shared(std::move(layout)));
    }
    void place(pci::RequesterId who) {
        set_config(who, 0x10, 4, 0x1000'0000);
        set_config(who, 0x14, 4, 0x2000'0000);
        set_config(who, 0x18, 4, 0x2);
        set_config(who, 0x1c, 4, 0x3400);
        set_config(who, header::command, 2, command::memory_space | command::io_space | command::bus_master);
    }
};

}  // namespace

TEST_CASE("a bridge's registers: what software finds") {
    Bridged rig{false};
    struct Row {
        unsigned offset, size;
        std::uint32_t ones, zeros;
    };
    for (const Row& row : {Row{header1::io_base, 1, 0xf1, 0x01}, Row{header1::memory_base, 2, 0xfff0, 0},
                           Row{header1::prefetch_base, 2, 0xfff1, 1}, Row{header1::prefetch_limit_upper, 4, ~0u, 0},
                           Row{header1::io_base_upper, 2, 0xffff, 0}, Row{header1::bridge_control, 2, 0x43, 0},
                           Row{header1::subordinate_bus, 1, 0xff, 0}, Row{header::header_type, 1, 1, 1}}) {
        CAPTURE(row.offset);
        rig.set_config(rig.port, row.offset, row.size, ~0u);
        CHECK(rig.config(rig.port, row.offset, row.size) == row.ones);
        rig.set_config(rig.port, row.offset, row.size, 0);
        CHECK(rig.config(rig.port, row.offset, row.size) == row.zeros);
    }
}

TEST_CASE("configuration cycles find their bus through two bridges") {
    Bridged rig{false};
    auto near = rig.device(rig.bridge->secondary(), 7, endpoint(false));
    rig.further = rig.make(rig.bridge->secondary(), 1, false, false);
    auto far = rig.device(rig.further->secondary(), 31, endpoint(false));
    CHECK(rig.config(rig.id(4, 7), 0, 4) == 0x1234'8086);
    CHECK(rig.config(rig.id(4, 1), 0, 4) == 0x3420'8086);
    CHECK(rig.config(rig.id(5, 31), 0, 4) == 0xffffffff);  // the second bridge has no numbers yet
    rig.set_config(rig.id(4, 1), header1::secondary_bus, 1, 5);
    rig.set_config(rig.id(4, 1), header1::subordinate_bus, 1, 6);
    struct Row {
        pci::RequesterId who;
        std::uint32_t id;
    };
    for (const Row& row :
         {Row{rig.id(5, 31), 0x1234'8086}, Row{rig.id(5, 30), ~0u}, Row{rig.id(6, 31), ~0u}, Row{rig.id(7, 31), ~0u},
          Row{rig.id(3, 7), ~0u}, Row{rig.id(9, 0), ~0u}, Row{rig.id(10, 0), ~0u}, Row{rig.id(0, 7), ~0u}}) {
        CHECK(rig.config(row.who, 0, 4) == row.id);
    }
    CHECK(far->function.id() == rig.id(5, 31));
    rig.set_config(rig.port, header1::subordinate_bus, 1, 4);
    CHECK(rig.config(rig.id(5, 31), 0, 4) == ~0u);
    rig.set_config(rig.port, header1::secondary_bus, 1, 8);
    CHECK(near->function.id() == rig.id(8, 7));
}

TEST_CASE("memory and I/O pass through the windows and nowhere else") {
    Bridged rig{false};
    auto dev = rig.device(rig.bridge->secondary(), 0, endpoint(false));
    rig.place(rig.id(4, 0));
    using Write = RecordingDevice::Write;
    struct Row {
        pci::Space space;
        std::uint64_t address;
        std::optional<Write> arrives;
        bool master_abort;  // of the bridge below
    };
    const auto memory = pci::Space::memory;
    for (const Row& row : {
             Row{memory, 0x1000'0010, Write{0, 0x10, 4, 1}, false},
             Row{memory, 0x1000'1000, {}, true},
             Row{memory, 0x10ff'fffc, {}, true},
             Row{memory, 0x1100'0000, {}, false},
             Row{memory, 0x2'2000'0020, Write{1, 0x20, 4, 1}, false},
             Row{memory, 0x2000'0020, {}, false},
             Row{pci::Space::io, 0x3404, Write{3, 4, 4, 1}, false},
             Row{pci::Space::io, 0x3500, {}, true},
             Row{pci::Space::io, 0x4000, {}, false},
         }) {
        CAPTURE(row.address);
        dev->last_write = {};
        rig.root.write(row.space, row.address, 4, 1);
        CHECK(dev->last_write == row.arrives.value_or(Write{}));
        const std::uint32_t status = rig.config(rig.port, header1::secondary_status, 2);
        CHECK(status == (row.master_abort ? pci::status::received_master_abort : 0u));
        rig.set_config(rig.port, header1::secondary_status, 2, 0xffff);
    }
    rig.set_config(rig.port, header1::memory_limit, 2, 0x0ff0);  // below its base: closed
    CHECK(rig.memory(0x1000'0010, 4) == 0xffffffff);
    rig.set_config(rig.port, header1::memory_limit, 2, 0x10f0);
    CHECK(rig.memory(0x1000'0010, 4) == 1);
    rig.set_config(rig.port, header::command, 2, command::bus_master);
    CHECK(rig.memory(0x1000'0010, 4) == 0xffffffff);
}

TEST_CASE("the way up: the requester stays who it is; the bridge must be a master; nothing turns round below") {
    Bridged rig{true};
    auto dev = rig.device(rig.bridge->secondary(), 0, endpoint(true));
    rig.place(rig.id(4, 0));
    std::array<std::byte, 8> data{};
    pci::BusMaster& master = dev->function.master();
    CHECK(master.write(0x40, data) == pci::DmaStatus::ok);
    CHECK(rig.host.last_requester == rig.id(4, 0));
    master.message(0xfee0'0000, 2);
    CHECK(rig.host.messages == std::vector<pci::InterruptMessage>{{0xfee0'0000, 2, rig.id(4, 0)}});
    for (const std::uint64_t address : {0x1000'0000ull, 0x0fff'fffcull, 0x2'2000'0000ull}) {
        CHECK(master.read(address, data) == pci::DmaStatus::unsupported);
    }
    rig.set_config(rig.port, header::command, 2, command::memory_space);
    CHECK(master.write(0x40, data) == pci::DmaStatus::unsupported);
    master.message(0xfee0'0000, 2);
    CHECK(rig.host.messages.size() == 1);
}

TEST_CASE("pins turn by one with each device number, at each bridge") {
    struct Row {
        unsigned bridge, device;
        std::uint8_t pin;
        const char* line;
    };
    for (const Row& row : {Row{3, 0, 1, "+3"}, Row{3, 1, 1, "+0"}, Row{3, 2, 1, "+1"}, Row{3, 0, 4, "+2"},
                           Row{4, 0, 1, "+0"}, Row{4, 5, 2, "+2"}}) {
        Rig rig;
        pci::Identity who = identity(0x3420);
        who.class_of = pci::class_of::pci_bridge;
        pci::Bridge bridge{rig.simulation.scope("bridge"), rig.root.bus().slot(row.bridge, 0),
                           shared(pci::bridge_function(who, {}, pci::legacy_config_bytes))};
        pci::Identity device = identity();
        device.interrupt_pin = row.pin;
        auto dev =
            rig.device(bridge.secondary(), row.device, pci::device_function(device, {}, pci::legacy_config_bytes));
        dev->function.set_intx(true);
        CHECK(rig.host.lines == std::vector<std::string>{row.line});
    }
}

TEST_CASE("secondary bus reset: functions below are reset and answer only when it ends") {
    Bridged rig{true};
    auto dev = rig.device(rig.bridge->secondary(), 0, endpoint(true));
    rig.place(rig.id(4, 0));
    rig.set_config(rig.port, header1::bridge_control, 2, pci::bridge_control::secondary_bus_reset);
    CHECK(dev->resets == std::vector<pci::ResetKind>{pci::ResetKind::bus});
    CHECK(rig.config(rig.id(4, 0), 0, 4) == 0xffffffff);
    rig.set_config(rig.port, header1::bridge_control, 2, 0);
    CHECK(rig.config(rig.id(4, 0), 0, 4) == 0x1234'8086);
    CHECK(rig.config(rig.id(4, 0), 0x10, 4) == 0);
    CHECK(dev->resets.size() == 1);
}

TEST_CASE("on a link a device that is sent what it does not support says so") {
    Bridged rig{true};
    auto dev = rig.device(rig.bridge->secondary(), 0, endpoint(true));
    const unsigned dx = dev->function.config().layout().capability(pci::capability_id::express);
    rig.place(rig.id(4, 0));
    CHECK(rig.memory(0x1000'2000, 4) == 0xffffffff);
    CHECK(rig.config(rig.id(4, 0), dx + pci::express::device_status, 2) == 0x000a);
    CHECK(rig.config(rig.id(4, 0), 0x104, 4) == pci::aer::unsupported_request);
    CHECK(rig.config(rig.id(4, 0), 0x118, 4) == 20);  // first error
    CHECK(rig.config(rig.port, header1::secondary_status, 2) == pci::status::received_master_abort);
    rig.set_config(rig.id(4, 0), 0x104, 4, ~0u);
    rig.set_config(rig.id(4, 0), dx + pci::express::device_status, 2, 0xf);
    rig.set_config(rig.port, header1::secondary_status, 2, 0xffff);
    rig.set_memory(0x1000'2000, 4, 1);  // posted: no completion
    CHECK(rig.config(rig.id(4, 0), 0x104, 4) == pci::aer::unsupported_request);
    CHECK(rig.config(rig.port, header1::secondary_status, 2) == 0);
}

TEST_CASE("a link has one device unless ARI forwarding makes all numbers functions of it") {
    Bridged rig{true};
    auto first = rig.device(rig.bridge->secondary(), 0, endpoint(true));
    auto later = rig.device(rig.bridge->secondary(), 2, endpoint(true), 1);
    CHECK(rig.config(rig.id(4, 0), 0, 2) == 0x8086);
    CHECK(rig.config(rig.id(4, 2, 1), 0, 2) == 0xffff);
    rig.set_config(rig.port, rig.x + pci::express::device_control2, 2, pci::express::ari_forwarding);
    CHECK(rig.config(rig.id(4, 2, 1), 0, 2) == 0x8086);
}

TEST_CASE("places beyond the bus's own number, as virtual functions take") {
    Bridged rig{true};
    auto pf = rig.device(rig.bridge->secondary(), 0, endpoint(true));
    RecordingDevice vf{rig.simulation.scope("vf"), rig.bridge->secondary().slot_at(0x182), shared(endpoint(true))};
    CHECK(vf.function.id() == pci::RequesterId{0x0582});
    CHECK(rig.config(pci::RequesterId{0x0582}, 0, 4) == 0x1234'8086);
    CHECK(rig.config(pci::RequesterId{0x0482}, 0, 4) == 0xffffffff);
    // A VF has no BARs that software could set: its owner says what it decodes.
    std::array<std::byte, 4> data{};
    rig.set_config(pci::RequesterId{0x0582}, header::command, 2, command::bus_master);
    CHECK(vf.function.master().write(0x10, data) == pci::DmaStatus::ok);
    CHECK(rig.host.last_requester == pci::RequesterId{0x0582});
}

TEST_CASE("a slot tells of what is put in and pulled out") {
    Bridged rig{true, true};
    auto dev = rig.device(rig.bridge->secondary(), 0, endpoint(true));
    rig.set_config(rig.port, 0x40 + 4, 4, 0xfee0'0000);
    rig.set_config(rig.port, 0x40 + 12, 2, 0x55);
    rig.set_config(rig.port, 0x42, 2, 1);
    const unsigned slot_status = rig.x + pci::express::slot_status;
    rig.bridge->slot_changed();
    CHECK(rig.config(rig.port, slot_status, 2) == 0x0148);
    CHECK(rig.host.messages.empty());  // nobody wanted to know
    rig.set_config(rig.port, slot_status, 2, 0x0108);
    CHECK(rig.config(rig.port, slot_status, 2) == 0x0040);
    rig.set_config(rig.port, rig.x + pci::express::slot_control, 2, 0x28);
    dev->function.remove();
    rig.bridge->slot_changed();
    CHECK(rig.config(rig.port, slot_status, 2) == 0x0108);
    CHECK((rig.config(rig.port, rig.x + pci::express::link_status, 2) & pci::express::link_active) == 0);
    CHECK(rig.host.messages == std::vector<pci::InterruptMessage>{{0xfee0'0000, 0x55, rig.port}});
    rig.bridge->slot_changed();  // nothing new
    CHECK(rig.host.messages.size() == 1);
    dev->function.insert();
    rig.bridge->slot_changed();
    CHECK(rig.config(rig.port, slot_status, 2) == 0x0148);
    CHECK(rig.host.messages.size() == 2);
}

TEST_CASE("saved and restored: numbers, windows and what lies behind them") {
    Bridged first{true};
    auto dev = first.device(first.bridge->secondary(), 0, endpoint(true));
    first.place(first.id(4, 0));
    dev->function.set_intx(true);
    sim::Writer writer;
    writer(first.root, *first.bridge, dev->function);
    Rig base;
    Bridged second{true};
    auto twin = second.device(second.bridge->secondary(), 0, endpoint(true));
    sim::Reader reader{writer.data()};
    reader(second.root, *second.bridge, twin->function);
    CHECK(reader.remaining() == 0);
    second.set_memory(0x1000'0004, 4, 3);
    CHECK(twin->last_write == RecordingDevice::Write{0, 4, 4, 3});
    CHECK(second.host.lines.empty());
    twin->function.set_intx(false);
    CHECK(second.host.lines == std::vector<std::string>{"-3"});
}

}  // namespace bridge_test
