// The virtual switch: forwarding, learning, VLANs, guards, ACLs, mirroring, limits, extensions, offloads, drops.
#include <doctest/doctest.h>

#include "models/network/segmentation.h"
#include "tests/models/network_switches.h"

using namespace network_test;
using namespace sim::literals;

namespace {

const MacAddress all = MacAddress::broadcast();
const MacAddress group = MacAddress::from_u64(0x0100'5e01'0203);
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
Frame tagged(Frame frame, std::uint16_t vlan, std::uint8_t priority = 0) {
    frame.vlan = VlanTag{vlan, priority, false};
    return frame;
}

}  // namespace

TEST_CASE("switch: where frames go") {
    SwitchBench bench;
    bench.add();                 // 1
    bench.add();                 // 2
    bench.add(spoofing());       // 3
    bench.add(external_port());  // 4
    struct Row {
        PortId from;
        MacAddress to;
        MacAddress source;
        const char* got;
        const char* drops;
        const char* reason;
    };
    std::uint8_t number = 0;
    std::string drops;
    for (const auto& row : {
             Row{1, mac(2), mac(1), "2: 1", "", "to an adapter"},
             Row{1, mac(1), mac(1), "", "1 own_segment 1", "to itself"},
             Row{1, all, mac(1), "2: 3; 3: 3; 4: 3", "1 own_segment 1", "broadcast"},
             Row{4, group, outside, "1: 4; 2: 4; 3: 4", "1 own_segment 1",
                 "multicast from outside; its source is learnt"},
             Row{1, outside, mac(1), "4: 5", "1 own_segment 1", "to what was learnt"},
             Row{4, outside, MacAddress::from_u64(0x0200'0000'0098), "", "1 own_segment 1; 4 own_segment 1",
                 "both on the same side of the uplink"},
             Row{1, MacAddress::from_u64(0x0200'0000'0077), mac(1), "3: 7; 4: 7", "1 own_segment 1; 4 own_segment 1",
                 "unknown: to those that may have others behind them"},
             Row{4, MacAddress::from_u64(0x0200'0000'0078), outside, "3: 8", "1 own_segment 1; 4 own_segment 1",
                 "unknown, from outside"},
             Row{3, MacAddress::from_u64(0x0200'0000'0078), MacAddress::from_u64(0x0200'0000'0042), "4: 9",
                 "1 own_segment 1; 4 own_segment 1", "another source address where it is allowed"},
             Row{2, MacAddress::from_u64(0x0200'0000'0042), mac(2), "3: 10", "1 own_segment 1; 4 own_segment 1",
                 "to that one"},
             Row{1, mac(2), mac(3), "", "1 source_not_allowed 1; 1 own_segment 1; 4 own_segment 1", "spoofed"},
             Row{1, mac(2), group, "", "1 malformed 1; 1 source_not_allowed 1; 1 own_segment 1; 4 own_segment 1",
                 "from a group"},
             Row{1, MacAddress::from_u64(0x0180'c200'0003), mac(1), "",
                 "1 malformed 1; 1 source_not_allowed 1; 1 no_destination 1; 1 own_segment 1; 4 own_segment 1",
                 "bridges keep it to themselves"},
         }) {
        CAPTURE(std::string(row.reason));
        ++number;
        bench.vswitch.send(row.from, plain(row.to, row.source, number));
        CHECK(bench.got() == row.got);
        CHECK(bench.drops() == row.drops);
    }
    bench.vswitch.send(1, Frame{std::vector<std::byte>(13)});
    CHECK(bench.vswitch.dropped(1, DropReason::malformed) == 2);
    bench.vswitch.send(1, Frame{std::vector<std::byte>(70'000)});
    CHECK(bench.vswitch.dropped(1, DropReason::too_long) == 1);
}

TEST_CASE("switch: a private switch has nowhere to send what it does not know") {
    SwitchBench bench;
    bench.add();
    bench.vswitch.send(1, plain(all, mac(1)));
    bench.add();
    bench.vswitch.send(1, plain(outside, mac(1)));
    CHECK(bench.got().empty());
    CHECK(bench.drops() == "1 no_destination 2");
}

TEST_CASE("switch: learnt addresses move, age, and are bounded") {
    SwitchSettings settings;
    settings.learning = {.capacity = 6, .per_port = 4, .age = 300_s};
    SwitchBench bench(settings);
    bench.add();
    bench.add(spoofing());
    bench.add(spoofing());
    const auto address = [](unsigned n) { return MacAddress::from_u64(0x0200'0000'0000 + n); };
    const auto where = [&](unsigned n) {
        bench.vswitch.send(1, plain(address(n), mac(1)));
        return bench.got();
    };
    bench.vswitch.send(2, plain(mac(1), address(1)));
    bench.got();
    CHECK(where(1) == "2: 0");
    bench.vswitch.send(3, plain(mac(1), address(1)));
    bench.got();
    CHECK(where(1) == "3: 0");
    bench.run_for(299_s);
    CHECK(where(1) == "3: 0");
    bench.run_for(1_s);
    CHECK(where(1) == "2: 0; 3: 0");
    // At most four behind one port, six in all; what is not learnt is flooded.
    for (unsigned n = 10; n < 20; ++n) bench.vswitch.send(2, plain(mac(1), address(n)));
    for (unsigned n = 20; n < 30; ++n) bench.vswitch.send(3, plain(mac(1), address(n)));
    bench.got();
    CHECK(bench.vswitch.mac_table().size() == 6);
    CHECK(where(13) == "2: 0");
    CHECK(where(14) == "2: 0; 3: 0");
    CHECK(where(20) == "3: 0");
    CHECK(where(22) == "2: 0; 3: 0");
    // Aged ones make room.
    bench.run_for(300_s);
    bench.vswitch.send(3, plain(mac(1), address(30)));
    bench.got();
    CHECK(bench.vswitch.mac_table().size() == 1);
    CHECK(where(30) == "3: 0");
    // A port that goes takes its addresses along.
    bench.vswitch.disconnect(3);
    CHECK(where(30) == "2: 0");
}

TEST_CASE("switch: VLANs") {
    SwitchBench bench;
    bench.add();                                           // 1 untagged
    bench.add(on_vlan(VlanSettings::access(10)));          // 2
    bench.add(on_vlan(VlanSettings::access(10)));          // 3
    bench.add(on_vlan(VlanSettings::access(20)));          // 4
    bench.add(on_vlan(VlanSettings::trunk({10, 30}, 5)));  // 5
    bench.add(external_port());                            // 6
    struct Row {
        PortId from;
        std::optional<VlanTag> tag;
        const char* got;
        const char* drops;
    };
    for (const auto& row : {
             Row{1, std::nullopt, "6: 0", ""},
             Row{2, std::nullopt, "3: 0; 5: 0; 6: 0", ""},
             Row{2, VlanTag{0, 5, false}, "3: 0; 5: 0; 6: 0", ""},  // a priority only
             Row{2, VlanTag{10, 0, false}, "", "2 vlan_not_allowed 1"},
             Row{4, std::nullopt, "6: 0", "2 vlan_not_allowed 1"},
             Row{5, VlanTag{10, 0, false}, "2: 0; 3: 0; 6: 0", "2 vlan_not_allowed 1"},
             Row{5, VlanTag{30, 0, false}, "6: 0", "2 vlan_not_allowed 1"},
             Row{5, std::nullopt, "6: 0", "2 vlan_not_allowed 1"},
             Row{5, VlanTag{20, 0, false}, "", "2 vlan_not_allowed 1; 5 vlan_not_allowed 1"},
         }) {
        CAPTURE(row.from);
        for (const bool in_bytes : {false, true}) {
            Frame frame = plain(all, mac(row.from));
            frame.vlan = row.tag;
            if (in_bytes && !row.tag) continue;
            if (in_bytes) put_tag_in(frame);
            std::string before = bench.drops();
            bench.vswitch.send(row.from, std::move(frame));
            if (in_bytes && bench.drops() != before) continue;  // counted above
            // Ports with tags in the bytes show another number there.
            std::string got;
            for (PortId port = 1; port <= 6; ++port) {
                if (bench.at(port).frames.empty()) continue;
                if (!got.empty()) got += "; ";
                got += std::to_string(port) + ": 0";
                bench.at(port).clear();
            }
            CHECK(got == row.got);
        }
    }
    // What the trunk and the uplink see.
    bench.vswitch.send(2, tagged(plain(all, mac(2)), 0, 5));
    REQUIRE(bench.at(5).frames.size() == 1);
    CHECK_FALSE(bench.at(5).frames[0].vlan);
    CHECK(load_be32(bench.at(5).frames[0].bytes, 12) == 0x8100'a00a);
    CHECK(bench.at(6).frames.at(0).vlan == VlanTag{10, 5, false});
    CHECK_FALSE(bench.at(3).frames.at(0).vlan);
    CHECK(bench.at(3).frames[0].size() == 60);
    bench.got();
    bench.vswitch.send(6, tagged(plain(all, outside), 5));
    CHECK(bench.at(5).frames.at(0).size() == 60);  // the trunk's own VLAN has no tag there
    bench.got();
    // Two tags are one too many.
    Frame twice = tagged(plain(all, mac(5)), 10);
    put_tag_in(twice);
    twice.vlan = VlanTag{10};
    put_tag_in(twice);
    bench.vswitch.send(5, std::move(twice));
    CHECK(bench.got().empty());
    // The same address in two VLANs is two adapters.
    PortSettings twin = on_vlan(VlanSettings::access(20));
    twin.mac = mac(2);
    bench.add(twin);  // 7
    bench.vswitch.send(3, plain(mac(2), mac(3), 1));
    bench.vswitch.send(4, plain(mac(2), mac(4), 2));
    CHECK(bench.got() == "2: 1; 7: 2");
}

TEST_CASE("switch: DHCP and router guards") {
    SwitchBench bench;
    PortSettings guarded;
    guarded.dhcp_guard = guarded.router_guard = true;
    bench.add(guarded);
    bench.add();
    const Ends v4{mac(2), mac(1), ip_address("10.0.0.2"), ip_address("10.0.0.1")};
    const Ends v6{mac(2), mac(1), ip_address("fe80::2"), ip_address("fe80::1")};
    const auto icmp = [](const Ends& e, std::uint8_t type) {
        std::vector<std::byte> message(24);
        message[0] = std::byte{type};
        return ip_packet(e, e.to.is_v4() ? ip_protocol::icmp : ip_protocol::icmpv6, message);
    };
    struct Row {
        Frame frame;
        bool passes;
        const char* what;
    };
    for (const auto& row : {
             Row{udp_packet(v4, 68, 67, 10), true, "DHCP client"},
             Row{udp_packet(v4, 67, 68, 10), false, "DHCP server"},
             Row{udp_packet(v6, 546, 547, 10), true, "DHCPv6 client"},
             Row{udp_packet(v6, 547, 546, 10), false, "DHCPv6 server"},
             Row{icmp(v4, 8), true, "ping"},
             Row{icmp(v4, 9), false, "router advertisement, IPv4"},
             Row{icmp(v4, 5), false, "redirect, IPv4"},
             Row{icmp(v6, 133), true, "router solicitation"},
             Row{icmp(v6, 134), false, "router advertisement"},
             Row{icmp(v6, 137), false, "redirect"},
         }) {
        CAPTURE(std::string(row.what));
        bench.vswitch.send(1, Frame{row.frame});
        CHECK((bench.at(2).frames.size() == 1) == row.passes);
        bench.got();
    }
    CHECK(bench.drops() == "1 dhcp_guard 2; 1 router_guard 4");
}

TEST_CASE("switch: access lists, the heaviest rule that fits decides") {
    SwitchBench bench;
    PortSettings s;
    const auto deny = [](std::uint32_t weight) {
        AclRule rule;
        rule.weight = weight;
        return rule;
    };
    AclRule no_ten = deny(10);  // 0: nothing with 10/8 ...
    no_ten.remote_ip = ip_prefix("10.0.0.0/8");
    AclRule but_dns = deny(20);  // 1: ... but DNS, out
    but_dns.action = AclAction::allow;
    but_dns.direction = AclDirection::outbound;
    but_dns.remote_ip = ip_prefix("10.0.0.0/8");
    but_dns.protocol = ip_protocol::udp;
    but_dns.remote_port = 53;
    AclRule not_from_2 = deny(5);  // 2: nothing from port 2's address
    not_from_2.direction = AclDirection::inbound;
    not_from_2.remote_mac = mac(2);
    AclRule all_bytes = deny(1);  // 3: counts what the first meter does not
    all_bytes.action = AclAction::meter;
    AclRule udp_bytes = deny(2);  // 4
    udp_bytes.action = AclAction::meter;
    udp_bytes.protocol = ip_protocol::udp;
    s.acl = {no_ten, but_dns, not_from_2, all_bytes, udp_bytes};
    bench.add(s);
    bench.add();
    bench.add();
    const auto udp = [](unsigned to, unsigned from, const char* to_ip, const char* from_ip, std::uint16_t port) {
        return udp_packet({mac(to), mac(from), ip_address(to_ip), ip_address(from_ip)}, 4000, port, 10);
    };
    bench.vswitch.send(1, udp(2, 1, "192.168.0.2", "192.168.0.1", 80));  // passes
    CHECK(bench.at(2).frames.size() == 1);
    bench.vswitch.send(1, udp(2, 1, "10.1.1.1", "192.168.0.1", 80));  // denied by 0
    CHECK(bench.drops() == "1 acl_denied 1");
    bench.vswitch.send(1, udp(2, 1, "10.1.1.1", "192.168.0.1", 53));  // allowed by 1
    CHECK(bench.at(2).frames.size() == 2);
    bench.vswitch.send(3, udp(1, 3, "192.168.0.1", "10.1.1.1", 4000));  // inbound: 1 does not apply, 0 denies
    CHECK(bench.drops() == "1 acl_denied 2");
    bench.vswitch.send(2, plain(mac(1), mac(2)));  // denied by 2
    CHECK(bench.drops() == "1 acl_denied 3");
    bench.vswitch.send(3, plain(mac(1), mac(3)));  // no rule
    CHECK(bench.at(1).frames.size() == 1);
    CHECK(bench.vswitch.meter(1, 4) == PortAcl::Meter{4, 4 * 52});
    CHECK(bench.vswitch.meter(1, 3) == PortAcl::Meter{2, 120});
    CHECK(bench.vswitch.meter(1, 0) == PortAcl::Meter{});
    // Denied at one destination, delivered to the others.
    bench.got();
    bench.vswitch.send(2, plain(all, mac(2), 7));
    CHECK(bench.got() == "3: 7");
    CHECK(bench.drops() == "1 acl_denied 4");
}

TEST_CASE("switch: mirroring") {
    SwitchBench bench;
    PortSettings source;
    source.mirror = MirrorMode::source;
    PortSettings monitor;
    monitor.mirror = MirrorMode::destination;
    bench.add(source);   // 1
    bench.add();         // 2
    bench.add();         // 3
    bench.add(monitor);  // 4
    PortSettings elsewhere = monitor;
    elsewhere.vlan = VlanSettings::access(9);
    bench.add(elsewhere);  // 5: a monitor of another VLAN sees nothing
    bench.vswitch.send(1, plain(mac(2), mac(1), 1));
    CHECK(bench.got() == "2: 1; 4: 1");
    bench.vswitch.send(2, plain(mac(1), mac(2), 2));
    CHECK(bench.got() == "1: 2; 4: 2");
    bench.vswitch.send(2, plain(mac(3), mac(2), 3));
    CHECK(bench.got() == "3: 3");
    bench.vswitch.send(1, plain(outside, mac(1), 4));
    CHECK(bench.got() == "4: 4");  // seen, though it goes nowhere
    CHECK(bench.drops() == "1 no_destination 1");
    bench.vswitch.send(2, plain(all, mac(2), 5));
    CHECK(bench.got() == "1: 5; 3: 5; 4: 5 5");
}

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
