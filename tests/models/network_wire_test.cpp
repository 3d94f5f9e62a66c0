// Wires: when frames arrive, to the picosecond; queues, links that go down, impairments.
#include <doctest/doctest.h>

#include "models/network/impairment.h"
#include "models/network/wire.h"
#include "tests/models/network_frames.h"

namespace network_wire_test {

using namespace network_test;
using namespace sim::literals;

namespace {
const MacAddress a = MacAddress::from_u64(1);
const MacAddress b = MacAddress::from_u64(2);

struct Link {
    explicit Link(const WireSettings& settings)
        : wire(simulation.scope("wire"), settings), left(simulation), right(simulation) {
        wire.end(0).connect(left);
        wire.end(1).connect(right);
    }
    std::uint64_t counter(const char* name) { return simulation.statistics().all().at(name).counter.value(); }
    sim::Simulation simulation;
    Wire wire;
    Inbox left;
    Inbox right;
};
}  // namespace

TEST_CASE("wire: how long a frame takes") {
    struct Row {
        std::uint64_t rate;
        std::size_t frame_bytes;  // without the check sequence
        std::int64_t first_ps;    // preamble, frame, check sequence
        std::int64_t second_ps;   // of one sent right behind it
    };
    for (
        const auto& row : {
            // 84 byte times from frame to frame: 14.88 million frames a second at 10 Gb/s.
            Row{10'000'000'000, 60, 57'600, 124'800},
            Row{10'000'000'000, 14, 57'600, 124'800},  // padded
            Row{10'000'000'000, 1514, 1'220'800, 2'451'200},
            Row{1'000'000'000, 60, 576'000, 1'248'000},
            Row{25'000'000'000, 60, 23'040, 49'920},
            Row{40'000'000'000, 60, 14'400, 31'200},
            Row{100'000'000'000, 1514, 122'080, 245'120},
            Row{100'000'000, 1514, 122'080'000, 245'120'000},
            // 72 and 156 bytes at 3 Gb/s: 192 ns, 416 ns; at 7 Gb/s 82285.7, 178285.7: a bit is there when it is whole.
            Row{3'000'000'000, 60, 192'000, 416'000},
            Row{7'000'000'000, 60, 82'286, 178'286},
        }) {
        CAPTURE(row.rate);
        CAPTURE(row.frame_bytes);
        Link link({.bits_per_second = row.rate, .delay = 1_us});
        CHECK(link.wire.frame_time(row.frame_bytes) == sim::Time::ps(row.first_ps));
        for (std::uint8_t n = 0; n < 2; ++n) link.wire.end(0).receive(plain(b, a, n, row.frame_bytes - 14));
        link.simulation.agenda().run_until(1_ms);
        REQUIRE(link.right.frames.size() == 2);
        CHECK(link.right.times[0] == 1_us + sim::Time::ps(row.first_ps));
        CHECK(link.right.times[1] == 1_us + sim::Time::ps(row.second_ps));
        CHECK(link.right.frames[0].size() == std::max<std::size_t>(60, row.frame_bytes));
        CHECK(link.left.frames.empty());
    }
}

TEST_CASE("wire: a thousand frames at an odd rate add up exactly") {
    Link link({.bits_per_second = 7'000'000'000, .delay = 0_ps});
    for (int i = 0; i < 1000; ++i) link.wire.end(0).receive(plain(b, a));
    link.simulation.agenda().run_until(1_ms);
    REQUIRE(link.right.times.size() == 1000);
    // 999 x 84 + 72 bytes: 671'904 bits / 7 Gb/s = 95'986'285.7 ps
    CHECK(link.right.times.back() == sim::Time::ps(95'986'286));
}

TEST_CASE("wire: both directions at once, and gaps between frames that come later") {
    Link link({.bits_per_second = 10'000'000'000, .delay = 0_ps});
    link.wire.end(0).receive(plain(b, a, 1));
    link.wire.end(1).receive(plain(a, b, 2));
    link.simulation.agenda().run_until(60_ns);  // the line is in its gap until 67.2 ns
    link.wire.end(0).receive(plain(b, a, 3));
    link.simulation.agenda().run_until(1_us);
    link.wire.end(0).receive(plain(b, a, 4));
    link.simulation.agenda().run_until(2_us);
    CHECK(link.left.numbers() == "2");
    CHECK(link.right.numbers() == "1 3 4");
    CHECK(link.right.times == std::vector{sim::Time::ps(57'600), sim::Time::ps(124'800), sim::Time::ps(1'057'600)});
}

TEST_CASE("wire: bounded queues and lengths") {
    Link link({.bits_per_second = 1'000'000'000, .delay = 0_ps, .queue_bytes = 300, .maximum_frame_bytes = 1518});
    for (std::uint8_t n = 0; n < 8; ++n) link.wire.end(0).receive(plain(b, a, n));  // one on the line, five wait
    CHECK(link.counter("wire.end0.dropped.full") == 2);
    link.simulation.agenda().run_until(700_ns);  // one has left
    link.wire.end(0).receive(plain(b, a, 8));
    link.wire.end(0).receive(plain(b, a, 9));
    CHECK(link.counter("wire.end0.dropped.full") == 3);
    link.wire.end(0).receive(plain(b, a, 10, 1600));
    link.wire.end(0).receive(Frame{std::vector<std::byte>(13)});
    CHECK(link.counter("wire.end0.dropped.length") == 2);
    link.simulation.agenda().run_until(1_ms);
    CHECK(link.right.numbers() == "0 1 2 3 4 5 8");
    CHECK(link.counter("wire.end0.frames") == 7);
    CHECK(link.counter("wire.end0.bytes") == 7 * 60);
}

TEST_CASE("wire: large sends are cut and checksums filled in on the way") {
    Link link({.bits_per_second = 10'000'000'000, .delay = 0_ps});
    const Ends e{b, a, ip_address("10.0.0.2"), ip_address("10.0.0.1")};
    Frame large = tcp_packet(e, {}, counted_bytes(3000));
    large.large_send_mss = 1460;
    link.wire.end(0).receive(std::move(large));
    link.simulation.agenda().run_until(1_ms);
    REQUIRE(link.right.frames.size() == 3);
    for (Frame& frame : link.right.frames) {
        CHECK(frame.large_send_mss == 0);
        CHECK_FALSE(frame.fill.any());
        verify_checksums(frame);
        CHECK(frame.transport_verdict == ChecksumVerdict::good);
    }
}

TEST_CASE("wire: a link that goes down loses what is under way") {
    struct Owner final : WireOwner {
        std::vector<bool> changes;
        std::size_t frames = 0;
        void receive(Frame&&) override { ++frames; }
        void link_changed(bool up) override { changes.push_back(up); }
    } owner;
    Link link({.bits_per_second = 1'000'000'000, .delay = 10_us});
    link.wire.end(1).connect(owner);
    for (int i = 0; i < 3; ++i) link.wire.end(0).receive(plain(b, a));
    link.simulation.agenda().run_until(5_us);
    link.wire.set_link(false);
    link.wire.set_link(false);
    link.wire.end(0).receive(plain(b, a));
    link.simulation.agenda().run_until(1_ms);
    CHECK(owner.frames == 0);
    CHECK(link.counter("wire.end0.dropped.down") == 4);
    link.wire.set_link(true);
    link.wire.end(0).receive(plain(b, a));
    link.simulation.agenda().run_until(2_ms);
    CHECK(owner.frames == 1);
    CHECK(owner.changes == std::vector{false, true});
}

TEST_CASE("wire: saved in the middle, the rest arrives at the same times") {
    const WireSettings settings{.bits_per_second = 7'000'000'000, .delay = 3_us, .queue_bytes = 4000};
    const auto start = [](Link& link) {
        for (std::uint8_t n = 0; n < 20; ++n) link.wire.end(0).receive(plain(b, a, n, 100u + n));
    };
    Link straight(settings);
    start(straight);
    straight.simulation.agenda().run_until(4_us);
    const auto saved = straight.simulation.save();
    Link other(settings);
    other.simulation.restore(saved);
    const std::size_t already = straight.right.frames.size();
    CHECK(already > 0);
    CHECK(already < 20);
    for (Link* link : {&straight, &other}) {
        link->wire.end(0).receive(plain(b, a, 99));
        link->simulation.agenda().run_until(1_ms);
    }
    straight.right.times.erase(straight.right.times.begin(), straight.right.times.begin() + static_cast<long>(already));
    CHECK(straight.right.times == other.right.times);
    CHECK(other.right.times.size() == 21 - already);
}

TEST_CASE("impairment: chances, counts and determinism") {
    struct Path {
        explicit Path(std::uint64_t seed, const ImpairmentSettings& settings)
            : simulation(seed), inbox(simulation), path(simulation.scope("path"), settings, inbox) {
            for (int i = 0; i < 2000; ++i) {
                simulation.agenda().run_until(sim::Time::us(i));
                path.receive(plain(b, a, static_cast<std::uint8_t>(i)));
            }
            simulation.agenda().run_until(1_s);
        }
        std::uint64_t counter(const char* name) { return simulation.statistics().all().at(name).counter.value(); }
        sim::Simulation simulation;
        Inbox inbox;
        Impairment path;
    };
    const ImpairmentSettings bad{.lose_one_in = 10,
                                 .duplicate_one_in = 20,
                                 .damage_one_in = 50,
                                 .reorder_one_in = 5,
                                 .delay = 10_us,
                                 .reorder_delay = 30_us};
    Path one(1, bad);
    const std::uint64_t lost = one.counter("path.lost");
    const std::uint64_t twice = one.counter("path.duplicated");
    CHECK(lost > 150);
    CHECK(lost < 250);
    CHECK(twice > 60);
    CHECK(twice < 130);
    CHECK(one.counter("path.damaged") > 15);
    CHECK(one.counter("path.reordered") > 250);
    CHECK(one.inbox.frames.size() == 2000 - lost + twice);
    Path same(1, bad);
    CHECK(same.inbox.times == one.inbox.times);
    CHECK(same.inbox.frames == one.inbox.frames);
    Path other(2, bad);
    CHECK(other.inbox.times != one.inbox.times);
    // None of it: a delay.
    Path good(1, {.delay = 7_us});
    REQUIRE(good.inbox.frames.size() == 2000);
    for (int i = 0; i < 2000; ++i) REQUIRE(good.inbox.times[static_cast<std::size_t>(i)] == sim::Time::us(i + 7));
}

}  // namespace network_wire_test
