// Addresses, headers, checksums, segmentation, hashing: each against published or hand-made values.
#include <doctest/doctest.h>

#include "models/network/segmentation.h"
#include "models/network/toeplitz.h"
#include "sim/archive.h"
#include "sim/check.h"
#include "tests/models/network_frames.h"

namespace network_headers_test {

using namespace network_test;

TEST_CASE("addresses: text both ways") {
    struct Row {
        const char* text;
        const char* written;
    };
    for (const auto& row : {
             Row{"10.0.0.1", "10.0.0.1"},
             Row{"255.255.255.255", "255.255.255.255"},
             Row{"::", "::"},
             Row{"::1", "::1"},
             Row{"2001:DB8:0:0:1:0:0:1", "2001:db8::1:0:0:1"},     // RFC 5952, 4.2.3: the first of equal runs
             Row{"2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"},  // 4.2.2: not for one group
             Row{"fe80::215:5dff:fe00:1", "fe80::215:5dff:fe00:1"},
             Row{"1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"},
             Row{"1::", "1::"},
         }) {
        CAPTURE(row.text);
        CHECK(to_string(ip_address(row.text)) == row.written);
    }
    for (const char* bad : {"", "1.2.3", "1.2.3.4.5", "1.2.3.256", "1.2.3.x", "1.2.3.0004", ":", ":::", "1:2",
                            "1::2::3", "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7::8:9", "12345::", "g::", "+1.2.3.4"}) {
        CAPTURE(bad);
        CHECK_THROWS_AS((void)ip_address(bad), sim::UserError);
    }
    CHECK(to_string(mac_address("00-15-5D-00-0a-FF")) == "00:15:5d:00:0a:ff");
    CHECK(mac_address("00:15:5d:00:00:01") == MacAddress::from_u64(0x0015'5d00'0001));
    for (const char* bad : {"", "00:15:5d:00:00", "00:15:5d:00:00:01:02", "00:15:5d:00:00:0g", "0:1:2:3:4:555"}) {
        CAPTURE(bad);
        CHECK_THROWS_AS((void)mac_address(bad), sim::UserError);
    }
    CHECK_THROWS_AS((void)ip_prefix("10.0.0.0/33"), sim::UserError);
    CHECK_THROWS_AS((void)ip_prefix("::/129"), sim::UserError);
    CHECK(to_string(ip_prefix("10.1.0.0/16")) == "10.1.0.0/16");
    CHECK(to_string(ip_prefix("10.1.0.1")) == "10.1.0.1/32");
}

TEST_CASE("addresses: prefixes and derived addresses") {
    struct Row {
        const char* prefix;
        const char* address;
        bool contains;
    };
    for (const auto& row : {
             Row{"10.0.0.0/8", "10.255.1.2", true},
             Row{"10.0.0.0/8", "11.0.0.0", false},
             Row{"10.0.0.128/25", "10.0.0.127", false},
             Row{"10.0.0.128/25", "10.0.0.128", true},
             Row{"0.0.0.0/0", "1.2.3.4", true},
             Row{"0.0.0.0/0", "::", false},
             Row{"10.0.0.1", "10.0.0.1", true},
             Row{"10.0.0.1", "10.0.0.2", false},
             Row{"2001:db8::/33", "2001:db8:7fff::1", true},
             Row{"2001:db8::/33", "2001:db8:8000::1", false},
             Row{"fe80::/10", "febf::1", true},
         }) {
        CAPTURE(row.prefix);
        CAPTURE(row.address);
        CHECK(ip_prefix(row.prefix).contains(ip_address(row.address)) == row.contains);
    }
    CHECK(to_string(multicast_mac(ip_address("239.129.2.3"))) == "01:00:5e:01:02:03");
    CHECK(to_string(multicast_mac(ip_address("ff02::1:ff00:1"))) == "33:33:ff:00:00:01");
    CHECK(to_string(solicited_node(ip_address("fe80::215:5dff:fe12:3456"))) == "ff02::1:ff12:3456");
    CHECK(to_string(link_local(mac_address("00:15:5d:12:34:56"))) == "fe80::215:5dff:fe12:3456");
}

TEST_CASE("headers: what a frame is") {
    // A captured DNS query's headers, by hand: Ethernet, tag 5 priority 3, IPv4 with options, UDP.
    auto bytes = from_hex(
        "00155d000002 00155d000001 8100 6005 0800"
        "46 00 0024 abcd 4000 40 11 0000 0a000001 0a000002 94040000"
        "c000 0035 000c 0000 01020304 ffff");
    const auto h = parse_headers(bytes);
    REQUIRE(h);
    CHECK(to_string(h->destination) == "00:15:5d:00:00:02");
    CHECK(to_string(h->source) == "00:15:5d:00:00:01");
    CHECK(h->vlan == VlanTag{5, 3, false});
    CHECK(h->ether_type == ether_type::ipv4);
    CHECK(h->network_offset == 18);
    CHECK(h->transport_offset == 42);
    CHECK(h->payload_offset == 50);
    CHECK(h->end == 54);  // two bytes of padding
    CHECK(h->is_udp());
    CHECK(h->source_port == 0xc000);
    CHECK(h->destination_port == 53);

    // IPv6 with hop-by-hop and an atomic fragment header before TCP.
    const auto v6 =
        parse_headers(from_hex("333300000001 00155d000001 86dd"
                               "60000000 0024 00 40 20010db8000000000000000000000001 20010db8000000000000000000000002"
                               "2c00050200000000"
                               "0600000000000001"
                               "0050c350 00000001 00000002 5018 0100 0000 0000"));
    REQUIRE(v6);
    CHECK(v6->ip == IpFamily::v6);
    CHECK(v6->is_tcp());
    CHECK(v6->source_port == 80);
    CHECK(v6->transport_offset == 70);
    CHECK(v6->payload_bytes() == 0);
}

TEST_CASE("headers: nothing unsound is believed") {
    const auto sound = from_hex(
        "00155d000002 00155d000001 0800"
        "45 00 0028 abcd 4000 40 06 0000 0a000001 0a000002"
        "c0000050 00000001 00000002 5010 0100 0000 0000");
    REQUIRE(parse_headers(sound)->is_tcp());
    struct Row {
        std::size_t offset;
        std::uint8_t value;
        bool ip;
        bool tcp;
        const char* reason;
    };
    for (const auto& row : {
             Row{14, 0x55, false, false, "version 5"},
             Row{14, 0x44, false, false, "header of 16 bytes"},
             Row{14, 0x4f, false, false, "header longer than the datagram"},
             Row{17, 0x29, false, false, "datagram longer than the frame"},
             Row{17, 0x13, false, false, "datagram shorter than its header"},
             Row{17, 0x27, true, false, "too short for TCP"},
             Row{20, 0x20, true, false, "more fragments"},
             Row{21, 0x01, true, false, "an offset"},
             Row{46, 0x40, true, false, "TCP header of 16 bytes"},
             Row{46, 0x60, true, false, "TCP header longer than the datagram"},
             Row{23, 0x2f, true, false, "GRE"},
         }) {
        CAPTURE(row.reason);
        auto bytes = sound;
        bytes[row.offset] = std::byte{row.value};
        const auto h = parse_headers(bytes);
        REQUIRE(h);
        CHECK((h->ip != IpFamily::none) == row.ip);
        CHECK(h->is_tcp() == row.tcp);
    }
    // Every truncation gives an answer, and offsets inside.
    for (std::size_t n = 0; n < sound.size(); ++n) {
        const auto h = parse_headers(std::span{sound}.first(n));
        CHECK(h.has_value() == (n >= 14));
        if (h) CHECK(h->ip == IpFamily::none);
    }
    // An endless chain of extension headers ends with the packet.
    auto chain = from_hex("333300000001 00155d000001 86dd 60000000 0010 00 40");
    chain.resize(14 + 40);
    chain.resize(chain.size() + 16);
    CHECK(parse_headers(chain)->ip == IpFamily::none);
}

TEST_CASE("tags: out of the bytes and back") {
    const Frame plain_frame = plain(MacAddress::from_u64(2), MacAddress::from_u64(1), 9);
    Frame frame = plain_frame;
    take_tag_out(frame);
    CHECK(frame == plain_frame);
    frame.vlan = VlanTag{0xabc, 5, true};
    put_tag_in(frame);
    CHECK_FALSE(frame.vlan);
    CHECK(to_hex(std::span{frame.bytes}.subspan(12, 6)) == "8100babc88b5");
    take_tag_out(frame);
    CHECK(frame.vlan == VlanTag{0xabc, 5, true});
    frame.vlan.reset();
    CHECK(frame == plain_frame);
}

TEST_CASE("checksums: RFC 1071 and packets from captures") {
    // RFC 1071, clause 3.
    CHECK(ones_complement_sum(from_hex("0001f203f4f5f6f7")) == 0xddf2);
    // Odd and long, compared with the definition.
    const auto bytes = counted_bytes(1501);
    for (std::size_t n = 0; n <= bytes.size(); ++n) {
        std::uint32_t sum = 0x1234;
        for (std::size_t i = 0; i < n; ++i) sum += std::to_integer<std::uint32_t>(bytes[i]) << (i % 2 == 0 ? 8 : 0);
        while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
        REQUIRE(ones_complement_sum(std::span{bytes}.first(n), 0x1234) == sum);
    }
    // The IPv4 header of the usual textbook example: its checksum is b861.
    const auto header = from_hex("000000000000 000000000000 0800 45000073000040004011b861c0a80001c0a800c7");
    auto whole = header;
    whole.resize(14 + 0x73);
    store_be16(whole, 34 + 4, 0x5f);
    CHECK(ipv4_header_checksum(whole, *parse_headers(whole)) == 0xb861);
}

TEST_CASE("checksums: filled in and verified, both families and transports") {
    const Ends v4{MacAddress::from_u64(2), MacAddress::from_u64(1), ip_address("10.0.0.2"), ip_address("10.0.0.1")};
    const Ends v6{MacAddress::from_u64(2), MacAddress::from_u64(1), ip_address("fd00::2"), ip_address("fd00::1")};
    TcpSegment segment;
    segment.source_port = 1;
    segment.flags = tcp_flag::ack;
    for (Frame frame : {tcp_packet(v4, segment, counted_bytes(33)), tcp_packet(v6, segment, counted_bytes(1000)),
                        udp_packet(v4, 1, 2, 0), udp_packet(v6, 3, 4, 99)}) {
        const auto h = parse_headers(frame);
        REQUIRE(h);
        // Still to be filled in is as good as right.
        Frame pending = frame;
        verify_checksums(pending);
        CHECK(pending.transport_verdict == ChecksumVerdict::good);

        REQUIRE(fill_checksums(frame));
        CHECK_FALSE(frame.fill.any());
        verify_checksums(frame);
        CHECK(frame.transport_verdict == ChecksumVerdict::good);
        CHECK(frame.ip_verdict == (h->ip == IpFamily::v4 ? ChecksumVerdict::good : ChecksumVerdict::unknown));
        // Any single bit from the IP addresses on makes it bad.
        for (std::size_t at = h->transport_offset; at < frame.size(); ++at) {
            Frame damaged = frame;
            damaged.bytes[at] ^= std::byte{0x10};
            const auto still = parse_headers(damaged);
            if (!still->is_tcp() && !still->is_udp()) continue;
            verify_checksums(damaged);
            REQUIRE(damaged.transport_verdict == ChecksumVerdict::bad);
        }
    }
    // UDP: 0 means none over IPv4, and is never written.
    Frame none = udp_packet(v4, 1, 2, 10);
    none.fill = {};
    verify_checksums(none);
    CHECK(none.transport_verdict == ChecksumVerdict::good);
    Frame none6 = udp_packet(v6, 1, 2, 10);
    none6.fill = {};
    verify_checksums(none6);
    CHECK(none6.transport_verdict == ChecksumVerdict::bad);
    // A request that does not fit leaves the frame alone.
    Frame wrong = udp_packet(v4, 1, 2, 10);
    wrong.fill = {.ip = true, .tcp = true, .udp = false};
    const Frame before = wrong;
    CHECK_FALSE(fill_checksums(wrong));
    CHECK(wrong == before);
}

TEST_CASE("large sends: cut into segments with their own numbers, lengths and flags") {
    for (const bool v4 : {true, false}) {
        CAPTURE(v4);
        const Ends e =
            v4 ? Ends{MacAddress::from_u64(2), MacAddress::from_u64(1), ip_address("10.0.0.2"), ip_address("10.0.0.1")}
               : Ends{MacAddress::from_u64(2), MacAddress::from_u64(1), ip_address("fd00::2"), ip_address("fd00::1")};
        TcpSegment segment;
        segment.sequence = 0xffff'fc00;  // wraps around on the way
        segment.flags = tcp_flag::ack | tcp_flag::psh | tcp_flag::fin | tcp_flag::cwr;
        segment.timestamps = TcpTimestamps{7, 8};
        const auto data = counted_bytes(3500);
        Frame large = tcp_packet(e, segment, data);
        large.large_send_mss = 1448;
        large.vlan = VlanTag{7};
        store_be16(large.bytes, v4 ? 16 : 18, 0);  // as guests leave it
        CHECK(segment_count(large) == 3);
        std::vector<Frame> cut;
        finish_for_wire(Frame{large}, cut);
        REQUIRE(cut.size() == 3);
        std::vector<std::byte> together;
        struct Row {
            std::uint32_t sequence;
            std::size_t bytes;
            std::uint8_t flags;
            std::uint16_t id;
        };
        const Row rows[] = {{0xffff'fc00, 1448, tcp_flag::ack | tcp_flag::cwr, 0x1234},
                            {0x0000'01a8, 1448, tcp_flag::ack, 0x1235},
                            {0x0000'0750, 604, tcp_flag::ack | tcp_flag::psh | tcp_flag::fin, 0x1236}};
        for (std::size_t i = 0; i < 3; ++i) {
            CAPTURE(i);
            Frame& one = cut[i];
            const auto h = parse_headers(one);
            REQUIRE(h);
            REQUIRE(h->is_tcp());
            CHECK(h->vlan == VlanTag{7});
            CHECK(h->end == one.size());
            CHECK(h->payload_bytes() == rows[i].bytes);
            const auto parsed = parse_tcp(one.bytes, *h);
            CHECK(parsed->sequence == rows[i].sequence);
            CHECK(parsed->flags == rows[i].flags);
            CHECK(parsed->timestamps->value == 7);
            if (v4) CHECK(load_be16(one.bytes, h->network_offset + 4) == rows[i].id);
            CHECK_FALSE(one.fill.any());
            verify_checksums(one);
            CHECK(one.transport_verdict == ChecksumVerdict::good);
            together.insert(together.end(), parsed->payload.begin(), parsed->payload.end());
        }
        CHECK(together == data);
    }
}

TEST_CASE("large sends: which are none") {
    const Ends e{MacAddress::from_u64(2), MacAddress::from_u64(1), ip_address("10.0.0.2"), ip_address("10.0.0.1")};
    Frame udp = udp_packet(e, 1, 2, 4000);
    udp.large_send_mss = 1000;
    CHECK_FALSE(is_sound_large_send(udp, *parse_headers(udp)));
    Frame small = tcp_packet(e, {}, counted_bytes(4000));
    small.large_send_mss = minimum_large_send_mss - 1;
    CHECK_FALSE(is_sound_large_send(small, *parse_headers(small)));
    Frame longest = tcp_packet(e, {}, counted_bytes(65535 - 40));
    longest.large_send_mss = 1460;
    CHECK(is_sound_large_send(longest, *parse_headers(longest)));
    Frame longer = tcp_packet(e, {}, counted_bytes(65535 - 39));
    longer.large_send_mss = 1460;
    CHECK_FALSE(is_sound_large_send(longer, *parse_headers(longer)));
    // They pass as they are.
    std::vector<Frame> cut;
    cut_into_segments(Frame{udp}, cut);
    REQUIRE(cut.size() == 1);
    CHECK(cut[0].bytes == udp.bytes);
    // One without data is one segment.
    Frame empty = tcp_packet(e, {}, {});
    empty.large_send_mss = 1460;
    cut.clear();
    cut_into_segments(std::move(empty), cut);
    CHECK(cut.size() == 1);
}

TEST_CASE("RSS: Microsoft's test vectors (\"Verifying the RSS hash calculation\")") {
    struct Row {
        const char* destination;
        std::uint16_t destination_port;
        const char* source;
        std::uint16_t source_port;
        std::uint32_t addresses;
        std::uint32_t with_ports;
    };
    for (const auto& row : {
             Row{"161.142.100.80", 1766, "66.9.149.187", 2794, 0x323e8fc2, 0x51ccc178},
             Row{"65.69.140.83", 4739, "199.92.111.2", 14230, 0xd718262a, 0xc626b0ea},
             Row{"12.22.207.184", 38024, "24.19.198.95", 12898, 0xd2d0a5de, 0x5c2b394a},
             Row{"209.142.163.6", 2217, "38.27.205.30", 48228, 0x82989176, 0xafc7327f},
             Row{"202.188.127.2", 1303, "153.39.163.191", 44251, 0x5d1809c5, 0x10e828a2},
             Row{"3ffe:2501:200:3::1", 1766, "3ffe:2501:200:1fff::7", 2794, 0x2cc18cd5, 0x40207d3d},
             Row{"ff02::1", 4739, "3ffe:501:8::260:97ff:fe40:efab", 14230, 0x0f0c461c, 0xdde51bbf},
             Row{"fe80::200:f8ff:fe21:67cf", 38024, "3ffe:1900:4545:3:200:f8ff:fe21:67cf", 44251, 0x4b61e985,
                 0x02d1feef},
         }) {
        CAPTURE(row.destination);
        const Ends e{MacAddress::from_u64(2), MacAddress::from_u64(1), ip_address(row.destination),
                     ip_address(row.source)};
        TcpSegment segment;
        segment.source_port = row.source_port;
        segment.destination_port = row.destination_port;
        const auto tcp = *parse_headers(tcp_packet(e, segment, {}));
        const auto udp = *parse_headers(udp_packet(e, row.source_port, row.destination_port, 4));
        const bool v4 = e.to.is_v4();
        const std::uint16_t ip_type = v4 ? rss_type::ipv4 : rss_type::ipv6;
        const std::uint16_t tcp_type = v4 ? rss_type::tcp_ipv4 : rss_type::tcp_ipv6;
        CHECK(rss_hash(microsoft_rss_key, 0xffff, tcp) == RssHash{row.with_ports, tcp_type});
        CHECK(rss_hash(microsoft_rss_key, ip_type, tcp) == RssHash{row.addresses, ip_type});
        CHECK(rss_hash(microsoft_rss_key, ip_type | tcp_type, udp) == RssHash{row.addresses, ip_type});
        CHECK_FALSE(rss_hash(microsoft_rss_key, 0, tcp));
    }
}

TEST_CASE("frames: saved and restored") {
    Frame frame = plain(MacAddress::from_u64(2), MacAddress::from_u64(1), 9);
    frame.fill = {true, true, false};
    frame.large_send_mss = 1460;
    frame.vlan = VlanTag{5, 3, true};
    frame.hash = RssHash{0x12345678, rss_type::tcp_ipv4};
    frame.coalesced_segments = 3;
    frame.ip_verdict = ChecksumVerdict::good;
    frame.transport_verdict = ChecksumVerdict::bad;
    Frame restored;
    sim::restore_from_bytes(restored, sim::save_to_bytes(frame));
    CHECK(restored == frame);
}

}  // namespace network_headers_test
