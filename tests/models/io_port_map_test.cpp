// Routing of port and device-memory accesses; the power, reset and debug-exit ports behind it.
#include "models/io_port_map.h"

#include <doctest/doctest.h>

#include "tests/models/recorders.h"

namespace io_port_map_test {

namespace {
// Reads its own address, remembers writes.
struct EchoDevice final : models::IoDevice, models::MmioDevice {
    std::vector<std::array<std::uint64_t, 3>> writes;
    std::uint32_t read_port(std::uint16_t port, unsigned size) override { return 0x10000u * size + port; }
    void write_port(std::uint16_t port, unsigned size, std::uint32_t value) override {
        writes.push_back({port, size, value});
    }
    std::uint64_t read_mmio(std::uint64_t gpa, unsigned) override { return gpa * 3; }
    void write_mmio(std::uint64_t gpa, unsigned size, std::uint64_t value) override {
        writes.push_back({gpa, size, value});
    }
};
}  // namespace

TEST_CASE("port accesses reach their device, are cut for narrow ones, and float elsewhere") {
    sim::Simulation simulation;
    models::IoPortMap map{simulation.scope("io")};
    EchoDevice narrow, wide;
    map.claim(0x100, 4, 1, narrow);
    map.claim(0x104, 4, 4, wide);
    map.claim(0xfffe, 2, 2, wide);

    struct Row {
        std::uint16_t port;
        unsigned size;
        std::uint32_t value;
        const char* why;
    };
    for (const Row& row : {
             Row{0x100, 1, 0x00, "a byte of a byte device"},
             Row{0x102, 2, 0x0302, "two bytes of a byte device"},
             Row{0x100, 4, 0x03020100, "four bytes of a byte device"},
             Row{0x102, 4, 0x05040302, "cut: a byte device first, then the wide one's bytes"},
             Row{0x104, 4, 0x40104, "the wide device at once"},
             Row{0x106, 4, 0xffff0706, "bytes past the claim float"},
             Row{0xffff, 4, 0xffffffff, "what would be past the last port floats"},
             Row{0x108, 1, 0xff, "nobody's"},
             Row{0x0ff, 4, 0xffffffff, "an access that begins outside a claim is nobody's"},
             Row{0xcf8, 2, 0xffff, "nobody's"},
         }) {
        CAPTURE(row.why);
        CHECK(map.read(row.port, row.size) == row.value);
    }
    CHECK(map.unclaimed().by_address == std::map<std::uint64_t, std::uint64_t>{{0xff, 1}, {0x108, 1}, {0xcf8, 1}});

    map.write(0x102, 4, 0xaabbccdd);
    map.write(0x104, 2, 0xffff1234);
    map.write(0x80, 1, 0);
    CHECK(narrow.writes == std::vector<std::array<std::uint64_t, 3>>{{0x102, 1, 0xdd}, {0x103, 1, 0xcc}});
    CHECK(wide.writes ==
          std::vector<std::array<std::uint64_t, 3>>{{0x104, 1, 0xbb}, {0x105, 1, 0xaa}, {0x104, 2, 0x1234}});
    CHECK(simulation.statistics().all().at("io.unclaimed").counter.value() == 4);
}

TEST_CASE("the list of unclaimed addresses is bounded and is state") {
    sim::Simulation simulation;
    models::IoPortMap map{simulation.scope("io")};
    for (int pass = 0; pass < 2; ++pass) {
        for (std::uint32_t port = 0; port < 0x10000; ++port) (void)map.read(static_cast<std::uint16_t>(port), 1);
    }
    CHECK(map.unclaimed().by_address.size() == 64);
    CHECK(map.unclaimed().by_address.at(63) == 2);
    CHECK(map.unclaimed().elsewhere == 2 * (0x10000 - 64));

    models::IoPortMap copy{simulation.scope("io2")};
    sim::restore_from_bytes(copy, sim::save_to_bytes(map));
    CHECK(copy.unclaimed() == map.unclaimed());
}

TEST_CASE("device-memory accesses must lie within one claim") {
    sim::Simulation simulation;
    models::MmioMap map{simulation.scope("mmio")};
    EchoDevice device;
    map.claim(0xfec00000, 0x1000, device);
    map.claim(0xffff'ffff'ffff'f000, 0x1000, device);
    CHECK(map.read(0xfec00010, 4) == ((0xfec00010ull * 3) & 0xffffffff));
    CHECK(map.read(0xfec00ffc, 8) == ~0ull);
    CHECK(map.read(0xfec00fff, 2) == 0xffff);
    CHECK(map.read(0xfebfffff, 2) == 0xffff);
    CHECK(map.read(0xffff'ffff'ffff'fff8, 8) == 0xffff'ffff'ffff'fff8ull * 3);
    CHECK(map.read(0xffff'ffff'ffff'ffff, 8) == ~0ull);
    map.write(0xfec00000, 2, 0x12345);
    map.write(0xfec01000, 8, 1);
    CHECK(device.writes == std::vector<std::array<std::uint64_t, 3>>{{0xfec00000, 2, 0x2345}});
    CHECK(map.claims_page(0xfec00abc));
    CHECK_FALSE(map.claims_page(0xfec01000));
    CHECK_FALSE(map.claims_page(0xfebfffff));
    CHECK(simulation.statistics().all().at("mmio.unclaimed").counter.value() == 5);
}

TEST_CASE("ways to end a machine") {
    sim::Simulation simulation;
    models::IoPortMap map{simulation.scope("io")};
    RecordedPower power;
    RecordedLine button;
    models::PowerControl control{simulation.scope("power"), power, button};
    models::DebugExit debug_exit{power};
    control.connect(map);
    map.claim(models::DebugExit::port, models::DebugExit::ports, models::DebugExit::widest_bytes, debug_exit);

    struct Row {
        std::uint16_t port;
        unsigned size;
        std::uint32_t value;
        std::vector<std::string> events;
        const char* why;
    };
    for (const Row& row : {
             Row{0x400, 1, 0x14, {}, "sleep type 5 without the enable bit"},
             Row{0x400, 1, 0x24, {}, "enable, but a sleep type that is none of ours"},
             Row{0x401, 1, 0x34, {}, "the status register"},
             Row{0x400, 1, 0x34, {"off"}, "S5"},
             Row{0x433, 1, 0, {}, "reset register, wrong value"},
             Row{0x433, 1, 1, {"reset 0"}, "reset register"},
             Row{0x64, 1, 0xff, {}, "a keyboard command"},
             Row{0x64, 1, 0xfe, {"reset 1"}, "the keyboard controller's pulse"},
             Row{0xcf9, 1, 0x02, {}, "reset control: kind of reset chosen"},
             Row{0xcf9, 1, 0x06, {"reset 2"}, "reset control: 0 to 1"},
             Row{0xcf9, 1, 0x0e, {}, "reset control: stays 1"},
             Row{0xcf8, 4, 0x80000600, {}, "a PCI configuration address is no reset"},
             Row{0xf4, 1, 0x55, {"exit 85"}, "debug exit, one byte"},
             Row{0xf4, 4, 0xdeadbeef, {"exit 3735928559"}, "debug exit, four bytes"},
             Row{0xf5, 1, 1, {}, "beside the debug exit"},
         }) {
        CAPTURE(row.why);
        power.events.clear();
        map.write(row.port, row.size, row.value);
        CHECK(power.events == row.events);
    }
    CHECK(map.read(0x400, 1) == 0x14);
    CHECK(map.read(0x401, 1) == 0);
    CHECK(map.read(0x433, 1) == 0xff);
    CHECK(map.read(0x64, 1) == 0xff);
    CHECK(map.read(0xcf9, 1) == 0x0e);
    CHECK(map.read(0xf4, 4) == 0xffffffff);

    control.press_power_button();
    CHECK(button.edges == 1);
    CHECK_FALSE(button.asserted);

    models::PowerControl copy{simulation.scope("power2"), power, button};
    sim::restore_from_bytes(copy, sim::save_to_bytes(control));
    CHECK(copy.state() == control.state());
    copy.reset();
    CHECK(copy.state() == models::PowerControl::State{});
}

}  // namespace io_port_map_test
