// Synthetic adapter and virtual function as one, with a TCP connection over them while the traffic moves.
#include "models/behavioural/failover_driver.h"

#include <doctest/doctest.h>

#include "models/network/peer/peer.h"
#include "models/network/wire.h"
#include "models/profiles.h"
#include "models/switch_adapter.h"
#include "tests/models/vf_rig.h"
#include "vmbus/network/network_provider.h"

namespace behavioural_failover_test {

using namespace models;
using namespace models::test;
using sim::Time;
using sriov_nic::VfKind;

namespace {

constexpr std::uint64_t device_space = 0x10'0000'0000;
constexpr std::uint16_t service = 9;

// A host's stack above a driver.
struct Stack final : NetworkDriverUser, FrameReceiver {
    Stack(const sim::Scope& scope, const PeerSettings& settings) : peer(scope, settings, *this) {}
    void ready() override { ++ups; }
    void receive(std::uint16_t, std::span<vmbus::IncomingFrame> frames) override {
        using vmbus::ChecksumState;
        for (vmbus::IncomingFrame& from : frames) {
            Frame frame{std::move(from.bytes)};
            const bool bad = from.ip_checksum == ChecksumState::bad || from.tcp_checksum == ChecksumState::bad;
            frame.ip_verdict = frame.transport_verdict = bad ? ChecksumVerdict::bad : ChecksumVerdict::good;
            peer.receive(std::move(frame));
        }
    }
    void receive(Frame&& frame) override {
        vmbus::OutgoingFrame out;
        out.fill_ip_checksum = frame.fill.ip;
        out.fill_tcp_checksum = frame.fill.tcp;
        out.fill_udp_checksum = frame.fill.udp;
        out.large_send_mss = frame.large_send_mss;
        if (const auto headers = parse_headers(frame)) {
            out.transport_offset = static_cast<std::uint16_t>(headers->transport_offset);
        }
        out.bytes = std::move(frame.bytes);
        if (!driver->transmit(std::move(out))) ++lost;
    }
    template <class Archive>
    void fields(Archive& archive) {
        archive(peer);
    }
    NetworkDriver* driver = nullptr;
    unsigned ups = 0, lost = 0;
    Peer peer;
};

PeerSettings host(const MacAddress& mac, unsigned number) {
    PeerSettings settings;
    settings.mac = mac;
    settings.ipv4 = IpAddress::v4(0x0a00'0000 + number);
    settings.tcp.receive_buffer = 256 * 1024;
    settings.tcp.large_send_bytes = 32 * 1024;
    return settings;
}

struct Rig final : private DataPath {
    explicit Rig(VfKind kind = VfKind::hyper_v, bool with_synthetic = true)
        : vf_host(loop, kind),
          guest(loop, 4),
          function(guest, vf_host.pci, vf_host.root, *vf_host.source),
          adapter(vf_host.network, "guest", adapter_port(VfHost::guest_mac)),
          near(loop.simulation.scope("near"), host(VfHost::guest_mac, 1)),
          wire(loop.simulation.scope("cable"), {.bits_per_second = 10'000'000'000}),
          far(loop.simulation.scope("far_host"), host(VfHost::far_mac, 2), wire.end(1)) {
        vf_host.adapter->connect_wire(wire.end(0));
        wire.end(0).connect(vf_host.adapter->from_wire());
        wire.end(1).connect(far);
        vmbus::NetworkProvider::Config config;
        config.adapter.address.bytes = VfHost::guest_mac.bytes;
        config.adapter.offloads = vmbus::OffloadSettings::all(false);
        if (with_synthetic) {
            provider.emplace(loop.simulation.scope("root.net"), loop.server, adapter, config,
                             [this](std::uint16_t) -> sim::Processor& { return vf_host.root; });
            adapter.connect(*provider);
        }
        adapter.set_data_path(this);
        const DriverCosts costs = find_profile("one-nanosecond").driver_costs;
        VfDriver::Config vf = VfDriver::config(costs, device_space);
        vf.kind = kind;
        driver.emplace(loop.simulation.scope("guest.net"), guest, near, SyntheticDriver::config(costs, 1), vf);
        near.driver = &*driver;
        registrations.push_back(loop.simulation.scope("near").register_state(near));
        registrations.push_back(loop.simulation.scope("far_host").register_state(far));
        registrations.push_back(loop.simulation.scope("adapter").register_state(adapter));
        registrations.push_back(loop.simulation.scope("rig").register_state(*this));
        loop.client.connect();
        if (!with_synthetic) return;
        loop.run(Time::ms(20));
        REQUIRE(driver->is_up());
    }
    void run(Time time) { loop.run(time); }
    void give() {
        provider->associate_vf(7);
        vf_host.source->start_vf();
        function.offer();
    }
    void withdraw() {
        function.take();
        returned();
    }
    // As VfPairing does when the function is back.
    void returned() { provider->revoke_vf(); }
    void start(std::uint64_t bytes, bool from_guest) {
        Peer& sender = from_guest ? near.peer : far;
        Peer& receiver = from_guest ? far : near.peer;
        receiver.tcp().listen(service, {.service = TcpService::discard});
        sender.connect({receiver.settings().ipv4, service},
                       {.service = TcpService::source, .source_bytes = bytes, .seed = 1});
    }
    std::uint64_t counter(const std::string& name) {
        return loop.simulation.statistics().all().at(name).counter.value();
    }

    template <class Archive>
    void fields(Archive& archive) {
        archive(switched_to);
    }

    vmbus::test::Loopback loop;
    VfHost vf_host;
    PlainGuest guest;
    PlainFunction function;
    SwitchAdapter adapter;
    std::optional<vmbus::NetworkProvider> provider;
    Stack near;
    Wire wire;
    Peer far;
    std::optional<FailoverDriver> driver;
    std::vector<std::uint8_t> switched_to;

private:
    void switched(bool to_vf) override {
        switched_to.push_back(to_vf ? 1 : 0);
        vf_host.source->steer_to_vf(to_vf);
    }

    std::vector<sim::StateRegistration> registrations;
};

}  // namespace

TEST_CASE("behavioural failover driver: the function comes, and traffic moves there") {
    for (const VfKind kind : {VfKind::hyper_v, VfKind::mailbox}) {
        Rig rig(kind);
        CHECK(rig.near.ups == 1);
        CHECK(rig.driver->path() == "synthetic");
        rig.give();
        rig.run(Time::ms(30));
        CHECK(rig.driver->on_vf());
        CHECK(rig.driver->path() == "virtual function");
        CHECK(rig.driver->switches() == 1);
        CHECK(rig.switched_to == std::vector<std::uint8_t>{1});
        CHECK(rig.near.ups == 1);
        rig.start(1'000'000, true);
        rig.run(Time::ms(50));
        REQUIRE(rig.far.tcp().results().size() == 1);
        CHECK(rig.far.tcp().results()[0].received == 1'000'000);
        CHECK(rig.counter("guest.net.vf.queue0.bytes_sent") > 1'000'000);
    }
}

TEST_CASE("behavioural failover driver: a connection lives through what happens to the function") {
    struct Row {
        std::string what;
        bool from_guest;
        bool surprise;
    };
    for (const Row& row : {Row{"by policy, sending", true, false}, Row{"by policy, receiving", false, false},
                           Row{"by surprise, sending", true, true}, Row{"by surprise, receiving", false, true}}) {
        CAPTURE(row.what);
        constexpr std::uint64_t bytes = 30'000'000;
        Rig rig;
        rig.start(bytes, row.from_guest);
        rig.run(Time::ms(3));
        for (unsigned turn = 0; turn < 2; ++turn) {
            rig.give();
            rig.run(Time::ms(8));
            CHECK(rig.driver->on_vf());
            if (row.surprise) {
                rig.withdraw();
            } else {
                rig.function.eject();
                rig.run(Time::ms(1));
                CHECK_FALSE(rig.function.offered());
                rig.returned();
            }
            rig.run(Time::ms(2));
            CHECK_FALSE(rig.driver->on_vf());
            CHECK(rig.driver->is_up());
        }
        CHECK(rig.driver->switches() == 4);
        rig.run(Time::s(2));
        Peer& receiver = row.from_guest ? rig.far : rig.near.peer;
        REQUIRE(receiver.tcp().results().size() == 1);
        CHECK(receiver.tcp().results()[0].received == bytes);
        CHECK(receiver.tcp().results()[0].end == TcpEnd::closed);
        CHECK(rig.counter("near.tcp.resets_sent") + rig.counter("far_host.tcp.resets_sent") == 0);
        CHECK(rig.counter("near.bad_checksum") + rig.counter("far_host.bad_checksum") == 0);
    }
}

TEST_CASE("behavioural failover driver: a function goes when it is to, though the other adapter is not there") {
    Rig rig(VfKind::hyper_v, false);
    rig.vf_host.source->start_vf();
    rig.function.offer();
    rig.run(Time::ms(20));
    REQUIRE(rig.driver->vf().is_up());
    REQUIRE_FALSE(rig.driver->is_up());
    rig.function.eject();
    rig.run(Time::ms(1));
    CHECK_FALSE(rig.function.offered());
}

TEST_CASE("behavioural failover driver: a checkpoint while the traffic moves") {
    for (unsigned n = 0; n < 4; ++n) {
        CAPTURE(n);
        Rig straight;
        straight.start(3'000'000, true);
        straight.run(Time::ms(1));
        straight.give();
        straight.run(Time::us(150) * static_cast<std::int64_t>(n + 1));
        const std::vector<std::byte> checkpoint = straight.loop.simulation.save();
        Rig restored;
        restored.give();  // as the machine is built
        restored.loop.simulation.restore(checkpoint);
        for (Rig* rig : {&straight, &restored}) {
            rig->run(Time::ms(100));
            CHECK(rig->driver->on_vf());
            REQUIRE(rig->far.tcp().results().size() == 1);
            CHECK(rig->far.tcp().results()[0].received == 3'000'000);
        }
        CHECK(straight.loop.simulation.save() == restored.loop.simulation.save());
    }
}

}  // namespace behavioural_failover_test
