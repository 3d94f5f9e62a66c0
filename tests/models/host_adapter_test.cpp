// The 82599 in the host: uplink of a switch, cable, virtual functions between their partition and the switch.
#include "models/pci/host_adapter.h"

#include <doctest/doctest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "models/network/capture_file.h"
#include "models/pci/adapter_cable.h"
#include "pci/config_registers.h"
#include "tests/vmbus/scripted_channel.h"

namespace host_adapter_test {

using namespace models;
using sim::Time;

namespace {

MacAddress mac(unsigned n) {
    return mac_address("02:00:00:00:00:0" + std::to_string(n));
}
constexpr unsigned one = 1, two = 2, beyond = 9;

Frame frame(unsigned to, unsigned from, std::uint8_t fill) {
    std::vector<std::byte> bytes(60, std::byte{fill});
    for (std::size_t n = 0; n < 6; ++n) {
        bytes[n] = static_cast<std::byte>(mac(to).bytes[n]);
        bytes[6 + n] = static_cast<std::byte>(mac(from).bytes[n]);
    }
    bytes[12] = std::byte{0x88};
    bytes[13] = std::byte{0xb5};
    return Frame{std::move(bytes)};
}

struct Recorder final : FrameReceiver {
    void receive(Frame&& f) override { fills.push_back(std::to_integer<unsigned>(f.bytes[20])); }
    std::vector<unsigned> fills;
    std::vector<unsigned> take() { return std::exchange(fills, {}); }
};
using Fills = std::vector<unsigned>;

struct Rig {
    Rig() : pci(simulation.scope("pci"), costs(), {bytes.data(), bytes.size()}) {
        HostAdapterConfig config;
        config.name = "nic";
        config.mac = mac(8);
        config.vfs = 2;
        adapter = std::make_unique<HostAdapter>(simulation.scope("nic"), pci, processor, config);
        adapter->connect_switch(network, "nic");
        adapter->connect_wire(wire);
        for (const unsigned n : {one, two}) {
            ports[n] = network.connect("vm" + std::to_string(n), guests[n], adapter_port(mac(n)));
        }
        run();
    }
    static PciCosts costs() {
        PciCosts costs;
        costs.mmio = {Time::ns(500), Time::ns(50)};
        return costs;
    }
    void run(Time t = Time::ms(1)) { simulation.agenda().run_until(simulation.agenda().now() + t); }
    void from_wire(Frame&& f) {
        adapter->from_wire().receive(std::move(f));
        run();
    }
    void from_guest(unsigned n, Frame&& f) {
        network.send(ports[n], std::move(f));
        run();
    }

    sim::Simulation simulation{1};
    sim::SerialProcessor processor{simulation.scope("cpu"), Time::zero()};
    std::vector<std::byte> bytes = std::vector<std::byte>(std::size_t{1} << 20);
    HostPci pci;
    VirtualSwitch network{simulation.scope("switch")};
    Recorder wire;
    Recorder guests[3];
    PortId ports[3]{};
    std::unique_ptr<HostAdapter> adapter;
};

// The same with three processors, and queues of their own for two addresses.
struct QueuesRig {
    explicit QueuesRig(unsigned queues_per_vmq = 1, Time rebalance = Time::zero()) {
        HostAdapterConfig config;
        config.name = "nic";
        config.mac = mac(8);
        config.vmqs = 2;
        config.queues_per_vmq = queues_per_vmq;
        config.rebalance = rebalance;
        const std::array<sim::Processor*, 3> list{&processors[0], &processors[1], &processors[2]};
        adapter = std::make_unique<HostAdapter>(simulation.scope("nic"), pci, list, config);
        adapter->connect_switch(network, "nic");
        for (const unsigned n : {1, 2, 3}) {
            network.connect("vm" + std::to_string(n), guests[n - 1], adapter_port(mac(n)));
            adapter->add_host_address(mac(n), true);
        }
        run();
    }
    void run(Time t = Time::ms(1)) { simulation.agenda().run_until(simulation.agenda().now() + t); }
    // Which processors were at work.
    std::vector<bool> from_wire(Frame&& f) {
        std::array<std::uint64_t, 3> before{};
        for (unsigned n = 0; n < 3; ++n) before[n] = busy(n);
        adapter->from_wire().receive(std::move(f));
        run();
        std::vector<bool> worked;
        for (unsigned n = 0; n < 3; ++n) worked.push_back(busy(n) != before[n]);
        return worked;
    }
    std::uint64_t busy(unsigned n) {
        return simulation.statistics().all().at("cpu" + std::to_string(n) + ".busy").counter.value();
    }

    sim::Simulation simulation{1};
    std::array<sim::SerialProcessor, 3> processors{sim::SerialProcessor{simulation.scope("cpu0"), Time::zero()},
                                                   sim::SerialProcessor{simulation.scope("cpu1"), Time::zero()},
                                                   sim::SerialProcessor{simulation.scope("cpu2"), Time::zero()}};
    std::vector<std::byte> bytes = std::vector<std::byte>(std::size_t{1} << 20);
    HostPci pci{simulation.scope("pci"), Rig::costs(), {bytes.data(), bytes.size()}};
    VirtualSwitch network{simulation.scope("switch")};
    Recorder guests[3];
    std::unique_ptr<HostAdapter> adapter;
};

// A TCP segment to an address, of one of many connections.
Frame segment(unsigned to, std::uint16_t port) {
    Frame made = frame(to, beyond, 0);
    const auto put = [&](std::size_t at, unsigned value) { made.bytes[at] = static_cast<std::byte>(value); };
    put(12, 0x08);
    put(13, 0);
    put(14, 0x45);
    put(16, 0);
    put(17, 46);
    put(20, 0);
    put(23, 6);
    put(29, 1);
    put(33, to);
    put(34, port >> 8);
    put(35, port & 0xff);
    put(46, 0x50);
    return made;
}

// A behavioural guest at a virtual function, with memory of its own.
struct VirtualGuest final : private sriov_nic::RegisterPort {
    VirtualGuest(HostPci& host, const HostFunction& which)
        : pci(host), function(which), driver(*this, memory.bytes, layout(), 0) {
        memory.base = layout().base;
    }
    static sriov_nic::QueueDriverLayout layout() {
        return {.base = 0x10'0000, .transmit_descriptors = 8, .receive_descriptors = 8};
    }
    void start() {
        memory.bytes.resize(layout().bytes());
        pci.let_use(function.id, &memory);
        pci.write_config(function.id, pci::header::command, 2, pci::command::bus_master);
        driver.open(0, 0, 0);
    }
    void send(Frame&& f) {
        REQUIRE(driver.send(f.bytes));
        driver.notify();
    }
    Fills take() {
        Fills all;
        for (auto next = driver.receive(); !next.bytes.empty(); next = driver.receive()) {
            all.push_back(std::to_integer<unsigned>(next.bytes[20]));
            driver.release();
        }
        driver.refill();
        return all;
    }
    std::uint32_t read_register(std::uint32_t offset) override {
        Time cost;
        return static_cast<std::uint32_t>(pci.read(function.addresses[0] + offset, 4, cost));
    }
    void write_register(std::uint32_t offset, std::uint32_t value) override {
        Time cost;
        pci.write(function.addresses[0] + offset, 4, value, cost);
        // As a driver that reads something back.
        (void)pci.read(function.addresses[0] + 8, 4, cost);
    }

    HostPci& pci;
    HostFunction function;
    vmbus::testing::FlatGuestMemory memory;
    sriov_nic::QueueDriver driver;
};

template <class Function>
std::string error_of(Function function) {
    try {
        function();
    } catch (const sim::UserError& error) {
        return error.what();
    }
    return "no error";
}

}  // namespace

TEST_CASE("the switch's frames go out by the wire, and the wire's come to the switch") {
    Rig rig;
    rig.from_guest(one, frame(beyond, one, 0x11));
    CHECK(rig.wire.take() == Fills{0x11});
    rig.from_wire(frame(one, beyond, 0x22));
    CHECK(rig.guests[one].take() == Fills{0x22});
    CHECK(rig.guests[two].take().empty());
    for (unsigned n = 0; n < 200; ++n)
        rig.network.send(rig.ports[two], frame(beyond, two, static_cast<std::uint8_t>(n)));
    rig.run();
    CHECK(rig.wire.fills.size() == 200);
    CHECK(rig.wire.fills.back() == 199);
}

TEST_CASE("a virtual function: frames for its address go where its guest wants them") {
    Rig rig;
    VfSource& vf = rig.adapter->reserve_vf(mac(one), sriov_nic::VfKind::hyper_v);
    const HostFunction function = vf.start_vf();
    CHECK(function.identity.device == 0x152e);
    CHECK(function.id.value == 0x0100 + 128);
    CHECK(function.bars[0].size_bytes == 16384);
    CHECK(function.bars[3].size_bytes == 16384);
    VirtualGuest guest{rig.pci, function};
    guest.start();
    rig.run();
    // Not there yet: the switch has them.
    rig.from_wire(frame(one, beyond, 1));
    CHECK(rig.guests[one].take() == Fills{1});
    CHECK(guest.take().empty());
    vf.steer_to_vf(true);
    rig.from_wire(frame(one, beyond, 2));
    CHECK(rig.guests[one].take().empty());
    CHECK(guest.take() == Fills{2});
    guest.send(frame(beyond, one, 3));
    rig.run();
    CHECK(rig.wire.take() == Fills{3});
    CHECK(rig.adapter->vf_statistics(0).received == 1);
    CHECK(rig.adapter->vf_statistics(0).sent == 1);
    // The false address is not sent (anti-spoofing).
    guest.send(frame(beyond, two, 4));
    rig.run();
    CHECK(rig.wire.take().empty());
    vf.steer_to_vf(false);
    rig.from_wire(frame(one, beyond, 5));
    CHECK(rig.guests[one].take() == Fills{5});
    CHECK(guest.take().empty());
    vf.stop_vf();
    CHECK(vf.start_vf().id == function.id);
}

TEST_CASE("virtual functions and synthetic adapters reach each other") {
    Rig rig;
    VfSource& vf = rig.adapter->reserve_vf(mac(one), sriov_nic::VfKind::hyper_v);
    rig.adapter->add_host_address(mac(two));
    VirtualGuest guest{rig.pci, vf.start_vf()};
    guest.start();
    vf.steer_to_vf(true);
    guest.send(frame(two, one, 6));
    rig.run();
    CHECK(rig.guests[two].take() == Fills{6});
    CHECK(rig.wire.take().empty());
    rig.from_guest(two, frame(one, two, 7));
    // The switch knows the address as that of its own port.
    CHECK(rig.guests[one].take() == Fills{7});
}

TEST_CASE("captures: the connector's in the order of time, each virtual function's own") {
    const auto folder = std::filesystem::path{VG_BINARY_DIR} / "host_adapter_test";
    std::filesystem::create_directories(folder);
    const auto fills = [&](const char* name) {
        Fills all;
        for (const auto& captured : read_capture_file((folder / name).string())) {
            all.push_back(std::to_integer<unsigned>(captured.bytes[20]));
        }
        return all;
    };
    Rig rig;
    Captures into{rig.simulation.agenda()};
    into.into(folder.string());
    rig.adapter->capture(into);
    VfSource& vf = rig.adapter->reserve_vf(mac(one), sriov_nic::VfKind::hyper_v);
    (void)rig.adapter->reserve_vf(mac(two), sriov_nic::VfKind::hyper_v);
    VirtualGuest guest{rig.pci, vf.start_vf()};
    guest.start();
    vf.steer_to_vf(true);
    rig.run();
    guest.send(frame(beyond, one, 1));  // to the wire
    guest.send(frame(beyond, two, 2));  // spoofed: nowhere
    guest.send(frame(two, one, 3));     // by the loopback, to the switch's port
    rig.run();
    rig.from_wire(frame(one, beyond, 4));
    rig.from_wire(frame(two, beyond, 5));  // to the physical function
    // Committed to the wire before it comes, and gone after it.
    for (unsigned n = 6; n < 8; ++n) guest.send(frame(beyond, one, static_cast<std::uint8_t>(n)));
    while (rig.adapter->statistics().sent.packets < 2) rig.run(Time::ns(1));
    rig.adapter->from_wire().receive(frame(one, beyond, 8));
    rig.run();
    into.flush();
    CHECK(fills("nic-port.pcapng") == Fills{1, 4, 5, 8, 6, 7});
    CHECK(fills("nic-vf0.pcapng") == Fills{1, 3, 4, 6, 8, 7});
    CHECK(fills("nic-vf1.pcapng").empty());
    CHECK(rig.adapter->vf_statistics(0).sent == 4);
    CHECK(rig.adapter->vf_statistics(0).received == 2);
}

TEST_CASE("wrong wishes") {
    Rig rig;
    HostAdapterConfig config;
    config.name = "other";
    const auto make = [&](unsigned vfs) {
        config.vfs = vfs;
        return error_of([&] { HostAdapter made(rig.simulation.scope("other"), rig.pci, rig.processor, config); });
    };
    CHECK(make(0) == "adapter other: 0 virtual functions: give 1 to 63");
    CHECK(make(64) == "adapter other: 64 virtual functions: give 1 to 63");
    CHECK(error_of([&] { rig.adapter->connect_switch(rig.network, "again"); }) ==
          "adapter nic: it is the uplink of a switch already");
    (void)rig.adapter->reserve_vf(mac(one), sriov_nic::VfKind::hyper_v);
    (void)rig.adapter->reserve_vf(mac(two), sriov_nic::VfKind::mailbox);
    CHECK(error_of([&] { (void)rig.adapter->reserve_vf(mac(beyond), sriov_nic::VfKind::mailbox); }) ==
          "adapter nic: all of its 2 virtual functions have a partition; give it more");
    // One that has come back is for the next one.
    rig.adapter->release_vf(0);
    CHECK(rig.adapter->reserved() == 1);
    CHECK(rig.adapter->next_vf() == 0);
    (void)rig.adapter->reserve_vf(mac(beyond), sriov_nic::VfKind::mailbox);
    CHECK(rig.adapter->reserved() == 2);
}

TEST_CASE("an address with a queue of its own is served by its own processor, all others by the first") {
    QueuesRig rig;
    CHECK(rig.adapter->queue_processors() == std::vector<std::uint32_t>{0, 1, 2});
    struct Row {
        unsigned to;
        std::vector<bool> worked;
    };
    for (const Row& row : {
             Row{1, {false, true, false}}, Row{2, {false, false, true}},
             Row{3, {true, false, false}},  // there was none left
         }) {
        CAPTURE(row.to);
        CHECK(rig.from_wire(frame(row.to, beyond, 5)) == row.worked);
        CHECK(rig.guests[row.to - 1].take() == Fills{5});
    }
    // One for all comes once to each.
    Frame to_all = frame(1, beyond, 6);
    for (std::size_t n = 0; n < 6; ++n) to_all.bytes[n] = std::byte{0xff};
    CHECK(rig.from_wire(std::move(to_all)) == std::vector<bool>{true, false, false});
    for (Recorder& guest : rig.guests) CHECK(guest.take() == Fills{6});
    // One that goes leaves its queue to another.
    rig.adapter->remove_host_address(mac(1));
    CHECK(rig.adapter->queue_processors() == std::vector<std::uint32_t>{0, 2});
    CHECK(rig.from_wire(frame(1, beyond, 7)) == std::vector<bool>{true, false, false});
    rig.adapter->remove_host_address(mac(3));
    rig.adapter->add_host_address(mac(3), true);
    CHECK(rig.adapter->queue_processors() == std::vector<std::uint32_t>{0, 1, 2});
    CHECK(rig.from_wire(frame(3, beyond, 8)) == std::vector<bool>{false, true, false});
    CHECK(rig.guests[2].take() == Fills{8});
}

TEST_CASE("an address with two queues: its connections are spread over two processors") {
    QueuesRig rig{2};
    CHECK(rig.adapter->queue_processors() == std::vector<std::uint32_t>{0, 1, 2, 0, 1});
    std::array<unsigned, 3> worked{};
    for (std::uint16_t port = 0; port < 32; ++port) {
        const std::vector<bool> on = rig.from_wire(segment(1, port));
        for (unsigned n = 0; n < 3; ++n) worked[n] += on[n] ? 1 : 0;
    }
    CHECK(worked[0] == 0);
    CHECK(worked[1] >= 8);
    CHECK(worked[2] >= 8);
    CHECK(worked[1] + worked[2] == 32);
}

TEST_CASE("queues with little to do come together on one processor, and go on there after a checkpoint") {
    QueuesRig rig{1, Time::ms(10)};
    rig.run(Time::ms(50));
    CHECK(rig.adapter->queue_processors() == std::vector<std::uint32_t>{0, 0, 0});
    CHECK(rig.from_wire(frame(2, beyond, 7)) == std::vector<bool>{true, false, false});
    CHECK(rig.guests[1].take() == Fills{7});

    QueuesRig restored{1, Time::ms(10)};
    CHECK(restored.adapter->queue_processors() != std::vector<std::uint32_t>{0, 0, 0});
    restored.simulation.restore(rig.simulation.save());
    CHECK(restored.adapter->queue_processors() == std::vector<std::uint32_t>{0, 0, 0});
    CHECK(restored.from_wire(frame(2, beyond, 8)) == std::vector<bool>{true, false, false});
    CHECK(restored.guests[1].take() == Fills{8});
}

TEST_CASE("queues that an adapter has not") {
    Rig rig;
    const auto error_of = [&](auto change) {
        HostAdapterConfig config;
        config.name = "other";
        config.mac = mac(7);
        change(config);
        try {
            HostAdapter made(rig.simulation.scope("other"), rig.pci, rig.processor, config);
        } catch (const sim::UserError& error) {
            return std::string{error.what()};
        }
        return std::string{};
    };
    CHECK(error_of([](HostAdapterConfig& c) { c.queues_per_pool = 3; }) ==
          "adapter other: 3 queues in a pool: there are 2 or 4");
    CHECK(error_of([](HostAdapterConfig& c) { c.vfs = 31, c.queues_per_pool = 4, c.vmqs = 1; }) ==
          "adapter other: 31 virtual functions and 1 addresses with queues of their own: with 4 queues each it has 32 "
          "pools, one of them the physical function's");
    CHECK(error_of([](HostAdapterConfig& c) { c.vmqs = 1, c.queues_per_vmq = 4; }) ==
          "adapter other: 4 queues for an address: 1, 2 or 4, and no more than in a pool");
    CHECK(error_of([](HostAdapterConfig& c) { c.vmqs = 15; }) ==
          "adapter other: 15 queues of addresses: it has vectors for 14");
}

}  // namespace host_adapter_test
