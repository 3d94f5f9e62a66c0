// A behavioural guest's driver of a virtual function, against the 82599 behind its link and the IOMMU.
#include "models/behavioural/vf_driver.h"

#include <doctest/doctest.h>

#include "models/network/toeplitz.h"
#include "models/profiles.h"
#include "tests/models/network_frames.h"
#include "tests/models/vf_rig.h"

namespace behavioural_vf_test {

using namespace models;
using namespace models::test;
using sim::Time;
using sriov_nic::VfKind;

namespace {

constexpr std::uint64_t device_space = 0x10'0000'0000;

struct Rig {
    explicit Rig(VfDriver::Config config = VfDriver::config(find_profile("one-nanosecond").driver_costs, device_space))
        : host(loop, config.kind), guest(loop, 4), function(guest, host.pci, host.root, *host.source) {
        driver.emplace(loop.simulation.scope("guest.vf"), guest, stack, config);
        stack.driver = &*driver;
        stack.own = VfHost::guest_mac;
        stack.peer = VfHost::far_mac;
    }
    void up() {
        loop.client.connect();
        loop.run(Time::ms(1));
        function.offer();
        loop.run(Time::ms(20));
        REQUIRE(driver->is_up());
        host.source->steer_to_vf(true);
    }
    void run(Time time) { loop.run(time); }

    vmbus::test::Loopback loop;
    VfHost host;
    PlainGuest guest;
    PlainFunction function;
    TestStack stack{loop.simulation.scope("stack")};
    std::optional<VfDriver> driver;
};

VfDriver::Config small(VfKind kind = VfKind::hyper_v, std::uint16_t queues = 1) {
    VfDriver::Config config = VfDriver::config(find_profile("one-nanosecond").driver_costs, device_space);
    config.kind = kind;
    config.queues = queues;
    config.layout.transmit_descriptors = 64;
    config.layout.receive_descriptors = 64;
    return config;
}

}  // namespace

TEST_CASE("behavioural VF driver: both kinds come up") {
    struct Row {
        VfKind kind;
        std::uint16_t wanted, given;
    };
    for (const Row& row : {Row{VfKind::hyper_v, 1, 1}, Row{VfKind::hyper_v, 4, 1}, Row{VfKind::mailbox, 1, 1},
                           Row{VfKind::mailbox, 2, 2}, Row{VfKind::mailbox, 4, 2}}) {
        CAPTURE(row.wanted);
        Rig rig(small(row.kind, row.wanted));
        CHECK_FALSE(rig.driver->is_up());
        rig.up();
        CHECK(rig.stack.ups == 1);
        CHECK(rig.driver->queues() == row.given);
        CHECK(rig.driver->address().bytes == VfHost::guest_mac.bytes);
        CHECK(rig.driver->serial() == 7);
        CHECK(rig.driver->pci().version() == vmbus::virtual_pci::version_1_4);
        CHECK(rig.driver->path() == "virtual function");
        CHECK(rig.host.pci.iommu().faults().size() == 0);
    }
}

TEST_CASE("behavioural VF driver: frames both ways, many times around the rings") {
    for (const VfKind kind : {VfKind::hyper_v, VfKind::mailbox}) {
        VfDriver::Config config = small(kind);
        config.layout.receive_descriptors = 256;  // more than come in the 50 us between interrupts
        Rig rig(config);
        rig.up();
        rig.stack.frame_bytes = 1514;
        rig.stack.send(3000);
        CHECK(rig.stack.sent == 1024);
        rig.host.from_wire(0, 2000, 1000);
        rig.run(Time::ms(20));
        CHECK(rig.stack.sent == 3000);
        CHECK(rig.stack.rooms > 0);
        CHECK(rig.host.far.numbers.got.size() == 3000);
        CHECK(rig.host.far.numbers.counts_up());
        CHECK(rig.stack.numbers.got.size() == 2000);
        CHECK(rig.stack.numbers.counts_up());
        CHECK(rig.host.pci.iommu().faults().size() == 0);
    }
}

TEST_CASE("behavioural VF driver: offloads by context descriptors") {
    for (const VfKind kind : {VfKind::hyper_v, VfKind::mailbox}) {
        Rig rig(small(kind));
        rig.up();
        rig.host.far.keep = true;
        const network_test::Ends ends{VfHost::far_mac, VfHost::guest_mac, IpAddress::v4(0x0a000002),
                                      IpAddress::v4(0x0a000001)};
        // 30,000 bytes of TCP in segments of 1448.
        const std::vector<std::byte> data = network_test::counted_bytes(30'000);
        TcpSegment segment;
        segment.source_port = 1000;
        segment.destination_port = 2000;
        segment.sequence = 0xffff'f000;
        segment.flags = tcp_flag::ack | tcp_flag::psh;
        vmbus::OutgoingFrame large;
        large.bytes = network_test::tcp_packet(ends, segment, data).bytes;
        large.large_send_mss = 1448;
        large.fill_tcp_checksum = large.fill_ip_checksum = true;
        REQUIRE(rig.driver->transmit(std::move(large)));
        vmbus::OutgoingFrame datagram;
        datagram.bytes = network_test::udp_packet(ends, 5, 6, 333).bytes;
        datagram.fill_udp_checksum = datagram.fill_ip_checksum = true;
        REQUIRE(rig.driver->transmit(std::move(datagram)));
        rig.run(Time::ms(1));
        REQUIRE(rig.host.far.frames.size() == 22);
        std::vector<std::byte> got;
        for (Frame& frame : rig.host.far.frames) {
            verify_checksums(frame);
            CHECK(frame.ip_verdict == ChecksumVerdict::good);
            CHECK(frame.transport_verdict == ChecksumVerdict::good);
            const auto headers = parse_headers(frame);
            if (!headers->is_tcp()) continue;
            CHECK(load_be32(frame.bytes, headers->transport_offset + 4) ==
                  static_cast<std::uint32_t>(segment.sequence + got.size()));
            got.insert(got.end(), frame.bytes.begin() + headers->payload_offset, frame.bytes.begin() + headers->end);
        }
        CHECK(got == data);

        // The other way: verdicts.
        rig.stack.keep = true;
        const network_test::Ends back{VfHost::guest_mac, VfHost::far_mac, ends.from, ends.to};
        Frame good = network_test::udp_packet(back, 6, 5, 100);
        REQUIRE(fill_checksums(good));
        Frame bad = good;
        bad.bytes[60] ^= std::byte{1};
        rig.host.adapter->from_wire().receive(std::move(good));
        rig.host.adapter->from_wire().receive(std::move(bad));
        rig.run(Time::ms(1));
        REQUIRE(rig.stack.others.size() == 2);
        CHECK(rig.stack.others[0].udp_checksum == vmbus::ChecksumState::good);
        CHECK(rig.stack.others[0].ip_checksum == vmbus::ChecksumState::good);
        CHECK(rig.stack.others[1].udp_checksum == vmbus::ChecksumState::bad);
    }
}

TEST_CASE("behavioural VF driver: two queues, two vectors, two processors") {
    Rig rig(small(VfKind::mailbox, 2));
    rig.up();
    CHECK(rig.driver->processor_of(0) == 0);
    CHECK(rig.driver->processor_of(1) == 1);
    rig.stack.keep = true;
    const network_test::Ends ends{VfHost::guest_mac, VfHost::far_mac, IpAddress::v4(0x0a000001),
                                  IpAddress::v4(0x0a000002)};
    for (std::uint16_t port = 0; port < 40; ++port) {
        TcpSegment segment;
        segment.source_port = static_cast<std::uint16_t>(1000 + port);
        segment.destination_port = 80;
        Frame frame = network_test::tcp_packet(ends, segment, network_test::counted_bytes(10));
        REQUIRE(fill_checksums(frame));
        rig.host.adapter->from_wire().receive(std::move(frame));
        rig.run(Time::us(10));
    }
    rig.run(Time::ms(1));
    REQUIRE(rig.stack.others.size() == 40);
    CHECK(rig.stack.queues == std::set<std::uint16_t>{0, 1});
    for (const vmbus::IncomingFrame& frame : rig.stack.others) CHECK(frame.hash.has_value());
    CHECK(rig.guest.vps[0]->ledger()["guest.network.receive"] > Time::zero());
    CHECK(rig.guest.vps[1]->ledger()["guest.network.receive"] > Time::zero());
    // Sent by hash, by both.
    rig.host.far.keep = true;
    for (std::uint32_t hash = 0; hash < 10; ++hash) {
        vmbus::OutgoingFrame frame;
        frame.bytes = numbered_frame(VfHost::far_mac, VfHost::guest_mac, hash);
        frame.hash = hash;
        REQUIRE(rig.driver->transmit(std::move(frame)));
    }
    rig.run(Time::ms(1));
    CHECK(rig.host.far.frames.size() == 10);
    CHECK(rig.guest.vps[0]->ledger()["guest.network.send"] == rig.guest.vps[1]->ledger()["guest.network.send"]);
}

TEST_CASE("behavioural VF driver: what a frame costs, to the picosecond") {
    const DriverCosts costs = find_profile("one-nanosecond").driver_costs;
    VfDriver::Config config = small();
    config.vectors.moderation = Moderation::low_latency;
    Rig rig(config);
    rig.up();
    rig.guest.clear_ledgers();
    const std::uint64_t interrupts = rig.guest.interrupts, writes = rig.guest.writes;
    rig.stack.send(3);
    rig.run(Time::ms(1));
    REQUIRE(rig.host.far.numbers.got.size() == 3);
    // Three frames at once: one write of the tail. Their completions: one interrupt, one poll, one write that unmasks.
    CHECK(rig.guest.spent("guest.network.send") == costs.sent * 3);
    CHECK(rig.guest.interrupts - interrupts == 1);
    CHECK(rig.guest.spent("guest.network.interrupt") == costs.interrupt);
    CHECK(rig.guest.spent("guest.network.poll") == costs.poll);
    CHECK(rig.guest.writes - writes == 2);
    CHECK(rig.guest.busy() == costs.sent * 3 + costs.interrupt + costs.poll + PlainGuest::register_write * 2 +
                                  PlainProcessor::interrupt_time);
    rig.guest.clear_ledgers();
    rig.host.from_wire(0, 1);
    rig.run(Time::ms(1));
    REQUIRE(rig.stack.numbers.got.size() == 1);
    CHECK(rig.guest.spent("guest.network.receive") == costs.received);
    CHECK(rig.guest.busy() ==
          costs.received + costs.interrupt + costs.poll + PlainGuest::register_write + PlainProcessor::interrupt_time);
    // A frame of 9 KB takes a context and three pieces.
    rig.guest.clear_ledgers();
    rig.stack.frame_bytes = 1514;
    vmbus::OutgoingFrame large;
    large.bytes = network_test::tcp_packet(
                      {VfHost::far_mac, VfHost::guest_mac, IpAddress::v4(0x0a000002), IpAddress::v4(0x0a000001)}, {},
                      network_test::counted_bytes(9000))
                      .bytes;
    large.large_send_mss = 1448;
    REQUIRE(rig.driver->transmit(std::move(large)));
    rig.run(Time::ms(1));
    CHECK(rig.guest.spent("guest.network.send") == costs.sent + costs.descriptor * 2);
}

TEST_CASE("behavioural VF driver: moderation") {
    const auto interrupts_in = [](Rig& rig, Time gap, unsigned frames, std::size_t bytes) {
        const auto feed = [&](unsigned count) {
            for (unsigned n = 0; n < count; ++n) {
                rig.host.adapter->from_wire().receive(
                    Frame{numbered_frame(VfHost::guest_mac, VfHost::far_mac, n, bytes)});
                rig.run(gap);
            }
        };
        feed(frames);
        const std::uint64_t before = rig.guest.interrupts;
        feed(frames);
        return rig.guest.interrupts - before;
    };
    struct Row {
        Moderation moderation;
        std::uint32_t interval;
        Time gap;
        std::size_t bytes;
        std::uint64_t expected;  // in 20 ms
    };
    const Row rows[] = {
        {Moderation::low_latency, 0, Time::us(20), 60, 1000},                    // one each
        {Moderation::fixed, eitr_value::per_second_20k, Time::us(20), 60, 391},  // 51.2 us apart
        {Moderation::fixed, eitr_value::per_second_12k, Time::us(20), 60, 233},
        {Moderation::fixed, 0xff8, Time::us(20), 60, 19},
        {Moderation::adaptive, 0, Time::us(20), 60, 1000},  // few bytes: as they come
        {Moderation::adaptive, 0, Time::us(2), 1514, 244},  // many: 12,000 a second
    };
    for (const Row& row : rows) {
        CAPTURE(row.interval);
        CAPTURE(static_cast<unsigned>(row.moderation));
        VfDriver::Config config = small();
        config.layout.receive_descriptors = 1024;
        config.vectors.moderation = row.moderation;
        config.vectors.interval = row.interval;
        Rig rig(config);
        rig.up();
        const auto frames = static_cast<unsigned>(Time::ms(20) / row.gap);
        CHECK(interrupts_in(rig, row.gap, frames, row.bytes) == row.expected);
        rig.run(Time::ms(2));
        CHECK(rig.stack.numbers.got.size() == 2 * frames);
    }
}

TEST_CASE("behavioural VF driver: ixgbevf's classes of latency") {
    // From 20,000 a second. Bytes in the interval so far say lowest, low, bulk; the register follows by tenths.
    AdaptiveInterval adaptive;
    ModeratedTraffic sent, received{1, 60};
    CHECK(adaptive.update(sent, received).value_or(0) == 136);  // 10 * 40 * 200 / (9 * 40 + 200) = 142
    CHECK(adaptive.value() == 142);
    CHECK(received.frames == 0);
    // Nothing came: the class stays, the value goes on towards it.
    CHECK(adaptive.update(sent, received).value_or(0) == 112);  // 10 * 40 * 142 / (9 * 40 + 142) = 113
    // Bulk traffic: one class at a time.
    received = {100, 150'000};
    CHECK(adaptive.update(sent, received).value_or(0) == 112);  // low: 10 * 200 * 113 / (9 * 200 + 113) = 118
    CHECK(adaptive.value() == 118);
    received = {100, 150'000};
    CHECK(adaptive.update(sent, received).value_or(0) == 120);  // bulk: 10 * 336 * 118 / (9 * 336 + 118) = 126
    for (unsigned n = 0; n < 100; ++n) {
        received = {100, 150'000};
        (void)adaptive.update(sent, received);
    }
    CHECK(adaptive.value() == 326);  // beyond that a tenth is rounded away
    // What is sent counts as well: the larger class of the two.
    sent = {100, 150'000};
    received = {1, 60};
    (void)adaptive.update(sent, received);
    CHECK(adaptive.value() == 306);  // both are low now: 10 * 200 * 326 / (9 * 200 + 326)
    sent = received = {1, 60};
    (void)adaptive.update(sent, received);
    CHECK(adaptive.value() == 183);  // lowest: 10 * 40 * 306 / (9 * 40 + 306)
}

TEST_CASE("behavioural VF driver: a driver that only polls sends and receives as many as published") {
    VfDriver::Config config = VfDriver::config(find_profile("sandy-bridge-ep").driver_costs, device_space);
    config.vectors.polling = true;
    Rig rig(config);
    rig.up();
    const std::uint64_t interrupts = rig.guest.interrupts;
    rig.stack.send(200'000);
    rig.run(Time::ms(1));
    const std::size_t begin = rig.host.far.numbers.got.size();
    rig.run(Time::ms(5));
    const std::size_t sent = rig.host.far.numbers.got.size() - begin;
    MESSAGE("sent in 5 ms: ", sent);
    CHECK(sent >= 5 * 11'300);
    CHECK(sent <= 5 * 12'500);
    rig.run(Time::ms(20));
    // At line rate, 67.2 ns apart, more come than it takes.
    rig.host.from_wire(0, 30'000);
    const std::size_t before = rig.stack.numbers.got.size();
    const Time start = rig.loop.simulation.agenda().now();
    rig.host.from_wire(30'000, 50'000);
    const Time took = rig.loop.simulation.agenda().now() - start;
    const auto rate =
        static_cast<std::int64_t>(rig.stack.numbers.got.size() - before) * 1'000'000'000 / (took.ps() / 1000);
    MESSAGE("received per second: ", rate);
    CHECK(rate >= 10'200'000);
    CHECK(rate <= 12'300'000);
    CHECK(rig.guest.interrupts == interrupts);
}

TEST_CASE("behavioural VF driver: a checkpoint in the middle of traffic") {
    const auto config = [] {
        VfDriver::Config made = small(VfKind::mailbox, 2);
        made.layout.receive_descriptors = 1024;  // frames come faster than they are taken
        return made;
    };
    Rig straight(config());
    straight.up();
    straight.stack.frame_bytes = 700;
    straight.stack.send(1500);
    straight.host.from_wire(0, 300, 400);
    const std::vector<std::byte> checkpoint = straight.loop.simulation.save();
    Rig restored(config());
    restored.function.offer();  // as the machine is built
    restored.loop.simulation.restore(checkpoint);
    REQUIRE(restored.host.far.numbers.got.size() < 1500);
    for (Rig* rig : {&straight, &restored}) {
        rig->host.from_wire(300, 300, 400);
        rig->run(Time::ms(10));
        CHECK(rig->host.far.numbers.got.size() == 1500);
        CHECK(rig->host.far.numbers.counts_up());
        CHECK(rig->stack.numbers.got.size() == 600);
        CHECK(rig->stack.numbers.counts_up());
    }
    CHECK(straight.guest.busy() == restored.guest.busy());
    CHECK(straight.loop.simulation.save() == restored.loop.simulation.save());
}

TEST_CASE("behavioural VF driver: the function goes, by policy and by surprise, and comes again") {
    Rig rig(small());
    rig.up();
    const std::uint64_t free = rig.loop.pages.available();
    for (unsigned turn = 1; turn <= 6; ++turn) {
        rig.stack.send(200);
        rig.run(Time::us(20));  // some are on their way
        if (turn % 2 != 0) {
            rig.function.eject();
        } else {
            rig.function.take();
        }
        rig.run(Time::ms(5));
        CHECK_FALSE(rig.function.offered());
        CHECK_FALSE(rig.driver->is_up());
        CHECK_FALSE(rig.driver->present());
        CHECK(rig.driver->serial() == 0);
        CHECK(rig.stack.downs == turn);
        // Neither memory of the function nor of its channel is left in use.
        CHECK(rig.loop.pages.available() > free);
        rig.function.source().start_vf();
        rig.function.offer();
        rig.run(Time::ms(20));
        REQUIRE(rig.driver->is_up());
        CHECK(rig.stack.ups == turn + 1);
        rig.host.source->steer_to_vf(true);
        rig.run(Time::ms(5));
        CHECK(rig.stack.sent == 200 * turn);
        CHECK(rig.host.far.numbers.damaged == 0);
    }
}

}  // namespace behavioural_vf_test
