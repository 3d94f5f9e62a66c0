// Behavioural hosts beside TCP: ARP, neighbour discovery, ping, UDP, DHCP; what they leave alone.
#include <doctest/doctest.h>

#include "models/network/neighbour_cache.h"
#include "models/network/peer/peer.h"
#include "tests/models/network_frames.h"
#include "tests/models/network_hosts.h"

namespace network_peer_test {

using namespace network_test;
using namespace sim::literals;

namespace {

// A host whose network is an inbox. The test is 10.0.0.9, fd00::9.
struct Bench {
    explicit Bench(const PeerSettings& settings = host(1))
        : network(simulation), peer(simulation.scope("peer"), settings, network) {}
    void run_for(sim::Time time) { simulation.agenda().run_until(simulation.agenda().now() + time); }
    // What it answers within a second, checksums filled in.
    std::vector<Frame> answers(Frame&& frame) {
        network.clear();
        peer.receive(std::move(frame));
        run_for(1_s);
        std::vector<Frame> frames = network.frames;
        for (Frame& one : frames) REQUIRE(fill_checksums(one));
        return frames;
    }
    std::uint64_t counter(const std::string& name) const {
        return simulation.statistics().all().at(name).counter.value();
    }

    mutable sim::Simulation simulation;
    Inbox network;
    Peer peer;
};

const PeerSettings other = host(9);
const Ends v4{host(1).mac, other.mac, host(1).ipv4, other.ipv4};
const Ends v6{host(1).mac, other.mac, host(1).ipv6, other.ipv6};

Frame arp_question(const IpAddress& target) {
    return arp_frame({.operation = ArpMessage::request,
                      .sender_mac = other.mac,
                      .sender_ip = other.ipv4,
                      .target_mac = {},
                      .target_ip = target});
}

Frame icmp_frame(const Ends& e, std::uint8_t type, std::vector<std::byte> body, std::uint8_t hop_limit = 64) {
    std::vector<std::byte> message(4);
    message[0] = std::byte{type};
    message.insert(message.end(), body.begin(), body.end());
    Frame frame = ip_packet(e, e.to.is_v4() ? ip_protocol::icmp : ip_protocol::icmpv6, message);
    frame.bytes[e.to.is_v4() ? 22 : 21] = std::byte{hop_limit};
    const auto h = parse_headers(frame);
    store_be16(frame.bytes, h->transport_offset + 2, transport_checksum(frame.bytes, *h));
    return frame;
}

}  // namespace

TEST_CASE("host: ARP questions for its address, after its response time") {
    Bench bench;
    const auto answers = bench.answers(arp_question(host(1).ipv4));
    REQUIRE(answers.size() == 1);
    CHECK(bench.network.times[0] == 10_us);
    CHECK(to_hex(answers[0].bytes) ==
          "00155d00000900155d0000010806"
          "0001080006040002"
          "00155d0000010a000001"
          "00155d0000090a000009");
    CHECK(bench.answers(arp_question(ip_address("10.0.0.2"))).empty());
    // Probes for a duplicate address (RFC 5227) are answered too.
    CHECK(bench
              .answers(arp_frame({.operation = ArpMessage::request,
                                  .sender_mac = other.mac,
                                  .sender_ip = IpAddress::v4(0),
                                  .target_mac = {},
                                  .target_ip = host(1).ipv4}))
              .size() == 1);
}

TEST_CASE("host: pings of both families") {
    Bench bench;
    const auto payload = counted_bytes(100);
    (void)bench.answers(arp_question(host(1).ipv4));  // now it knows us
    const auto reply = bench.answers(icmp_frame(v4, 8, payload));
    REQUIRE(reply.size() == 1);
    const auto h = *parse_headers(reply[0]);
    CHECK(h.destination == other.mac);
    CHECK(h.ip_source == host(1).ipv4);
    CHECK(h.ip_destination == other.ipv4);
    CHECK(load_u8(reply[0].bytes, h.transport_offset) == 0);
    CHECK(std::equal(payload.begin(), payload.end(), reply[0].bytes.begin() + h.transport_offset + 4));
    Frame checked = reply[0];
    verify_checksums(checked);
    CHECK(checked.transport_verdict == ChecksumVerdict::good);
    CHECK(checked.ip_verdict == ChecksumVerdict::good);

    // IPv6: it asks for our address first.
    const auto question = bench.answers(icmp_frame(v6, 128, payload));
    REQUIRE(question.size() == 1);
    const auto q = *parse_headers(question[0]);
    CHECK(to_string(q.destination) == "33:33:ff:00:00:09");
    CHECK(to_string(q.ip_destination) == "ff02::1:ff00:9");
    CHECK(q.hop_limit == 255);
    CHECK(load_u8(question[0].bytes, q.transport_offset) == 135);
    std::vector<std::byte> advertisement(28);
    store_be32(advertisement, 0, 0x6000'0000);
    store_ip(advertisement, 4, other.ipv6);
    advertisement[20] = std::byte{2};
    advertisement[21] = std::byte{1};
    store_mac(advertisement, 22, other.mac);
    // One that came through a router is forged; it asks again.
    for (const Frame& frame : bench.answers(icmp_frame(v6, 136, advertisement, 254))) {
        CHECK(load_u8(frame.bytes, parse_headers(frame)->transport_offset) == 135);
    }
    (void)bench.answers(icmp_frame(v6, 136, advertisement, 255));
    const auto again = bench.answers(icmp_frame(v6, 128, payload));
    REQUIRE(again.size() == 1);
    CHECK(load_u8(again[0].bytes, parse_headers(again[0])->transport_offset) == 129);
}

TEST_CASE("host: neighbour solicitations") {
    Bench bench;
    const auto solicitation = [](const IpAddress& target, const IpAddress& from) {
        std::vector<std::byte> body(28);
        store_ip(body, 4, target);
        body[20] = std::byte{1};
        body[21] = std::byte{1};
        store_mac(body, 22, other.mac);
        const Ends e{multicast_mac(solicited_node(target)), other.mac, solicited_node(target), from};
        return icmp_frame(e, 135, body, 255);
    };
    for (const IpAddress& mine : {host(1).ipv6, link_local(host(1).mac)}) {
        const auto answer = bench.answers(solicitation(mine, other.ipv6));
        REQUIRE(answer.size() == 1);
        const auto h = *parse_headers(answer[0]);
        CHECK(h.destination == other.mac);
        CHECK(h.ip_source == mine);
        CHECK(load_be32(answer[0].bytes, h.transport_offset + 4) == 0x6000'0000);  // solicited, override
        CHECK(load_ip(answer[0].bytes, h.transport_offset + 8, IpFamily::v6) == mine);
        CHECK(load_mac(answer[0].bytes, h.transport_offset + 26) == host(1).mac);
    }
    // Somebody tries whether the address is free: everybody hears that it is not.
    const auto defended = bench.answers(solicitation(host(1).ipv6, ip_address("::")));
    REQUIRE(defended.size() == 1);
    CHECK(to_string(parse_headers(defended[0])->ip_destination) == "ff02::1");
    CHECK(load_be32(defended[0].bytes, parse_headers(defended[0])->transport_offset + 4) == 0x2000'0000);
    CHECK(bench.answers(solicitation(ip_address("fd00::7"), other.ipv6)).empty());
}

TEST_CASE("host: UDP echo, discard, and ports where nobody is") {
    Bench bench;
    (void)bench.answers(arp_question(host(1).ipv4));
    const auto echo = bench.answers(udp_packet(v4, 4000, 7, 50));
    REQUIRE(echo.size() == 1);
    const auto h = *parse_headers(echo[0]);
    CHECK(h.source_port == 7);
    CHECK(h.destination_port == 4000);
    CHECK(h.payload_bytes() == 50);
    Frame checked = echo[0];
    verify_checksums(checked);
    CHECK(checked.transport_verdict == ChecksumVerdict::good);
    CHECK(bench.answers(udp_packet(v4, 7, 7, 50)).empty());  // no endless game
    CHECK(bench.answers(udp_packet(v4, 4000, 9, 50)).empty());
    CHECK(bench.counter("peer.udp_discarded") == 1);
    const auto unreachable = bench.answers(udp_packet(v4, 4000, 12, 50));
    REQUIRE(unreachable.size() == 1);
    const auto u = *parse_headers(unreachable[0]);
    CHECK(load_be16(unreachable[0].bytes, u.transport_offset) == 0x0303);
    CHECK(u.end - u.transport_offset == 8 + 28);  // the header and eight bytes of what was sent
}

TEST_CASE("host: what it leaves alone") {
    Bench bench;
    (void)bench.answers(arp_question(host(1).ipv4));
    struct Row {
        const char* what;
        const char* counter;
        Frame frame;
    };
    Frame to_another = udp_packet({host(2).mac, other.mac, host(1).ipv4, other.ipv4}, 1, 7, 1);
    Frame ip_of_another = udp_packet({host(1).mac, other.mac, host(2).ipv4, other.ipv4}, 1, 7, 1);
    Frame tagged = udp_packet(v4, 1, 7, 1);
    tagged.vlan = VlanTag{5};
    Frame damaged = udp_packet(v4, 1, 7, 9);
    REQUIRE(fill_checksums(damaged));
    damaged.bytes.back() ^= std::byte{4};
    Frame bad_header = udp_packet(v4, 1, 7, 9);
    REQUIRE(fill_checksums(bad_header));
    bad_header.bytes[22] = std::byte{1};
    Frame fragment = udp_packet(v4, 1, 7, 9);
    fragment.bytes[20] = std::byte{0x20};
    Frame short_arp = arp_question(host(1).ipv4);
    short_arp.bytes.resize(30);
    for (auto& row : {
             Row{"another host's", "peer.not_for_us", to_another},
             Row{"another address", "peer.not_for_us", ip_of_another},
             Row{"another VLAN", "peer.not_for_us", tagged},
             Row{"damaged", "peer.bad_checksum", damaged},
             Row{"damaged header", "peer.bad_checksum", bad_header},
             Row{"a fragment", "peer.not_understood", fragment},
             Row{"cut ARP", "peer.not_understood", short_arp},
             Row{"no IP", "peer.not_understood", plain(host(1).mac, other.mac)},
             Row{"another protocol", "peer.not_understood", ip_packet(v4, 99, counted_bytes(20))},
             Row{"nothing", "peer.not_for_us", Frame{}},
         }) {
        CAPTURE(std::string(row.what));
        const std::uint64_t before = bench.counter(row.counter);
        CHECK(bench.answers(Frame{row.frame}).empty());
        CHECK(bench.counter(row.counter) == before + 1);
    }
    // More than it can hold.
    PeerSettings small = host(1);
    small.inbox_frames = 5;
    Bench full(small);
    for (int i = 0; i < 8; ++i) full.peer.receive(arp_question(host(1).ipv4));
    full.run_for(1_s);
    CHECK(full.counter("peer.inbox_full") == 3);
    CHECK(full.network.frames.size() == 5);
}

TEST_CASE("host: pings others, and says how long it took") {
    TwoHosts net;
    const auto four = net.a.ping(net.b.settings().ipv4, 3, 1_ms);
    const auto six = net.a.ping(net.b.settings().ipv6, 2, 1_ms, 1000);
    const auto nobody = net.a.ping(ip_address("10.0.0.77"), 2, 1_ms);
    const auto no_route = net.a.ping(ip_address("192.168.0.1"), 1, 1_ms);
    net.run_for(20_s);
    const auto* v4_series = net.a.pinger().find(four);
    CHECK(v4_series->received == 3);
    // The second one: 98 + 24 - 12 bytes each way at 10 Gb/s, 25 ns of cable; the other host answers after 10 us, and
    // this one looks at the answer 10 us after it came.
    CHECK(v4_series->round_trips[1] == 2 * (88_ns + 25_ns) + 20_us);
    CHECK(v4_series->round_trips[0] > v4_series->round_trips[1]);  // with ARP
    CHECK(net.a.pinger().find(six)->received == 2);
    CHECK(net.a.pinger().find(nobody)->received == 0);
    CHECK(net.a.pinger().find(no_route)->sent == 1);
    CHECK(net.counter("a.unreachable") == 3);
}

TEST_CASE("host: through a gateway, and on a VLAN") {
    PeerSettings settings = host(1);
    settings.gateway = ip_address("10.0.0.254");
    settings.vlan = 12;
    Bench bench(settings);
    bench.peer.ping(ip_address("8.8.8.8"), 1);
    bench.run_for(1_ms);
    REQUIRE(bench.network.frames.size() == 1);
    CHECK(bench.network.frames[0].vlan == VlanTag{12});
    CHECK(parse_arp(bench.network.frames[0].bytes, *parse_headers(bench.network.frames[0]))->target_ip ==
          settings.gateway);
    Frame answer = arp_frame({.operation = ArpMessage::reply,
                              .sender_mac = other.mac,
                              .sender_ip = settings.gateway,
                              .target_mac = settings.mac,
                              .target_ip = settings.ipv4});
    answer.vlan = VlanTag{12};
    put_tag_in(answer);
    bench.network.clear();
    bench.peer.receive(std::move(answer));
    bench.run_for(1_ms);
    REQUIRE(bench.network.frames.size() == 1);
    const auto h = *parse_headers(bench.network.frames[0]);
    CHECK(h.destination == other.mac);
    CHECK(h.ip_destination == ip_address("8.8.8.8"));
    CHECK(bench.network.frames[0].vlan == VlanTag{12});
}

TEST_CASE("neighbour cache: bounded, retries, ages") {
    struct Output final : NeighbourOutput {
        std::vector<std::pair<IpAddress, sim::Time>> asked;
        std::vector<Frame> sent;
        std::size_t given_up = 0;
        sim::Agenda* agenda = nullptr;
        void solicit(const IpAddress& address) override { asked.emplace_back(address, agenda->now()); }
        void send_resolved(Frame&& frame) override { sent.push_back(std::move(frame)); }
        void unresolved(Frame&&) override { ++given_up; }
    } output;
    sim::Simulation simulation;
    output.agenda = &simulation.agenda();
    NeighbourCache cache(simulation.agenda(), output,
                         {.age = 10_s, .capacity = 4, .waiting_frames = 2, .attempts = 3, .retry = 1_s});
    const auto address = [](unsigned n) { return IpAddress::v4(0x0a00'0000 + n); };
    const MacAddress mac = MacAddress::from_u64(5);
    for (std::uint8_t n = 0; n < 3; ++n) cache.send(address(1), plain({}, {}, n));
    CHECK(output.given_up == 1);  // the oldest
    CHECK(output.asked.size() == 1);
    cache.learn(address(1), mac);
    REQUIRE(output.sent.size() == 2);
    CHECK(load_mac(output.sent[0].bytes, 0) == mac);
    CHECK(load_u8(output.sent[0].bytes, 14) == 1);
    // Groups and nothing are no neighbours.
    cache.learn(address(2), MacAddress::broadcast());
    cache.learn(IpAddress::v4(0), mac);
    CHECK(cache.size() == 1);
    simulation.agenda().run_until(9_s);
    cache.send(address(1), plain({}, {}));
    CHECK(output.sent.size() == 3);
    simulation.agenda().run_until(10_s);
    cache.send(address(1), plain({}, {}));  // aged
    CHECK(output.sent.size() == 3);
    simulation.agenda().run_until(60_s);
    CHECK(output.asked == std::vector<std::pair<IpAddress, sim::Time>>{
                              {address(1), 0_s}, {address(1), 10_s}, {address(1), 11_s}, {address(1), 12_s}});
    CHECK(output.given_up == 2);
    CHECK(cache.size() == 0);
    // Four entries; answers go before questions.
    cache.send(address(1), plain({}, {}));
    for (unsigned n = 2; n <= 20; ++n) cache.learn(address(n), mac);
    CHECK(cache.size() == 4);
    CHECK(output.given_up == 2);
}

namespace {

// A DHCP client's message: fixed part, then options.
std::vector<std::byte> dhcp(std::uint8_t type, unsigned client, std::string_view more_options = "",
                            std::uint16_t flags = 0, const char* client_address = "0.0.0.0") {
    std::vector<std::byte> m(240);
    store_be32(m, 0, 0x0101'0600);
    store_be32(m, 4, 0xcafe'0000 + client);
    store_be16(m, 10, flags);
    store_ip(m, 12, ip_address(client_address));
    store_mac(m, 28, host(client).mac);
    store_be32(m, 236, 0x6382'5363);
    for (const std::byte b : {std::byte{53}, std::byte{1}, std::byte{type}}) m.push_back(b);
    for (const std::byte b : from_hex(more_options)) m.push_back(b);
    m.push_back(std::byte{255});
    return m;
}

DhcpSettings pool() {
    DhcpSettings s;
    s.first = ip_address("10.0.0.100");
    s.last = ip_address("10.0.0.102");
    s.router = ip_address("10.0.0.1");
    s.dns = {ip_address("10.0.0.1"), ip_address("10.0.0.2")};
    s.domain = "lab";
    s.lease_s = 1000;
    s.mtu = 1400;
    s.reserved[host(50).mac] = ip_address("10.0.0.50");
    return s;
}

// "2 10.0.0.100" for an offer of that address; "" for no answer.
std::string show(const std::optional<DhcpServer::Reply>& reply) {
    if (!reply) return "";
    return std::to_string(load_u8(reply->message, 242)) + " " + to_string(load_ip(reply->message, 16, IpFamily::v4)) +
           " to " + to_string(reply->destination);
}

}  // namespace

TEST_CASE("DHCP: a lease from discovery to its end") {
    DhcpServer server(pool(), ip_address("10.0.0.1"));
    struct Row {
        sim::Time at;
        std::vector<std::byte> message;
        const char* answer;
        const char* what;
    };
    const char* ours = "36040a000001 32040a000064";
    for (const auto& row : {
             Row{0_s, dhcp(1, 7), "2 10.0.0.100 to 10.0.0.100", "discover"},
             Row{0_s, dhcp(1, 8, "", 0x8000), "2 10.0.0.101 to 255.255.255.255", "another, which wants broadcasts"},
             Row{1_s, dhcp(3, 7, ours), "5 10.0.0.100 to 10.0.0.100", "request"},
             Row{1_s, dhcp(3, 8, "36040a0000fe 32040a000065"), "", "took another server's offer"},
             Row{2_s, dhcp(1, 7), "2 10.0.0.100 to 10.0.0.100", "the same again: its lease"},
             Row{3_s, dhcp(1, 9, "32040a000066"), "2 10.0.0.102 to 10.0.0.102", "asks for one"},
             Row{3_s, dhcp(3, 9, "32040a000064"), "6 0.0.0.0 to 255.255.255.255", "wants one that is taken"},
             Row{3_s, dhcp(3, 9, "32040b000064"), "6 0.0.0.0 to 255.255.255.255", "of another network"},
             Row{500_s, dhcp(3, 7, "", 0, "10.0.0.100"), "5 10.0.0.100 to 10.0.0.100", "renews"},
             Row{501_s, dhcp(1, 50), "2 10.0.0.50 to 10.0.0.50", "reserved"},
             Row{501_s, dhcp(8, 20, "", 0, "10.0.0.20"), "5 0.0.0.0 to 10.0.0.20", "only asks for options"},
             Row{502_s, dhcp(1, 10), "2 10.0.0.101 to 10.0.0.101", "a free one"},
             Row{502_s, dhcp(3, 10, "36040a000001 32040a000065"), "5 10.0.0.101 to 10.0.0.101", ""},
             Row{502_s, dhcp(4, 10, "32040a000065"), "", "finds that somebody has it"},
             Row{503_s, dhcp(1, 10), "2 10.0.0.102 to 10.0.0.102", "gets another"},
             Row{503_s, dhcp(1, 11), "", "the pool is empty"},
             Row{504_s, dhcp(7, 7, "", 0, "10.0.0.100"), "", "releases"},
             Row{504_s, dhcp(1, 11), "2 10.0.0.100 to 10.0.0.100", "so there is one"},
             Row{564_s, dhcp(1, 12), "2 10.0.0.100 to 10.0.0.100",
                 "an offer that was not taken is free after a minute"},
             Row{1503_s, dhcp(1, 13, "32040a000065"), "2 10.0.0.101 to 10.0.0.101",
                 "a refused one when its lease is over"},
             Row{1503_s, dhcp(99, 13), "", "no such message"},
         }) {
        CAPTURE(std::string(row.what));
        CHECK(show(server.answer(row.message, row.at)) == std::string(row.answer));
    }
    // Truncated at every length, and with option lengths beyond the end.
    const auto whole = dhcp(1, 7);
    for (std::size_t n = 0; n < 243; ++n) CHECK_FALSE(server.answer(std::span{whole}.first(n), 2000_s));
    CHECK_FALSE(server.answer(dhcp(1, 7, "0cff"), 2000_s));
    CHECK_THROWS_AS(
        DhcpServer({.first = ip_address("10.0.0.5"), .last = ip_address("10.0.0.4")}, ip_address("10.0.0.1")),
        sim::UserError);
}

TEST_CASE("DHCP: what an offer says") {
    DhcpServer server(pool(), ip_address("10.0.0.1"));
    const auto reply = server.answer(dhcp(1, 7), 0_s);
    REQUIRE(reply);
    const auto& m = reply->message;
    CHECK(m.size() == 300);
    CHECK(load_be32(m, 0) == 0x0201'0600);
    CHECK(load_be32(m, 4) == 0xcafe'0007);
    CHECK(load_mac(m, 28) == host(7).mac);
    CHECK(to_hex(std::span{m}.subspan(236, 64)) ==
          "63825363"
          "350102"
          "36040a000001"
          "3304000003e8"
          "3a04000001f4"
          "3b040000036b"
          "0104ffffff00"
          "03040a000001"
          "06080a0000010a000002"
          "0f036c6162"
          "1a020578"
          "ff00");
}

TEST_CASE("DHCP: over the network, to a client without an address") {
    PeerSettings settings = host(1);
    settings.dhcp = pool();
    Bench bench(settings);
    const auto message = dhcp(1, 7);
    Frame frame =
        udp_packet({MacAddress::broadcast(), host(7).mac, ip_address("255.255.255.255"), ip_address("0.0.0.0")}, 68, 67,
                   message.size());
    std::copy(message.begin(), message.end(), frame.bytes.begin() + 42);
    const auto answers = bench.answers(std::move(frame));
    REQUIRE(answers.size() == 1);
    const auto h = *parse_headers(answers[0]);
    CHECK(h.destination == host(7).mac);
    CHECK(h.ip_source == settings.ipv4);
    CHECK(to_string(h.ip_destination) == "10.0.0.100");
    CHECK(h.source_port == 67);
    CHECK(h.destination_port == 68);
    Frame checked = answers[0];
    verify_checksums(checked);
    CHECK(checked.transport_verdict == ChecksumVerdict::good);
    CHECK(bench.peer.dhcp()->leases() == 1);
    CHECK_FALSE(bench.peer.dhcp()->lease_of(host(7).mac, 0_s));
}

}  // namespace network_peer_test
