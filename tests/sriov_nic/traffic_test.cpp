// Frames from a VF to the wire, from the wire to a VF, and between VFs: contents, counters, interrupts, exact times.
#include <doctest/doctest.h>

#include "tests/sriov_nic/rig.h"

namespace traffic_test {

namespace {

using namespace nic_test;
using sim::Time;

TEST_CASE("a VF's frame leaves by the wire, padded, at the exact time, and is reported") {
    Rig rig;
    QueueDriver& vf = rig.open(0);
    rig.run(Time::us(10));
    const Time start = rig.now();
    REQUIRE(vf.send(frame(stranger, mac_of(0), 42)));
    vf.notify();
    rig.run(Time::us(10));
    REQUIRE(rig.wire.frames.size() == 1);
    const auto& sent = rig.wire.frames[0];
    CHECK(sent.bytes.size() == 60);
    CHECK(load_mac(sent.bytes.data()) == stranger);
    // A descriptor fetch, a data read, and the way through the transmit path.
    CHECK(sent.start == start + rig.bus.latency * 2 + rig.profile.transmit_path);
    CHECK(sent.end - sent.start == Time::ps(84 * 800));
    CHECK(vf.reclaim() == 1);
    CHECK(rig.controller.read_virtual(0, vf_reg::gptc) == 1);
    CHECK(rig.controller.read_virtual(0, vf_reg::gotc_low) == 64);
    REQUIRE(rig.bus.interrupts.size() == 1);
    CHECK(rig.bus.interrupts[0].function == 0);
    CHECK(rig.bus.interrupts[0].vector == 0);
}

TEST_CASE("frames from the wire reach the VF whose address they bear") {
    Rig rig;
    QueueDriver& first = rig.open(0);
    QueueDriver& second = rig.open(1);
    rig.run(Time::us(10));
    rig.controller.received(frame(mac_of(1), stranger, 60));
    rig.run(Time::us(10));
    CHECK(first.receive().bytes.empty());
    const auto got = second.receive();
    REQUIRE(got.bytes.size() == 60);
    CHECK(load_mac(got.bytes.data()) == mac_of(1));
    CHECK((got.descriptor.high & 0xffff'ffff) == (rx::done | rx::end_of_packet));
    second.release();
    rig.controller.received(frame(broadcast_mac, stranger, 100));
    rig.run(Time::us(10));
    CHECK(first.receive().bytes.size() == 100);
    CHECK(second.receive().bytes.size() == 100);
    CHECK(rig.controller.read_virtual(1, vf_reg::gprc) == 2);
    CHECK(rig.controller.read_virtual(1, vf_reg::gorc_low) == 168);
    CHECK(rig.controller.read_virtual(1, vf_reg::mprc) == 1);
    // Nobody's address: the default pool is the physical function's, whose queues are off.
    rig.controller.received(frame(stranger, mac_of(9), 60));
    rig.run(Time::us(10));
    CHECK(rig.controller.statistics().filtered == 1);
}

TEST_CASE("frames between VFs stay inside and are marked") {
    Rig rig;
    QueueDriver& first = rig.open(0);
    QueueDriver& second = rig.open(1);
    rig.run(Time::us(10));
    REQUIRE(first.send(frame(mac_of(1), mac_of(0), 1000)));
    first.notify();
    rig.run(Time::us(20));
    CHECK(rig.wire.frames.empty());
    const auto got = second.receive();
    REQUIRE(got.bytes.size() == 1000);
    CHECK((got.descriptor.high & rx::loopback) != 0);
    CHECK(rig.controller.statistics().loopback == 1);
    // Broadcasts go both ways, and never back to their sender.
    second.release();
    REQUIRE(first.send(frame(broadcast_mac, mac_of(0), 60)));
    first.notify();
    rig.run(Time::us(20));
    CHECK(rig.wire.frames.size() == 1);
    CHECK(second.receive().bytes.size() == 60);
    CHECK(first.receive().bytes.empty());
}

TEST_CASE("line rate is exact: frame and twenty bytes") {
    struct Row {
        std::size_t bytes;
        std::int64_t spacing_ps;
    };
    for (const Row row : {Row{60, 67'200}, Row{508, 425'600}, Row{1514, 1'230'400}}) {
        Rig rig;
        QueueDriver& vf = rig.open(0);
        rig.run(Time::us(10));
        for (int i = 0; i < 200; ++i) REQUIRE(vf.send(frame(stranger, mac_of(0), row.bytes)));
        vf.notify();
        rig.run(Time::ms(1));
        REQUIRE(rig.wire.frames.size() == 200);
        for (std::size_t i = 100; i < 200; ++i) {
            CHECK(rig.wire.frames[i].start - rig.wire.frames[i - 1].start == Time::ps(row.spacing_ps));
        }
        CHECK(vf.reclaim() == 200);
        CHECK(rig.controller.transmit_buffered() == 0);
    }
}

TEST_CASE("counts of octets have 36 bits: the upper ones are read second, and clear") {
    Rig rig;
    QueueDriver& vf = rig.open(0);
    rig.run(Time::us(10));
    for (unsigned n = 0; n < 2; ++n) rig.controller.received(frame(mac_of(0), stranger, 100));
    REQUIRE(vf.send(frame(stranger, mac_of(0), 196)));
    vf.notify();
    rig.run(Time::us(10));
    struct Row {
        const char* name;
        std::uint32_t low, high, octets;
    };
    for (const Row& row :
         {Row{"GORC", 0x4088, 0x408c, 208}, Row{"GOTC", 0x4090, 0x4094, 200}, Row{"TOR", 0x40c0, 0x40c4, 208},
          Row{"QBRC", 0x1034, 0x1038, 208}, Row{"QBTC", 0x8700, 0x8704, 200}}) {
        CAPTURE(row.name);
        CHECK(rig.controller.read(row.low) == row.octets);
        CHECK(rig.controller.read(row.low) == row.octets);
        CHECK(rig.controller.read(row.high) == 0);
        CHECK(rig.controller.read(row.low) == 0);
    }
    CHECK(rig.controller.touches_unknown() == 0);
}

}  // namespace

}  // namespace traffic_test
