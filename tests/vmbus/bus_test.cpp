// The lives of channels on a bus: offers, opening and closing, rescinding, sub-channels, unloading, beginning anew.
#include <doctest/doctest.h>

#include <string>

#include "tests/vmbus/echo.h"
#include "tests/vmbus/raw_guest.h"

namespace bus_test {

namespace {

using namespace vmbus;
using namespace sim::literals;
using test::echo_type;
using test::EchoDevice;
using test::EchoDriver;
using test::instance;
using test::other_type;
using test::RawGuest;
using test::text;

TEST_CASE("a channel is offered, opened, speaks and closes") {
    test::Loopback bus;
    EchoDevice device;
    EchoDriver driver;
    bus.server.offer({echo_type, instance(1)}, device);
    bus.bind(echo_type, driver);
    bus.connect();
    CHECK(bus.client.version() == version::v5_3);
    CHECK(bus.offers_complete == 1);
    REQUIRE(bus.offers.size() == 1);
    CHECK(driver.statuses == std::vector<std::uint32_t>{0});
    CHECK(device.opens == 1);
    const std::uint64_t pages = bus.pages.available();
    ClientChannel* channel = bus.client.find(echo_type);
    REQUIRE(channel != nullptr);
    REQUIRE(channel->send(77, text("hello, h"), true));
    channel->flush();
    bus.run(10_us);
    REQUIRE(driver.got.size() == 1);
    CHECK(driver.got[0].type == PacketType::completion);
    CHECK(driver.got[0].transaction == 77);
    CHECK(driver.got[0].payload == text("hello, h"));
    channel->close();
    bus.run(10_us);
    CHECK(device.closes == 1);
    CHECK(bus.server.gpadl_pages() == 0);
    CHECK(bus.pages.available() == pages + 8);
    // And again.
    REQUIRE(channel->open({3, 2}, 1));
    bus.run(10_us);
    CHECK(driver.statuses == std::vector<std::uint32_t>{0, 0});
    REQUIRE(channel->send(78, text("again"), true));
    channel->flush();
    bus.run(10_us);
    REQUIRE(driver.got.size() == 2);
    CHECK(bus.wires.last_event == std::pair<std::uint32_t, std::uint16_t>{1, 1});
    CHECK(device.opens == 2);
}

TEST_CASE("an offer's bytes") {
    RawGuest guest;
    EchoDevice device;
    Offer offer{interface_type::network, guid("00112233-4455-6677-8899-aabbccddeeff"), 0x2211};
    offer.mmio_megabytes = 0x4433;
    offer.user_defined[0] = std::byte{0x55};
    offer.user_defined[119] = std::byte{0x66};
    offer.sub_channel_index = 9;  // only sub-channels have one
    guest.server.offer(offer, device);
    (void)guest.contact(version::v5_3);
    guest.say(message::RequestOffers{});
    REQUIRE(guest.heard.size() == 2);
    std::vector<std::uint8_t> expected(196);
    expected[0] = 1;
    const std::uint8_t network[] = {0x63, 0x51, 0x61, 0xf8, 0x3e, 0xdf, 0xc5, 0x46,
                                    0x91, 0x3f, 0xf2, 0xd2, 0xf9, 0x65, 0xed, 0x0e};
    const std::uint8_t own[] = {0x33, 0x22, 0x11, 0x00, 0x55, 0x44, 0x77, 0x66,
                                0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff};
    std::copy_n(network, 16, expected.begin() + 8);
    std::copy_n(own, 16, expected.begin() + 24);
    expected[56] = 0x11;
    expected[57] = 0x22;
    expected[58] = 0x33;
    expected[59] = 0x44;
    expected[60] = 0x55;
    expected[179] = 0x66;
    expected[184] = 1;
    expected[190] = 1;
    expected[192] = 0x01;
    expected[193] = 0x20;
    CHECK(std::memcmp(guest.heard[0].second.data(), expected.data(), 196) == 0);
    CHECK(guest.heard[0].second.size() == 196);
    CHECK(guest.heard[1].second.size() == 8);
    CHECK(describe(guest.heard[0].second) ==
          "offer_channel relid=1 type=f8615163-df3e-46c5-913f-f2d2f965ed0e "
          "instance=00112233-4455-6677-8899-aabbccddeeff sub-channel=0 connection=0x2001");
    CHECK(describe(guest.heard[1].second) == "all_offers_delivered");
}

TEST_CASE("offers made before and after the guest asked") {
    RawGuest guest;
    EchoDevice device;
    guest.server.offer({other_type, instance(3)}, device);
    guest.server.offer({echo_type, instance(1)}, device);
    CHECK(guest.heard.empty());
    (void)guest.contact(version::v5_3);
    guest.server.offer({echo_type, instance(2)}, device);
    CHECK(guest.heard.empty());
    guest.say(message::RequestOffers{});
    // In the order of their making.
    for (std::uint32_t n = 1; n <= 3; ++n) {
        const auto offer = guest.hear<message::OfferChannel>();
        REQUIRE(offer);
        CHECK(offer->relid == n);
        CHECK(offer->instance.bytes[15] == (n == 1 ? 3 : n - 1));
    }
    CHECK(guest.hear<message::AllOffersDelivered>());
    guest.server.offer({echo_type, instance(4)}, device);
    const auto late = guest.hear<message::OfferChannel>();
    REQUIRE(late);
    CHECK(late->relid == 4);
    guest.say(message::RequestOffers{});
    CHECK(guest.heard.empty());
    CHECK(guest.refused(Refusal::offers_asked_for_again) == 1);
}

TEST_CASE("opening: what is checked, and what the device says") {
    struct Row {
        std::string what;
        std::uint32_t gpadl;
        std::uint32_t vp;
        std::uint32_t split;
        std::uint32_t device_answer;
        std::uint32_t status;
        std::optional<Refusal> refusal;
    };
    const std::uint32_t bad = status::unsuccessful;
    const std::vector<Row> rows{
        {"good", 1, 3, 2, 0, 0, std::nullopt},
        {"good, the other ring as small as may be", 1, 3, 6, 0, 0, std::nullopt},
        {"no interrupts", 1, 0xffff'ffff, 2, 0, 0, std::nullopt},
        {"no such processor", 1, 4, 2, 0, bad, Refusal::bad_processor},
        {"no such GPADL", 9, 0, 2, 0, bad, Refusal::unknown_gpadl},
        {"a GPADL that is not complete", 2, 0, 2, 0, bad, Refusal::gpadl_state},
        {"a GPADL of part of a page", 3, 0, 2, 0, bad, Refusal::ring_form},
        {"another channel's GPADL", 4, 0, 2, 0, bad, Refusal::unknown_gpadl},
        {"no ring to the host", 1, 0, 0, 0, bad, Refusal::ring_form},
        {"no data to the host", 1, 0, 1, 0, bad, Refusal::ring_form},
        {"no data to the guest", 1, 0, 7, 0, bad, Refusal::ring_form},
        {"no ring to the guest", 1, 0, 8, 0, bad, Refusal::ring_form},
        {"a split far outside", 1, 0, 0xffff'ffff, 0, bad, Refusal::ring_form},
        {"indices that are none", 5, 0, 2, 0, bad, Refusal::ring_fault},
        {"the device refuses", 1, 0, 2, 0xc000'0001, 0xc000'0001, Refusal::closed_by_device},
    };
    for (const Row& row : rows) {
        CAPTURE(row.what);
        RawGuest guest;
        EchoDevice device;
        guest.server.offer({echo_type, instance(1)}, device);
        guest.server.offer({echo_type, instance(2)}, device);
        REQUIRE(guest.connect().size() == 2);
        REQUIRE(guest.make_gpadl(1, 1, 10, 8) == 0u);
        message::GpadlHeader part;
        part.relid = 1;
        part.gpadl = 2;
        part.range_bytes = 8 * 9;
        part.range_count = 1;
        const std::uint64_t words[] = {8 * 4096, 20, 21};
        guest.say(part, words);
        part.gpadl = 3;
        part.range_bytes = 8 * 9;
        const std::uint64_t odd[] = {8 * 4096 - 8, 20, 21, 22, 23, 24, 25, 26, 27};
        guest.say(part, odd);
        REQUIRE(guest.hear<message::GpadlCreated>());
        REQUIRE(guest.make_gpadl(2, 4, 30, 8) == 0u);
        REQUIRE(guest.make_gpadl(1, 5, 40, 8) == 0u);
        guest.set_word(40 * 4096, 4096);
        device.answer = row.device_answer;
        CHECK(guest.open(1, row.gpadl, row.vp, row.split) == row.status);
        CHECK(guest.all_refused() == (row.refusal ? 1 : 0));
        if (row.refusal) CHECK(guest.refused(*row.refusal) == 1);
        CHECK(guest.connections.contains(0x2001) == (row.status == 0));
        // A refused channel can be opened still.
        device.answer = 0;
        if (row.status != 0) CHECK(guest.open(1, 1) == 0u);
    }
}

// What each request does in each state of a channel: the answer's kind, and what is counted.
TEST_CASE("requests by the channel's state") {
    enum class State { unknown, offered, open, rescinded };
    enum class Request { open, close, gpadl, teardown, release, modify };
    struct Row {
        State state;
        Request request;
        std::optional<MessageType> answer;
        bool good;  // its status
        std::optional<Refusal> refusal;
    };
    using M = MessageType;
    const std::vector<Row> rows{
        {State::unknown, Request::open, std::nullopt, false, Refusal::unknown_relid},
        {State::unknown, Request::close, std::nullopt, false, Refusal::unknown_relid},
        {State::unknown, Request::gpadl, M::gpadl_created, false, Refusal::unknown_relid},
        {State::unknown, Request::teardown, std::nullopt, false, Refusal::unknown_relid},
        {State::unknown, Request::release, std::nullopt, false, Refusal::unknown_relid},
        {State::unknown, Request::modify, M::modify_channel_response, false, Refusal::unknown_relid},
        {State::offered, Request::open, M::open_channel_result, true, std::nullopt},
        {State::offered, Request::close, std::nullopt, false, Refusal::channel_state},
        {State::offered, Request::gpadl, M::gpadl_created, true, std::nullopt},
        {State::offered, Request::teardown, M::gpadl_torn_down, true, std::nullopt},
        {State::offered, Request::release, std::nullopt, false, std::nullopt},
        {State::offered, Request::modify, M::modify_channel_response, false, Refusal::channel_state},
        {State::open, Request::open, std::nullopt, false, Refusal::channel_state},
        {State::open, Request::close, std::nullopt, false, std::nullopt},
        {State::open, Request::gpadl, M::gpadl_created, true, std::nullopt},
        {State::open, Request::teardown, std::nullopt, false, Refusal::gpadl_state},  // of its rings
        {State::open, Request::release, std::nullopt, false, Refusal::channel_state},
        {State::open, Request::modify, M::modify_channel_response, true, std::nullopt},
        {State::rescinded, Request::open, std::nullopt, false, std::nullopt},
        {State::rescinded, Request::close, std::nullopt, false, std::nullopt},
        {State::rescinded, Request::gpadl, M::gpadl_created, true, std::nullopt},
        {State::rescinded, Request::teardown, M::gpadl_torn_down, true, std::nullopt},
        {State::rescinded, Request::release, std::nullopt, false, std::nullopt},
        {State::rescinded, Request::modify, M::modify_channel_response, false, Refusal::channel_state},
    };
    for (std::size_t n = 0; n < rows.size(); ++n) {
        const Row& row = rows[n];
        CAPTURE(n);
        RawGuest guest;
        EchoDevice device;
        Channel& channel = guest.server.offer({echo_type, instance(1)}, device);
        REQUIRE(guest.connect().size() == 1);
        const std::uint32_t relid = row.state == State::unknown ? 7 : 1;
        REQUIRE(guest.make_gpadl(1, 101, 10, 4) == 0u);
        if (row.state == State::open) REQUIRE(guest.open(1, 101) == 0u);
        if (row.state == State::rescinded) {
            guest.server.rescind(channel);
            REQUIRE(guest.hear<message::RescindOffer>());
        }
        switch (row.request) {
            case Request::open: {
                message::OpenChannel request;
                request.relid = relid;
                request.ring_gpadl = 101;
                request.downstream_page_offset = 2;
                guest.say(request);
                break;
            }
            case Request::close:
                guest.close(relid);
                break;
            case Request::gpadl: {
                message::GpadlHeader header;
                header.relid = relid;
                header.gpadl = 55;
                header.range_bytes = 16;
                header.range_count = 1;
                const std::uint64_t words[] = {4096, 90};
                guest.say(header, words);
                break;
            }
            case Request::teardown:
                guest.tear_down(relid, 101);
                break;
            case Request::release:
                guest.release(relid);
                break;
            case Request::modify:
                guest.modify(relid, 2);
                break;
        }
        CHECK(guest.heard.size() == (row.answer ? 1 : 0));
        if (row.answer && !guest.heard.empty()) {
            CHECK(type_of(guest.heard[0].second) == *row.answer);
            std::uint32_t last = 0;
            std::memcpy(&last, guest.heard[0].second.data() + guest.heard[0].second.size() - 4, 4);
            if (*row.answer == M::gpadl_torn_down) CHECK(last == 101);
            if (*row.answer != M::gpadl_torn_down) CHECK((last == 0) == row.good);
        }
        CHECK(guest.all_refused() == (row.refusal ? 1 : 0));
        if (row.refusal) CHECK(guest.refused(*row.refusal) == 1);
    }
}

TEST_CASE("a relid is not used again before it is released, nor an instance offered twice") {
    RawGuest guest;
    EchoDevice device;
    Channel* channel = &guest.server.offer({echo_type, instance(1)}, device);
    REQUIRE(guest.connect().size() == 1);
    REQUIRE(guest.open_at(1, 10) == 0u);
    guest.server.rescind(*channel);
    CHECK(device.closes == 1);
    CHECK(device.releases == 0);
    CHECK(guest.hear<message::RescindOffer>()->relid == 1);
    CHECK(guest.connections.empty());
    // The same instance again: only once the guest has let go of the first. Another one: at once.
    guest.server.offer({echo_type, instance(1)}, device);
    CHECK(guest.heard.empty());
    guest.server.offer({echo_type, instance(2)}, device);
    CHECK(guest.hear<message::OfferChannel>()->relid == 2);
    guest.release(1);
    CHECK(device.releases == 1);
    const auto again = guest.hear<message::OfferChannel>();
    REQUIRE(again);
    CHECK(again->relid == 1);
    CHECK(again->instance == instance(1));
    CHECK(guest.server.gpadl_pages() == 0);
    CHECK(guest.all_refused() == 0);
}

TEST_CASE("a channel that no guest knows of goes at once") {
    RawGuest guest;
    EchoDevice device;
    guest.server.rescind(guest.server.offer({echo_type, instance(1)}, device));
    CHECK(device.releases == 1);
    CHECK(device.closes == 0);
    CHECK(guest.server.channel_count() == 0);
    CHECK(guest.connect().empty());
}

TEST_CASE("a guest that releases what is still offered sees it again when it begins anew") {
    RawGuest guest;
    EchoDevice device;
    guest.server.offer({echo_type, instance(1)}, device);
    REQUIRE(guest.connect().size() == 1);
    guest.release(1);
    CHECK(guest.heard.empty());
    CHECK(device.releases == 0);
    CHECK(guest.open(1, 1) == std::nullopt);
    CHECK(guest.connect().size() == 1);
}

TEST_CASE("sub-channels: indices, and that they go with their primary") {
    RawGuest guest;
    EchoDevice device;
    EchoDevice sub_device;
    Channel& primary = guest.server.offer({echo_type, instance(1)}, device);
    REQUIRE(guest.connect().size() == 1);
    REQUIRE(guest.open_at(1, 10) == 0u);
    std::vector<Channel*> subs;
    for (std::uint16_t n = 1; n <= 3; ++n) {
        subs.push_back(&guest.server.offer_sub_channel(primary, sub_device));
        const auto offer = guest.hear<message::OfferChannel>();
        REQUIRE(offer);
        CHECK(offer->sub_channel_index == n);
        CHECK(offer->relid == n + 1);
        CHECK(offer->instance == instance(1));
        REQUIRE(guest.open_at(offer->relid, 10 + 10 * n, n) == 0u);
        CHECK(subs.back()->target_vp() == n);
    }
    // One goes; its index is free, but its successor is told of once the guest has let go of it.
    guest.server.rescind(*subs[1]);
    CHECK(guest.hear<message::RescindOffer>()->relid == 3);
    guest.server.offer_sub_channel(primary, sub_device);
    CHECK_FALSE(guest.hear<message::OfferChannel>());
    guest.release(3);
    CHECK(sub_device.releases == 1);
    auto offer = guest.hear<message::OfferChannel>();
    REQUIRE(offer);
    CHECK(offer->sub_channel_index == 2);
    CHECK(offer->relid == 3);
    guest.server.offer_sub_channel(primary, sub_device);
    offer = guest.hear<message::OfferChannel>();
    REQUIRE(offer);
    CHECK(offer->sub_channel_index == 4);
    CHECK(offer->relid == 5);

    SUBCASE("the guest closes the primary") {
        guest.close(1);
        for (const std::uint32_t relid : {2u, 4u, 3u, 5u}) CHECK(guest.hear<message::RescindOffer>()->relid == relid);
        CHECK(sub_device.closes == 3);
        CHECK(device.closes == 1);
        for (const std::uint32_t relid : {2u, 3u, 4u, 5u}) guest.release(relid);
        CHECK(sub_device.releases == 5);
        CHECK(device.releases == 0);
        CHECK(guest.server.channel_count() == 1);
        guest.tear_down(1, 101);
        REQUIRE(guest.hear<message::GpadlTornDown>());
        REQUIRE(guest.open_at(1, 10) == 0u);
        guest.server.offer_sub_channel(primary, sub_device);
        CHECK(guest.hear<message::OfferChannel>()->sub_channel_index == 1);
    }
    SUBCASE("the host takes the primary away, and the guest lets go of it first") {
        guest.server.rescind(primary);
        for (const std::uint32_t relid : {2u, 4u, 3u, 5u, 1u})
            CHECK(guest.hear<message::RescindOffer>()->relid == relid);
        guest.release(1);
        CHECK(device.releases == 0);
        for (const std::uint32_t relid : {2u, 3u, 4u, 5u}) guest.release(relid);
        CHECK(device.releases == 1);
        CHECK(guest.server.channel_count() == 0);
    }
    SUBCASE("the guest begins anew") {
        CHECK(guest.connect().size() == 1);
        CHECK(sub_device.releases == 5);
        CHECK(sub_device.closes == 3);
        CHECK(device.closes == 1);
        CHECK(guest.server.gpadl_pages() == 0);
        CHECK(guest.connections.empty());
    }
    SUBCASE("the partition is reset") {
        guest.server.reset();
        CHECK(guest.heard.empty());
        CHECK(device.closes == 1);
        CHECK(guest.server.version() == version::none);
        CHECK(guest.server.channel_count() == 1);
        CHECK(guest.connections.empty());
    }
    CHECK(guest.all_refused() == 0);
}

TEST_CASE("unload, and what a guest may say afterwards") {
    RawGuest guest;
    EchoDevice device;
    guest.server.offer({echo_type, instance(1)}, device);
    REQUIRE(guest.connect().size() == 1);
    REQUIRE(guest.open_at(1, 10) == 0u);
    guest.say(message::Unload{});
    CHECK(guest.hear<message::UnloadResponse>());
    CHECK(device.closes == 1);
    guest.say(message::RequestOffers{});
    guest.say(message::Unload{});
    CHECK(guest.open(1, 101) == std::nullopt);
    CHECK(guest.heard.empty());
    CHECK(guest.refused(Refusal::not_connected) == 3);
    CHECK(guest.connect().size() == 1);
    CHECK(guest.open_at(1, 10) == 0u);
}

TEST_CASE("a device may call the bus back from wherever it is called") {
    for (int where = 0; where < 5; ++where) {
        CAPTURE(where);
        RawGuest guest;
        EchoDevice device;
        Channel* channel = &guest.server.offer({echo_type, instance(1)}, device);
        const auto rescind = [&](Channel& own) { guest.server.rescind(own); };
        if (where == 0) device.on_open = rescind;
        if (where == 1) device.on_closed = rescind;
        if (where == 2) device.on_packet = [&](Channel& own, const Packet&) { guest.server.rescind(own); };
        if (where == 3) device.on_released = [&](Channel&) { guest.server.offer({echo_type, instance(1)}, device); };
        if (where == 4) device.on_open = [&](Channel& own) { own.fault("nothing is right"); };
        REQUIRE(guest.connect().size() == 1);
        const auto status = guest.open_at(1, 10);
        if (where == 0) {
            CHECK(status == std::nullopt);  // the guest learns of the end, not of the opening
        } else {
            CHECK(status == 0u);
        }
        guest.put_packet(10, 0, 5);
        guest.server.guest_signal(0x2001);
        if (where == 1) guest.close(1);
        if (where == 3) guest.server.rescind(*channel);
        guest.run(1_us);
        CHECK(device.closes == 1);
        REQUIRE(guest.hear<message::RescindOffer>());
        guest.release(1);
        CHECK(device.releases == (where == 4 ? 0 : 1));
        CHECK(guest.server.channel_count() == (where == 3 || where == 4 ? 1 : 0));
        CHECK(guest.heard.size() == (where == 3 ? 1 : 0));
    }
}

TEST_CASE("buffers of a channel's") {
    test::Loopback bus;
    EchoDevice device;
    EchoDriver driver;
    Channel& channel = bus.server.offer({echo_type, instance(1)}, device);
    bus.bind(echo_type, driver);
    bus.connect();
    ClientChannel& guest = *bus.client.find(echo_type);
    const auto pages = *bus.pages.allocate(4096);
    const std::uint32_t number = guest.make_gpadl(pages);
    const std::vector<GpaRange> ranges{{100, 4000, {pages[0], pages[7]}}, {50, 0, {pages[9]}}};
    const std::uint32_t parts = guest.make_gpadl(ranges);
    bus.run(1_ms);
    CHECK(driver.created == std::vector<std::pair<std::uint32_t, std::uint32_t>>{{number, 0}, {parts, 0}});
    CHECK(channel.gpadl_size(number) == 4096 * 4096);
    CHECK(channel.gpadl_size(parts) == 150);
    CHECK(channel.gpadl_size(12345) == 0);
    const std::vector<std::byte> data(150, std::byte{9});
    CHECK(channel.gpadl_write(parts, 0, data));
    CHECK(bus.memory.bytes()[pages[9] * 4096 + 49] == std::byte{9});
    CHECK(bus.memory.bytes()[pages[9] * 4096 + 50] == std::byte{0});
    std::vector<std::byte> back(96);
    CHECK(channel.gpadl_read(number, 4000, back));
    CHECK(back == std::vector<std::byte>(96, std::byte{9}));
    CHECK_FALSE(channel.gpadl_read(number, 4096 * 4096 - 95, back));
    CHECK_FALSE(channel.gpadl_read(12345, 0, back));
    guest.tear_down_gpadl(number);
    bus.run(1_ms);
    CHECK(driver.torn_down == std::vector<std::uint32_t>{number});
    CHECK_FALSE(channel.gpadl_read(number, 0, back));
    guest.close();
    bus.run(1_ms);
    CHECK_FALSE(channel.gpadl_read(parts, 0, back));
}

}  // namespace

}  // namespace bus_test
