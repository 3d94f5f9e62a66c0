// The virtual switch: bandwidth, extensions, offloads, re-entry, drops accounted for, checkpoints.
#include <doctest/doctest.h>

#include "models/network/segmentation.h"
#include "tests/models/network_switches.h"

namespace network_switch_traffic_test {

using namespace network_test;
using namespace sim::literals;

namespace {

const MacAddress all = MacAddress::broadcast();
const MacAddress outside = MacAddress::from_u64(0x0200'0000'0099);
MacAddress mac(unsigned n) {
    return SwitchBench::mac(n);
}

PortSettings spoofing() {
    PortSettings s;
    s.allow_mac_spoofing = true;
    return s;
}
PortSettings on_vlan(const VlanSettings& vlan) {
    PortSettings s;
    s.vlan = vlan;
    return s;
}

}  // namespace

TEST_CASE("switch: a maximum bandwidth delays to the picosecond, then drops") {
    SwitchSettings settings;
    settings.waiting_bytes = 3 * 1000;
    SwitchBench bench(settings);
    PortSettings limited;
    limited.maximum_bps = 3'000'000'000;
    limited.burst_bytes = 1500;
    bench.add(limited);
    bench.add();
    for (std::uint8_t n = 1; n <= 7; ++n) bench.vswitch.send(1, plain(mac(2), mac(1), n, 986));
    // 12'000 bits of credit: after the first 4'000 are left, after the second -4'000. Three wait, two are dropped.
    CHECK(bench.at(2).numbers() == "1 2");
    CHECK(bench.drops() == "1 bandwidth 2");
    CHECK(bench.vswitch.waiting() == 3);
    bench.run_for(1_ms);
    CHECK(bench.at(2).numbers() == "1 2 3 4 5");
    // 4'000, 12'000 and 20'000 bits at 3 Gb/s.
    const auto& t = bench.at(2).times;
    CHECK(t[2] == sim::Time::ps(1'333'334));
    CHECK(t[3] == sim::Time::ps(4'000'000));
    CHECK(t[4] == sim::Time::ps(6'666'667));
    // In the long run exactly the rate: a second's worth, asked for all the time.
    bench.got();
    const sim::Time start = bench.simulation.agenda().now();
    std::uint64_t bytes = 0;
    while (bench.simulation.agenda().now() < start + 100_ms) {
        bench.vswitch.send(1, plain(mac(2), mac(1), 0, 986));
        bench.run_for(1_us);
    }
    for (const Frame& frame : bench.at(2).frames) bytes += frame.size();
    CHECK(bytes >= 37'500'000);
    CHECK(bytes <= 37'500'000 + 1500 + 1000);
}

TEST_CASE("switch: a congested uplink is shared by weight") {
    SwitchBench bench;
    for (const std::uint32_t weight : {1u, 3u, 6u}) {
        PortSettings s;
        s.weight = weight;
        bench.add(s);
    }
    bench.add(external_port(1'000'000'000));
    // Everybody sends more than fits, for 10 ms.
    for (int i = 0; i < 1000; ++i) {
        for (PortId port = 1; port <= 3; ++port)
            bench.vswitch.send(port, plain(all, mac(port), static_cast<std::uint8_t>(port), 986));
        bench.run_for(10_us);
    }
    std::array<std::uint64_t, 4> frames{};
    for (const Frame& frame : bench.at(4).frames) ++frames[load_u8(frame.bytes, 14)];
    const std::uint64_t sum = frames[1] + frames[2] + frames[3];
    // 1024 bytes on the line are 8.192 us: 1221 frames in 10 ms.
    CHECK(sum == 1221);
    CHECK(frames[1] >= 121);
    CHECK(frames[1] <= 123);
    CHECK(frames[2] >= 365);
    CHECK(frames[2] <= 368);
    const auto& times = bench.at(4).times;
    for (std::size_t i = 1; i < times.size(); ++i) REQUIRE(times[i] - times[i - 1] >= 8192_ns);
    CHECK(bench.vswitch.dropped(4, DropReason::uplink_full) > 0);
    // Who is alone gets all of it.
    bench.run_for(1_s);
    bench.got();
    for (int i = 0; i < 100; ++i) bench.vswitch.send(1, plain(outside, mac(1), 1, 986));
    bench.run_for(8192_ns * 99);
    CHECK(bench.at(4).frames.size() == 100);
}

TEST_CASE("switch: extensions, in order and with what they may do") {
    struct Extension final : SwitchExtension {
        Extension(std::string n, ExtensionKind k, std::string& l) : name(std::move(n)), of_kind(k), log(l) {}
        ExtensionKind kind() const override { return of_kind; }
        void capture(SwitchPath path, const SwitchContext& c, const Frame&) override {
            log += name + (path == SwitchPath::ingress ? "> " : "<" + std::to_string(c.destinations.size()) + " ");
        }
        FilterVerdict filter_ingress(const SwitchContext&, Frame& frame) override {
            log += name + "> ";
            if (load_u8(frame.bytes, 14) == 66) return FilterVerdict::drop;
            if (load_u8(frame.bytes, 14) == 67) {
                frame.bytes[14] = std::byte{68};
                return FilterVerdict::changed;
            }
            return FilterVerdict::pass;
        }
        bool filter_egress(const SwitchContext&, const Frame&, PortId port) override {
            log += name + "<" + std::to_string(port) + " ";
            return port != not_to;
        }
        bool choose(const SwitchContext&, const Frame& frame, const Headers&, std::vector<PortId>& ports) override {
            log += name + " ";
            if (load_u8(frame.bytes, 14) != 77) return false;
            ports = {3, 5, 99};
            return true;
        }
        std::string name;
        ExtensionKind of_kind;
        std::string& log;
        PortId not_to = no_port;
    };
    SwitchBench bench;
    for (int i = 0; i < 4; ++i) bench.add();
    bench.add(on_vlan(VlanSettings::access(7)));
    std::string log;
    Extension capture1("c1", ExtensionKind::capture, log);
    Extension forward("fwd", ExtensionKind::forward, log);
    Extension filter1("f1", ExtensionKind::filter, log);
    Extension filter2("f2", ExtensionKind::filter, log);
    Extension capture2("c2", ExtensionKind::capture, log);
    for (Extension* e : {&capture1, &forward, &filter1, &filter2, &capture2}) bench.vswitch.add_extension(*e);
    Extension second("fwd2", ExtensionKind::forward, log);
    CHECK_THROWS_AS(bench.vswitch.add_extension(second), sim::UserError);

    bench.vswitch.send(1, plain(mac(2), mac(1), 1));
    CHECK(log == "c2> c1> f2> f1> fwd f1<2 f2<2 c1<1 c2<1 ");
    CHECK(bench.got() == "2: 1");
    bench.vswitch.send(1, plain(mac(2), mac(1), 66));
    bench.vswitch.send(1, plain(mac(2), mac(1), 67));
    CHECK(bench.got() == "2: 68");
    bench.vswitch.send(1, plain(mac(2), mac(1), 77));
    CHECK(bench.got() == "3: 77");  // 5 is of another network, 99 is not there
    filter1.not_to = 2;
    bench.vswitch.send(1, plain(all, mac(1), 3));
    CHECK(bench.got() == "3: 3; 4: 3");
    CHECK(bench.drops() == "1 extension 1; 2 extension 1");
}

TEST_CASE("switch: offloads are done for those who can't take them") {
    SwitchBench bench;
    bench.add();  // 1
    bench.add();  // 2 takes nothing
    PortSettings able;
    able.receives = {.large_frames = true, .coalesced = false, .partial_checksums = true, .tags_out_of_band = true};
    bench.add(able);  // 3 takes all
    const auto large = [&](unsigned to) {
        Frame frame =
            tcp_packet({mac(to), mac(1), ip_address("10.0.0.2"), ip_address("10.0.0.1")}, {}, counted_bytes(4000));
        frame.fill = {};  // a large send implies them
        frame.large_send_mss = 1460;
        store_be16(frame.bytes, 16, 0);
        return frame;
    };
    bench.vswitch.send(1, large(2));
    REQUIRE(bench.at(2).frames.size() == 3);
    for (Frame& frame : bench.at(2).frames) {
        CHECK_FALSE(frame.fill.any());
        verify_checksums(frame);
        CHECK(frame.transport_verdict == ChecksumVerdict::good);
        CHECK(frame.ip_verdict == ChecksumVerdict::good);
    }
    bench.vswitch.send(1, large(3));
    REQUIRE(bench.at(3).frames.size() == 1);
    const Frame& whole = bench.at(3).frames[0];
    CHECK(whole.large_send_mss == 1460);
    CHECK(segment_count(whole) == 3);
    CHECK(load_be16(whole.bytes, 16) == 4040);
    CHECK(whole.fill == ChecksumRequest{true, true, false});
    CHECK(whole.transport_verdict == ChecksumVerdict::good);
    // Requests that do not fit.
    Frame udp = udp_packet({mac(2), mac(1), ip_address("10.0.0.2"), ip_address("10.0.0.1")}, 1, 2, 3000);
    udp.large_send_mss = 1000;
    bench.vswitch.send(1, Frame{udp});
    Frame not_ip = plain(mac(2), mac(1));
    not_ip.fill.tcp = true;
    bench.vswitch.send(1, Frame{not_ip});
    CHECK(bench.drops() == "1 bad_offload_request 2");
    // Too long and not to be cut.
    udp.large_send_mss = 0;
    bench.vswitch.send(1, std::move(udp));
    CHECK(bench.drops() == "1 bad_offload_request 2; 2 too_long 1");
}

TEST_CASE("switch: a port may send from within receive, and leave") {
    sim::Simulation simulation;
    VirtualSwitch vswitch(simulation.scope("switch"));
    struct Echo final : SwitchPort {
        VirtualSwitch* vswitch = nullptr;
        PortId id = no_port;
        bool leave = false;
        int got = 0;
        int depth = 0;
        int deepest = 0;
        void receive(Frame&& frame) override {
            deepest = std::max(deepest, ++depth);
            ++got;
            if (leave) vswitch->disconnect(id);
            if (got < 100 && !leave) {
                const MacAddress back = load_mac(frame.bytes, 6);
                store_mac(frame.bytes, 6, load_mac(frame.bytes, 0));
                store_mac(frame.bytes, 0, back);
                vswitch->send(id, std::move(frame));
            }
            --depth;
        }
    } one, two;
    one.vswitch = two.vswitch = &vswitch;
    one.id = vswitch.connect("one", one, adapter_port(mac(1)));
    two.id = vswitch.connect("two", two, adapter_port(mac(2)));
    vswitch.send(one.id, plain(mac(2), mac(1)));
    CHECK(one.got + two.got == 199);
    CHECK(one.deepest == 1);
    CHECK(two.deepest == 1);
    two.leave = true;
    vswitch.send(one.id, plain(mac(2), mac(1)));
    CHECK_FALSE(vswitch.connected(two.id));
    vswitch.send(one.id, plain(mac(2), mac(1)));
    CHECK(vswitch.dropped(one.id, DropReason::no_destination) == 1);
}

TEST_CASE("switch: whatever happens, each frame is delivered, waits, or is dropped for one reason") {
    std::string hashes;
    for (int run = 0; run < 2; ++run) {
        SwitchSettings settings;
        settings.learning = {.capacity = 20, .per_port = 10, .age = 1_ms};
        settings.waiting_bytes = 20'000;
        SwitchBench bench(settings, 5);
        sim::Random random(11, "switch traffic");
        bench.add();
        bench.add(spoofing());
        bench.add(on_vlan(VlanSettings::trunk({1, 2, 3})));
        bench.add(on_vlan(VlanSettings::access(2)));
        PortSettings limited;
        limited.maximum_bps = 10'000'000;
        limited.acl.push_back({.weight = 1, .action = AclAction::deny, .remote_mac = mac(1)});
        bench.add(limited);
        bench.add(external_port(1'000'000));
        PortSettings monitor;
        monitor.mirror = MirrorMode::destination;
        bench.add(monitor);
        PortSettings mirrored;
        mirrored.mirror = MirrorMode::source;
        bench.add(mirrored);
        const auto some_mac = [&](PortId self) {
            const std::uint64_t n = random.below(14);
            if (n < 2) return all;
            if (n < 8) return mac(self);
            return mac(static_cast<unsigned>(1 + random.below(20)));
        };
        for (int i = 0; i < 40'000; ++i) {
            const auto from = static_cast<PortId>(1 + random.below(8));
            Frame frame = plain(some_mac(static_cast<PortId>(1 + random.below(9))), some_mac(from),
                                static_cast<std::uint8_t>(i), random.below(1500));
            if (random.one_in(3)) frame.vlan = VlanTag{static_cast<std::uint16_t>(random.below(5))};
            if (random.one_in(50)) frame.bytes.resize(random.below(20));
            bench.vswitch.send(from, std::move(frame));
            if (random.one_in(4)) bench.run_for(sim::Time::us(static_cast<std::int64_t>(random.below(30))));
            if (i % 1000 != 999) continue;
            std::uint64_t in = 0;
            std::uint64_t out = 0;
            std::uint64_t dropped = 0;
            std::uint64_t received = 0;
            for (PortId port = 1; port <= 8; ++port) {
                const std::string name = "switch.p" + std::to_string(port);
                in += bench.counter(name + ".in_frames");
                out += bench.counter(name + ".out_frames");
                dropped += bench.vswitch.dropped(port);
                received += bench.at(port).frames.size();
            }
            REQUIRE(in == static_cast<std::uint64_t>(i + 1));
            REQUIRE(out == received);
            REQUIRE(in + bench.counter("switch.copies") == out + dropped + bench.vswitch.waiting());
        }
        for (const DropReason reason : {DropReason::malformed, DropReason::vlan_not_allowed,
                                        DropReason::source_not_allowed, DropReason::acl_denied, DropReason::bandwidth,
                                        DropReason::uplink_full, DropReason::no_destination, DropReason::own_segment}) {
            CAPTURE(std::string(name_of(reason)));
            std::uint64_t n = 0;
            for (PortId port = 1; port <= 8; ++port) n += bench.vswitch.dropped(port, reason);
            CHECK(n > 0);
        }
        if (run == 0) hashes = bench.simulation.trace().hash();
        CHECK(bench.simulation.trace().hash() == hashes);
    }
}

TEST_CASE("switch: restored in the middle it goes on alike") {
    const auto build = [](SwitchBench& bench) {
        PortSettings limited = spoofing();
        limited.maximum_bps = 5'000'000;
        limited.acl.push_back({.weight = 1, .action = AclAction::meter});
        bench.add(limited);
        bench.add();
        bench.add(external_port(6'000'000));
    };
    const auto drive = [](SwitchBench& bench, std::uint64_t seed) {
        sim::Random random(seed);
        for (int i = 0; i < 300; ++i) {
            bench.vswitch.send(1, plain(all, MacAddress::from_u64(0x0200'0000'0000 + random.below(9)),
                                        static_cast<std::uint8_t>(i), 1 + random.below(1400)));
            bench.vswitch.send(3, plain(MacAddress::from_u64(0x0200'0000'0000 + random.below(20)), outside));
            bench.run_for(sim::Time::us(static_cast<std::int64_t>(random.below(300))));
        }
    };
    SwitchBench straight;
    build(straight);
    drive(straight, 1);
    CHECK(straight.vswitch.waiting() > 0);
    const auto saved = straight.simulation.save();
    SwitchBench other;
    build(other);
    other.simulation.restore(saved);
    straight.got();
    drive(straight, 2);
    drive(other, 2);
    CHECK(straight.simulation.trace().hash() == other.simulation.trace().hash());
    CHECK(straight.got() == other.got());
    CHECK(straight.drops() == other.drops());
    CHECK(straight.vswitch.meter(1, 0) == other.vswitch.meter(1, 0));
    SwitchBench wrong;
    wrong.add();
    CHECK_THROWS_AS(wrong.simulation.restore(saved), sim::UserError);
}

}  // namespace network_switch_traffic_test
