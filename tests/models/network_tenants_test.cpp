// Network virtualization: tenants on one host and on two, encapsulation byte by byte, separation, lookup records.
#include <doctest/doctest.h>

#include "models/network/impairment.h"
#include "models/network/peer/peer.h"
#include "models/network/wire.h"
#include "tests/models/network_switches.h"

namespace network_tenants_test {

using namespace network_test;
using namespace sim::literals;

namespace {

constexpr std::uint32_t red = 5001;
constexpr std::uint32_t blue = 6001;
const MacAddress all = MacAddress::broadcast();
const MacAddress other_host_mac = MacAddress::from_u64(0x0200'0000'0002);
MacAddress mac(unsigned n) {
    return SwitchBench::mac(n);
}
PortSettings tenant(std::uint32_t subnet) {
    PortSettings s;
    s.virtual_subnet = subnet;
    return s;
}
ProviderSettings provider(unsigned n) {
    ProviderSettings p;
    p.address = IpAddress::v4(0xc0a8'0000 + n);
    p.mac = MacAddress::from_u64(0x0200'0000'0000 + n);
    p.on_link = ip_prefix("192.168.0.0/24");
    return p;
}
LookupRecord record(std::uint32_t subnet, const char* customer, const MacAddress& customer_mac, unsigned host) {
    return {subnet, ip_address(customer), customer_mac, IpAddress::v4(0xc0a8'0000 + host)};
}
Frame arp_reply_of_other_host() {
    return arp_frame({.operation = ArpMessage::reply,
                      .sender_mac = other_host_mac,
                      .sender_ip = ip_address("192.168.0.2"),
                      .target_mac = provider(1).mac,
                      .target_ip = ip_address("192.168.0.1")});
}

}  // namespace

TEST_CASE("tenants: ports of different virtual subnets never see one another's frames") {
    SwitchBench bench;
    bench.add(tenant(red));      // 1
    bench.add(tenant(red));      // 2
    bench.add(tenant(blue));     // 3
    bench.add(tenant(blue));     // 4
    bench.add();                 // 5 of no tenant
    bench.add(external_port());  // 6
    PortSettings monitor = tenant(red);
    monitor.mirror = MirrorMode::destination;
    bench.add(monitor);  // 7
    PortSettings everything = tenant(blue);
    everything.allow_mac_spoofing = true;
    everything.vlan = VlanSettings::trunk_of_all();
    everything.mirror = MirrorMode::source;
    bench.add(everything);  // 8
    bench.vswitch.send(1, plain(all, mac(1), 1));
    CHECK(bench.got() == "2: 1; 7: 1");
    bench.vswitch.send(3, plain(all, mac(3), 2));
    CHECK(bench.got() == "4: 2; 8: 2");
    bench.vswitch.send(5, plain(all, mac(5), 3));
    CHECK(bench.got() == "6: 3");
    bench.vswitch.send(6, plain(all, MacAddress::from_u64(0x0200'0000'0099), 4));
    CHECK(bench.got() == "5: 4");
    // Not by address either, known or learnt, and a tag changes nothing.
    for (const PortId to : {3u, 4u, 5u}) bench.vswitch.send(1, plain(mac(to), mac(1), 5));
    bench.vswitch.send(8, plain(mac(1), mac(8), 6));
    bench.vswitch.send(8, plain(all, mac(77), 7));
    CHECK(bench.got() == "3: 7; 4: 7");
    bench.vswitch.send(1, plain(mac(77), mac(1), 8));
    Frame tagged = plain(all, mac(8), 9);
    tagged.vlan = VlanTag{5};
    bench.vswitch.send(8, std::move(tagged));
    CHECK(bench.got().empty());
    CHECK(bench.drops() == "1 no_provider_address 4; 8 vlan_not_allowed 1; 8 no_provider_address 1");
}

TEST_CASE("tenants: random traffic of many, nothing crosses") {
    SwitchBench bench;
    sim::Random random(3, "tenants");
    std::vector<std::uint32_t> subnet{0};
    for (int i = 0; i < 24; ++i) {
        PortSettings s = tenant(i % 5 == 0 ? 0 : 5000 + static_cast<std::uint32_t>(random.below(3)));
        s.allow_mac_spoofing = random.one_in(2);
        s.mirror = static_cast<MirrorMode>(random.below(3));
        if (random.one_in(3)) s.vlan = VlanSettings::trunk_of_all();
        subnet.push_back(s.virtual_subnet);
        bench.add(s);
    }
    for (int i = 0; i < 20'000; ++i) {
        const auto from = static_cast<PortId>(1 + random.below(24));
        // The payload tells whose it is.
        Frame frame = plain(random.one_in(4) ? all : mac(static_cast<unsigned>(1 + random.below(60))),
                            random.one_in(3) ? mac(static_cast<unsigned>(1 + random.below(60))) : mac(from));
        store_be32(frame.bytes, 20, subnet[from]);
        if (random.one_in(5)) frame.vlan = VlanTag{static_cast<std::uint16_t>(random.below(3))};
        bench.vswitch.send(from, std::move(frame));
    }
    std::size_t seen = 0;
    for (PortId port = 1; port <= 24; ++port) {
        for (Frame& frame : bench.at(port).frames) {
            take_tag_out(frame);
            REQUIRE(load_be32(frame.bytes, 20) == subnet[port]);
            ++seen;
        }
    }
    CHECK(seen > 20'000);
}

TEST_CASE("NVGRE: what is on the provider's network, byte by byte") {
    SwitchBench bench;
    bench.add(tenant(red));
    bench.add(external_port());
    bench.vswitch.set_provider(2, provider(1));
    bench.vswitch.add_record(record(red, "10.0.0.1", mac(1), 1));
    bench.vswitch.add_record(record(red, "10.0.0.9", mac(9), 2));
    // The first frame waits for the other host's address.
    bench.vswitch.send(1, plain(mac(9), mac(1), 1));
    REQUIRE(bench.at(2).frames.size() == 1);
    CHECK(network_test::to_hex(bench.at(2).frames[0].bytes) ==
          "ffffffffffff0200000000010806"
          "0001080006040001020000000001c0a80001000000000000c0a80002");
    bench.at(2).clear();
    bench.vswitch.send(2, arp_reply_of_other_host());
    REQUIRE(bench.at(2).frames.size() == 1);
    // Outer Ethernet; IPv4 of 88 bytes, identification 1, not to be fragmented, TTL 128, GRE; key 5001, flow 0; inner.
    CHECK(network_test::to_hex(std::span{bench.at(2).frames[0].bytes}.first(42 + 15)) ==
          "0200000000020200000000010800"
          "450000580001400080"
          "2f7922c0a80001c0a80002"
          "200065580013890"
          "0"
          "00155d00000900155d00000188b501");
    CHECK(bench.at(2).frames[0].size() == 42 + 60);
    CHECK(bench.counter("switch.nvgre_sent") == 1);
    // Back: what the other host would send.
    Frame back = bench.at(2).frames[0];
    bench.at(2).clear();
    store_mac(back.bytes, 0, provider(1).mac);
    store_mac(back.bytes, 6, other_host_mac);
    store_ip(back.bytes, 26, ip_address("192.168.0.2"));
    store_ip(back.bytes, 30, ip_address("192.168.0.1"));
    store_mac(back.bytes, 42, mac(1));
    store_mac(back.bytes, 48, mac(9));
    bench.vswitch.send(2, Frame{back});
    CHECK(bench.got() == "1: 1");
    CHECK(bench.counter("switch.nvgre_received") == 1);

    struct Row {
        std::size_t offset;
        std::uint8_t value;
        const char* reason;
        const char* what;
    };
    for (const auto& row : {
             Row{34, 0xa0, "bad_encapsulation", "a GRE checksum flag"},
             Row{34, 0x00, "bad_encapsulation", "no key"},
             Row{35, 0x01, "bad_encapsulation", "version 1"},
             Row{36, 0x08, "bad_encapsulation", "payload not Ethernet"},
             Row{23, 17, "bad_encapsulation", "not GRE"},
             Row{21, 0x01, "bad_encapsulation", "a fragment"},
             Row{54, 0x81, "bad_encapsulation", "an inner tag"},
             Row{29, 0x03, "provider_mismatch", "from a host without members"},
             Row{53, 0x01, "provider_mismatch", "as one of ours"},
         }) {
        CAPTURE(std::string(row.what));
        Frame bad = back;
        bad.bytes[row.offset] = std::byte{row.value};
        if (row.offset == 54) bad.bytes[55] = std::byte{0};
        const std::string before = bench.drops();
        bench.vswitch.send(2, std::move(bad));
        CHECK(bench.got().empty());
        CHECK(bench.drops().find(row.reason) != std::string::npos);
        CHECK(bench.drops() != before);
    }
    CHECK(bench.drops() == "2 provider_mismatch 2; 2 bad_encapsulation 7");
    // A subnet without ports here; one with them, for somebody who is not there.
    bench.vswitch.add_record(record(blue, "10.0.0.9", mac(9), 2));
    Frame other = back;
    store_be32(other.bytes, 38, blue << 8);
    bench.vswitch.send(2, std::move(other));
    Frame nobody = back;
    store_mac(nobody.bytes, 42, mac(3));
    bench.vswitch.send(2, std::move(nobody));
    CHECK(bench.got().empty());
    CHECK(bench.drops() ==
          "2 no_destination 1; 2 provider_mismatch 2; 2 bad_encapsulation 7; 2 unknown_virtual_subnet 1");
}

TEST_CASE("NVGRE: answers, questions that get none, and bad records") {
    SwitchBench bench;
    bench.add(tenant(red));
    bench.add(external_port());
    bench.vswitch.set_provider(2, provider(1));
    bench.vswitch.add_record(record(red, "10.0.0.9", mac(9), 2));
    // A tenant's ARP question is answered from the records and goes nowhere.
    bench.vswitch.send(1, arp_frame({.operation = ArpMessage::request,
                                     .sender_mac = mac(1),
                                     .sender_ip = ip_address("10.0.0.1"),
                                     .target_mac = {},
                                     .target_ip = ip_address("10.0.0.9")}));
    REQUIRE(bench.at(1).frames.size() == 1);
    CHECK(bench.at(2).frames.empty());
    const auto answer = parse_arp(bench.at(1).frames[0].bytes, *parse_headers(bench.at(1).frames[0]));
    CHECK(answer->sender_mac == mac(9));
    CHECK(answer->operation == ArpMessage::reply);
    bench.got();
    // Who asks for our provider address gets it.
    bench.vswitch.send(2, arp_frame({.operation = ArpMessage::request,
                                     .sender_mac = other_host_mac,
                                     .sender_ip = ip_address("192.168.0.2"),
                                     .target_mac = {},
                                     .target_ip = ip_address("192.168.0.1")}));
    REQUIRE(bench.at(2).frames.size() == 1);
    CHECK(parse_arp(bench.at(2).frames[0].bytes, *parse_headers(bench.at(2).frames[0]))->sender_mac == provider(1).mac);
    bench.got();
    // A host that does not answer: three questions a second apart, then what waited is dropped.
    bench.vswitch.add_record(record(red, "10.0.0.8", mac(8), 3));
    bench.vswitch.send(1, plain(mac(8), mac(1), 1));
    bench.vswitch.send(1, plain(mac(8), mac(1), 2));
    bench.run_for(10_s);
    CHECK(bench.at(2).times == std::vector{0_s, 1_s, 2_s});
    CHECK(bench.drops() == "2 provider_unresolved 2");
    for (const LookupRecord& bad : {record(0xfff, "10.0.0.1", mac(1), 1), record(0xffffff, "10.0.0.1", mac(1), 1),
                                    record(red, "10.0.0.1", {}, 1)}) {
        CHECK_THROWS_AS(bench.vswitch.add_record(bad), sim::UserError);
    }
    CHECK_THROWS_AS(bench.vswitch.set_provider(1, provider(1)), sim::UserError);
}

TEST_CASE("NVGRE: two hosts, two tenants with the same addresses, TCP within and nothing across") {
    sim::Simulation simulation;
    struct Host {
        Host(sim::Simulation& simulation, unsigned n, FrameReceiver& wire)
            : scope(simulation.scope("host" + std::to_string(n))), vswitch(scope.child("switch")) {
            uplink = vswitch.connect("uplink", wire, external_port());
            vswitch.set_provider(uplink, provider(n));
        }
        sim::Scope scope;
        VirtualSwitch vswitch;
        PortId uplink = no_port;
    };
    struct Into final : FrameReceiver {
        VirtualSwitch* vswitch = nullptr;
        PortId port = no_port;
        void receive(Frame&& frame) override { vswitch->send(port, std::move(frame)); }
    };
    Wire wire(simulation.scope("wire"));
    Host one(simulation, 1, wire.end(0));
    Host two(simulation, 2, wire.end(1));
    Into from_wire[2];
    from_wire[0].vswitch = &one.vswitch;
    from_wire[0].port = one.uplink;
    from_wire[1].vswitch = &two.vswitch;
    from_wire[1].port = two.uplink;
    wire.end(0).connect(from_wire[0]);
    wire.end(1).connect(from_wire[1]);
    // Red and blue have 10.0.0.1 on the first host and 10.0.0.2 on the second.
    Into into[4];
    std::deque<Peer> peers;
    for (unsigned i = 0; i < 4; ++i) {
        Host& host = i < 2 ? one : two;
        const std::uint32_t subnet = i % 2 == 0 ? red : blue;
        PeerSettings settings;
        settings.mac = mac(i + 1);
        settings.ipv4 = IpAddress::v4(0x0a00'0001 + i / 2);
        settings.tcp.large_send_bytes = 32'000;
        peers.emplace_back(simulation.scope("peer" + std::to_string(i)), settings, into[i]);
        PortSettings port = tenant(subnet);
        port.mac = settings.mac;
        port.receives = {.large_frames = true, .coalesced = true, .partial_checksums = true, .tags_out_of_band = true};
        into[i].vswitch = &host.vswitch;
        into[i].port = host.vswitch.connect("tenant" + std::to_string(i), peers.back(), port);
        for (Host* h : {&one, &two}) {
            h->vswitch.add_record({subnet, settings.ipv4, settings.mac, provider(i < 2 ? 1 : 2).address});
        }
    }
    peers[2].tcp().listen(80, {.service = TcpService::sink});
    const auto id = peers[0].connect({ip_address("10.0.0.2"), 80},
                                     {.service = TcpService::source, .source_bytes = 1'000'000, .seed = 4});
    const auto refused =
        peers[1].connect({ip_address("10.0.0.2"), 80}, {.service = TcpService::source, .source_bytes = 10});
    simulation.agenda().run_until(2_s);
    REQUIRE(peers[0].tcp().result(id));
    CHECK(peers[0].tcp().result(id)->end == TcpEnd::closed);
    REQUIRE(peers[2].tcp().results().size() == 1);
    CHECK(peers[2].tcp().results()[0].received_digest == pattern_digest(4, 1'000'000));
    // Blue's 10.0.0.2 does not listen: its answer came, not red's.
    CHECK(peers[1].tcp().result(refused)->end == TcpEnd::refused);
    CHECK(peers[3].tcp().results().empty());
    const auto& stats = simulation.statistics().all();
    // The opening, and the answer to its own question for an address.
    CHECK(stats.at("peer3.in_frames").counter.value() == 2);
    CHECK(stats.at("host1.switch.nvgre_sent").counter.value() ==
          stats.at("host2.switch.nvgre_received").counter.value());
    CHECK(stats.at("host2.switch.nvgre_sent").counter.value() ==
          stats.at("host1.switch.nvgre_received").counter.value());
}

}  // namespace network_tenants_test
