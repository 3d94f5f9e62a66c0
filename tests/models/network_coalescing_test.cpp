// Receive segment coalescing, and the placement of queues on processors.
#include <doctest/doctest.h>

#include "models/network/coalescing.h"
#include "models/network/queue_placement.h"
#include "models/network/segmentation.h"
#include "models/network/toeplitz.h"
#include "tests/models/network_switches.h"

namespace network_coalescing_test {

using namespace network_test;
using namespace sim::literals;

namespace {

const Ends v4{MacAddress::from_u64(2), MacAddress::from_u64(1), ip_address("10.0.0.2"), ip_address("10.0.0.1")};
const Ends v6{MacAddress::from_u64(2), MacAddress::from_u64(1), ip_address("fd00::2"), ip_address("fd00::1")};

Frame segment(const Ends& e, std::uint16_t port, std::uint32_t sequence, std::size_t bytes,
              std::uint8_t flags = tcp_flag::ack, std::uint32_t acknowledgement = 77) {
    TcpSegment s;
    s.source_port = port;
    s.destination_port = 80;
    s.sequence = sequence;
    s.acknowledgement = acknowledgement;
    s.flags = flags;
    s.window = static_cast<std::uint16_t>(sequence);
    s.timestamps = TcpTimestamps{5, 6};
    Frame frame = tcp_packet(e, s, counted_bytes(bytes));
    REQUIRE(fill_checksums(frame));
    return frame;
}

// "port+sequence:bytes/segments" of each.
std::string show(std::vector<Frame> frames) {
    std::string text;
    for (Frame& frame : frames) {
        if (!text.empty()) text += ' ';
        const auto h = parse_headers(frame);
        if (!h->is_tcp()) {
            text += "other";
            continue;
        }
        const auto s = parse_tcp(frame.bytes, *h);
        text += std::to_string(s->source_port) + "+" + std::to_string(s->sequence) + ":" +
                std::to_string(s->payload.size()) + "/" + std::to_string(frame.coalesced_segments);
        // What comes out is sound.
        CHECK(fill_checksums(frame));
        verify_checksums(frame);
        if (s->payload.size() != 13) CHECK(frame.transport_verdict == ChecksumVerdict::good);
        CHECK(h->end == frame.size());
    }
    return text;
}

}  // namespace

TEST_CASE("RSC: what is joined and what is not") {
    struct Row {
        const char* what;
        std::vector<Frame> in;
        const char* at_once;
        const char* at_end;
    };
    Frame damaged = segment(v4, 1, 200, 13);
    damaged.bytes.back() ^= std::byte{1};
    Frame tagged = segment(v4, 1, 200, 100);
    tagged.vlan = VlanTag{3};
    Frame other_ttl = segment(v4, 1, 200, 100);
    other_ttl.bytes[22] = std::byte{9};
    other_ttl.fill.ip = true;
    REQUIRE(fill_checksums(other_ttl));
    Frame padded = segment(v4, 1, 100, 3);
    padded.bytes.resize(80);
    for (const auto& row : {
             Row{"in order",
                 {segment(v4, 1, 100, 100), segment(v4, 1, 200, 100), segment(v4, 1, 300, 100)},
                 "",
                 "1+100:300/3"},
             Row{"IPv6", {segment(v6, 1, 100, 100), segment(v6, 1, 200, 100)}, "", "1+100:200/2"},
             Row{"one alone", {segment(v4, 1, 100, 100)}, "", "1+100:100/0"},
             Row{"across the end of numbers",
                 {segment(v4, 1, 0xffff'ffce, 100), segment(v4, 1, 50, 100)},
                 "",
                 "1+4294967246:200/2"},
             Row{"a gap", {segment(v4, 1, 100, 100), segment(v4, 1, 300, 100)}, "1+100:100/0", "1+300:100/0"},
             Row{"out of order", {segment(v4, 1, 200, 100), segment(v4, 1, 100, 100)}, "1+200:100/0", "1+100:100/0"},
             Row{"two streams",
                 {segment(v4, 1, 100, 100), segment(v4, 2, 900, 50), segment(v4, 1, 200, 100), segment(v4, 2, 950, 50)},
                 "",
                 "1+100:200/2 2+900:100/2"},
             Row{"a push ends it",
                 {segment(v4, 1, 100, 100), segment(v4, 1, 200, 100, tcp_flag::ack | tcp_flag::psh),
                  segment(v4, 1, 300, 100)},
                 "1+100:200/2",
                 "1+300:100/0"},
             Row{"a push alone waits for nothing",
                 {segment(v4, 1, 100, 100, tcp_flag::ack | tcp_flag::psh)},
                 "1+100:100/0",
                 ""},
             Row{"a short one ends it",
                 {segment(v4, 1, 100, 100), segment(v4, 1, 200, 60), segment(v4, 1, 260, 100)},
                 "1+100:160/2",
                 "1+260:100/0"},
             Row{"a longer one does not fit",
                 {segment(v4, 1, 100, 100), segment(v4, 1, 200, 101)},
                 "1+100:100/0",
                 "1+200:101/0"},
             Row{"another acknowledgement",
                 {segment(v4, 1, 100, 100), segment(v4, 1, 200, 100, tcp_flag::ack, 78)},
                 "1+100:100/0",
                 "1+200:100/0"},
             Row{"an acknowledgement alone",
                 {segment(v4, 1, 100, 100), segment(v4, 1, 200, 0)},
                 "1+100:100/0 1+200:0/0",
                 ""},
             Row{"the end",
                 {segment(v4, 1, 100, 100), segment(v4, 1, 200, 100, tcp_flag::ack | tcp_flag::fin)},
                 "1+100:100/0 1+200:100/0",
                 ""},
             Row{"damaged", {segment(v4, 1, 100, 100), damaged}, "1+100:100/0 1+200:13/0", ""},
             Row{"another VLAN", {segment(v4, 1, 100, 100), tagged}, "1+100:100/0", "1+200:100/0"},
             Row{"another TTL", {segment(v4, 1, 100, 100), other_ttl}, "1+100:100/0", "1+200:100/0"},
             Row{"padding is no data", {padded, segment(v4, 1, 103, 3)}, "", "1+100:6/2"},
             Row{"others pass",
                 {segment(v4, 1, 100, 100), plain(MacAddress::from_u64(2), MacAddress::from_u64(1)),
                  segment(v4, 1, 200, 100)},
                 "other",
                 "1+100:200/2"},
         }) {
        CAPTURE(std::string(row.what));
        Coalescer coalescer;
        std::vector<Frame> ready;
        for (const Frame& frame : row.in) coalescer.add(Frame{frame}, ready);
        CHECK(show(ready) == row.at_once);
        ready.clear();
        // A checkpoint in the middle changes nothing.
        Coalescer restored;
        sim::restore_from_bytes(restored, sim::save_to_bytes(coalescer));
        restored.flush(ready);
        CHECK(show(ready) == row.at_end);
        CHECK(restored.segments() == 0);
    }
}

TEST_CASE("RSC: bounded in length and in streams, and the payload is the same") {
    Coalescer coalescer;
    std::vector<Frame> ready;
    std::uint32_t sequence = 0;
    for (int i = 0; i < 100; ++i, sequence += 1448) coalescer.add(segment(v4, 1, sequence, 1448), ready);
    coalescer.flush(ready);
    // 45 x 1448 + 52 bytes of headers is the most under 65'535.
    CHECK(show(ready) == "1+0:65160/45 1+65160:65160/45 1+130320:14480/10");
    ready.clear();
    for (std::uint16_t port = 1; port <= 17; ++port) coalescer.add(segment(v4, port, 0, 100), ready);
    CHECK(show(ready) == "1+0:100/0");  // the oldest made room
    CHECK(coalescer.segments() == 16);
    ready.clear();
    coalescer.flush(ready);

    // What was cut is put together again, byte for byte; the window and the push are the last one's.
    TcpSegment s;
    s.flags = tcp_flag::ack | tcp_flag::psh;
    Frame large = tcp_packet(v4, s, counted_bytes(10'000));
    large.large_send_mss = 1460;
    std::vector<Frame> cut;
    finish_for_wire(Frame{large}, cut);
    ready.clear();
    for (Frame& one : cut) coalescer.add(std::move(one), ready);
    REQUIRE(ready.size() == 1);
    CHECK(ready[0].coalesced_segments == 7);
    large.large_send_mss = 0;
    REQUIRE(fill_checksums(large));
    REQUIRE(fill_checksums(ready[0]));
    CHECK(ready[0].bytes == large.bytes);
}

TEST_CASE("RSC: the switch coalesces in batches, for ports that want it") {
    SwitchBench bench;
    bench.add(external_port());
    PortSettings wants;
    wants.receives = {.large_frames = true, .coalesced = true, .partial_checksums = true, .tags_out_of_band = true};
    wants.mac = v4.to_mac;
    bench.add(wants);
    const auto send = [&](int from, int to) {
        for (int i = from; i < to; ++i) bench.vswitch.send(1, segment(v4, 1, static_cast<std::uint32_t>(i) * 100, 100));
    };
    send(0, 3);
    CHECK(bench.at(2).frames.size() == 3);
    bench.at(2).clear();
    bench.vswitch.begin_batch();
    send(3, 5);
    bench.vswitch.begin_batch();
    send(5, 7);
    bench.vswitch.end_batch();
    CHECK(bench.at(2).frames.empty());
    CHECK(bench.vswitch.waiting() == 4);
    bench.vswitch.end_batch();
    REQUIRE(bench.at(2).frames.size() == 1);
    CHECK(bench.at(2).frames[0].coalesced_segments == 4);
    CHECK(bench.at(2).frames[0].transport_verdict == ChecksumVerdict::good);
    CHECK(bench.vswitch.waiting() == 0);
}

TEST_CASE("queues: granted while there are some, each on the processor that has fewest") {
    QueuePlacement queues({.first_processor = 2, .processors = 3, .queues = 5});
    CHECK(queues.processor(1, std::nullopt) == 2);  // the default queue
    CHECK(queues.add(1, 1) == 1);
    CHECK(queues.processor(1, 0) == 3);
    CHECK(queues.add(2, 3) == 3);
    CHECK(queues.processor(2, 0) == 4);
    CHECK(queues.processor(2, 1) == 2);
    CHECK(queues.processor(2, 2) == 3);
    CHECK(queues.add(3, 4) == 1);
    CHECK(queues.add(4, 1) == 0);
    CHECK(queues.processor(4, std::nullopt) == 2);
    // By hash among a port's own.
    for (std::uint32_t hash = 0; hash < 12; ++hash) {
        CHECK(queues.queue(2, RssHash{hash, rss_type::ipv4}) == hash % 3);
        CHECK(queues.queue(1, RssHash{hash, rss_type::ipv4}) == 0);
        CHECK(queues.queue(4, RssHash{hash, rss_type::ipv4}) == 0);
    }
    CHECK(queues.queue(2, std::nullopt) == 0);
    queues.remove(2);
    CHECK(queues.add(4, 2) == 2);
    QueuePlacement restored({.first_processor = 2, .processors = 3, .queues = 5});
    sim::restore_from_bytes(restored, sim::save_to_bytes(queues));
    CHECK(restored.queues() == queues.queues());
    CHECK(restored.processor(4, 1) == queues.processor(4, 1));
}

TEST_CASE("queues: dynamic placement follows the load") {
    QueuePlacement queues({.first_processor = 0, .processors = 4, .queues = 8});
    for (PortId port = 1; port <= 4; ++port) CHECK(queues.add(port, 1) == 1);
    const auto where = [&] {
        std::string text;
        for (PortId port = 1; port <= 4; ++port) text += std::to_string(queues.processor(port, 0u));
        return text;
    };
    CHECK(where() == "1230");
    struct Row {
        std::array<int, 4> busy_permille;
        const char* after;
        const char* reason;
    };
    for (const auto& row : {
             Row{{300, 300, 300, 300}, "1230", "nobody is too busy, nobody idle"},
             Row{{10, 20, 0, 20}, "1200", "the highest processor's queue goes to the lowest"},
             Row{{10, 20, 0, 20}, "1000", "one more"},
             Row{{10, 20, 0, 20}, "0000", "all together"},
             Row{{10, 20, 0, 20}, "0000", "nothing left to gather"},
             Row{{400, 300, 200, 100}, "1000", "too much for one: the one whose move leaves the lower peak"},
             Row{{950, 300, 300, 200}, "1000", "a queue that fills a processor by itself stays"},
             Row{{100, 500, 300, 200}, "1200", "and so on"},
         }) {
        CAPTURE(std::string(row.reason));
        for (PortId port = 1; port <= 4; ++port) queues.charge(port, 0, 1_us * row.busy_permille[port - 1]);
        queues.rebalance(1_ms);
        CHECK(where() == row.after);
    }
}

}  // namespace network_coalescing_test
