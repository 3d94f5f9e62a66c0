// TCP step by step, opening, receiving and closing: a host against hand-made segments, with exact numbers and times.
#include <doctest/doctest.h>

#include "tests/models/network_tcp_bench.h"

namespace network_tcp_states_test {

using namespace network_test;
using namespace sim::literals;

TEST_CASE("TCP opening: options are agreed on") {
    TcpSettings all;
    TcpBench bench(all);
    bench.peer.tcp().listen(80, sink);
    struct Row {
        TcpBench::Options options;
        std::uint16_t mss;
        bool shift;
        bool timestamps;
        bool sack;
    };
    std::uint16_t port = 100;
    for (const auto& row : {
             Row{{.mss = 1460, .shift = 7, .timestamps = TcpTimestamps{5, 0}, .sack_permitted = true},
                 1460,
                 true,
                 true,
                 true},
             Row{{.mss = 1000, .shift = std::nullopt, .timestamps = std::nullopt, .sack_permitted = true},
                 1000,
                 false,
                 false,
                 true},
             Row{{.mss = 9000, .shift = 14}, 1460, true, false, false},
             Row{{}, 536, false, false, false},
             Row{{.mss = 1, .timestamps = TcpTimestamps{9, 0}}, 48, false, true, false},
         }) {
        CAPTURE(port);
        auto options = row.options;
        options.from_port = port++;
        bench.send(syn, 0, 0, 0, options);
        const std::string shown = bench.sent();
        CHECK(shown == "SA 0/1 w65535");
        CHECK(bench.last.mss == row.mss);
        CHECK(bench.last.window_shift == (row.shift ? std::optional<std::uint8_t>(5) : std::nullopt));  // 1 MiB >> 5
        CHECK(bench.last.timestamps.has_value() == row.timestamps);
        if (row.timestamps) CHECK(bench.last.timestamps->echo == row.options.timestamps->value);
        CHECK(bench.last.sack_permitted == row.sack);
    }
}

TEST_CASE("TCP opening: nobody listens, strangers, repeated and odd SYNs") {
    TcpBench bench;
    bench.send(syn, 0, 0);
    CHECK(bench.sent() == "RA 0/1");
    bench.send(syn | ack, 5, 3);
    CHECK(bench.sent() == "R 3");
    bench.send(rst, 0, 0);
    bench.send(rst | ack, 0, 0);
    CHECK(bench.sent().empty());
    bench.send(fin, 7, 0, 10);
    CHECK(bench.sent() == "RA 0/18");

    bench.peer.tcp().listen(80, sink);
    bench.send(ack, 1, 12345);
    CHECK(bench.sent() == "R 12345");
    bench.send(syn, 0, 0);
    CHECK(bench.sent() == "SA 0/1 w10000");
    bench.send(syn, 0, 0);  // the answer was lost
    CHECK(bench.sent() == "SA 0/1 w10000");
    bench.send(ack, 1, 2);  // acknowledges what was not sent
    CHECK(bench.sent() == "R " + std::to_string(bench.initial + 2));
    CHECK(bench.state() == TcpState::syn_received);
    bench.send(ack, 1, 1);
    CHECK(bench.sent().empty());
    CHECK(bench.state() == TcpState::established);
    bench.send(syn, 0, 0);  // old
    CHECK(bench.sent() == "A 1/1 w10000");
    bench.send(syn, 500, 0);  // RFC 5961: in the window, only challenged
    CHECK(bench.sent() == "A 1/1 w10000");
    CHECK(bench.state() == TcpState::established);
}

TEST_CASE("TCP opening: an answer that does not come") {
    TcpSettings tcp = TcpBench::simple();
    tcp.syn_retries = 3;
    TcpBench bench(tcp);
    bench.peer.tcp().listen(80, sink);
    const auto id = bench.peer.connect({bench.other.ipv4, 9}, sink);
    bench.run_for(100_s);
    // RFC 6298: after 1, 2, 4 s more; given up after another 8.
    CHECK(bench.network.times == std::vector{10_us, 1_s + 10_us, 3_s + 10_us, 7_s + 10_us});
    CHECK(bench.sent() == "S 0 w10000; S 0 w10000; S 0 w10000; S 0 w10000");
    REQUIRE(bench.peer.tcp().result(id));
    CHECK(bench.peer.tcp().result(id)->end == TcpEnd::timed_out);
    CHECK(bench.peer.tcp().result(id)->ended_at == 15_s + 10_us);
    // Half-open connections end alike.
    bench.send(syn, 0, 0);
    bench.run_for(100_s);
    CHECK(bench.peer.tcp().connections() == 0);
    CHECK(bench.peer.tcp().results().back().end == TcpEnd::timed_out);
}

TEST_CASE("TCP opening: actively, refused, wrongly answered, both at once") {
    TcpBench bench;
    const auto answer = [&](std::uint16_t port, std::uint8_t flags, std::uint32_t acknowledgement) {
        TcpBench::Options o;
        o.to_port = port;
        bench.send(flags, 0, acknowledgement, 0, o);
    };
    const auto first = bench.peer.connect({bench.other.ipv4, 9}, sink);
    CHECK(bench.sent() == "S 0 w10000");
    answer(49152, syn | ack, 7);  // of another connection
    CHECK(bench.sent() == "R " + std::to_string(bench.initial + 7));
    answer(49152, rst, 0);  // without an acknowledgement it is nobody's
    CHECK(bench.peer.tcp().find(first)->state() == TcpState::syn_sent);
    answer(49152, rst | ack, 1);
    CHECK(bench.peer.tcp().result(first)->end == TcpEnd::refused);

    const auto second = bench.peer.connect({bench.other.ipv4, 9}, sink);
    CHECK(bench.sent() == "S 0 w10000");
    answer(49153, syn | ack, 1);
    CHECK(bench.sent() == "A 1/1 w10000");
    CHECK(bench.peer.tcp().find(second)->state() == TcpState::established);

    const auto third = bench.peer.connect({bench.other.ipv4, 9}, sink);
    CHECK(bench.sent() == "S 0 w10000");
    answer(49154, syn, 0);
    CHECK(bench.sent() == "SA 0/1 w10000");
    answer(49154, syn | ack, 1);
    CHECK(bench.sent() == "A 1/1 w10000");
    bench.options.to_port = 49154;
    bench.send(ack, 1, 1);
    CHECK(bench.peer.tcp().find(third)->state() == TcpState::established);
}

TEST_CASE("TCP: two hosts open to each other at once") {
    TwoHosts net;
    // Both ends name both ports, so it is one connection.
    const auto a = net.a.tcp().connect(net.a.settings().ipv4, {net.b.settings().ipv4, 49152}, source(1000));
    const auto b = net.b.tcp().connect(net.b.settings().ipv4, {net.a.settings().ipv4, 49152}, source(2000));
    net.run_for(10_s);
    REQUIRE(net.a.tcp().result(a));
    REQUIRE(net.b.tcp().result(b));
    CHECK(net.a.tcp().result(a)->received == 2000);
    CHECK(net.b.tcp().result(b)->received == 1000);
}

TEST_CASE("TCP receiving: acknowledgements, order, and what is outside the window") {
    TcpBench bench;
    bench.peer.tcp().listen(80, sink);
    bench.open();
    CHECK(bench.sent().empty());
    bench.send(ack, 1, 1, 536);
    CHECK(bench.sent().empty());
    bench.send(ack, 537, 1, 536);  // every second full one
    CHECK(bench.sent() == "A 1/1073 w10000");
    bench.send(ack, 1073, 1, 50);
    bench.run_for(39_ms);
    CHECK(bench.sent().empty());
    bench.run_for(1_ms);
    CHECK(bench.sent() == "A 1/1123 w9950");  // the window opens by whole segments
    struct Row {
        std::uint32_t sequence;
        std::size_t bytes;
        const char* answer;
        const char* what;
    };
    for (const auto& row : {
             Row{1223, 100, "A 1/1123 w9950", "out of order"},
             Row{1423, 100, "A 1/1123 w9950", "another gap"},
             Row{1123, 50, "A 1/1173 w9900", "part of the gap"},
             Row{1173, 50, "A 1/1323 w9750", "the rest of it"},
             Row{1273, 150, "A 1/1523 w9550", "an overlap"},
             Row{1, 100, "A 1/1523 w9550", "old"},
             Row{1473, 100, "", "partly old"},  // 50 new bytes
             Row{11'073, 100, "A 1/1573 w9500", "beyond the window"},
             Row{11'072, 100, "A 1/1573 w9500", "its last byte is kept"},
         }) {
        CAPTURE(std::string(row.what));
        bench.send(ack, row.sequence, 1, row.bytes);
        CHECK(bench.sent() == std::string(row.answer));
    }
    bench.run_for(1_s);
    bench.sent();
    // RFC 5961: a reset in the window but not at its beginning is challenged; outside it is ignored.
    bench.send(rst, 1700, 0);
    CHECK(bench.sent() == "A 1/1573 w9500");
    bench.send(rst, 12'000, 0);
    CHECK(bench.sent().empty());
    bench.send(ack, 1573, 500);  // acknowledges what was never sent
    CHECK(bench.sent() == "A 1/1573 w9500");
    CHECK(bench.state() == TcpState::established);
    bench.send(rst, 1573, 0);
    CHECK(bench.sent().empty());
    CHECK(bench.peer.tcp().results().back().end == TcpEnd::reset);
    CHECK(bench.peer.tcp().results().back().received == 1572);
}

TEST_CASE("TCP receiving: selective acknowledgements name the latest block first") {
    TcpSettings tcp = TcpBench::simple();
    tcp.sack = true;
    TcpBench bench(tcp);
    bench.options.sack_permitted = true;
    bench.peer.tcp().listen(80, sink);
    bench.open();
    struct Row {
        std::uint32_t sequence;
        const char* answer;
    };
    for (const auto& row : {
             Row{201, "A 1/1 [201,301) w10000"},
             Row{401, "A 1/1 [401,501) [201,301) w10000"},
             Row{601, "A 1/1 [601,701) [401,501) [201,301) w10000"},
             Row{301, "A 1/1 [201,501) [601,701) w10000"},
             Row{1, "A 1/101 [201,501) [601,701) w9900"},
             Row{101, "A 1/501 [601,701) w9500"},
             Row{501, "A 1/701 w10000"},
         }) {
        CAPTURE(row.sequence);
        bench.send(ack, row.sequence, 1, 100);
        CHECK(bench.sent() == std::string(row.answer));
    }
}

TEST_CASE("TCP receiving: old timestamps are not taken (RFC 7323, 5.3)") {
    TcpSettings tcp = TcpBench::simple();
    tcp.timestamps = true;
    TcpBench bench(tcp);
    bench.peer.tcp().listen(80, sink);
    bench.options.timestamps = TcpTimestamps{1000, 0};
    bench.open();
    bench.options.timestamps = TcpTimestamps{1005, 0};
    bench.send(ack, 1, 1, 2000);
    CHECK(bench.sent() == "A 1/2001 w10000");
    CHECK(bench.last.timestamps->echo == 1005);
    bench.options.timestamps = TcpTimestamps{1004, 0};
    bench.send(ack, 2001, 1, 2000);
    CHECK(bench.sent() == "A 1/2001 w10000");
    CHECK(bench.last.timestamps->echo == 1005);
    bench.options.timestamps.reset();
    bench.send(ack, 2001, 1, 2000);
    CHECK(bench.sent() == "A 1/2001 w10000");
    bench.options.timestamps = TcpTimestamps{1005, 0};
    bench.send(ack, 2001, 1, 2000);
    CHECK(bench.sent() == "A 1/4001 w10000");
}

TEST_CASE("TCP closing: every order of the two ends") {
    SUBCASE("the other side first, then the host") {
        TcpBench bench;
        bench.peer.tcp().listen(80, sink);
        bench.open();
        bench.send(fin | ack, 1, 1, 10);
        CHECK(bench.sent() == "A 1/12 w9990; FPA 1/12 w9990");
        CHECK(bench.state() == TcpState::last_ack);
        bench.send(ack, 12, 2);
        CHECK(bench.peer.tcp().connections() == 0);
        CHECK(bench.peer.tcp().results().back().end == TcpEnd::closed);
        CHECK(bench.peer.tcp().results().back().received == 10);
    }
    SUBCASE("the host first; TIME-WAIT lasts") {
        TcpBench bench;
        bench.peer.tcp().listen(80, source(10));
        bench.send(syn, 0, 0);
        bench.sent();
        bench.send(ack, 1, 1);
        CHECK(bench.sent() == "FPA 1/1 10b w10000");
        CHECK(bench.state() == TcpState::fin_wait_1);
        bench.send(ack, 1, 12);
        CHECK(bench.state() == TcpState::fin_wait_2);
        bench.send(ack, 1, 12, 100);  // may still send
        bench.run_for(40_ms);
        CHECK(bench.sent() == "A 12/101 w9900");
        bench.send(fin | ack, 101, 12);
        CHECK(bench.sent() == "A 12/102 w9900");
        CHECK(bench.state() == TcpState::time_wait);
        bench.run_for(59_s);
        bench.send(fin | ack, 101, 12);  // again: its acknowledgement was lost
        CHECK(bench.sent() == "A 12/102 w9900");
        bench.run_for(59_s);
        CHECK(bench.state() == TcpState::time_wait);
        bench.run_for(1_s);
        CHECK(bench.peer.tcp().connections() == 0);
        REQUIRE(bench.peer.tcp().results().size() == 1);
        CHECK(bench.peer.tcp().results()[0].sent == 10);
    }
    SUBCASE("both at once") {
        TcpBench bench;
        bench.peer.tcp().listen(80, source(10));
        bench.send(syn, 0, 0);
        bench.sent();
        bench.send(ack, 1, 1);
        CHECK(bench.sent() == "FPA 1/1 10b w10000");
        bench.send(fin | ack, 1, 1);
        CHECK(bench.sent() == "A 12/2 w10000");
        CHECK(bench.state() == TcpState::closing);
        bench.send(ack, 2, 12);
        CHECK(bench.state() == TcpState::time_wait);
    }
    SUBCASE("a new opening ends TIME-WAIT") {
        TcpBench bench;
        bench.peer.tcp().listen(80, source(10));
        bench.send(syn, 0, 0);
        bench.sent();
        bench.send(ack, 1, 1);
        bench.send(fin | ack, 1, 12);
        bench.sent();
        REQUIRE(bench.state() == TcpState::time_wait);
        bench.send(syn, 1, 0);  // old
        CHECK(bench.sent() == "A 12/2 w10000");
        bench.send(syn, 100, 0);
        CHECK(bench.sent() == "SA 0/101 w10000");
        CHECK(bench.peer.tcp().connections() == 1);
    }
    SUBCASE("the end arrives before the data") {
        TcpBench bench;
        bench.peer.tcp().listen(80, sink);
        bench.open();
        bench.send(fin | ack, 101, 1);
        CHECK(bench.sent() == "A 1/1 w10000");
        CHECK(bench.state() == TcpState::established);
        bench.send(ack, 1, 1, 100);
        CHECK(bench.sent() == "A 1/102 w9900; FPA 1/102 w9900");
        bench.send(ack, 102, 2, 50);  // data behind its end is none
        CHECK(bench.peer.tcp().results().back().received == 100);
    }
}

}  // namespace network_tcp_states_test
