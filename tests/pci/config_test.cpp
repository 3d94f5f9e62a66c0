// Configuration space: masks, capability lists, accesses of all widths, both ways to reach it.
#include <doctest/doctest.h>

#include "pci/capabilities.h"
#include "pci/config_access.h"
#include "tests/pci/rig.h"

namespace config_test {

using namespace pci_test;
namespace header = pci::header;

namespace {

constexpr pci::ConfigRegister mixed[] = {
    {"mixed", 0x40, 4, 0x1122'3344, 0x0000'ff00, 0x00ff'0000, 0x00f0'f000},
};

pci::FunctionLayout mixed_layout() {
    pci::FunctionLayout layout = pci::device_function(identity(), {}, pci::legacy_config_bytes);
    layout.config.add(mixed);
    return layout;
}

struct Listener final : pci::ConfigListener {
    std::vector<std::array<std::uint32_t, 3>> writes;
    std::uint32_t seen = 0;
    void config_written(std::uint16_t offset, std::uint32_t before, std::uint32_t after) override {
        writes.push_back({offset, before, after});
    }
    std::uint32_t config_read(std::uint16_t, std::uint32_t stored) override { return stored | seen; }
};

}  // namespace

TEST_CASE("a write changes the writable bits, clears the others by ones, and leaves the rest") {
    struct Row {
        unsigned offset, size;
        std::uint32_t written, after;
    };
    for (const Row& row : {
             Row{0x40, 4, 0xffffffff, 0x1100ff44},
             Row{0x40, 4, 0x00000000, 0x11220044},
             Row{0x41, 1, 0x5a, 0x11225a44},
             Row{0x42, 1, 0x02, 0x11203344},
             Row{0x42, 2, 0xff22, 0x11003344},
             Row{0x40, 2, 0xa5a5, 0x1122a544},
             Row{0x41, 2, 0x20a5, 0x1102a544},
             Row{0x43, 1, 0xff, 0x11223344},
             Row{0x3f, 4, 0xffffffff, 0x1100ff44},
             Row{0x100, 4, 0xffffffff, 0x11223344},
             Row{0xffe, 4, 0xffffffff, 0x11223344},
         }) {
        CAPTURE(row.offset);
        CAPTURE(row.written);
        const auto layout = shared(mixed_layout());
        pci::ConfigSpace space{std::shared_ptr<const pci::ConfigLayout>{layout, &layout->config}};
        space.write(row.offset, row.size, row.written);
        CHECK(space.get(0x40, 4) == row.after);
    }
}

TEST_CASE("sticky bits survive every reset but a cold one") {
    const auto layout = shared(mixed_layout());
    pci::ConfigSpace space{std::shared_ptr<const pci::ConfigLayout>{layout, &layout->config}};
    struct Row {
        pci::ResetKind kind;
        std::uint32_t after;
    };
    for (const Row& row : {Row{pci::ResetKind::function_level, 0x1102a344}, Row{pci::ResetKind::bus, 0x1102a344},
                           Row{pci::ResetKind::power_state, 0x1102a344}, Row{pci::ResetKind::cold, 0x11223344}}) {
        space.reset(pci::ResetKind::cold);
        space.write(0x40, 4, 0x0020'ac00);  // takes ac, clears 2x
        CHECK(space.get(0x40, 4) == 0x1102ac44);
        space.reset(row.kind);
        CHECK(space.get(0x40, 4) == row.after);
    }
}

TEST_CASE("listeners hear of each register that a write touches, and can answer reads") {
    const auto layout = shared(mixed_layout());
    pci::ConfigSpace space{std::shared_ptr<const pci::ConfigLayout>{layout, &layout->config}};
    Listener low, high;
    space.listen(0x41, 1, low);
    space.listen(0x42, 2, high);
    space.write(0x40, 4, 0x0002'7700);
    CHECK(low.writes == std::vector<std::array<std::uint32_t, 3>>{{0x41, 0x33, 0x77}});
    CHECK(high.writes == std::vector<std::array<std::uint32_t, 3>>{{0x42, 0x1122, 0x1120}});
    space.write(0x40, 1, 0);
    CHECK(low.writes.size() == 1);
    high.seen = 0x8001;
    CHECK(space.read(0x40, 4) == 0x91217744);
    CHECK(space.read(0x43, 1) == 0x91);
    CHECK(space.read(0x41, 2) == 0x2177);
    CHECK(space.get(0x40, 4) == 0x11207744);
}

TEST_CASE("capability lists: links, the status bit, places") {
    pci::FunctionLayout layout = pci::device_function(identity(), {}, pci::extended_config_bytes);
    CHECK(pci::add_power_management(layout.config, {}) == 0x40);
    CHECK(pci::add_msi(layout.config, {32, true, true}) == 0x48);
    CHECK(pci::add_msix(layout.config, {64, 4, 0, 4, 0x2000}, 0x70) == 0x70);
    CHECK(pci::add_express(layout.config, {}, 0xa0) == 0xa0);
    CHECK(pci::add_vendor(layout.config, 8, {}) == 0x60);
    CHECK(pci::add_aer(layout.config, false) == 0x100);
    CHECK(pci::add_serial_number(layout.config, 0x0011'2233'4455'6677, 0x150) == 0x150);
    CHECK(pci::add_ari(layout.config, 0) == 0x148);
    CHECK(pci::add_acs(layout.config, 0x1f) == 0x15c);
    const auto kept = shared(std::move(layout));
    pci::ConfigSpace space{std::shared_ptr<const pci::ConfigLayout>{kept, &kept->config}};
    CHECK(space.get(header::status, 2) == pci::status::capabilities_list);
    std::vector<std::array<unsigned, 2>> found;
    for (unsigned at = space.get(header::capabilities_pointer, 1); at != 0; at = space.get(at + 1, 1)) {
        found.push_back({at, space.get(at, 1)});
    }
    CHECK(found == std::vector<std::array<unsigned, 2>>{{0x40, 1}, {0x48, 5}, {0x70, 0x11}, {0xa0, 0x10}, {0x60, 9}});
    found.clear();
    for (unsigned at = 0x100; at != 0; at = space.get(at, 4) >> 20) {
        found.push_back({at, space.get(at, 4) & 0xfffff});
    }
    CHECK(found ==
          std::vector<std::array<unsigned, 2>>{{0x100, 0x20001}, {0x150, 0x10003}, {0x148, 0x1000e}, {0x15c, 0x1000d}});
    CHECK(space.get(0x62, 1) == 8);
    CHECK(space.get(0x154, 4) == 0x44556677);
    CHECK(space.get(0x158, 4) == 0x00112233);
}

TEST_CASE("capabilities: what a device says and what software can set") {
    pci::FunctionLayout layout = pci::device_function(identity(), {}, pci::extended_config_bytes);
    pci::add_power_management(layout.config, {});
    pci::add_msi(layout.config, {4, true, true});
    pci::add_msix(layout.config, {64, 4, 0, 4, 0x2000});
    pci::PciExpress link;
    link.function_level_reset = true;
    link.max_payload_bytes = 512;
    link.width = 8;
    const std::uint16_t x = pci::add_express(layout.config, link);
    pci::add_aer(layout.config, false);
    pci::SriovCapability vfs;
    vfs.total_vfs = 64;
    vfs.first_vf_offset = 0x180;
    vfs.vf_stride = 2;
    vfs.vf_device_id = 0x10ed;
    vfs.vf_bars = {{pci::BarKind::memory64, 0x4000}, {}, {}, {pci::BarKind::memory64, 0x4000, true}};
    CHECK(pci::add_sriov(layout.config, vfs, 0x160) == 0x160);
    const auto kept = shared(std::move(layout));
    struct Row {
        const char* what;
        unsigned offset, size;
        std::uint32_t reset, after_ones;
    };
    for (const Row& row : {
             Row{"PMC", 0x42, 2, 0x0003, 0x0003},
             Row{"PMCSR", 0x44, 2, 0x0008, 0x000b},
             Row{"MSI control", 0x4a, 2, 0x0184, 0x01f5},
             Row{"MSI address", 0x4c, 4, 0, 0xfffffffc},
             Row{"MSI upper address", 0x50, 4, 0, 0xffffffff},
             Row{"MSI data", 0x54, 2, 0, 0xffff},
             Row{"MSI mask", 0x58, 4, 0, 0xf},
             Row{"MSI pending", 0x5c, 4, 0, 0},
             Row{"MSI-X control", 0x62, 2, 0x003f, 0xc03f},
             Row{"MSI-X table", 0x64, 4, 4, 4},
             Row{"MSI-X pending", 0x68, 4, 0x2004, 0x2004},
             Row{"PCIe capabilities", x + 2u, 2, 0x0002, 0x0002},
             Row{"device capabilities", x + 4u, 4, 0x10008022, 0x10008022},
             Row{"device control", x + 8u, 2, 0x2810, 0xffff},
             Row{"link capabilities", x + 12u, 4, 0x82, 0x82},
             Row{"link status", x + 18u, 2, 0x82, 0x82},
             Row{"uncorrectable mask", 0x108, 4, 0, 0x003ff030},
             Row{"uncorrectable severity", 0x10c, 4, 0x00062030, 0x003ff030},
             Row{"SR-IOV control", 0x168, 2, 0, 0x19},
             Row{"InitialVFs", 0x16c, 2, 64, 64},
             Row{"TotalVFs", 0x16e, 2, 64, 64},
             Row{"NumVFs", 0x170, 2, 0, 0xffff},
             Row{"first VF offset", 0x174, 2, 0x180, 0x180},
             Row{"VF stride", 0x176, 2, 2, 2},
             Row{"VF device id", 0x17a, 2, 0x10ed, 0x10ed},
             Row{"system page size", 0x180, 4, 1, 0x553},
             Row{"VF BAR 0", 0x184, 4, 0x4, 0xffffc004},
             Row{"VF BAR 1", 0x188, 4, 0, 0xffffffff},
             Row{"VF BAR 2", 0x18c, 4, 0, 0},
             Row{"VF BAR 3", 0x190, 4, 0xc, 0xffffc00c},
         }) {
        CAPTURE(row.what);
        pci::ConfigSpace space{std::shared_ptr<const pci::ConfigLayout>{kept, &kept->config}};
        CHECK(space.read(row.offset, row.size) == row.reset);
        space.write(row.offset, row.size, 0xffffffff);
        CHECK(space.read(row.offset, row.size) == row.after_ones);
    }
}

TEST_CASE("mechanism #1: every width at every port") {
    Rig rig;
    auto device = rig.device(rig.root.bus(), 3, mixed_layout());
    pci::ConfigPorts ports{rig.root};
    struct Row {
        std::uint32_t address;
        std::uint16_t port;
        unsigned size;
        std::uint32_t value;
    };
    for (const Row& row : {
             Row{0x80001840, 0xcfc, 4, 0x11223344},
             Row{0x80001840, 0xcfc, 2, 0x3344},
             Row{0x80001840, 0xcfe, 2, 0x1122},
             Row{0x80001840, 0xcfc, 1, 0x44},
             Row{0x80001840, 0xcfd, 1, 0x33},
             Row{0x80001840, 0xcff, 1, 0x11},
             Row{0x80001840, 0xcfd, 2, 0x2233},      // within the dword
             Row{0x80001843, 0xcfc, 4, 0x11223344},  // the two low bits are none of the register's
             Row{0x00001840, 0xcfc, 4, 0xffffffff},  // not enabled
             Row{0x80001940, 0xcfc, 4, 0xffffffff},  // no function 1
             Row{0x80011840, 0xcfc, 4, 0xffffffff},  // no bus 1
             Row{0x80001840, 0xcf8, 4, 0x80001840},
             Row{0x80001840, 0xcf8, 2, 0xffff},
             Row{0x80001840, 0xcf9, 1, 0xff},
             Row{0x80001840, 0xcfa, 4, 0x3344ffff},  // over two dwords: bytes
             Row{0xffffffff, 0xcf8, 4, 0x80fffffc},
         }) {
        CAPTURE(row.address);
        CAPTURE(row.port);
        CAPTURE(row.size);
        ports.write(0xcf8, 4, row.address);
        CHECK(ports.read(row.port, row.size) == row.value);
    }
    ports.write(0xcf8, 4, 0x80001840);
    ports.write(0xcf8, 2, 0x1234);  // for somebody else
    ports.write(0xcf9, 1, 0x06);
    CHECK(ports.read(0xcf8, 4) == 0x80001840);
    ports.write(0xcfd, 1, 0x99);
    CHECK(device->function.config().get(0x40, 4) == 0x11229944);
    ports.write(0xcfa, 4, 0x5500'0000);  // its last byte is the register's second
    CHECK(device->function.config().get(0x40, 4) == 0x11225544);
}

TEST_CASE("the window: bus, device, function and all 4096 bytes by address") {
    Rig rig;
    pci::FunctionLayout layout = pci::device_function(identity(), {}, pci::extended_config_bytes);
    layout.config.add({"far", 0xffc, 4, 0xcafe0001, 0xffff0000});
    auto device = rig.device(rig.root.bus(), 31, std::move(layout), 7);
    pci::ConfigWindow window{rig.root, 0xe000'0000, 0, 256};
    CHECK(window.bytes() == 0x1000'0000);
    const std::uint64_t at = 0xe000'0000 + (0xffull << 12);
    CHECK(window.read(at, 4) == 0x1234'8086);
    CHECK(window.read(at + 0xffc, 4) == 0xcafe0001);
    CHECK(window.read(at + 0xffe, 2) == 0xcafe);
    CHECK(window.read(at + 0xff8, 8) == 0xcafe0001'00000000);
    CHECK(window.read(at + 0xffe, 4) == 0xffffcafe);  // the next function's first bytes: bus 1, nobody
    window.write(at + 0xffc, 4, 0xbeefbeef);
    CHECK(window.read(at + 0xffc, 4) == 0xbeef0001);
    window.write(at + 0xff8, 8, 0x1234'0000'0000'0000);
    CHECK(window.read(at + 0xffc, 4) == 0x12340001);
    CHECK(window.read(0xe000'0000, 4) == 0xffffffff);
    // Without extended capabilities there is no such space.
    auto small = rig.device(rig.root.bus(), 4, mixed_layout());
    CHECK(window.read(0xe000'0000 + (4u << 15) + 0x100, 4) == 0xffffffff);
}

TEST_CASE("a first bus that is not 0 shifts the window") {
    Rig rig;
    auto device = rig.device(rig.root.bus(), 1, mixed_layout());
    pci::ConfigWindow all{rig.root, 0xe000'0000, 0, 1};
    pci::ConfigWindow later{rig.root, 0xe000'0000, 1, 4};
    CHECK(all.read(0xe000'8000, 2) == 0x8086);
    CHECK(later.read(0xe000'8000, 2) == 0xffff);
}

}  // namespace config_test
