// The table of messages against the protocol's own numbers.
#include "vmbus/messages.h"

#include <doctest/doctest.h>

#include <string>
#include <tuple>
#include <vector>

namespace messages_test {

namespace {

using namespace vmbus;

TEST_CASE("numbers, sizes, directions and first versions") {
    using Expected = std::tuple<std::uint32_t, std::string, std::uint16_t, bool, std::uint32_t>;
    const std::vector<Expected> expected{
        {1, "offer_channel", 196, false, version::v0_13},
        {2, "rescind_offer", 12, false, version::v0_13},
        {3, "request_offers", 8, true, version::v0_13},
        {4, "all_offers_delivered", 8, false, version::v0_13},
        {5, "open_channel", 148, true, version::v0_13},
        {6, "open_channel_result", 20, false, version::v0_13},
        {7, "close_channel", 12, true, version::v0_13},
        {8, "gpadl_header", 20, true, version::v0_13},
        {9, "gpadl_body", 16, true, version::v0_13},
        {10, "gpadl_created", 20, false, version::v0_13},
        {11, "gpadl_teardown", 16, true, version::v0_13},
        {12, "gpadl_torn_down", 12, false, version::v0_13},
        {13, "relid_released", 12, true, version::v0_13},
        {14, "initiate_contact", 40, true, version::none},
        {15, "version_response", 16, false, version::none},
        {16, "unload", 8, true, version::v0_13},
        {17, "unload_response", 8, false, version::v1_1},
        {21, "tl_connect_request", 40, true, version::v4_0},
        {22, "modify_channel", 16, true, version::v4_1},
        {23, "tl_connect_result", 44, false, version::v4_1},
        {24, "modify_channel_response", 16, false, version::v5_3},
    };
    REQUIRE(message_table.size() == expected.size());
    for (std::size_t n = 0; n < expected.size(); ++n) {
        const auto& [number, name, size, to_host, first] = expected[n];
        const MessageRow& row = message_table[n];
        CAPTURE(std::get<1>(expected[n]));
        CHECK(static_cast<std::uint32_t>(row.type) == number);
        CHECK(row.name == name);
        CHECK(row.size == size);
        CHECK((row.direction == Direction::to_host) == to_host);
        CHECK(row.first_version == first);
        CHECK(row.variable == (number == 8 || number == 9));
        CHECK(row.size <= longest_message);
        CHECK(find_message(row.type) == &row);
    }
    for (const std::uint32_t none : {0u, 18u, 19u, 20u, 25u, 0xffff'ffffu})
        CHECK(find_message(static_cast<MessageType>(none)) == nullptr);
    CHECK(version::v5_3 == 0x0005'0003);
    CHECK(version::v0_13 == 0x0000'000d);
}

TEST_CASE("a message in words") {
    message::OpenChannel open;
    open.relid = 3;
    open.open_id = 0x1f;
    CHECK(describe(bytes_of(open)) == "open_channel 0x3 0x1f 0x0 0x0 0x0");
    CHECK(describe(bytes_of(open).first(12)) == "open_channel (short) 0x3");
    CHECK(describe(bytes_of(open).first(7)) == "a message of 7 bytes");
    MessageHeader unknown{static_cast<MessageType>(99)};
    CHECK(describe(bytes_of(unknown)) == "message 99");
}

}  // namespace

}  // namespace messages_test
