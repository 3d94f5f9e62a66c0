// Message-signalled interrupts: what is sent, masked, kept pending and sent later.
#include <doctest/doctest.h>

#include "pci/capabilities.h"
#include "pci/message_interrupts.h"
#include "tests/pci/rig.h"

namespace interrupts_test {

using namespace pci_test;
using pci::InterruptMessage;
namespace header = pci::header;

namespace {

struct MsiRig : Rig {
    std::unique_ptr<RecordingDevice> dev;
    std::optional<pci::Msi> msi;
    pci::RequesterId who = id(0, 2);
    unsigned at = 0x40;

    explicit MsiRig(pci::MsiCapability what) {
        pci::FunctionLayout layout = pci::device_function(identity(), {}, pci::legacy_config_bytes);
        pci::add_msi(layout.config, what);
        dev = device(root.bus(), 2, std::move(layout));
        msi.emplace(dev->function);
        set_config(who, header::command, 2, pci::command::bus_master);
        set_config(who, at + 4, 4, 0xfee0'1000);
    }
    void control(std::uint16_t bits) { set_config(who, at + 2, 2, bits); }
};

struct MsixRig : Rig {
    std::unique_ptr<RecordingDevice> dev;
    std::optional<pci::MsiX> msix;
    pci::RequesterId who = id(0, 2);

    MsixRig() {
        pci::FunctionLayout layout = pci::device_function(identity(), {}, pci::legacy_config_bytes);
        pci::add_msix(layout.config, {70, 0, 0, 0, 0x1000});
        dev = device(root.bus(), 2, std::move(layout));
        msix.emplace(dev->function);
        set_config(who, header::command, 2, pci::command::bus_master);
    }
    void control(std::uint16_t bits) { set_config(who, 0x42, 2, bits); }
    void program(unsigned vector, std::uint64_t address, std::uint32_t data, std::uint32_t mask) {
        msix->write_table(16 * vector, 8, address);
        msix->write_table(16 * vector + 8, 4, data);
        msix->write_table(16 * vector + 12, 4, mask);
    }
};

}  // namespace

TEST_CASE("a message that software has addressed to memory is a write there") {
    MsixRig rig;
    rig.control(pci::msix_cap::enable);
    rig.program(0, 0x2000, 0x1234'5678, 0);
    rig.program(1, 0xfee0'0000, 0x41, 0);
    rig.program(2, 0xfede'fffc, 0x42, 0);  // nothing is there
    rig.program(3, 0x1'fee0'0000, 0x43, 0);
    for (unsigned vector = 0; vector < 4; ++vector) rig.msix->raise(vector);
    CHECK(rig.host.messages == std::vector<InterruptMessage>{{0xfee0'0000, 0x41, rig.who}});
    std::uint32_t there = 0;
    std::memcpy(&there, &rig.host.memory[0x2000], sizeof there);
    CHECK(there == 0x1234'5678);
}

TEST_CASE("MSI: the number of the vector stands in the low bits of the data, as many as software granted") {
    struct Row {
        std::uint16_t control;
        unsigned vector;
        std::optional<std::uint32_t> data;
    };
    for (const Row& row : {
             Row{0x00, 0, {}},      // off
             Row{0x01, 0, 0x4567},  // one vector: the data as it is
             Row{0x01, 7, 0x4567}, Row{0x11, 0, 0x4566}, Row{0x11, 3, 0x4567}, Row{0x31, 5, 0x4565},
             Row{0x71, 6, 0x4566},  // more granted than there are: as many as there are
         }) {
        CAPTURE(row.control);
        CAPTURE(row.vector);
        MsiRig rig{{8, true, false}};
        rig.set_config(rig.who, rig.at + 8, 4, 0);
        rig.set_config(rig.who, rig.at + 12, 2, 0x4567);
        rig.control(row.control);
        rig.msi->raise(row.vector);
        std::vector<InterruptMessage> expected;
        if (row.data) expected.push_back({0xfee0'1000, *row.data, rig.who});
        CHECK(rig.host.messages == expected);
    }
}

TEST_CASE("MSI without the upper address and with masks") {
    MsiRig rig{{2, false, true}};
    rig.set_config(rig.who, rig.at + 8, 2, 0x40);
    rig.set_config(rig.who, rig.at + 12, 4, 0x2);
    rig.control(0x11);
    rig.msi->raise(1);
    rig.msi->raise(1);
    CHECK(rig.host.messages.empty());
    CHECK(rig.config(rig.who, rig.at + 16, 4) == 2);
    rig.msi->raise(0);
    CHECK(rig.host.messages == std::vector<InterruptMessage>{{0xfee0'1000, 0x40, rig.who}});
    rig.set_config(rig.who, rig.at + 12, 4, 0);
    CHECK(rig.config(rig.who, rig.at + 16, 4) == 0);
    CHECK(rig.host.messages.back() == InterruptMessage{0xfee0'1000, 0x41, rig.who});
    CHECK(rig.host.messages.size() == 2);
}

TEST_CASE("while messages are on the pin is silent") {
    MsiRig rig{{1, true, false}};
    rig.dev->function.set_intx(true);
    rig.control(1);
    rig.control(0);
    CHECK(rig.host.lines == std::vector<std::string>{"+2", "-2", "+2"});
}

TEST_CASE("MSI-X: masks of entry and function, pending bits") {
    MsixRig rig;
    CHECK(rig.msix->vectors() == 70);
    CHECK(rig.msix->read_table(69 * 16 + 12, 4) == 1);  // masked after reset
    rig.program(69, 0xfee0'2000, 0x99, 1);
    rig.msix->raise(69);
    CHECK(rig.msix->read_pending(8, 8) == 0);  // off: nothing is remembered
    rig.control(0x8000);
    rig.msix->raise(69);
    CHECK(rig.msix->read_pending(8, 8) == 1u << 5);
    CHECK(rig.msix->read_pending(8, 1) == 1u << 5);
    CHECK(rig.host.messages.empty());
    rig.control(0xc000);
    rig.msix->write_table(69 * 16 + 12, 4, 0);
    CHECK(rig.host.messages.empty());
    rig.control(0x8000);
    CHECK(rig.host.messages == std::vector<InterruptMessage>{{0xfee0'2000, 0x99, rig.who}});
    CHECK(rig.msix->read_pending(8, 8) == 0);
    rig.msix->raise(69);
    CHECK(rig.host.messages.size() == 2);
    rig.dev->function.reset(pci::ResetKind::function_level);
    CHECK(rig.msix->read_table(69 * 16, 8) == 0);
    CHECK(rig.msix->read_table(69 * 16 + 12, 4) == 1);
}

TEST_CASE("MSI-X table: every width, what is reserved, what lies behind") {
    MsixRig rig;
    struct Row {
        std::uint64_t offset;
        unsigned size;
        std::uint64_t written, read;
    };
    for (const Row& row : {
             Row{0, 4, 0xfee0'0003, 0xfee0'0003},
             Row{4, 4, 0x55, 0x55},
             Row{0, 8, 0x11'2222'3333, 0x11'2222'3333},
             Row{8, 8, 0xffff'ffff'1234'5678, 0x0000'0001'1234'5678},
             Row{12, 4, 0xffff'fffe, 0},
             Row{9, 1, 0xab, 0xab},
             Row{14, 8, 0xffff'ffff'ffff'ffff, 0xffff'ffff'ffff'0000},
             Row{69 * 16 + 8, 8, 5, 5},
             Row{70 * 16, 4, 7, 0},
             Row{70 * 16 - 2, 4, 7, 0},
         }) {
        CAPTURE(row.offset);
        rig.msix->write_table(row.offset, row.size, row.written);
        CHECK(rig.msix->read_table(row.offset, row.size) == row.read);
    }
}

TEST_CASE("MSI-X: a table write over two entries serves both; all pending at once go in order") {
    MsixRig rig;
    rig.control(0xc000);
    for (unsigned vector : {65u, 3u, 4u}) {
        rig.program(vector, 0xfee0'0000, vector, 0);
        rig.msix->raise(vector);
    }
    rig.control(0x8000);
    CHECK(rig.host.messages == std::vector<InterruptMessage>{
                                   {0xfee0'0000, 3, rig.who}, {0xfee0'0000, 4, rig.who}, {0xfee0'0000, 65, rig.who}});
    rig.host.messages.clear();
    rig.msix->write_table(3 * 16 + 12, 4, 1);
    rig.msix->raise(3);
    rig.msix->write_table(3 * 16 + 12, 8, 0);  // reaches into entry 4
    CHECK(rig.host.messages == std::vector<InterruptMessage>{{0xfee0'0000, 3, rig.who}});
    CHECK(rig.msix->read_table(4 * 16, 8) == 0);
}

}  // namespace interrupts_test
