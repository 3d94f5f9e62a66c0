// Buffers, pause frames, rates and shares: how much fits, who waits, who gets what part of the wire.
#include <doctest/doctest.h>

#include "tests/sriov_nic/rig.h"

namespace capacity_test {

namespace {

using namespace nic_test;
using sim::Time;

TEST_CASE("a stalled receiver: 512 KiB are full after 419 us at line rate (validation row 12)") {
    struct Row {
        std::size_t bytes;  // without FCS
        std::uint64_t frames;
    };
    for (const Row row : {Row{1514, 346}, Row{60, 8192}}) {
        CAPTURE(row.bytes);
        Rig rig;
        QueueDriverLayout layout;
        QueueDriver& vf = rig.open(0, Rig::transmit_control, Rig::receive_control, 0, layout);
        (void)vf;
        rig.run(Time::us(10));
        // No drops, no descriptors: the ring is switched on without any.
        VirtualRegisters& r = *rig.registers[0];
        r.write_register(0x1028, 0);
        r.write_register(0x1014, srrctl::advanced_one << 25 | 2);
        r.write_register(0x1018, r.read_register(0x1010));
        r.write_register(0x1028, rxdctl::enable);
        for (unsigned q = 0; q < 2; ++q) rig.controller.write(reg::qde, qde::write | q << 8);
        const Time begin = rig.now();
        while (rig.controller.statistics().missed == 0) {
            rig.controller.received(frame(mac_of(0), stranger, row.bytes));
            rig.run(rig.profile.wire_time(row.bytes));
        }
        CHECK(rig.controller.statistics().good_received.packets == row.frames + 1);
        const std::int64_t us = (rig.now() - begin).ps() / 1'000'000;
        if (row.bytes == 1514) {
            CHECK(us >= 419 * 98 / 100);
            CHECK(us <= 419 * 102 / 100 + 1);
        }
        CHECK(rig.controller.read(0x3fa0) == 1);  // MPC
        CHECK(rig.controller.statistics().no_buffer == 1);
    }
}

TEST_CASE("pause: sent above the threshold, renewed, taken back below; obeyed") {
    Rig rig;
    rig.open(0);
    rig.run(Time::us(10));
    VirtualRegisters& r = *rig.registers[0];
    r.write_register(0x1014, srrctl::advanced_one << 25 | 2);
    for (unsigned q = 0; q < 2; ++q) rig.controller.write(reg::qde, qde::write | q << 8);
    rig.controller.write(reg::fcrth, fcrth::enable | 0x10000);
    rig.controller.write(reg::fcrtl, fcrtl::xon_enable | 0x8000);
    rig.controller.write(reg::fcttv, 0x100);
    rig.controller.write(reg::fcrtv, 0x80);
    r.write_register(0x1018, 32);  // no more descriptors than those on chip
    for (int i = 0; i < 200; ++i) {
        rig.controller.received(frame(mac_of(0), stranger, 1514));
        rig.run(Time::ps(1'230'400));
    }
    REQUIRE(rig.wire.count > 3);
    const auto& xoff = rig.wire.frames[0];
    CHECK(xoff.bytes.size() == 60);
    CHECK(load_mac(xoff.bytes.data()) == 0x0100'00c2'8001);
    CHECK(load_mac(&xoff.bytes[6]) == physical_mac);
    CHECK(load_be16(&xoff.bytes[12]) == 0x8808);
    CHECK(load_be16(&xoff.bytes[14]) == 1);
    CHECK(load_be16(&xoff.bytes[16]) == 0x100);
    // Renewed after 0x80 quanta of 51.2 ns.
    CHECK(rig.wire.frames[1].start - xoff.start == Time::ps(0x80 * 51'200));
    rig.wire.frames.clear();
    r.write_register(0x1018, 31);
    rig.run(Time::us(100));
    REQUIRE(!rig.wire.frames.empty());
    CHECK(load_be16(&rig.wire.frames.back().bytes[16]) == 0);
    CHECK(rig.controller.read(0x3f60) == 1);  // LXONTXC
    // The other way.
    Rig sender;
    QueueDriver& vf = sender.open(0);
    sender.run(Time::us(10));
    std::vector<std::byte> pause = frame(0x0100'00c2'8001, stranger, 60, 0);
    store_be16(&pause[12], 0x8808);
    store_be16(&pause[14], 1);
    store_be16(&pause[16], 1000);
    sender.controller.received(pause);
    const Time until = sender.now() + Time::ps(51'200'000);
    REQUIRE(vf.send(frame(stranger, mac_of(0), 60)));
    vf.notify();
    sender.run(Time::us(100));
    REQUIRE(sender.wire.frames.size() == 1);
    CHECK(sender.wire.frames[0].start == until);
}

TEST_CASE("drops are the queue's own, the others go on") {
    Rig rig;
    rig.open(0);
    QueueDriver& second = rig.open(1);
    rig.run(Time::us(10));
    for (int i = 0; i < 1000; ++i) {
        rig.controller.received(frame(mac_of(0), stranger, 60));
        if (i % 10 == 0) rig.controller.received(frame(mac_of(1), stranger, 60));
        rig.run(Time::ps(67'200));
    }
    rig.run(Time::us(20));
    CHECK(rig.controller.statistics().queue_received[0] == 511);
    CHECK(rig.controller.read(0x1430) == 1000 - 511);  // QPRDC(0)
    unsigned got = 0;
    while (!second.receive().bytes.empty()) {
        second.release();
        ++got;
    }
    CHECK(got == 100);
}

// Both keep their rings full for a millisecond; gives frames of each.
std::array<std::uint64_t, 2> compete(Rig& rig, std::size_t first, std::size_t second, bool weighted_later = false) {
    QueueDriver* vf[2] = {&rig.open(0), &rig.open(1)};
    const std::size_t bytes[2] = {first, second};
    rig.wire.keep = false;
    rig.run(Time::us(10));
    const auto sent = [&](unsigned n) { return rig.controller.statistics().queue_sent[2 * n]; };
    std::array<std::uint64_t, 2> before{};
    // First the transmit buffer has to fill, which takes the faster one less long.
    for (int i = 0; i < 300; ++i) {
        if (i == 100) before = {sent(0), sent(1)};
        if (i == 60 && weighted_later) rig.controller.write(reg::rttdcs, rttdcs::weighted_pools);
        for (unsigned n = 0; n < 2; ++n) {
            vf[n]->reclaim();
            while (vf[n]->send(frame(stranger, mac_of(n), bytes[n]))) {
            }
            vf[n]->notify();
        }
        rig.run(Time::us(5));
    }
    return {sent(0) - before[0], sent(1) - before[1]};
}

TEST_CASE("rate limits hold to the frame") {
    struct Row {
        std::uint32_t mbps;
        std::size_t bytes;
    };
    // Against frames of the same size: pools take turns frame by frame.
    for (const Row row : {Row{1000, 1514}, Row{100, 1514}, Row{2500, 60}, Row{10'000, 60}}) {
        CAPTURE(row.mbps);
        CAPTURE(row.bytes);
        Rig rig;
        VfPolicy policy = rig.driver.policy(0);
        policy.rate_mbps = row.mbps;
        rig.driver.set_policy(0, policy);
        const auto sent = compete(rig, row.bytes, row.bytes);
        // In one millisecond, by the bytes on the wire.
        const std::uint64_t wanted = std::uint64_t{row.mbps} * 1000 / ((row.bytes + 24) * 8);
        if (row.mbps < 10'000) {
            CHECK(sent[0] >= wanted - 2);
            CHECK(sent[0] <= wanted + 2);
        }
        // The other has what is left of the wire.
        const std::uint64_t used = (sent[0] + sent[1]) * (row.bytes + 24);
        CHECK(used >= 1'250'000 - 2 * 1538);
        CHECK(used <= 1'250'000 + 2 * 1538);
    }
}

TEST_CASE("pools share frame by frame, or by bytes and weight") {
    Rig plain;
    const auto even = compete(plain, 1514, 60);
    CHECK(even[0] - even[1] + 2 <= 4);
    // By bytes from some moment on: what was sent before it is nobody's debt.
    Rig turned;
    const auto after = compete(turned, 1514, 252, true);
    CHECK(after[0] * 1514 < after[1] * 252 * 11 / 10);
    CHECK(after[0] * 1514 > after[1] * 252 * 9 / 10);
    PhysicalSettings settings;
    settings.weighted = true;
    struct Row {
        std::uint32_t first, second;
        std::uint64_t percent;  // of the wire's bytes for the first, without overhead
    };
    for (const Row row : {Row{32, 32, 50}, Row{96, 32, 75}, Row{32, 288, 10}}) {
        Rig rig{2, settings};
        for (unsigned vf = 0; vf < 2; ++vf) {
            VfPolicy policy = rig.driver.policy(vf);
            policy.share = vf == 0 ? row.first : row.second;
            rig.driver.set_policy(vf, policy);
        }
        const auto sent = compete(rig, 1514, 1014);
        const std::uint64_t bytes[2] = {sent[0] * 1514, sent[1] * 1014};
        const std::uint64_t share = bytes[0] * 1000 / (bytes[0] + bytes[1]);
        CHECK(share >= row.percent * 10 - 15);
        CHECK(share <= row.percent * 10 + 15);
    }
}

TEST_CASE("whoever offers one long frame at a time pays for what its turn does not cover") {
    constexpr std::uint64_t small = 64, large = 16 * small, frame_bytes = 1514, others_bytes = 500;  // shares in bytes
    PhysicalSettings settings;
    settings.weighted = true;
    Rig rig{2, settings};
    for (unsigned vf = 0; vf < 2; ++vf) {
        VfPolicy policy = rig.driver.policy(vf);
        policy.share = static_cast<std::uint32_t>((vf == 0 ? small : large) / 64);
        rig.driver.set_policy(vf, policy);
    }
    QueueDriver &one = rig.open(0), &other = rig.open(1);
    rig.wire.keep = false;
    rig.run(Time::us(10));
    const auto sent = [&](unsigned n) { return rig.controller.statistics().queue_sent[2 * n]; };
    std::array<std::uint64_t, 2> before{};
    // Until the transmit buffer is full there are no turns to wait for.
    for (int i = 0; i < 8000; ++i) {
        if (i == 3000) before = {sent(0), sent(1)};
        one.reclaim();
        if (one.in_ring() == 0) {
            REQUIRE(one.send(frame(stranger, mac_of(0), frame_bytes)));
            one.notify();
        }
        other.reclaim();
        while (other.send(frame(stranger, mac_of(1), others_bytes))) {
        }
        other.notify();
        rig.run(Time::ns(200));
    }
    const std::uint64_t of_one = (sent(0) - before[0]) * frame_bytes, of_other = (sent(1) - before[1]) * others_bytes;
    // A turn of the one for each of the other's and one more, and a frame beyond its last share.
    CHECK(of_one <= (of_other / large + 2) * small + frame_bytes);
    CHECK(of_one >= of_other * small / large / 2);
}

TEST_CASE("write-back: at once, by eight, when moderation's time is up, or as the head") {
    struct Row {
        const char* why;
        std::uint32_t control, throttle;
        std::uint64_t writes, interrupts;
    };
    // Twenty frames at once.
    const Row rows[] = {
        {"each descriptor", 0, 0, 20, 20},
        {"by eight, the rest after the idle time", 8u << 16, 0, 3, 3},
    };
    for (const Row& row : rows) {
        CAPTURE(row.why);
        Rig rig;
        QueueDriver& vf = rig.open(0, row.control, Rig::receive_control, row.throttle);
        rig.registers[0]->write_register(vf_reg::eiam, 0);
        rig.run(Time::us(10));
        rig.bus.writes = 0;
        for (int i = 0; i < 20; ++i) REQUIRE(vf.send(frame(stranger, mac_of(0), 60)));
        vf.notify();
        rig.run(Time::us(10));
        CHECK(rig.bus.writes == row.writes);
        CHECK(rig.bus.interrupts.size() == row.interrupts);
        CHECK(vf.reclaim() == 20);
    }
    // Moderated: the first one finds the counter at zero, eight are enough, the last waits for the counter.
    Rig rig;
    QueueDriver& vf = rig.open(0, 8u << 16, Rig::receive_control, 200);
    rig.registers[0]->write_register(vf_reg::eiam, 0);
    rig.run(Time::us(10));
    for (int i = 0; i < 10; ++i) REQUIRE(vf.send(frame(stranger, mac_of(0), 60)));
    vf.notify();
    rig.run(Time::us(10));
    CHECK(vf.reclaim() == 9);
    REQUIRE(rig.bus.interrupts.size() == 1);
    rig.run(Time::us(60));
    CHECK(vf.reclaim() == 1);
    REQUIRE(rig.bus.interrupts.size() == 2);
    CHECK(rig.bus.interrupts[1].at - rig.bus.interrupts[0].at == Time::ps(25 * 2'048'000));
    // Head write-back: one dword.
    Rig other;
    QueueDriver& head = other.open(0, 0);
    other.registers[0]->write_register(0x203c, 0);
    other.registers[0]->write_register(0x2038, 0x4001);
    other.run(Time::us(10));
    for (int i = 0; i < 5; ++i) REQUIRE(head.send(frame(stranger, mac_of(0), 60)));
    head.notify();
    other.run(Time::us(10));
    std::uint32_t index = 0;
    std::memcpy(&index, &other.bus.memory[0x4000], 4);
    CHECK(index == 5);
    CHECK(head.reclaim() == 0);
}

// Reports around the ring's end are two writes, of which the second is refused.
TEST_CASE("what is written back goes on where there was no more room") {
    Rig rig;
    QueueDriver& driver = rig.open(0);
    rig.run(Time::us(30));
    const auto send = [&](std::uint32_t frames) {
        for (std::uint32_t n = 0; n < frames; ++n) REQUIRE(driver.send(frame(stranger, mac_of(0), 100)));
        driver.notify();
        rig.run(Time::us(100));
    };
    constexpr std::uint32_t before_end = 4, behind = 6;
    for (std::uint32_t left = QueueDriverLayout{}.transmit_descriptors - before_end; left != 0;) {
        const std::uint32_t some = std::min(left, 20u);
        send(some);
        CHECK(driver.reclaim() == some);
        left -= some;
    }
    rig.bus.writes_left = 0;
    send(before_end + behind);
    CHECK(driver.reclaim() == 0);
    for (const std::uint32_t reported : {before_end, behind}) {
        rig.bus.writes_left = 1;
        rig.controller.bus_ready();
        rig.run(Time::us(10));
        CHECK(driver.reclaim() == reported);
    }
}

TEST_CASE("a full bus delays and loses nothing") {
    Rig rig;
    rig.bus.room = 2;
    QueueDriver& first = rig.open(0);
    QueueDriver& second = rig.open(1);
    rig.run(Time::us(30));
    for (int i = 0; i < 50; ++i) {
        REQUIRE(first.send(frame(mac_of(1), mac_of(0), 1000, static_cast<std::uint8_t>(i))));
        REQUIRE(second.send(frame(stranger, mac_of(1), 500)));
    }
    first.notify();
    second.notify();
    for (int i = 0; i < 4000; ++i) {
        rig.bus.writes_left = i % 3 == 0 ? 1 : 0;
        rig.run(Time::ns(50));
        rig.controller.bus_ready();
    }
    CHECK(rig.bus.refusals > 50);
    CHECK(rig.wire.count == 50);
    CHECK(first.reclaim() == 50);
    CHECK(second.reclaim() == 50);
    for (int i = 0; i < 50; ++i) {
        const auto got = second.receive();
        REQUIRE(got.bytes.size() == 1000);
        CHECK(got.bytes[999] == static_cast<std::byte>(i));
        second.release();
    }
}

}  // namespace

}  // namespace capacity_test
