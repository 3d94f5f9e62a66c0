// What a hostile guest does to a bus: each wrong message refused and counted, each broken channel ended alone.
#include <doctest/doctest.h>

#include <string>

#include "tests/vmbus/echo.h"
#include "tests/vmbus/raw_guest.h"

namespace hostile_test {

namespace {

using namespace vmbus;
using namespace sim::literals;
using test::echo_type;
using test::EchoDevice;
using test::EchoDriver;
using test::instance;
using test::RawGuest;
using test::text;

TEST_CASE("messages by their form") {
    const auto say = [](RawGuest& guest, std::uint32_t number, std::size_t size) {
        std::vector<std::byte> bytes(size);
        if (size >= 4) std::memcpy(bytes.data(), &number, 4);
        guest.server.guest_message(bytes);
    };
    for (std::uint32_t number = 0; number < 40; ++number) {
        CAPTURE(number);
        const MessageRow* row = find_message(static_cast<MessageType>(number));
        const bool known = row != nullptr && row->direction == Direction::to_host;
        RawGuest unconnected;
        say(unconnected, number, 240);
        CHECK(unconnected.refused(!known                                ? Refusal::unknown_message
                                  : row->first_version == version::none ? Refusal::unknown_version
                                                                        : Refusal::not_connected) == 1);
        CHECK(unconnected.all_refused() == 1);
        RawGuest connected;
        (void)connected.connect();
        const std::size_t enough = known ? row->size : 8;
        say(connected, number, enough - 1);
        CHECK(connected.refused(Refusal::short_message) == 1);
        CHECK(connected.heard.empty());
    }
    RawGuest guest;
    for (std::size_t size = 0; size < 8; ++size) say(guest, 14, size);
    CHECK(guest.refused(Refusal::short_message) == 8);
}

TEST_CASE("numbers of GPADLs, and how many pages a guest may list") {
    ServerConfig config;
    config.gpadl_page_limit = 100;
    RawGuest guest{config};
    EchoDevice device;
    guest.server.offer({echo_type, instance(1)}, device);
    guest.server.offer({echo_type, instance(2)}, device);
    REQUIRE(guest.connect().size() == 2);
    CHECK(guest.make_gpadl(1, 5, 10, 4) == 0u);
    CHECK(guest.make_gpadl(1, 5, 10, 4) == status::unsuccessful);
    CHECK(guest.refused(Refusal::duplicate_gpadl) == 1);
    CHECK(guest.make_gpadl(2, 5, 10, 4) == 0u);  // numbers are a channel's own
    CHECK(guest.server.gpadl_pages() == 10);
    // A list in pieces: its number is taken everywhere, as bodies name no channel.
    message::GpadlHeader header;
    header.relid = 1;
    header.gpadl = 6;
    header.range_bytes = 8 * 11;
    header.range_count = 1;
    const std::uint64_t first[] = {10 * 4096, 20};
    guest.say(header, first);
    CHECK(guest.server.gpadl_pages() == 21);
    CHECK(guest.make_gpadl(2, 6, 10, 4) == status::unsuccessful);
    guest.tear_down(1, 6);
    CHECK(guest.refused(Refusal::gpadl_state) == 1);
    message::GpadlBody body;
    body.gpadl = 7;
    guest.say(body, first);
    CHECK(guest.refused(Refusal::unknown_gpadl) == 1);
    CHECK(guest.heard.empty());
    body.gpadl = 6;
    const std::uint64_t rest[] = {21, 22, 23, 24, 25, 26, 27, 28, 1000};
    guest.say(body, rest);  // the last is not RAM
    CHECK(guest.hear<message::GpadlCreated>()->status == status::unsuccessful);
    CHECK(guest.refused(Refusal::gpadl_memory) == 1);
    CHECK(guest.server.gpadl_pages() == 10);
    guest.say(body, rest);
    CHECK(guest.refused(Refusal::unknown_gpadl) == 2);
    // The limit.
    CHECK(guest.make_gpadl(1, 8, 10, 25) == 0u);
    CHECK(guest.make_gpadl(1, 9, 10, 25) == 0u);
    CHECK(guest.make_gpadl(1, 10, 10, 25) == 0u);
    CHECK(guest.server.gpadl_pages() == 88);
    CHECK(guest.make_gpadl(1, 11, 10, 12) == status::unsuccessful);
    CHECK(guest.refused(Refusal::gpadl_limit) == 1);
    CHECK(guest.make_gpadl(1, 11, 10, 11) == 0u);
    CHECK(guest.server.gpadl_pages() == 100);
    CHECK(guest.make_gpadl(1, 12, 10, 1) == status::unsuccessful);
    header.gpadl = 13;
    guest.say(header);
    CHECK(guest.hear<message::GpadlCreated>()->status == status::unsuccessful);
    guest.release(1);
    CHECK(guest.server.gpadl_pages() == 5);
    CHECK(guest.make_gpadl(2, 12, 10, 1) == 0u);
    (void)guest.contact(version::v5_3);
    CHECK(guest.server.gpadl_pages() == 0);
}

TEST_CASE("a channel whose ring is broken ends alone, and comes back when the guest begins anew") {
    struct Row {
        std::string what;
        std::uint64_t gpa;
        std::uint32_t value;
    };
    const std::vector<Row> rows{
        {"the write index", 10 * 4096, 4097 * 8},
        {"the packet's length", 11 * 4096 + 4, 0xffff},
        {"the packet's type", 11 * 4096, 0x2'0077},
        {"the other ring's read index", 12 * 4096 + 4, 3},
    };
    for (const Row& row : rows) {
        CAPTURE(row.what);
        RawGuest guest;
        EchoDevice device;
        EchoDevice other;
        Channel& channel = guest.server.offer({echo_type, instance(1)}, device);
        guest.server.offer({echo_type, instance(2)}, other);
        REQUIRE(guest.connect().size() == 2);
        REQUIRE(guest.open_at(1, 10) == 0u);
        REQUIRE(guest.open_at(2, 20) == 0u);
        guest.put_packet(10, 0, 1);
        guest.set_word(row.gpa, row.value);
        guest.server.guest_signal(0x2001);
        CHECK(guest.refused(Refusal::ring_fault) == 1);
        CHECK_FALSE(channel.is_open());
        CHECK(device.closes == 0);  // not from within what the device was doing
        guest.run(1_ps);
        CHECK(device.closes == 1);
        CHECK(guest.hear<message::RescindOffer>()->relid == 1);
        CHECK(guest.connections == std::set<std::uint32_t>{0x2002});
        // The other goes on.
        guest.put_packet(20, 0, 1);
        guest.server.guest_signal(0x2002);
        CHECK(other.packets == 1);
        CHECK(other.closes == 0);
        guest.server.guest_signal(0x2001);
        CHECK(guest.refused(Refusal::stray_signal) == 1);
        // Nothing is offered again until the guest begins anew; the device keeps its channel.
        guest.close(1);
        guest.release(1);
        CHECK(guest.heard.empty());
        CHECK(device.releases == 0);
        CHECK(guest.connect().size() == 2);
        REQUIRE(guest.open_at(1, 30) == 0u);
        CHECK(channel.is_open());
        CHECK(guest.all_refused() == 2);
    }
}

TEST_CASE("a fault that the device finds") {
    RawGuest guest;
    EchoDevice device;
    Channel& channel = guest.server.offer({echo_type, instance(1)}, device);
    REQUIRE(guest.connect().size() == 1);
    REQUIRE(guest.open_at(1, 10) == 0u);
    channel.fault("the packet makes no sense");
    channel.fault("twice");
    CHECK_FALSE(channel.is_open());
    Packet packet;
    CHECK_FALSE(channel.receive(packet));
    CHECK_FALSE(channel.send(1, {}, false));
    CHECK_FALSE(channel.complete(1, {}));
    CHECK_FALSE(channel.send_transfer_pages(1, 1, {}, {}));
    CHECK(channel.gpadl_size(101) == 0);
    channel.flush();
    CHECK(guest.refused(Refusal::device_fault) == 1);
    SUBCASE("and then it ends") {
        guest.run(1_ps);
        CHECK(device.closes == 1);
        CHECK(guest.hear<message::RescindOffer>());
    }
    SUBCASE("the guest closes it first") {
        guest.close(1);
        CHECK(device.closes == 1);
        guest.run(1_ps);
        CHECK(device.closes == 1);
        CHECK(guest.hear<message::RescindOffer>());
    }
    SUBCASE("the guest closes and opens it first") {
        guest.close(1);
        // As of one that has been taken away, of which it has yet to read: the device is not asked to open what ends.
        CHECK_FALSE(guest.open(1, 101));
        guest.run(1_ps);
        CHECK(device.opens == 1);
        CHECK(device.closes == 1);
        CHECK(guest.hear<message::RescindOffer>());
    }
    SUBCASE("the guest begins anew first") {
        CHECK(guest.connect().size() == 1);
        guest.run(1_ps);
        CHECK(guest.heard.empty());
        CHECK(guest.open_at(1, 10) == 0u);
        CHECK(channel.is_open());
    }
    SUBCASE("the device lets go of it") {
        guest.server.rescind(channel);
        CHECK(device.closes == 1);
        CHECK(guest.hear<message::RescindOffer>());
        guest.release(1);
        CHECK(device.releases == 1);
        guest.run(1_ps);
        CHECK(guest.heard.empty());
    }
}

TEST_CASE("faults of a sub-channel and of its primary") {
    for (const bool of_primary : {false, true}) {
        CAPTURE(of_primary);
        RawGuest guest;
        EchoDevice device;
        EchoDevice sub_device;
        Channel& primary = guest.server.offer({echo_type, instance(1)}, device);
        REQUIRE(guest.connect().size() == 1);
        REQUIRE(guest.open_at(1, 10) == 0u);
        Channel& sub = guest.server.offer_sub_channel(primary, sub_device);
        REQUIRE(guest.hear<message::OfferChannel>());
        REQUIRE(guest.open_at(2, 20) == 0u);
        (of_primary ? primary : sub).fault("wrong");
        guest.run(1_ps);
        CHECK(guest.hear<message::RescindOffer>()->relid == 2);
        CHECK(guest.hear<message::RescindOffer>().has_value() == of_primary);
        CHECK(sub_device.closes == 1);
        CHECK(device.closes == (of_primary ? 1 : 0));
        guest.release(2);
        CHECK(sub_device.releases == 1);
        CHECK(device.releases == 0);
        CHECK(primary.is_open() != of_primary);
    }
}

TEST_CASE("a ring too small for what the host has to say") {
    RawGuest guest;
    EchoDevice device;
    Channel& channel = guest.server.offer({echo_type, instance(1)}, device);
    REQUIRE(guest.connect().size() == 1);
    REQUIRE(guest.open_at(1, 10) == 0u);
    CHECK_FALSE(channel.send(1, std::vector<std::byte>(5000), false));
    CHECK(guest.refused(Refusal::ring_fault) == 1);
    CHECK_FALSE(channel.is_open());
}

class Listener final : public SocketListener {
public:
    bool connect(const Guid& endpoint, const Guid& service) override {
        asked.emplace_back(endpoint, service);
        if (server == nullptr) return false;
        Offer offer{service, endpoint};
        offer.flags = Offer::socket_provider;
        server->offer(offer, device);
        return true;
    }
    Server* server = nullptr;
    EchoDevice device;
    std::vector<std::pair<Guid, Guid>> asked;
};

TEST_CASE("connections to sockets") {
    RawGuest guest;
    Listener listener;
    guest.server.set_socket_listener(&listener);
    REQUIRE(guest.connect().empty());
    message::TlConnectRequest request;
    request.endpoint = instance(7);
    request.service = echo_type;
    guest.say(request);
    const auto result = guest.hear<message::TlConnectResult>();
    REQUIRE(result);
    CHECK(result->status == status::connection_refused);
    CHECK(result->endpoint == instance(7));
    CHECK(result->service == echo_type);
    listener.server = &guest.server;
    const std::uint64_t silo[] = {1, 2};
    guest.say(request, silo);
    const auto offer = guest.hear<message::OfferChannel>();
    REQUIRE(offer);
    CHECK(offer->flags == 0x2000);
    CHECK(offer->instance == instance(7));
    CHECK(guest.heard.empty());
    // Once more with the same name.
    guest.say(request);
    CHECK(guest.hear<message::TlConnectResult>()->status == status::connection_refused);
    REQUIRE(listener.asked.size() == 2);
    CHECK(listener.asked[1] == std::pair{instance(7), echo_type});
}

}  // namespace

}  // namespace hostile_test
