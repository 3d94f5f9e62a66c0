// Signals and messages: monitor pages, interrupt page, flow control both ways, the queue of messages to the guest.
#include <doctest/doctest.h>

#include <string>

#include "tests/vmbus/echo.h"
#include "tests/vmbus/raw_guest.h"

namespace signals_test {

namespace {

using namespace vmbus;
using namespace sim::literals;
using test::echo_type;
using test::EchoDevice;
using test::EchoDriver;
using test::instance;
using test::RawGuest;
using test::text;

constexpr std::uint64_t to_host = RawGuest::monitor_page_to_host * 4096;
constexpr std::uint64_t to_guest = RawGuest::monitor_page_to_guest * 4096;

Offer monitored(std::uint8_t number, std::uint16_t latency_100ns) {
    Offer offer{echo_type, instance(number)};
    offer.monitor_latency_100ns = latency_100ns;
    return offer;
}

TEST_CASE("a monitor page is looked at within its latency, while such a channel is open") {
    RawGuest guest;
    EchoDevice device;
    guest.server.offer(monitored(1, 1000), device);  // 100 us
    const auto offers = guest.connect(version::v5_3, true);
    REQUIRE(offers.size() == 1);
    CHECK(offers[0].monitor_allocated == 1);
    CHECK(offers[0].monitor_id == 0);
    CHECK(guest.simulation.agenda().next_event().is_never());
    REQUIRE(guest.open_at(1, 10) == 0u);
    // What the guest's administrator reads there.
    CHECK(guest.word(to_host) == 1);             // group 0 enabled
    CHECK(guest.word(to_host + 0x240) == 1000);  // latency
    CHECK(guest.word(to_guest + 0x240) == 1000);
    CHECK(guest.word(to_host + 0x440) == 0x2001);  // connection
    guest.run(30_us);
    guest.put_packet(10, 0, 1);
    guest.set_word(to_host + 8, 1);
    guest.run(69_us);
    CHECK(device.packets == 0);
    guest.run(1_us);
    CHECK(device.packets == 1);
    CHECK(guest.word(to_host + 8) == 0);
    guest.run(1_ms);
    CHECK(device.signals == 1);
    guest.close(1);
    CHECK(guest.simulation.agenda().next_event().is_never());
}

TEST_CASE("each monitored channel has its own latency and trigger") {
    RawGuest guest;
    std::vector<EchoDevice> devices(40);
    for (std::uint8_t n = 0; n < 40; ++n)
        guest.server.offer(monitored(n, static_cast<std::uint16_t>(100 * (n + 1))), devices[n]);
    const auto offers = guest.connect(version::v4_0, true);
    REQUIRE(offers.size() == 40);
    REQUIRE(guest.open_at(1, 10) == 0u);   // 10 us
    REQUIRE(guest.open_at(36, 20) == 0u);  // 360 us, in the second group
    CHECK(offers[35].monitor_id == 35);
    CHECK(guest.word(to_host) == 3);
    guest.set_word(to_host + 8, 0xffff'ffff);
    guest.set_word(to_host + 16, 0xffff'ffff);
    guest.set_word(RawGuest::interrupt_page * 4096 + 2048 + 4, 1 << 4);  // relid 36
    guest.run(359_us);
    CHECK(devices[0].signals == 1);
    CHECK(devices[35].signals == 0);
    guest.run(1_us);
    CHECK(devices[35].signals == 1);
    CHECK(guest.word(to_host + 8) == 0xffff'fffe);  // the others' are nobody's
    CHECK(guest.word(to_host + 16) == 0xffff'fff7);
    CHECK(guest.word(RawGuest::interrupt_page * 4096 + 2048 + 4) == 0);
}

TEST_CASE("guests without monitor pages signal monitored channels by hypercall") {
    RawGuest guest;
    EchoDevice device;
    guest.server.offer(monitored(1, 1000), device);
    const auto offers = guest.connect(version::v5_3, false);
    REQUIRE(offers.size() == 1);
    CHECK(offers[0].monitor_allocated == 0);
    REQUIRE(guest.open_at(1, 10) == 0u);
    CHECK(guest.simulation.agenda().next_event().is_never());
    guest.put_packet(10, 0, 1);
    guest.server.guest_signal(0x2001);
    CHECK(device.packets == 1);
}

TEST_CASE("monitor pages that are not memory") {
    RawGuest guest;
    EchoDevice device;
    guest.server.offer(monitored(1, 1000), device);
    message::InitiateContact request;
    request.version = version::v5_3;
    request.interrupt_page_or_target = 2;
    request.monitor_page_to_guest = 0xffff'ffff'ffff'f000;
    request.monitor_page_to_host = 0x8000'0000;
    guest.say(request);
    guest.say(message::RequestOffers{});
    guest.heard.clear();
    REQUIRE(guest.open_at(1, 10) == 0u);
    guest.run(1_ms);
    CHECK(guest.refused(Refusal::interrupt_page) == 11);  // at opening, and every 100 us
    CHECK(device.signals == 0);
}

TEST_CASE("a whole exchange over monitor pages") {
    for (const std::uint32_t newest : {version::v5_3, version::v3_0, version::v1_1, version::v0_13}) {
        CAPTURE(newest);
        test::LoopbackConfig config;
        config.client.newest_version = newest;
        test::Loopback bus{config};
        EchoDevice device;
        EchoDriver driver;
        bus.server.offer(monitored(1, 100), device);
        bus.bind(echo_type, driver);
        bus.connect();
        ClientChannel& channel = *bus.client.find(echo_type);
        for (std::uint64_t n = 0; n < 5; ++n) {
            REQUIRE(channel.send(n, text("by the page"), true));
            channel.flush();
            bus.run(100_us);
        }
        CHECK(driver.got.size() == 5);
        CHECK(bus.wires.events_to_host == 0);
    }
}

TEST_CASE("channels without dedicated interrupts") {
    for (const std::uint32_t newest : {version::v5_3, version::v4_1, version::v2_4}) {
        CAPTURE(newest);
        test::LoopbackConfig config;
        config.client.newest_version = newest;
        config.server.dedicated_interrupts = false;
        test::Loopback bus{config};
        EchoDevice device;
        EchoDriver driver;
        bus.server.offer({echo_type, instance(1)}, device);
        bus.bind(echo_type, driver);
        bus.connect();
        CHECK(bus.offers.at(0).dedicated_interrupt == 0);
        ClientChannel& channel = *bus.client.find(echo_type);
        for (std::uint64_t n = 0; n < 3; ++n) {
            REQUIRE(channel.send(n, text("x"), true));
            channel.flush();
            bus.run(10_us);
        }
        CHECK(driver.got.size() == 3);
        CHECK(bus.wires.events_to_host == 3);
        // No bit is left in the interrupt page, which is the guest's first shared page.
        CHECK(bus.memory.bytes()[16 * 4096 + 2048] == std::byte{0});
    }
}

TEST_CASE("an interrupt page that is not memory") {
    RawGuest guest;
    EchoDevice device;
    guest.server.offer({echo_type, instance(1)}, device);
    message::InitiateContact request;
    request.version = version::v1_1;
    request.interrupt_page_or_target = 0x7fff'ffff'f000;
    guest.say(request);
    guest.say(message::RequestOffers{});
    guest.heard.clear();
    REQUIRE(guest.open_at(1, 10) == 0u);
    guest.put_packet(10, 0, 1);
    guest.server.guest_signal(2);
    CHECK(guest.refused(Refusal::interrupt_page) == 1);
    guest.server.guest_signal(0x2001);
    CHECK(device.packets == 1);
    CHECK(guest.refused(Refusal::interrupt_page) == 2);
    CHECK(guest.events.empty());
}

TEST_CASE("signals for what is not open") {
    RawGuest guest;
    EchoDevice device;
    guest.server.offer({echo_type, instance(1)}, device);
    REQUIRE(guest.connect().size() == 1);
    for (const std::uint32_t connection : {0u, 1u, 2u, 4u, 0x2000u, 0x2001u, 0x2002u, 0x2801u, 0x3001u, 0xffff'ffffu})
        guest.server.guest_signal(connection);
    CHECK(guest.refused(Refusal::stray_signal) == 10);
    CHECK(device.signals == 0);
}

TEST_CASE("a channel that wants no interrupts gets none") {
    RawGuest guest;
    EchoDevice device;
    guest.server.offer({echo_type, instance(1)}, device);
    REQUIRE(guest.connect().size() == 1);
    REQUIRE(guest.open_at(1, 10, message::OpenChannel::no_interrupts) == 0u);
    guest.put_packet(10, 0, 1);
    guest.server.guest_signal(0x2001);
    CHECK(device.packets == 1);
    CHECK(guest.word(12 * 4096) == 32);  // the answer is there
    CHECK(guest.events.empty());
    guest.modify(1, 2);
    CHECK(guest.hear<message::ModifyChannelResponse>()->status != 0);
    CHECK(guest.refused(Refusal::channel_state) == 1);
}

TEST_CASE("what a guest wrote before the channel was open is found") {
    RawGuest guest;
    EchoDevice device;
    guest.server.offer({echo_type, instance(1)}, device);
    REQUIRE(guest.connect().size() == 1);
    REQUIRE(guest.make_gpadl(1, 1, 10, 4) == 0u);
    guest.put_packet(10, 0, 1);
    REQUIRE(guest.open(1, 1) == 0u);
    CHECK(device.packets == 1);
}

TEST_CASE("the device waits for room, and the guest tells of it") {
    test::Loopback bus;
    EchoDevice device;
    EchoDriver driver;
    bus.server.offer({echo_type, instance(1)}, device);
    bus.bindings[echo_type] = {&driver, true, {9, 2}, ReadMode::batched};
    bus.connect();
    ClientChannel& channel = *bus.client.find(echo_type);
    // 30 answers of 1 KiB do not fit into 4 KiB.
    const std::vector<std::byte> payload(1000);
    for (std::uint64_t n = 0; n < 30; ++n) REQUIRE(channel.send(n, payload, true));
    channel.flush();
    bus.run(5_us);
    CHECK(driver.got.size() >= 3);
    bus.run(100_us);
    CHECK(driver.got.size() == 30);
    CHECK(device.packets == 30);
}

TEST_CASE("the guest waits for room, and the device tells of it") {
    test::Loopback bus;
    EchoDevice device;
    EchoDriver driver;
    bus.server.offer({echo_type, instance(1)}, device);
    bus.bindings[echo_type] = {&driver, true, {2, 9}, ReadMode::batched};
    bus.connect();
    std::uint64_t sent = 0;
    const std::vector<std::byte> payload(1000);
    const auto send = [&](ClientChannel& channel) {
        while (sent < 50 && channel.send(sent, payload, false)) ++sent;
        channel.flush();
    };
    driver.on_signalled = send;
    send(*bus.client.find(echo_type));
    CHECK(sent == 3);
    bus.run(200_us);
    CHECK(sent == 50);
    CHECK(device.packets == 50);
}

TEST_CASE("a guest that does not tell of room is asked every millisecond") {
    RawGuest guest;
    EchoDevice device;
    guest.server.offer({echo_type, instance(1)}, device);
    REQUIRE(guest.connect().size() == 1);
    REQUIRE(guest.open_at(1, 10) == 0u);
    // A packet whose answer does not fit: the ring to the guest is almost full.
    CHECK(guest.word(10 * 4096 + 64) == 0);  // the guest's writer knows nothing of pending_send_size
    for (std::uint64_t n = 0; n < 127; ++n) guest.put_packet(10, static_cast<std::uint32_t>(n * 32), n);
    guest.server.guest_signal(0x2001);
    CHECK(device.packets == 127);
    guest.set_word(10 * 4096, 0);
    for (std::uint64_t n = 127; n < 128; ++n) {
        guest.put_packet(10, 127 * 32 - 4096 + 4096, n);
        guest.set_word(10 * 4096, 0);
    }
    guest.server.guest_signal(0x2001);
    CHECK(device.packets == 128);
    CHECK(device.answers.size() == 1);
    CHECK(guest.word(12 * 4096 + 12) == 32);  // asked for all the same
    CHECK(guest.word(12 * 4096) == 127 * 32);
    guest.set_word(12 * 4096 + 4, 64);  // the guest takes two
    guest.run(999_us);
    CHECK(device.answers.size() == 1);
    guest.run(1_us);
    CHECK(device.answers.empty());
    CHECK(guest.word(12 * 4096) == 0);
    CHECK(guest.simulation.agenda().next_event().is_never());
}

TEST_CASE("messages wait while the guest's queue is full, in order") {
    RawGuest guest;
    EchoDevice device;
    for (std::uint8_t n = 0; n < 20; ++n) guest.server.offer({echo_type, instance(n)}, device);
    (void)guest.contact(version::v5_3);
    guest.room = 5;
    guest.say(message::RequestOffers{});
    CHECK(guest.heard.size() == 5);
    CHECK(guest.server.queued_messages() == 16);
    guest.run(9_us);
    guest.room = 10;
    CHECK(guest.heard.size() == 5);
    guest.run(1_us);
    CHECK(guest.heard.size() == 10);
    // Tried again after 10, 20, 40 ... us, at most 1 ms apart.
    guest.run(10_ms);
    guest.room = 100;
    guest.run(1_ms);
    CHECK(guest.heard.size() == 21);
    for (std::uint32_t n = 1; n <= 20; ++n) CHECK(guest.hear<message::OfferChannel>()->relid == n);
    CHECK(guest.hear<message::AllOffersDelivered>());
    CHECK(guest.simulation.agenda().next_event().is_never());
}

TEST_CASE("a guest that reads nothing gets nothing done, and takes no memory") {
    RawGuest guest;
    EchoDevice device;
    guest.server.offer({echo_type, instance(1)}, device);
    REQUIRE(guest.connect().size() == 1);
    guest.room = 0;
    for (int n = 0; n < 10'000; ++n) guest.modify(1, 9);
    CHECK(guest.server.queued_messages() == 257 + 256);  // its answers, its requests
    CHECK(guest.refused(Refusal::overload) == 10'000 - 257 - 256);
    CHECK(guest.refused(Refusal::channel_state) == 257);
    // It may read, later.
    guest.room = 1'000'000;
    guest.run(2_ms);
    CHECK(guest.heard.size() == 513);
    CHECK(guest.server.queued_messages() == 0);
    // A new contact forgets what nobody read.
    guest.room = guest.heard.size();
    for (int n = 0; n < 1000; ++n) guest.modify(1, 9);
    guest.room = 1'000'000;
    guest.server.reset();
    CHECK(guest.server.queued_messages() == 0);
    guest.run(2_ms);
    CHECK(guest.heard.size() == 513);
}

}  // namespace

}  // namespace signals_test
