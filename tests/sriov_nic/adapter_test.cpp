// The adapter as PCI functions on a link: what software finds, SR-IOV, a frame through the whole path, interrupts by
// MSI-X behind the data, identities, the Hyper-V address, removal.
#include "sriov_nic/adapter.h"

#include <doctest/doctest.h>

#include "pci/link.h"
#include "tests/pci/rig.h"
#include "tests/sriov_nic/rig.h"

namespace adapter_test {

namespace {

using sim::Time;
using namespace sriov_nic;  // NOLINT: a test's own namespace

struct BigHost final : pci::HostPort {
    std::vector<std::byte> memory = std::vector<std::byte>(8u << 20);
    std::vector<pci::InterruptMessage> messages;
    std::vector<pci::RequesterId> readers;
    bool inside(std::uint64_t address, std::size_t n) const {
        return address <= memory.size() && n <= memory.size() - address;
    }
    pci::DmaStatus read_memory(pci::RequesterId who, std::uint64_t address, std::span<std::byte> out) override {
        readers.push_back(who);
        if (!inside(address, out.size())) return pci::DmaStatus::unsupported;
        std::copy_n(memory.begin() + static_cast<std::ptrdiff_t>(address), out.size(), out.begin());
        return pci::DmaStatus::ok;
    }
    pci::DmaStatus write_memory(pci::RequesterId, std::uint64_t address, std::span<const std::byte> data) override {
        if (!inside(address, data.size())) return pci::DmaStatus::unsupported;
        std::copy(data.begin(), data.end(), memory.begin() + static_cast<std::ptrdiff_t>(address));
        return pci::DmaStatus::ok;
    }
    void interrupt(const pci::InterruptMessage& message) override { messages.push_back(message); }
    void line(unsigned, bool) override {}
};

struct VfBar final : RegisterPort {
    VfBar(Adapter& a, unsigned n) : adapter(a), vf(n) {}
    std::uint32_t read_register(std::uint32_t offset) override {
        return static_cast<std::uint32_t>(adapter.read_virtual_bar(vf, 0, offset, 4));
    }
    void write_register(std::uint32_t offset, std::uint32_t value) override {
        adapter.write_virtual_bar(vf, 0, offset, 4, value);
    }
    Adapter& adapter;
    unsigned vf;
};

struct AdapterRig {
    sim::Simulation simulation;
    BigHost host;
    pci::RootComplex root{simulation.scope("root"), host, pci::Wiring::rotated};
    pci::FixedHostTiming timing{Time::ns(200), Time::zero()};
    pci::Link link;
    nic_test::RecordingWire wire;
    Profile profile;
    Adapter adapter;
    PhysicalDriver driver;
    static constexpr pci::RequesterId who = pci::RequesterId::of(0, 0, 0);

    static pci::LinkConfig gen2() {
        pci::LinkConfig config;
        config.rate = {2, 8};
        config.rate.ack_every_bytes = config.rate.credits_every_bytes = 158;
        return config;
    }
    AdapterRig()
        : link(simulation.scope("link"), root.bus(), timing, gen2()),
          adapter(simulation.scope("nic"), root.bus().slot(0, 0), link, wire, profile),
          driver(simulation.scope("driver"), adapter) {
        link.connect(adapter);
        set(pci::header::command, 2, pci::command::memory_space | pci::command::bus_master);
    }
    void set(unsigned offset, unsigned size, std::uint32_t value) { root.write_config(who, offset, size, value); }
    std::uint32_t get(unsigned offset, unsigned size) { return root.read_config(who, offset, size); }
    void enable(unsigned vfs) {
        set(0x160 + pci::sriov::num_vfs, 2, vfs);
        set(0x160 + pci::sriov::control, 2,
            pci::sriov::ari_capable_hierarchy | pci::sriov::vf_enable | pci::sriov::vf_memory_space);
        PhysicalSettings settings;
        settings.mac = nic_test::physical_mac;
        settings.vfs = vfs;
        for (unsigned vf = 0; vf < vfs; ++vf) {
            VfPolicy policy;
            policy.kind = VfKind::hyper_v;
            policy.mac = nic_test::mac_of(vf);
            driver.set_policy(vf, policy);
            adapter.set_hyper_v_mac(vf, policy.mac);
        }
        adapter.controller().set_link(true);
        driver.start(settings);
        for (unsigned vf = 0; vf < vfs; ++vf) {
            driver.enable_hyper_v(vf);
            adapter.virtual_function(vf).write_config(pci::header::command, 2, pci::command::bus_master);
        }
    }
    void run(Time t) { simulation.agenda().run_until(simulation.agenda().now() + t); }
};

TEST_CASE("software finds the physical function and its capabilities") {
    AdapterRig rig;
    CHECK(rig.get(0, 4) == 0x10fb'8086);
    CHECK(rig.get(8, 4) == 0x0200'0001);
    CHECK(rig.get(0x34, 1) == 0x40);
    CHECK(rig.get(0x72, 2) == 63);  // 64 vectors
    CHECK(rig.get(0x160, 4) == 0x1b01'0010);
    CHECK(rig.get(0x16e, 2) == 64);           // TotalVFs
    CHECK(rig.get(0x174, 4) == 0x0002'0080);  // offset and stride
    CHECK(rig.get(0x17a, 2) == 0x10ed);
    CHECK(virtual_identity(VfKind::hyper_v).device == 0x152e);
    CHECK(virtual_identity(VfKind::mailbox).device == 0x10ed);
}

TEST_CASE("a frame goes from one VF to the other through link, switch and MSI-X") {
    AdapterRig rig;
    rig.enable(2);
    REQUIRE(rig.adapter.virtual_functions() == 2);
    VfBar first{rig.adapter, 0};
    VfBar second{rig.adapter, 1};
    QueueDriverLayout layout;
    layout.base = 0x10'0000;
    QueueDriver sender{first, std::span{rig.host.memory}.subspan(layout.base, layout.bytes()), layout, 0};
    sender.open(nic_test::Rig::transmit_control, nic_test::Rig::receive_control, 0);
    layout.base = 0x50'0000;
    QueueDriver receiver{second, std::span{rig.host.memory}.subspan(layout.base, layout.bytes()), layout, 0};
    receiver.open(nic_test::Rig::transmit_control, nic_test::Rig::receive_control, 0);
    // MSI-X of the second: vector 0 to address 0xfee00000 with data 0x41.
    rig.adapter.virtual_function(1).write_config(0x72, 2, 0x8000);
    rig.adapter.write_virtual_bar(1, 3, 0, 8, 0xfee0'0000);
    rig.adapter.write_virtual_bar(1, 3, 8, 8, 0x41);
    rig.run(Time::us(20));
    rig.host.readers.clear();
    REQUIRE(sender.send(nic_test::frame(nic_test::mac_of(1), nic_test::mac_of(0), 300)));
    sender.notify();
    rig.run(Time::us(20));
    CHECK(receiver.receive().bytes.size() == 300);
    REQUIRE(rig.host.messages.size() == 1);
    CHECK(rig.host.messages[0].address == 0xfee0'0000);
    CHECK(rig.host.messages[0].data == 0x41);
    CHECK(rig.host.messages[0].requester == rig.adapter.virtual_function(1).id());
    REQUIRE(rig.host.readers.size() >= 2);
    for (const pci::RequesterId reader : rig.host.readers) CHECK(reader == rig.adapter.virtual_function(0).id());
    CHECK(rig.adapter.virtual_function(0).id().value == 0x80);
    CHECK(rig.adapter.virtual_function(1).id().value == 0x82);
}

TEST_CASE("a Hyper-V guest reads its address; the first byte stops its queues") {
    AdapterRig rig;
    rig.enable(1);
    VfBar bar{rig.adapter, 0};
    bar.write_register(0x2008, 4096);
    bar.write_register(0x2028, txdctl::enable);
    CHECK((bar.read_register(0x2028) & txdctl::enable) != 0);
    MacKey mac = 0;
    for (unsigned i = 0; i < 6; ++i) {
        mac |= std::uint64_t{rig.adapter.virtual_function(0).read_config(0x201 + i, 1)} << 8 * i;
    }
    CHECK(mac == nic_test::mac_of(0));
    CHECK((bar.read_register(0x2028) & txdctl::enable) == 0);
    CHECK(bar.read_register(vf_reg::links) == 0x7000'0000);
}

TEST_CASE("VFs go away, even with reads in flight") {
    AdapterRig rig;
    rig.enable(2);
    VfBar bar{rig.adapter, 1};
    QueueDriverLayout layout;
    layout.base = 0x10'0000;
    QueueDriver sender{bar, std::span{rig.host.memory}.subspan(layout.base, layout.bytes()), layout, 0};
    sender.open(nic_test::Rig::transmit_control, nic_test::Rig::receive_control, 0);
    for (int i = 0; i < 100; ++i) REQUIRE(sender.send(nic_test::frame(nic_test::stranger, nic_test::mac_of(1), 1000)));
    sender.notify();
    rig.run(Time::us(3));
    rig.set(0x160 + pci::sriov::control, 2, 0);
    CHECK(rig.adapter.virtual_functions() == 0);
    CHECK(rig.adapter.read_virtual_bar(1, 0, 8, 4) == ~std::uint64_t{0});
    const std::uint64_t sent = rig.wire.count;
    rig.run(Time::ms(1));
    CHECK(rig.wire.count - sent <= 40);  // what was in the buffer
    CHECK(rig.adapter.controller().transmit_buffered() == 0);
}

TEST_CASE("a pool that changes hands does nothing for its last owner, least of all as somebody else") {
    AdapterRig rig;
    rig.enable(2);
    VfBar bar{rig.adapter, 1};
    QueueDriverLayout layout;
    layout.base = 0x10'0000;
    QueueDriver sender{bar, std::span{rig.host.memory}.subspan(layout.base, layout.bytes()), layout, 0};
    sender.open(nic_test::Rig::transmit_control, nic_test::Rig::receive_control, 200);
    const auto f = nic_test::frame(nic_test::stranger, nic_test::mac_of(1), 1000);
    for (int i = 0; i < 300; ++i) REQUIRE(sender.send(f));
    sender.notify();
    rig.run(Time::us(3));
    rig.set(0x160 + pci::sriov::control, 2, 0);
    rig.run(Time::us(2));  // what had left the device arrives
    const std::vector<std::byte> memory = rig.host.memory;
    rig.host.readers.clear();
    rig.run(Time::ms(1));
    CHECK(rig.host.readers.empty());
    CHECK(rig.host.memory == memory);
    rig.enable(2);
    CHECK(bar.read_register(0x2028) == 0);
    CHECK(bar.read_register(0x1028) == 0);
    rig.adapter.controller().received(nic_test::frame(nic_test::mac_of(1), nic_test::stranger, 100));
    rig.run(Time::ms(1));
    CHECK(rig.host.readers.empty());
    CHECK(rig.host.memory == memory);
    // And works for the next.
    const std::uint64_t before = rig.wire.count;
    sender.open(nic_test::Rig::transmit_control, nic_test::Rig::receive_control, 0);
    REQUIRE(sender.send(f));
    sender.notify();
    rig.run(Time::us(20));
    CHECK(rig.wire.count == before + 1);
}

TEST_CASE("a function level reset of a VF: enables, interrupts, mailbox, rings; not its queues' other registers") {
    AdapterRig rig;
    rig.enable(2);
    VfBar bar{rig.adapter, 0};
    bar.write_register(0x2008, 4096);
    bar.write_register(0x2010, 17);
    bar.write_register(0x1014, 0x402);
    bar.write_register(vf_reg::eims, 7);
    bar.write_register(vf_reg::eitr, 200);
    bar.write_register(vf_reg::mailbox, mailbox::vf_owns);
    rig.adapter.virtual_function(0).reset(pci::ResetKind::function_level);
    CHECK(bar.read_register(0x2008) == 0);
    CHECK(bar.read_register(0x2010) == 17);
    CHECK(bar.read_register(0x1014) == 0x402);
    CHECK(bar.read_register(vf_reg::eims) == 0);
    CHECK(bar.read_register(vf_reg::eitr) == 0);
    CHECK(bar.read_register(vf_reg::mailbox) == 0);
    CHECK((rig.adapter.read_register(reg::vfte) & 3) == 2);
    CHECK((rig.adapter.read_register(reg::vfre) & 3) == 2);
    CHECK(rig.adapter.read_register(reg::vflre) == 1);
    rig.driver.interrupt();
    CHECK(rig.adapter.read_register(reg::vflre) == 0);
    // The host gives a Hyper-V VF its enables back.
    CHECK((rig.adapter.read_register(reg::vfte) & 3) == 3);
    CHECK((rig.adapter.read_register(reg::vfre) & 3) == 3);
}

// Everything that the machine of these tests consists of, in an order that works.
std::vector<std::byte> save(AdapterRig& rig) {
    rig.simulation.trace().fold();
    sim::Writer writer;
    writer(rig.simulation.agenda(), rig.simulation.trace(), rig.host.memory, rig.root, rig.link, rig.adapter,
           rig.driver);
    return writer.take();
}

TEST_CASE("saved with reads in flight, restored into a machine without VFs") {
    QueueDriverLayout layout;
    layout.base = 0x10'0000;
    const auto f = nic_test::frame(nic_test::mac_of(1), nic_test::mac_of(0), 700);
    AdapterRig straight;
    straight.enable(2);
    VfBar first{straight.adapter, 0};
    VfBar second{straight.adapter, 1};
    QueueDriver sender{first, std::span{straight.host.memory}.subspan(layout.base, layout.bytes()), layout, 0};
    sender.open(nic_test::Rig::transmit_control, nic_test::Rig::receive_control, 200);
    layout.base = 0x50'0000;
    QueueDriver receiver{second, std::span{straight.host.memory}.subspan(layout.base, layout.bytes()), layout, 0};
    receiver.open(nic_test::Rig::transmit_control, nic_test::Rig::receive_control, 200);
    straight.run(Time::us(20));
    for (int i = 0; i < 200; ++i) REQUIRE(sender.send(f));
    sender.notify();
    straight.run(Time::us(7));
    REQUIRE(!straight.link.idle());
    const std::vector<std::byte> point = save(straight);
    AdapterRig restored;
    sim::Reader reader{point};
    reader(restored.simulation.agenda(), restored.simulation.trace(), restored.host.memory, restored.root,
           restored.link, restored.adapter, restored.driver);
    CHECK(reader.remaining() == 0);
    CHECK(restored.adapter.virtual_functions() == 2);
    CHECK(sim::save_to_bytes(restored.adapter) == sim::save_to_bytes(straight.adapter));
    straight.run(Time::us(200));
    restored.run(Time::us(200));
    CHECK(restored.simulation.trace().hash() == straight.simulation.trace().hash());
    CHECK(restored.host.memory == straight.host.memory);
    CHECK(restored.adapter.controller().statistics() == straight.adapter.controller().statistics());
    CHECK(straight.adapter.controller().statistics().queue_received[2] == 200);
}

// Validation row 23: VF to VF on one port. The bound is PCI Express in both directions at once.
TEST_CASE("from VF to VF goes what the link carries") {
    AdapterRig rig;
    rig.enable(2);
    VfBar first{rig.adapter, 0};
    VfBar second{rig.adapter, 1};
    QueueDriverLayout layout;
    layout.base = 0x10'0000;
    QueueDriver sender{first, std::span{rig.host.memory}.subspan(layout.base, layout.bytes()), layout, 0};
    sender.open(nic_test::Rig::transmit_control, nic_test::Rig::receive_control, 200);
    layout.base = 0x50'0000;
    QueueDriver receiver{second, std::span{rig.host.memory}.subspan(layout.base, layout.bytes()), layout, 0};
    receiver.open(nic_test::Rig::transmit_control, nic_test::Rig::receive_control, 200);
    rig.run(Time::us(20));
    const auto f = nic_test::frame(nic_test::mac_of(1), nic_test::mac_of(0), 1514);
    std::uint64_t frames = 0;
    for (int i = 0; i < 240; ++i) {
        sender.reclaim();
        while (sender.send(f)) {
        }
        sender.notify();
        rig.run(Time::us(5));
        std::uint64_t got = 0;
        for (; !receiver.receive().bytes.empty(); ++got) receiver.release();
        receiver.refill();
        if (i >= 40) frames += got;
    }
    const std::uint64_t mbps = frames * 1518 * 8 / 1000;  // in one millisecond
    CHECK(mbps >= 20'000);
    CHECK(mbps <= 25'070);
    MESSAGE("VF to VF: " << mbps << " Mb/s");
}

}  // namespace

}  // namespace adapter_test
