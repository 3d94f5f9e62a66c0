// Bulk streams between hosts on plain processors: how fast they are, what holds them up, and what becomes of their
// connections.
#include <doctest/doctest.h>

#include "models/workload/stream_flow.h"
#include "tests/models/workload_rig.h"

namespace workload_stream_test {

namespace {

using namespace workload_test;

TEST_CASE("streams fill a wire, and cost by byte and by segment") {
    for (const bool guest : {true, false}) {
        CAPTURE(guest);
        Pair pair(2, guest);
        StreamFlow flow(pair.simulation.scope("flow"), pair.near(), pair.far(),
                        {.to = pair.far_end(5301), .connections = 2});
        flow.start();
        pair.run_for(Time::ms(5));
        flow.reset();
        const std::uint64_t busy = pair.counter("a.cpu0.busy") + pair.counter("a.cpu1.busy");
        pair.run_for(Time::ms(10));
        const auto throughput = flow.throughput();
        // 1448 of 1538 bytes; acknowledgements go the other way.
        CHECK(throughput.bits_per_second() > 9'300'000'000);
        CHECK(throughput.bits_per_second() < 9'420'000'000);
        CHECK(flow.open_connections() == 2);
        // Copying is 100 ns for 1024 bytes; system calls, large sends and acknowledgements come on top.
        const std::uint64_t spent = pair.counter("a.cpu0.busy") + pair.counter("a.cpu1.busy") - busy;
        CHECK(spent > throughput.bytes * 100'000 / 1024);
        CHECK(spent < throughput.bytes * 100'000 / 1024 * 4);
        CHECK(pair.counter("a.stack.host.tcp.retransmitted") == 0);
        flow.stop();
        pair.run_for(Time::ms(5));
        CHECK(flow.open_connections() == 0);
    }
}

TEST_CASE("a stack does what its adapter does not") {
    Pair pair(1, false);
    pair.a.driver.set_offloads({});
    StreamFlow flow(pair.simulation.scope("flow"), pair.near(), pair.far(), {.to = pair.far_end(5301)});
    flow.start();
    pair.run_for(Time::ms(10));
    CHECK(flow.throughput().bits_per_second() > 3'000'000'000);
    CHECK(pair.counter("peer.bad_checksum") == 0);
}

TEST_CASE("a driver that goes away holds the stream up, and it goes on when it is back") {
    Pair pair;
    StreamFlow flow(pair.simulation.scope("flow"), pair.near(), pair.far(), {.to = pair.far_end(5301)});
    flow.start();
    pair.run_for(Time::ms(2));
    pair.a.driver.set_up(false);
    pair.run_for(Time::ms(1));
    const auto before = flow.throughput().bytes;
    pair.run_for(Time::ms(1));
    CHECK(flow.throughput().bytes == before);
    pair.a.driver.set_up(true);
    pair.run_for(Time::ms(2));
    CHECK(flow.throughput().bytes > before + 1'000'000);
    CHECK(pair.counter("a.stack.host.tcp.retransmitted") == 0);
}

TEST_CASE("what becomes of a stream's connections is counted: closed, reset, given up, refused") {
    using Connections = StreamFlow::Connections;
    struct Row {
        const char* name;
        std::uint64_t total_bytes;
        void (*before)(Pair&);
        void (*meanwhile)(Pair&);
        Connections expected;
        std::uint64_t failures;
    };
    const auto nothing = [](Pair&) {};
    const auto abort = [](Pair& pair) {
        Peer& receiver = pair.b ? pair.b->stack->host() : *pair.peer;
        receiver.tcp().abort(1);
    };
    const Row rows[] = {
        {"both go on", 0, nothing, nothing, {.opened = 2}, 0},
        {"both come to their end", 100'000, nothing, nothing, {.opened = 2, .closed = 2}, 0},
        {"the receiver breaks one", 0, nothing, abort, {.opened = 2, .resets = 1}, 1},
        {"nobody listens",
         0,
         [](Pair& pair) { (pair.b ? pair.b->stack->host() : *pair.peer).tcp().stop_listening(5301); },
         nothing,
         {.refused = 2},
         2},
    };
    for (const bool guest : {true, false}) {
        for (const Row& row : rows) {
            CAPTURE(guest);
            CAPTURE(row.name);
            Pair pair(1, guest);
            StreamFlow flow(pair.simulation.scope("flow"), pair.near(), pair.far(),
                            {.to = pair.far_end(5301), .connections = 2, .total_bytes = row.total_bytes});
            row.before(pair);
            flow.start();
            pair.run_for(Time::ms(2));
            row.meanwhile(pair);
            pair.run_for(Time::ms(2));
            CHECK(flow.connections() == row.expected);
            CHECK(flow.failures() == row.failures);
            const Connections& c = row.expected;
            CHECK(flow.open_connections() == c.opened - c.closed - c.resets);
            flow.reset();
            CHECK(flow.connections() == row.expected);
            CHECK(flow.failures() == 0);
        }
    }
}

TEST_CASE("what a stream had to send again is counted, until nothing comes back at all") {
    Pair pair(1, false);
    StreamFlow flow(pair.simulation.scope("flow"), pair.near(), pair.far(), {.to = pair.far_end(5301)});
    flow.start();
    pair.run_for(Time::ms(2));
    pair.wire.set_link(false);
    pair.run_for(Time::ms(300));
    const auto cut = flow.connections();
    CHECK(cut.time_outs > 0);
    CHECK(cut.retransmissions >= cut.time_outs);
    CHECK(cut.retransmissions == pair.counter("a.stack.host.tcp.retransmitted"));
    pair.wire.set_link(true);
    pair.run_for(Time::ms(400));
    const auto back = flow.connections();
    CHECK(back.retransmissions > cut.retransmissions);
    CHECK(back.time_outs == pair.counter("a.stack.host.tcp.time_outs"));
    CHECK(flow.open_connections() == 1);
    CHECK(flow.failures() == 0);
    pair.wire.set_link(false);
    pair.run_for(Time::s(3600));
    CHECK(flow.connections().timed_out == 1);
    CHECK(flow.connections().retransmissions == pair.counter("a.stack.host.tcp.retransmitted"));
    CHECK(flow.connections().time_outs == pair.counter("a.stack.host.tcp.time_outs"));
    CHECK(flow.open_connections() == 0);
    CHECK(flow.failures() == 1);
}

}  // namespace

}  // namespace workload_stream_test
