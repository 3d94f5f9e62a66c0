// The virtual switch: forwarding, learning, VLANs, guards, ACLs, mirroring.
#include <doctest/doctest.h>

#include "tests/models/network_switches.h"

namespace network_switch_test {

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

}  // namespace network_switch_test
