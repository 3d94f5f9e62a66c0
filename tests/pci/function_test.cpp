// A function on its bus: base address registers sized and moved, decoding, mastering, error bits, resets, removal.
#include <doctest/doctest.h>

#include "pci/capabilities.h"
#include "tests/pci/rig.h"

namespace function_test {

using namespace pci_test;
using pci::BarKind;
using pci::DmaStatus;
namespace command = pci::command;
namespace header = pci::header;

namespace {

constexpr pci::Bar bars[] = {{BarKind::io, 0x80},
                             {BarKind::memory32, 0x1000},
                             {BarKind::memory64, 0x4000, true},
                             {},
                             {BarKind::memory32, 0x10, true},
                             {},
                             {BarKind::rom, 0x10000}};

pci::FunctionLayout all_bars(unsigned bytes = pci::legacy_config_bytes) {
    return pci::device_function(identity(), bars, bytes);
}

struct OneDevice : Rig {
    std::unique_ptr<RecordingDevice> dev;
    pci::RequesterId who = id(0, 5);
    explicit OneDevice(pci::FunctionLayout layout = all_bars()) : dev(device(root.bus(), 5, std::move(layout))) {}
    void enable(std::uint16_t bits) { set_config(who, header::command, 2, bits); }
    std::uint16_t status() { return static_cast<std::uint16_t>(config(who, header::status, 2)); }
};

}  // namespace

TEST_CASE("what software finds when it sizes the BARs") {
    OneDevice rig;
    struct Row {
        unsigned offset;
        std::uint32_t reset, sized;
    };
    for (const Row& row :
         {Row{0x10, 0x1, 0xffffff81}, Row{0x14, 0, 0xfffff000}, Row{0x18, 0xc, 0xffffc00c}, Row{0x1c, 0, 0xffffffff},
          Row{0x20, 0x8, 0xfffffff8}, Row{0x24, 0, 0}, Row{0x30, 0, 0xffff0001}}) {
        CAPTURE(row.offset);
        CHECK(rig.config(rig.who, row.offset, 4) == row.reset);
        rig.set_config(rig.who, row.offset, 4, 0xffffffff);
        CHECK(rig.config(rig.who, row.offset, 4) == row.sized);
        rig.set_config(rig.who, row.offset, 4, 0);
        CHECK(rig.config(rig.who, row.offset, 4) == row.reset);
    }
}

TEST_CASE("accesses arrive at BAR and offset while decoding is on") {
    OneDevice rig;
    rig.set_config(rig.who, 0x10, 4, 0xec00);
    rig.set_config(rig.who, 0x14, 4, 0xfebff000);
    rig.set_config(rig.who, 0x18, 4, 0x0000'8000);
    rig.set_config(rig.who, 0x1c, 4, 0x12);
    rig.set_config(rig.who, 0x20, 4, 0xfebf'e010);
    rig.set_config(rig.who, 0x30, 4, 0xfea0'0000);
    using Write = RecordingDevice::Write;
    struct Row {
        std::uint16_t command;
        pci::Space space;
        std::uint64_t address;
        unsigned size;
        std::optional<Write> arrives;
    };
    const auto memory = pci::Space::memory;
    const auto io = pci::Space::io;
    const std::uint16_t both = command::io_space | command::memory_space;
    for (const Row& row : {
             Row{0, memory, 0xfebff000, 4, {}},
             Row{command::io_space, memory, 0xfebff000, 4, {}},
             Row{command::memory_space, memory, 0xfebff000, 4, Write{1, 0, 4, 0x55}},
             Row{both, memory, 0xfebffff8, 8, Write{1, 0xff8, 8, 0x55}},
             Row{both, memory, 0xfebffffc, 8, {}},
             Row{both, memory, 0x12'0000'8000, 1, Write{2, 0, 1, 0x55}},
             Row{both, memory, 0x12'0000'bffe, 2, Write{2, 0x3ffe, 2, 0x55}},
             Row{both, memory, 0x12'0000'c000, 4, {}},
             Row{both, memory, 0x8000, 4, {}},
             Row{both, memory, 0xfebfe01c, 4, Write{4, 0xc, 4, 0x55}},
             Row{both, memory, 0xfea00000, 4, {}},  // the ROM's own enable bit is off
             Row{both, io, 0xec00, 4, Write{0, 0, 4, 0x55}},
             Row{both, io, 0xec7f, 1, Write{0, 0x7f, 1, 0x55}},
             Row{both, io, 0xec80, 1, {}},
             Row{command::memory_space, io, 0xec00, 4, {}},
         }) {
        CAPTURE(row.command);
        CAPTURE(row.address);
        rig.enable(row.command);
        rig.dev->last_write = {};
        rig.root.write(row.space, row.address, row.size, 0x55);
        CHECK(rig.dev->last_write == row.arrives.value_or(Write{}));
        const std::uint64_t ones = row.size == 8 ? ~0ull : (1ull << 8 * row.size) - 1;
        CHECK(rig.root.read(row.space, row.address, row.size) == (row.arrives ? 0x55 : ones));
    }
    rig.set_config(rig.who, 0x30, 4, 0xfea0'0001);
    rig.enable(both);
    rig.set_memory(0xfea0'fffc, 4, 7);
    CHECK(rig.dev->last_write == Write{6, 0xfffc, 4, 7});
    rig.set_config(rig.who, 0x14, 4, 0xfd00'0000);  // moved while it decodes
    rig.set_memory(0xfd00'0010, 2, 9);
    CHECK(rig.dev->last_write == Write{1, 0x10, 2, 9});
    CHECK(rig.memory(0xfebf'f000, 4) == 0xffffffff);
}

TEST_CASE("a function masters the bus with its own identity, when software lets it") {
    OneDevice rig;
    std::array<std::byte, 4> data{std::byte{1}, std::byte{2}, std::byte{3}, std::byte{4}};
    std::array<std::byte, 4> back{};
    pci::BusMaster& master = rig.dev->function.master();
    CHECK(master.id() == rig.id(0, 5));
    CHECK(master.write(0x100, data) == DmaStatus::not_sent);
    master.message(0xfee0'0000, 1);
    CHECK(rig.host.messages.empty());
    CHECK(rig.status() == 0);
    rig.enable(command::bus_master);
    CHECK(master.write(0x100, data) == DmaStatus::ok);
    CHECK(rig.host.last_requester == rig.id(0, 5));
    CHECK(master.read(0x100, back) == DmaStatus::ok);
    CHECK(back == data);
    master.message(0xfee0'1004, 0x4321);
    CHECK(rig.host.messages == std::vector<pci::InterruptMessage>{{0xfee0'1004, 0x4321, rig.id(0, 5)}});
}

TEST_CASE("an access that fails sets the requester's status bits; a posted write on a link has no completion") {
    struct Row {
        bool express, write;
        std::uint64_t address;
        DmaStatus result;
        std::uint16_t status;
    };
    for (const Row& row : {
             Row{false, false, 0x20000, DmaStatus::unsupported, pci::status::received_master_abort},
             Row{false, true, 0x20000, DmaStatus::unsupported, pci::status::received_master_abort},
             Row{false, false, 0x8000, DmaStatus::aborted, pci::status::received_target_abort},
             Row{true, false, 0x20000, DmaStatus::unsupported, pci::status::received_master_abort},
             Row{true, true, 0x20000, DmaStatus::unsupported, 0},
             Row{true, false, 0x8000, DmaStatus::aborted, pci::status::received_target_abort},
             Row{true, true, 0x8000, DmaStatus::aborted, 0},
             Row{false, false, ~0ull - 1, DmaStatus::unsupported, pci::status::received_master_abort},
             Row{false, false, 0xfee0'0000, DmaStatus::unsupported, pci::status::received_master_abort},
             Row{false, false, 0xfedf'fffe, DmaStatus::unsupported, pci::status::received_master_abort},
             Row{false, true, 0xfee0'0001, DmaStatus::unsupported, pci::status::received_master_abort},
             Row{false, true, 0xfee0'0004, DmaStatus::ok, 0},
         }) {
        CAPTURE(row.address);
        CAPTURE(row.express);
        pci::FunctionLayout layout = all_bars();
        if (row.express) pci::add_express(layout.config, {});
        OneDevice rig{std::move(layout)};
        rig.host.refused_from = 0x8000;
        if (row.address == 0x20000 || row.address > 0x20000) rig.host.refused_from = ~0ull;
        rig.enable(command::bus_master);
        std::array<std::byte, 4> data{};
        const DmaStatus result = row.write ? rig.dev->function.master().write(row.address, data)
                                           : rig.dev->function.master().read(row.address, data);
        CHECK(result == row.result);
        CHECK((rig.status() & pci::status::errors) == row.status);
        rig.set_config(rig.who, header::status, 2, row.status);
        CHECK((rig.status() & pci::status::errors) == 0);
    }
}

TEST_CASE("a write of a dword into the interrupt window is a message with the writer's identity") {
    OneDevice rig;
    rig.enable(command::bus_master);
    const std::array<std::byte, 4> data{std::byte{0x31}, std::byte{0x40}, std::byte{0}, std::byte{0}};
    CHECK(rig.dev->function.master().write(0xfeef'fffc, data) == DmaStatus::ok);
    CHECK(rig.host.messages == std::vector<pci::InterruptMessage>{{0xfeef'fffc, 0x4031, rig.id(0, 5)}});
}

TEST_CASE("the interrupt pin: status bit, disable bit, wiring, sharing") {
    Rig rig;
    auto a = rig.device(rig.root.bus(), 5, all_bars());
    auto b = rig.device(rig.root.bus(), 9, all_bars());  // 5 and 9 meet on line 1
    a->function.set_intx(true);
    CHECK(rig.host.lines == std::vector<std::string>{"+1"});
    CHECK(rig.config(rig.id(0, 5), header::status, 2) == pci::status::interrupt);
    b->function.set_intx(true);
    a->function.set_intx(false);
    CHECK(rig.host.lines.size() == 1);
    rig.set_config(rig.id(0, 9), header::command, 2, command::intx_disable);
    CHECK(rig.host.lines == std::vector<std::string>{"+1", "-1"});
    CHECK(rig.config(rig.id(0, 9), header::status, 2) == pci::status::interrupt);
    rig.set_config(rig.id(0, 9), header::command, 2, 0);
    b.reset();  // whoever goes lets go
    CHECK(rig.host.lines == std::vector<std::string>{"+1", "-1", "+1", "-1"});

    Rig straight{pci::Wiring::straight};
    auto c = straight.device(straight.root.bus(), 10, all_bars());
    c->function.set_intx(true);
    CHECK(straight.host.lines == std::vector<std::string>{"+0"});
}

TEST_CASE("function-level reset: registers, decoding, interrupt; other functions go on") {
    pci::FunctionLayout layout = all_bars();
    pci::PciExpress link;
    link.function_level_reset = true;
    const unsigned x = pci::add_express(layout.config, link);
    OneDevice rig{std::move(layout)};
    auto other = rig.device(rig.root.bus(), 5, all_bars(), 1);
    rig.set_config(rig.who, 0x14, 4, 0x1000'0000);
    rig.set_config(rig.id(0, 5, 1), 0x14, 4, 0x1000'1000);
    rig.set_config(rig.id(0, 5, 1), header::command, 2, command::memory_space);
    rig.enable(command::memory_space | command::bus_master);
    rig.dev->function.set_intx(true);
    CHECK(rig.memory(0x1000'0000, 4) == 0);
    rig.set_config(rig.who, x + pci::express::device_control, 2, pci::express::initiate_flr | 0x2810);
    CHECK(rig.dev->resets == std::vector<pci::ResetKind>{pci::ResetKind::function_level});
    CHECK(other->resets.empty());
    CHECK(rig.config(rig.who, x + pci::express::device_control, 2) == 0x2810);
    CHECK(rig.config(rig.who, header::command, 2) == 0);
    CHECK(rig.config(rig.who, 0x14, 4) == 0);
    CHECK(rig.memory(0x1000'0000, 4) == 0xffffffff);
    CHECK(rig.memory(0x1000'1000, 4) == 0);
    CHECK(rig.host.lines == std::vector<std::string>{"+1", "-1"});
    CHECK_FALSE(rig.dev->function.master().enabled());
}

TEST_CASE("power states: asleep a function answers configuration only; waking resets it unless it says no") {
    struct Row {
        bool no_soft_reset;
        std::uint32_t bar_after;
        std::size_t resets;
    };
    for (const Row& row : {Row{true, 0x1000'0000, 0}, Row{false, 0, 1}}) {
        pci::FunctionLayout layout = all_bars();
        const unsigned pm = pci::add_power_management(layout.config, {0, row.no_soft_reset});
        OneDevice rig{std::move(layout)};
        rig.set_config(rig.who, 0x14, 4, 0x1000'0000);
        rig.enable(command::memory_space | command::bus_master);
        CHECK(rig.memory(0x1000'0000, 4) == 0);
        rig.set_config(rig.who, pm + pci::power::control, 2, 3);
        CHECK(rig.memory(0x1000'0000, 4) == 0xffffffff);
        CHECK_FALSE(rig.dev->function.master().enabled());
        CHECK(rig.config(rig.who, 0, 4) == 0x1234'8086);
        rig.set_config(rig.who, pm + pci::power::control, 2, 0);
        CHECK(rig.dev->resets.size() == row.resets);
        CHECK(rig.config(rig.who, 0x14, 4) == row.bar_after);
        CHECK(rig.dev->function.master().enabled() == row.no_soft_reset);
    }
}

TEST_CASE("pulled out: all ones, no transactions, the line let go; put in again it is as new") {
    OneDevice rig;
    rig.set_config(rig.who, 0x14, 4, 0x1000'0000);
    rig.enable(command::memory_space | command::bus_master);
    rig.dev->function.set_intx(true);
    rig.dev->function.remove();
    CHECK(rig.config(rig.who, 0, 4) == 0xffffffff);
    CHECK(rig.memory(0x1000'0000, 4) == 0xffffffff);
    rig.set_config(rig.who, 0x14, 4, 0x2000'0000);
    std::array<std::byte, 4> data{};
    CHECK(rig.dev->function.master().read(0, data) == DmaStatus::not_sent);
    rig.dev->function.master().message(0xfee0'0000, 1);
    CHECK(rig.host.messages.empty());
    CHECK(rig.host.lines == std::vector<std::string>{"+1", "-1"});
    rig.dev->function.set_intx(false);
    rig.dev->function.insert();
    CHECK(rig.config(rig.who, 0, 4) == 0x1234'8086);
    CHECK(rig.config(rig.who, 0x14, 4) == 0);
    CHECK(rig.dev->resets == std::vector<pci::ResetKind>{pci::ResetKind::cold});
}

TEST_CASE("nobody answers: all ones, the host bridge's error bit, a count") {
    Rig rig;
    pci::Identity bridge = identity(0x7192);
    bridge.class_of = pci::class_of::host_bridge;
    bridge.interrupt_pin = 0;
    auto host = rig.device(rig.root.bus(), 0, pci::device_function(bridge, {}, pci::legacy_config_bytes));
    CHECK(rig.config(rig.id(0, 1), 0, 4) == 0xffffffff);
    CHECK(rig.config(rig.id(7, 1), 0, 2) == 0xffff);
    CHECK(rig.config(rig.id(0, 0), header::status, 2) == 0);  // looking for devices is no error
    CHECK(rig.memory(0x1234, 8) == ~0ull);
    CHECK(rig.config(rig.id(0, 0), header::status, 2) == pci::status::received_master_abort);
    rig.set_config(rig.id(0, 0), header::status, 2, 0xffff);
    CHECK(rig.config(rig.id(0, 0), header::status, 2) == 0);
    rig.set_memory(0x1234, 4, 1);
    CHECK(rig.config(rig.id(0, 0), header::status, 2) == pci::status::received_master_abort);
    CHECK(rig.simulation.statistics().counter("root.unclaimed", "", "").value() == 2);
    CHECK(rig.simulation.statistics().counter("root.unclaimed_config", "", "").value() == 2);
}

TEST_CASE("saved in the middle and restored into a fresh machine: same registers, same decoding, no interrupt anew") {
    const auto build = [](OneDevice& rig) {
        rig.set_config(rig.who, 0x14, 4, 0x1000'0000);
        rig.enable(command::memory_space | command::bus_master);
        rig.dev->function.set_intx(true);
    };
    OneDevice first;
    build(first);
    sim::Writer writer;
    writer(first.root, first.dev->function);
    OneDevice second;
    sim::Reader reader{writer.data()};
    reader(second.root, second.dev->function);
    CHECK(reader.remaining() == 0);
    CHECK(second.host.lines.empty());
    CHECK(second.memory(0x1000'0000, 4) == 0);
    CHECK(second.dev->function.master().enabled());
    second.dev->function.set_intx(false);
    CHECK(second.host.lines == std::vector<std::string>{"-1"});
}

}  // namespace function_test
