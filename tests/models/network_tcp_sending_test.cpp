// TCP step by step, sending: a host against hand-made segments, with exact numbers and times.
#include <doctest/doctest.h>

#include "tests/models/network_tcp_bench.h"

namespace network_tcp_sending_test {

using namespace network_test;
using namespace sim::literals;

TEST_CASE("TCP sending: windows, loss, time-outs with exact times") {
    TcpSettings tcp = TcpBench::simple();
    tcp.initial_window_segments = 4;
    TcpBench bench(tcp);
    bench.options.mss = 1000;
    bench.peer.tcp().listen(80, source(20'000));
    bench.send(syn, 0, 0);
    CHECK(bench.sent() == "SA 0/1 w10000");
    bench.options.window = 3500;
    bench.send(ack, 1, 1);
    // Three full ones; half a segment is not worth it while others are under way.
    CHECK(bench.sent() == "A 1/1 1000b w10000; A 1001/1 1000b w10000; A 2001/1 1000b w10000");
    bench.options.window = 20'000;
    bench.send(ack, 1, 1001);  // slow start: five may be under way
    CHECK(bench.sent() == "A 3001/1 1000b w10000; A 4001/1 1000b w10000; A 5001/1 1000b w10000");
    SUBCASE("fast retransmit, NewReno") {
        for (int i = 0; i < 2; ++i) {
            bench.send(ack, 1, 1001);  // limited transmit (RFC 3042)
            CHECK(bench.sent() == "A " + std::to_string(6001 + 1000 * i) + "/1 1000b w10000");
        }
        bench.send(ack, 1, 1001);
        CHECK(bench.sent() == "A 1001/1 1000b w10000");
        CHECK(bench.peer.tcp().find(1)->congestion_window() == 3500);
        bench.send(ack, 1, 3001);  // partial: the next one is lost as well
        CHECK(bench.sent() == "A 3001/1 1000b w10000");
        bench.send(ack, 1, 8001);  // all
        CHECK(bench.sent() == "A 8001/1 1000b w10000; A 9001/1 1000b w10000");
        CHECK(bench.counter("peer.tcp.fast_recoveries") == 1);
        CHECK(bench.counter("peer.tcp.retransmitted") == 2);
    }
    SUBCASE("time-outs back off") {
        // The handshake took no time: the variance is 0, so the smallest time-out holds.
        const sim::Time start = bench.simulation.agenda().now();
        bench.network.clear();
        bench.run_for(10_s);
        std::vector<sim::Time> times;
        for (const sim::Time t : bench.network.times) times.push_back(t - start);
        CHECK(times == std::vector{200_ms, 600_ms, 1400_ms, 3000_ms, 6200_ms});
        CHECK(bench.sent() ==
              "A 1001/1 1000b w10000; A 1001/1 1000b w10000; A 1001/1 1000b w10000; A 1001/1 1000b w10000; "
              "A 1001/1 1000b w10000");
        bench.send(ack, 1, 2001);
        CHECK(bench.sent() == "A 2001/1 1000b w10000; A 3001/1 1000b w10000");
        bench.send(ack, 1, 6001);
        CHECK(bench.counter("peer.tcp.time_outs") == 5);
    }
    SUBCASE("given up after so many") {
        bench.run_for(1000_s);
        CHECK(bench.peer.tcp().results().back().end == TcpEnd::timed_out);
        CHECK(bench.peer.tcp().connections() == 0);
    }
}

TEST_CASE("TCP sending: selective acknowledgements, only what is lost goes again") {
    TcpSettings tcp = TcpBench::simple();
    tcp.sack = true;
    tcp.initial_window_segments = 8;
    TcpBench bench(tcp);
    bench.options.mss = 1000;
    bench.options.sack_permitted = true;
    bench.options.window = 60'000;
    bench.peer.tcp().listen(80, source(100'000));
    bench.send(syn, 0, 0);
    bench.sent();
    bench.send(ack, 1, 1);
    bench.sent();
    const auto with_sack = [&](std::uint32_t acknowledgement, std::vector<SackBlock> blocks) {
        TcpSegment s;
        s.source_port = 9;
        s.destination_port = 80;
        s.sequence = 1001;
        s.acknowledgement = bench.initial + acknowledgement;
        s.flags = ack;
        s.window = 60'000;
        for (const SackBlock& block : blocks)
            s.sack[s.sack_blocks++] = {bench.initial + block.left, bench.initial + block.right};
        bench.peer.receive(tcp_packet({host(1).mac, bench.other.mac, host(1).ipv4, bench.other.ipv4}, s, {}));
        bench.run_for(0_ps);
    };
    // Eight under way; the first and the fourth are lost.
    with_sack(1, {{1001, 2001}});
    CHECK(bench.sent() == "A 8001/1 1000b w10000");
    with_sack(1, {{1001, 3001}});
    CHECK(bench.sent() == "A 9001/1 1000b w10000");
    with_sack(1, {{4001, 5001}, {1001, 3001}});
    CHECK(bench.sent() == "A 1/1 1000b w10000");
    CHECK(bench.peer.tcp().find(1)->congestion_window() == 5000);
    with_sack(1, {{4001, 6001}, {1001, 3001}});  // seven were under way, five may be
    CHECK(bench.sent().empty());
    with_sack(1, {{4001, 7001}, {1001, 3001}});
    CHECK(bench.sent() == "A 3001/1 1000b w10000");
    with_sack(1, {{4001, 8001}, {1001, 3001}});
    CHECK(bench.sent() == "A 10001/1 1000b w10000");
    with_sack(3001, {{4001, 8001}});
    CHECK(bench.sent() == "A 11001/1 1000b w10000");
    with_sack(8001, {});
    bench.sent();
    CHECK(bench.counter("peer.tcp.retransmitted") == 2);
    // Lies are not believed.
    with_sack(8001, {{60'000, 70'000}, {1, 100}, {9000, 8500}});
    CHECK(bench.counter("peer.tcp.fast_recoveries") == 1);
}

TEST_CASE("TCP sending: a closed window is probed") {
    TcpBench bench;
    bench.options.mss = 1000;
    bench.options.window = 1000;
    bench.peer.tcp().listen(80, source(3000));
    bench.send(syn, 0, 0);
    bench.sent();
    bench.send(ack, 1, 1);
    CHECK(bench.sent() == "A 1/1 1000b w10000");
    bench.options.window = 0;
    bench.send(ack, 1, 1001);
    CHECK(bench.sent().empty());
    const sim::Time start = bench.simulation.agenda().now();
    bench.network.clear();
    // Each probe is answered, so it goes on for ever, ever more slowly.
    std::vector<sim::Time> times;
    for (int i = 0; i < 12; ++i) {
        while (bench.network.frames.empty()) bench.simulation.agenda().run_next();
        times.push_back(bench.network.times[0] - start);
        CHECK(bench.sent() == "A 1001/1 1b w10000");
        bench.send(ack, 1, 1001);
        CHECK(bench.sent() == "");
    }
    CHECK(times[0] == 200_ms);
    CHECK(times[1] == 600_ms);
    CHECK(times[2] == 1400_ms);
    CHECK(times[11] - times[10] == 60_s);
    bench.options.window = 5000;
    bench.send(ack, 1, 1001);
    CHECK(bench.sent() == "A 1001/1 1000b w10000; FPA 2001/1 1000b w10000");
}

TEST_CASE("TCP sending: a receiver that does not read closes its window, and opens it in large steps") {
    TwoHosts net;
    net.b.tcp().listen(80, sink);
    const auto id = net.a.connect({net.b.settings().ipv4, 80}, source(5'000'000));
    net.run_for(1_ms);
    net.b.tcp().pause(1, true);
    net.run_for(10_s);
    CHECK(net.b.tcp().find(1)->application().received() < 2'000'000);
    CHECK(net.counter("a.tcp.zero_window_probes") > 3);
    net.b.tcp().pause(1, false);
    REQUIRE(net.run_until_end_of(net.a, id, 120_s));
    net.run_for(1_s);
    CHECK(net.b.tcp().results()[0].received_digest == pattern_digest(1, 5'000'000));
}

TEST_CASE("TCP: echo of more than its buffer, both ways at once") {
    TwoHosts net;
    net.b.tcp().listen(7, echo);
    const auto id = net.a.connect({net.b.settings().ipv4, 7}, source(3'000'000));
    REQUIRE(net.run_until_end_of(net.a, id, 60_s));
    net.run_for(1_s);
    CHECK(net.a.tcp().result(id)->received == 3'000'000);
    CHECK(net.b.tcp().results().size() == 1);
    CHECK(net.b.tcp().results()[0].sent == 3'000'000);
}

TEST_CASE("TCP: a sink reports what it got") {
    TwoHosts net;
    TcpServiceSettings reporting = sink;
    reporting.report = true;
    net.b.tcp().listen(5001, reporting);
    // The source takes what comes back without looking; so look at its length: "1000 " + 64 digits + a line end.
    const auto id = net.a.connect({net.b.settings().ipv4, 5001}, source(1000));
    REQUIRE(net.run_until_end_of(net.a, id, 10_s));
    CHECK(net.a.tcp().result(id)->received == 70);
}

TEST_CASE("TCP: bounded in connections, half-open ones and challenges") {
    TcpSettings tcp = TcpBench::simple();
    tcp.maximum_connections = 20;
    tcp.maximum_half_open = 10;
    TcpBench bench(tcp);
    bench.peer.tcp().listen(80, sink);
    const auto opening = [&](std::uint16_t port) {
        TcpBench::Options o;
        o.from_port = port;
        bench.send(syn, 0, 0, 0, o);
    };
    for (std::uint16_t port = 1; port <= 15; ++port) opening(port);
    CHECK(bench.peer.tcp().connections() == 10);
    CHECK(bench.counter("peer.tcp.refused") == 5);
    for (std::uint16_t port = 1; port <= 10; ++port) {
        TcpBench::Options o;
        o.from_port = port;
        bench.initial = 0;
        // Each has its own number.
        for (const Frame& frame : bench.network.frames) {
            const auto s = parse_tcp(frame.bytes, *parse_headers(frame));
            if (s->destination_port == port) bench.initial = s->sequence;
        }
        bench.send(ack, 1, 1, 0, o);
    }
    for (std::uint16_t port = 21; port <= 40; ++port) opening(port);
    CHECK(bench.peer.tcp().connections() == 20);
    bench.sent();
    // Challenges: a hundred a second.
    TcpBench::Options o;
    o.from_port = 1;
    for (int i = 0; i < 300; ++i) bench.send(rst, 5, 0, 0, o);
    CHECK(bench.counter("peer.tcp.challenges") == 100);
    bench.run_for(1_s);
    for (int i = 0; i < 300; ++i) bench.send(rst, 5, 0, 0, o);
    CHECK(bench.counter("peer.tcp.challenges") == 200);
    for (TcpConnectionId id = 1; id <= 100; ++id) bench.peer.tcp().abort(id);
    CHECK(bench.peer.tcp().connections() == 0);
    opening(50);
    CHECK(bench.peer.tcp().connections() == 1);
}

TEST_CASE("TCP: restored in mid-transfer, at any moment, it goes on alike") {
    const ImpairmentSettings bad{.lose_one_in = 60,
                                 .duplicate_one_in = 40,
                                 .damage_one_in = 100,
                                 .reorder_one_in = 20,
                                 .delay = 100_us,
                                 .reorder_delay = 300_us};
    const auto start = [](TwoHosts& net) {
        net.b.tcp().listen(5001, sink);
        net.b.tcp().listen(7, echo);
        net.a.connect({net.b.settings().ipv4, 5001}, source(2'000'000));
        net.a.connect({net.b.settings().ipv6, 7}, source(300'000));
        net.b.connect({net.a.settings().ipv4, 1}, source(10));
        net.a.ping(net.b.settings().ipv4, 100, 1_ms);
    };
    for (const sim::Time moment : {1_us, 300_us, 5_ms, 17_ms, 60_ms, 211_ms}) {
        CAPTURE(moment.ps());
        TwoHosts straight(9, bad);
        start(straight);
        straight.run_for(moment);
        const auto saved = straight.simulation.save();
        TwoHosts other(9, bad);
        start(other);
        other.simulation.restore(saved);
        straight.run_for(20_s);
        other.run_for(20_s);
        CHECK(straight.simulation.trace().hash() == other.simulation.trace().hash());
        REQUIRE(other.b.tcp().results().size() == straight.b.tcp().results().size());
        CHECK(other.b.tcp().results() == straight.b.tcp().results());
        CHECK(other.a.tcp().results() == straight.a.tcp().results());
        CHECK(straight.a.tcp().results().size() == 2);
        CHECK(straight.b.tcp().results().size() == 3);
    }
}

}  // namespace network_tcp_sending_test
