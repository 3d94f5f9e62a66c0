// Every version that a guest may ask for, and what differs between them.
#include <doctest/doctest.h>

#include <string>

#include "tests/vmbus/echo.h"
#include "tests/vmbus/raw_guest.h"

namespace versions_test {

namespace {

using namespace vmbus;
using namespace sim::literals;
using test::echo_type;
using test::EchoDevice;
using test::EchoDriver;
using test::instance;
using test::RawGuest;
using test::text;

struct Row {
    std::uint32_t version;
    std::uint32_t posted_on;  // connection of messages after the contact
    std::uint32_t answered;   // in VERSION_RESPONSE
    bool message_target;      // messages go where the guest says
    bool interrupt_page;      // events to the guest are found there
    bool own_connection;      // each channel has one
    bool socket_requests;
    bool socket_results;
    bool modify;
    bool modify_response;
    bool unload_response;
};
using namespace version;
const std::vector<Row> rows{
    {v5_3, 4, 4, true, false, true, true, true, true, true, true},
    {v5_2, 4, 4, true, false, true, true, true, true, false, true},
    {v5_1, 4, 4, true, false, true, true, true, true, false, true},
    {v5_0, 4, 4, true, false, true, true, true, true, false, true},
    {v4_1, 1, v4_1, true, false, true, true, true, true, false, true},
    {v4_0, 1, v4_0, true, false, true, true, false, false, false, true},
    {v3_0, 1, v3_0, true, false, true, false, false, false, false, true},
    {v2_4, 1, v2_4, false, false, true, false, false, false, false, true},
    {v1_1, 1, v1_1, false, true, true, false, false, false, false, true},
    {v0_13, 1, v0_13, false, true, false, false, false, false, false, false},
};

TEST_CASE("each version is agreed on and carries a channel") {
    REQUIRE(rows.size() == all.size());
    for (const Row& row : rows) {
        CAPTURE(row.version);
        test::LoopbackConfig config;
        config.client.newest_version = row.version;
        config.client.message_vp = 2;
        test::Loopback bus{config};
        EchoDevice device;
        EchoDriver driver;
        Channel& host_channel = bus.server.offer({echo_type, instance(1)}, device);
        bus.bindings[echo_type] = {&driver, false, {}, ReadMode::batched};
        bus.wires.hear = true;
        bus.connect();
        CHECK(bus.client.version() == row.version);
        CHECK(bus.server.version() == row.version);
        CHECK(bus.wires.last_message_vp == (row.message_target ? 2 : 0));
        CHECK(bus.wires.last_message_connection == row.posted_on);
        const auto response = *read_as<message::VersionResponse>(bus.wires.heard.at(0));
        CHECK(response.supported == 1);
        CHECK(response.connection_state == 0);
        CHECK(response.message_connection == row.answered);
        REQUIRE(bus.client.find(echo_type)->open({2, 2}, 3));
        bus.run(1_ms);
        CHECK(driver.statuses == std::vector<std::uint32_t>{0});
        CHECK(host_channel.target_vp() == (row.interrupt_page ? 0 : 3));
        CHECK(bus.wires.connections.contains(2) == row.interrupt_page);
        // A few rounds, each with a signal both ways.
        ClientChannel& channel = *bus.client.find(echo_type);
        for (std::uint64_t n = 1; n <= 3; ++n) {
            REQUIRE(channel.send(n, text("round"), true));
            channel.flush();
            bus.run(1_ms);
            REQUIRE(driver.got.size() == n);
            CHECK(driver.got.back().transaction == n);
            CHECK(bus.wires.events_to_host == n);
            CHECK(bus.wires.events_to_guest == n);
        }
        const auto expected = row.interrupt_page ? std::pair<std::uint32_t, std::uint16_t>{0, 0}
                                                 : std::pair<std::uint32_t, std::uint16_t>{3, 1};
        CHECK(bus.wires.last_event == expected);

        const auto refused_before = bus.server.refused(Refusal::too_new);
        channel.change_target(1);
        bus.run(1_ms);
        CHECK(host_channel.target_vp() == (row.modify ? 1 : row.interrupt_page ? 0 : 3));
        CHECK(driver.targets.size() == (row.modify_response ? 1 : 0));
        CHECK(bus.server.refused(Refusal::too_new) == refused_before + (row.modify ? 0 : 1));
        bus.client.connect_socket(echo_type, echo_type);
        bus.run(1_ms);
        CHECK(bus.server.refused(Refusal::socket_refused) == (row.socket_requests ? 1 : 0));
        CHECK(bus.sockets_refused == (row.socket_results ? 1 : 0));
        bus.client.unload();
        bus.run(1_ms);
        CHECK(device.closes == 1);
        CHECK(bus.unloads == (row.unload_response ? 1 : 0));
        CHECK(bus.wires.connections.empty());
    }
}

TEST_CASE("the connection that a guest signals by") {
    for (const Row& row : rows) {
        CAPTURE(row.version);
        RawGuest guest;
        EchoDevice device;
        guest.server.offer({echo_type, instance(1)}, device);
        REQUIRE(guest.connect(row.version).size() == 1);
        REQUIRE(guest.open_at(1, 10) == 0u);
        guest.put_packet(10, 0, 1);
        guest.server.guest_signal(2);
        CHECK(device.packets == 0);  // without a bit there is nothing there
        CHECK(guest.refused(Refusal::stray_signal) == (row.interrupt_page ? 0 : 1));
        guest.set_word(RawGuest::interrupt_page * 4096 + 2048, 2);
        guest.server.guest_signal(2);
        CHECK(device.packets == (row.interrupt_page ? 1 : 0));
        CHECK(guest.word(RawGuest::interrupt_page * 4096 + 2048) == (row.interrupt_page ? 0 : 2));
        guest.put_packet(10, 32, 2);
        guest.server.guest_signal(0x2001);
        CHECK(device.packets == 2);
        // The bit to the guest.
        CHECK((guest.word(RawGuest::interrupt_page * 4096) == 2) == row.interrupt_page);
    }
}

TEST_CASE("a guest tries older versions until the host knows one") {
    for (const Row& host : rows) {
        CAPTURE(host.version);
        test::LoopbackConfig config;
        config.server.newest_version = host.version;
        test::Loopback bus{config};
        bus.connect();
        CHECK(bus.client.version() == host.version);
        std::uint64_t newer = 0;
        for (const Row& row : rows) newer += row.version > host.version ? 1 : 0;
        CHECK(bus.server.refused(Refusal::unknown_version) == newer);
        CHECK(bus.connections == 1);
    }
    test::LoopbackConfig config;
    config.server.newest_version = v2_4;
    config.client.oldest_version = v3_0;
    test::Loopback bus{config};
    bus.connect();
    CHECK(bus.refusals == 1);
    CHECK(bus.client.version() == none);
}

TEST_CASE("a host without the newer connection for messages") {
    test::Loopback bus;
    bus.wires.has_new_connection = false;
    bus.connect();
    CHECK(bus.client.version() == v4_1);
    CHECK(bus.server.refused(Refusal::unknown_version) == 0);
}

TEST_CASE("contacts that are refused, and how") {
    struct Contact {
        std::string what;
        std::uint32_t version;
        std::uint32_t vp;
        std::uint64_t target;
        std::uint64_t monitor_to_guest;
        std::uint64_t monitor_to_host;
        std::uint8_t supported;
        std::uint8_t state;
        std::optional<Refusal> refusal;
    };
    const std::vector<Contact> contacts{
        {"good", v5_3, 3, 2, 0, 0, 1, 0, std::nullopt},
        {"no such version", protocol_version(5, 4), 0, 2, 0, 0, 0, 0, Refusal::unknown_version},
        {"a later version", protocol_version(6, 0), 0, 2, 0, 0, 0, 0, Refusal::unknown_version},
        {"version 0", 0, 0, 2, 0, 0, 0, 0, Refusal::unknown_version},
        {"between versions", protocol_version(2, 5), 0, 2, 0, 0, 0, 0, Refusal::unknown_version},
        {"no such processor", v5_3, 4, 2, 0, 0, 0, 0, Refusal::bad_target},
        {"the processor is not looked at before 3.0", v2_4, 4, 0x5000, 0, 0, 1, 0, std::nullopt},
        {"another SINT", v5_0, 0, 3, 0, 0, 0, 0, Refusal::bad_target},
        {"another trust level", v5_1, 0, 0x102, 0, 0, 0, 0, Refusal::bad_target},
        {"trust levels are not looked at before 5.1", v5_0, 0, 0x102, 0, 0, 1, 0, std::nullopt},
        {"flags above are not looked at", v5_3, 0, 0xffff'ffff'0000'0002, 0, 0, 1, 0, std::nullopt},
        {"both monitor pages", v5_3, 0, 2, 0x1000, 0x2000, 1, 0, std::nullopt},
        {"one monitor page", v5_3, 0, 2, 0x1000, 0, 1, 2, Refusal::monitor_pages},
        {"the other monitor page", v2_4, 0, 0, 0, 0x2000, 1, 2, Refusal::monitor_pages},
        {"one monitor page, and a guest that knows no failure", v1_1, 0, 0, 0x1000, 0, 0, 0, Refusal::monitor_pages},
    };
    for (const Contact& contact : contacts) {
        CAPTURE(contact.what);
        RawGuest guest;
        message::InitiateContact request;
        request.version = contact.version;
        request.target_vp = contact.vp;
        request.interrupt_page_or_target = contact.target;
        request.monitor_page_to_guest = contact.monitor_to_guest;
        request.monitor_page_to_host = contact.monitor_to_host;
        guest.say(request);
        REQUIRE(guest.heard.size() == 1);
        CHECK(guest.heard[0].first == (contact.version >= v3_0 && contact.vp < 4 ? contact.vp : 0));
        const auto response = guest.hear<message::VersionResponse>();
        REQUIRE(response);
        CHECK(response->supported == contact.supported);
        CHECK(response->connection_state == contact.state);
        CHECK(guest.all_refused() == (contact.refusal ? 1 : 0));
        if (contact.refusal) CHECK(guest.refused(*contact.refusal) == 1);
        CHECK((guest.server.version() == none) == contact.refusal.has_value());
        // Nobody is shut out for having asked wrongly.
        CHECK(guest.contact(v4_0)->supported == 1);
    }
}

TEST_CASE("old guests know no relids above 255") {
    RawGuest guest;
    EchoDevice device;
    std::vector<Channel*> channels;
    for (unsigned n = 0; n < 300; ++n) {
        Guid name = instance(static_cast<std::uint8_t>(n));
        name.bytes[0] = static_cast<std::uint8_t>(n >> 8);
        channels.push_back(&guest.server.offer({echo_type, name}, device));
    }
    CHECK(guest.connect(v1_1).size() == 255);
    // The 256th comes when one is free.
    guest.server.rescind(*channels[6]);
    CHECK(guest.hear<message::RescindOffer>()->relid == 7);
    guest.release(7);
    CHECK(guest.hear<message::OfferChannel>()->relid == 7);
    CHECK(guest.connect(v2_4).size() == 299);
}

}  // namespace

}  // namespace versions_test
