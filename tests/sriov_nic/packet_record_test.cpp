// Where the time of each frame went: every part of its life, to the picosecond.
#include "sriov_nic/packet_record.h"

#include <doctest/doctest.h>

#include <numeric>

#include "tests/sriov_nic/rig.h"

namespace packet_record_test {

namespace {

using namespace nic_test;
using sim::Time;

struct Records final : sim::TraceSink {
    void record(sim::Time, std::string_view, const char*, std::span<const std::uint64_t> words,
                std::span<const std::byte>) override {
        REQUIRE(words.size() == packet_words);
        all.push_back({words.begin(), words.end()});
    }
    PacketLife life(std::size_t n) const { return packet_life(all.at(n)); }
    std::vector<std::vector<std::uint64_t>> all;
};
using Parts = std::array<std::int64_t, packet_parts>;

struct Traced : Rig {
    explicit Traced(unsigned vfs = 2) : Rig(vfs) {
        const std::string kind = "packet";
        simulation.trace().add_sink(records, {&kind, 1});
    }
    Records records;
};

constexpr std::int64_t path = 155'350, classify = 102'400, latency = 600'000, wire_60 = 67'200;

}  // namespace

TEST_CASE("a sent frame: fetch, data, pipeline, wire") {
    Traced rig;
    QueueDriver& vf = rig.open(0);
    rig.run(Time::us(10));
    REQUIRE(vf.send(frame(stranger, mac_of(0), 60)));
    vf.notify();
    rig.run(Time::us(10));
    REQUIRE(rig.records.all.size() == 1);
    const PacketLife life = rig.records.life(0);
    CHECK(life.way == "to the wire");
    CHECK(life.bytes == 60);
    CHECK(life.parts_ps == Parts{0, latency, 0, latency, 0, path, 0, wire_60});
    CHECK(life.whole_ps == 2 * latency + path + wire_60);
}

TEST_CASE("what a frame waits for has a name") {
    Traced rig;
    QueueDriver& vf = rig.open(0);
    rig.run(Time::us(10));
    // Its doorbell comes while the one before is being fetched, and its data while the wire is busy.
    REQUIRE(vf.send(frame(stranger, mac_of(0), 1514)));
    vf.notify();
    rig.run(Time::ns(100));
    REQUIRE(vf.send(frame(stranger, mac_of(0), 60)));
    vf.notify();
    rig.run(Time::us(10));
    REQUIRE(rig.records.all.size() == 2);
    CHECK(rig.records.life(0).parts_ps == Parts{0, latency, 0, latency, 0, path, 0, 1'230'400});
    // 500 ns until the first fetch has ended; its data comes 600 ns after the other frame's, which takes 1230.4 ns.
    CHECK(rig.records.life(1).parts_ps == Parts{500'000, latency, 0, latency, 0, path, 1'230'400 - latency, wire_60});
}

TEST_CASE("a slow read of one holds up those behind it, and a rate limit is arbitration") {
    Traced rig;
    QueueDriver& first = rig.open(0);
    QueueDriver& second = rig.open(1);
    VfPolicy policy = rig.driver.policy(1);
    policy.rate_mbps = 100;
    rig.driver.set_policy(1, policy);
    rig.run(Time::us(10));
    for (unsigned n = 0; n < 3; ++n) REQUIRE(second.send(frame(stranger, mac_of(1), 1514)));
    REQUIRE(first.send(frame(stranger, mac_of(0), 60)));
    second.notify();
    first.notify();
    rig.run(Time::ms(1));
    REQUIRE(rig.records.all.size() == 4);
    std::int64_t arbitration = 0;
    for (std::size_t n = 0; n < 4; ++n) {
        const PacketLife life = rig.records.life(n);
        CHECK(std::accumulate(life.parts_ps.begin(), life.parts_ps.end(), std::int64_t{0}) == life.whole_ps);
        CHECK(std::ranges::all_of(life.parts_ps, [](std::int64_t part) { return part >= 0; }));
        if (life.queue == 2) arbitration = std::max(arbitration, life.parts_ps[2]);
    }
    CHECK(arbitration > Time::us(200).ps());  // 1538 bytes at 100 Mb/s are 123 us
}

TEST_CASE("a received frame: wire, path, switch, and its interrupt at the end of the throttle") {
    Traced rig;
    QueueDriver& vf = rig.open(0, Rig::transmit_control, Rig::receive_control, 40 << 3);  // 81.92 us
    rig.run(Time::us(100));
    const Time start = rig.now();
    rig.controller.received(frame(mac_of(0), stranger, 60));
    rig.run(Time::us(10));
    REQUIRE(rig.records.all.size() == 1);
    PacketLife life = rig.records.life(0);
    CHECK(life.way == "from the wire");
    CHECK(life.parts_ps == Parts{wire_60, path, classify, 0, 0, 0, 0, 0});
    CHECK(rig.records.all[0][3] == static_cast<std::uint64_t>((start - Time::ps(wire_60)).ps()));
    // Software masks the vector while it polls, as its auto-mask says: nothing tells it of the next.
    rig.controller.received(frame(mac_of(0), stranger, 60));
    rig.run(Time::us(10));
    CHECK(rig.records.life(1).parts_ps == Parts{wire_60, path, classify, 0, 0, 0, 0, 0});
    // Unmasked, the throttle holds back the third's.
    for (unsigned n = 0; n < 2; ++n) vf.release();
    rig.registers[0]->write_register(vf_reg::eimc, 3);
    (void)rig.registers[0]->read_register(vf_reg::eicr);
    rig.registers[0]->write_register(vf_reg::eims, 3);
    rig.controller.received(frame(mac_of(0), stranger, 60));
    rig.run(Time::ms(1));
    life = rig.records.life(2);
    const auto& interrupts = rig.bus.interrupts;
    REQUIRE(interrupts.size() == 2);
    CHECK(static_cast<std::uint64_t>(interrupts[1].at.ps()) == rig.records.all[2][packet_words - 1]);
    CHECK(life.parts_ps[7] == (interrupts[1].at - start).ps() - 20'000'000 - path - classify);
}

TEST_CASE("between functions: the sender's life and the receiver's") {
    Traced rig;
    QueueDriver& first = rig.open(0);
    rig.open(1);
    rig.run(Time::us(10));
    REQUIRE(first.send(frame(mac_of(1), mac_of(0), 1000)));
    first.notify();
    rig.run(Time::us(20));
    REQUIRE(rig.records.all.size() == 2);
    CHECK(rig.records.life(0).way == "to other functions");
    CHECK(rig.records.life(0).parts_ps == Parts{0, latency, 0, latency, 0, path, 0, 200'000});
    CHECK(rig.records.life(1).way == "from other functions");
    CHECK(rig.records.life(1).parts_ps == Parts{200'000, 0, classify, 0, 0, 0, 0, 0});
}

TEST_CASE("a ring without descriptors is what a frame waits for") {
    Traced rig;
    QueueDriverLayout layout;
    layout.receive_descriptors = 8;
    QueueDriver& vf = rig.open(0, Rig::transmit_control, Rig::receive_control, 0, layout);
    const std::uint32_t split = vf_reg::rdbal + static_cast<std::uint32_t>(RxRegister::srrctl);
    RegisterPort& own = *rig.registers[0];
    own.write_register(split, own.read_register(split) & ~srrctl::drop_enable);
    rig.controller.write(reg::qde, qde::write);  // nor does the host drop for it
    rig.run(Time::us(10));
    for (unsigned n = 0; n < 9; ++n) rig.controller.received(frame(mac_of(0), stranger, 60));
    rig.run(Time::us(5));
    REQUIRE(rig.records.all.size() == 7);
    for (unsigned n = 0; n < 7; ++n) vf.release();
    vf.refill();
    rig.run(Time::us(5));
    REQUIRE(rig.records.all.size() == 9);
    const std::int64_t until = 5'000'000 - path - classify + latency;  // and its descriptor's fetch
    CHECK(rig.records.life(7).parts_ps == Parts{wire_60, path, classify, 0, until, 0, 0, 0});
    // Fetched to the ring's end first, then from its beginning.
    CHECK(rig.records.life(8).parts_ps == Parts{wire_60, path, classify, until, latency, 0, 0, 0});
}

}  // namespace packet_record_test
