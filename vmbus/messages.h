// The bus's control messages: one table for parser, tracer, fuzzer and documents, and the layouts. Every message begins
// with its number and a word of padding, which offsets and sizes include. Little-endian throughout.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

#include "vmbus/guid.h"

namespace vmbus {

// Protocol versions, as INITIATE_CONTACT asks for them: major in the upper half.
constexpr std::uint32_t protocol_version(std::uint32_t major, std::uint32_t minor) {
    return major << 16 | minor;
}
namespace version {
inline constexpr std::uint32_t none = 0;
inline constexpr std::uint32_t v0_13 = protocol_version(0, 13);  // Windows Server 2008
inline constexpr std::uint32_t v1_1 = protocol_version(1, 1);    // Windows Server 2008 R2
inline constexpr std::uint32_t v2_4 = protocol_version(2, 4);    // Windows Server 2012
inline constexpr std::uint32_t v3_0 = protocol_version(3, 0);    // 2012 R2
inline constexpr std::uint32_t v4_0 = protocol_version(4, 0);    // 2016
inline constexpr std::uint32_t v4_1 = protocol_version(4, 1);
inline constexpr std::uint32_t v5_0 = protocol_version(5, 0);
inline constexpr std::uint32_t v5_1 = protocol_version(5, 1);
inline constexpr std::uint32_t v5_2 = protocol_version(5, 2);  // 2019
inline constexpr std::uint32_t v5_3 = protocol_version(5, 3);  // 2022
// Newest first, as a guest asks for them.
inline constexpr std::array<std::uint32_t, 10> all{v5_3, v5_2, v5_1, v5_0, v4_1, v4_0, v3_0, v2_4, v1_1, v0_13};
}  // namespace version

enum class MessageType : std::uint32_t {
    offer_channel = 1,
    rescind_offer = 2,
    request_offers = 3,
    all_offers_delivered = 4,
    open_channel = 5,
    open_channel_result = 6,
    close_channel = 7,
    gpadl_header = 8,
    gpadl_body = 9,
    gpadl_created = 10,
    gpadl_teardown = 11,
    gpadl_torn_down = 12,
    relid_released = 13,
    initiate_contact = 14,
    version_response = 15,
    unload = 16,
    unload_response = 17,
    tl_connect_request = 21,
    modify_channel = 22,
    tl_connect_result = 23,
    modify_channel_response = 24,
};

enum class Direction : std::uint8_t { to_guest, to_host };

struct MessageRow {
    MessageType type;
    std::string_view name;
    Direction direction;
    std::uint16_t size;           // at least; guests may send more
    bool variable;                // has more behind that, in multiples of 8 bytes
    std::uint32_t first_version;  // none: before a version is agreed on
};

struct MessageHeader {
    MessageType type{};
    std::uint32_t padding = 0;
};

inline constexpr std::size_t longest_message = 240;  // HV_MESSAGE_PAYLOAD_BYTE_COUNT
inline constexpr std::size_t user_data_bytes = 120;
using UserData = std::array<std::byte, user_data_bytes>;

// Statuses in answers.
namespace status {
inline constexpr std::uint32_t success = 0;
inline constexpr std::uint32_t unsuccessful = 0x8000'ffff;
inline constexpr std::uint32_t connection_refused = 0xc000'0236;
}  // namespace status

namespace message {

struct OfferChannel {
    static constexpr MessageType type = MessageType::offer_channel;
    MessageHeader header{type};
    Guid interface_type;
    Guid instance;
    std::array<std::uint32_t, 4> reserved{};
    std::uint16_t flags = 0;
    std::uint16_t mmio_megabytes = 0;
    UserData user_defined{};
    std::uint16_t sub_channel_index = 0;
    std::uint16_t mmio_megabytes_optional = 0;
    std::uint32_t relid = 0;
    std::uint8_t monitor_id = 0;
    std::uint8_t monitor_allocated = 0;     // bit 0
    std::uint16_t dedicated_interrupt = 0;  // bit 0; from 1.1
    std::uint32_t connection = 0;           // from 1.1
};
static_assert(sizeof(OfferChannel) == 196 && offsetof(OfferChannel, flags) == 56 &&
              offsetof(OfferChannel, user_defined) == 60 && offsetof(OfferChannel, relid) == 184 &&
              offsetof(OfferChannel, dedicated_interrupt) == 190);

struct RescindOffer {
    static constexpr MessageType type = MessageType::rescind_offer;
    MessageHeader header{type};
    std::uint32_t relid = 0;
};
static_assert(sizeof(RescindOffer) == 12);

struct RequestOffers {
    static constexpr MessageType type = MessageType::request_offers;
    MessageHeader header{type};
};
struct AllOffersDelivered {
    static constexpr MessageType type = MessageType::all_offers_delivered;
    MessageHeader header{type};
};
struct Unload {
    static constexpr MessageType type = MessageType::unload;
    MessageHeader header{type};
};
struct UnloadResponse {
    static constexpr MessageType type = MessageType::unload_response;
    MessageHeader header{type};
};
static_assert(sizeof(RequestOffers) == 8);

struct OpenChannel {
    static constexpr MessageType type = MessageType::open_channel;
    static constexpr std::uint32_t no_interrupts = 0xffff'ffff;  // as target_vp
    MessageHeader header{type};
    std::uint32_t relid = 0;
    std::uint32_t open_id = 0;
    std::uint32_t ring_gpadl = 0;
    std::uint32_t target_vp = 0;               // from 2.4
    std::uint32_t downstream_page_offset = 0;  // where the ring to the guest begins
    UserData user_data{};
};
static_assert(sizeof(OpenChannel) == 148 && offsetof(OpenChannel, user_data) == 28);

struct OpenChannelResult {
    static constexpr MessageType type = MessageType::open_channel_result;
    MessageHeader header{type};
    std::uint32_t relid = 0;
    std::uint32_t open_id = 0;
    std::uint32_t status = 0;
};
static_assert(sizeof(OpenChannelResult) == 20);

struct CloseChannel {
    static constexpr MessageType type = MessageType::close_channel;
    MessageHeader header{type};
    std::uint32_t relid = 0;
};
static_assert(sizeof(CloseChannel) == 12);

// Behind it: ranges of {u32 byte count, u32 byte offset, u64 page number...}, as far as they fit; the rest in bodies.
struct GpadlHeader {
    static constexpr MessageType type = MessageType::gpadl_header;
    MessageHeader header{type};
    std::uint32_t relid = 0;
    std::uint32_t gpadl = 0;
    std::uint16_t range_bytes = 0;  // modulo 65536
    std::uint16_t range_count = 0;
};
static_assert(sizeof(GpadlHeader) == 20);

struct GpadlBody {
    static constexpr MessageType type = MessageType::gpadl_body;
    MessageHeader header{type};
    std::uint32_t number = 0;  // guests leave it 0
    std::uint32_t gpadl = 0;
};
static_assert(sizeof(GpadlBody) == 16);

struct GpadlCreated {
    static constexpr MessageType type = MessageType::gpadl_created;
    MessageHeader header{type};
    std::uint32_t relid = 0;
    std::uint32_t gpadl = 0;
    std::uint32_t status = 0;
};
static_assert(sizeof(GpadlCreated) == 20);

struct GpadlTeardown {
    static constexpr MessageType type = MessageType::gpadl_teardown;
    MessageHeader header{type};
    std::uint32_t relid = 0;
    std::uint32_t gpadl = 0;
};
static_assert(sizeof(GpadlTeardown) == 16);

struct GpadlTornDown {
    static constexpr MessageType type = MessageType::gpadl_torn_down;
    MessageHeader header{type};
    std::uint32_t gpadl = 0;
};
static_assert(sizeof(GpadlTornDown) == 12);

struct RelidReleased {
    static constexpr MessageType type = MessageType::relid_released;
    MessageHeader header{type};
    std::uint32_t relid = 0;
};
static_assert(sizeof(RelidReleased) == 12);

struct InitiateContact {
    static constexpr MessageType type = MessageType::initiate_contact;
    MessageHeader header{type};
    std::uint32_t version = 0;
    std::uint32_t target_vp = 0;                 // of messages to the guest; from 3.0
    std::uint64_t interrupt_page_or_target = 0;  // before 5.0 an address; then SINT in byte 0, VTL in byte 1
    std::uint64_t monitor_page_to_guest = 0;
    std::uint64_t monitor_page_to_host = 0;
};
static_assert(sizeof(InitiateContact) == 40);

struct VersionResponse {
    static constexpr MessageType type = MessageType::version_response;
    MessageHeader header{type};
    std::uint8_t supported = 0;
    std::uint8_t connection_state = 0;  // 0: connected
    std::uint16_t padding = 0;
    std::uint32_t message_connection = 0;  // from 5.0: where to post from now on; before, the version again
};
static_assert(sizeof(VersionResponse) == 16);

struct TlConnectRequest {
    static constexpr MessageType type = MessageType::tl_connect_request;
    MessageHeader header{type};
    Guid endpoint;
    Guid service;
    // From 5.2, where sent: 16 bytes of the container's identity.
};
static_assert(sizeof(TlConnectRequest) == 40);

struct TlConnectResult {
    static constexpr MessageType type = MessageType::tl_connect_result;
    MessageHeader header{type};
    Guid endpoint;
    Guid service;
    std::uint32_t status = 0;
};
static_assert(sizeof(TlConnectResult) == 44);

struct ModifyChannel {
    static constexpr MessageType type = MessageType::modify_channel;
    MessageHeader header{type};
    std::uint32_t relid = 0;
    std::uint32_t target_vp = 0;
};
static_assert(sizeof(ModifyChannel) == 16);

struct ModifyChannelResponse {
    static constexpr MessageType type = MessageType::modify_channel_response;
    MessageHeader header{type};
    std::uint32_t relid = 0;
    std::uint32_t status = 0;
};
static_assert(sizeof(ModifyChannelResponse) == 16);

}  // namespace message

// The table. Numbers 18 to 20 open reserved channels, which no guest of ours has; 25 and later belong to versions from
// 6.0 on.
inline constexpr std::array<MessageRow, 21> message_table{{
    {MessageType::offer_channel, "offer_channel", Direction::to_guest, sizeof(message::OfferChannel), false,
     version::v0_13},
    {MessageType::rescind_offer, "rescind_offer", Direction::to_guest, sizeof(message::RescindOffer), false,
     version::v0_13},
    {MessageType::request_offers, "request_offers", Direction::to_host, sizeof(message::RequestOffers), false,
     version::v0_13},
    {MessageType::all_offers_delivered, "all_offers_delivered", Direction::to_guest,
     sizeof(message::AllOffersDelivered), false, version::v0_13},
    {MessageType::open_channel, "open_channel", Direction::to_host, sizeof(message::OpenChannel), false,
     version::v0_13},
    {MessageType::open_channel_result, "open_channel_result", Direction::to_guest, sizeof(message::OpenChannelResult),
     false, version::v0_13},
    {MessageType::close_channel, "close_channel", Direction::to_host, sizeof(message::CloseChannel), false,
     version::v0_13},
    {MessageType::gpadl_header, "gpadl_header", Direction::to_host, sizeof(message::GpadlHeader), true, version::v0_13},
    {MessageType::gpadl_body, "gpadl_body", Direction::to_host, sizeof(message::GpadlBody), true, version::v0_13},
    {MessageType::gpadl_created, "gpadl_created", Direction::to_guest, sizeof(message::GpadlCreated), false,
     version::v0_13},
    {MessageType::gpadl_teardown, "gpadl_teardown", Direction::to_host, sizeof(message::GpadlTeardown), false,
     version::v0_13},
    {MessageType::gpadl_torn_down, "gpadl_torn_down", Direction::to_guest, sizeof(message::GpadlTornDown), false,
     version::v0_13},
    {MessageType::relid_released, "relid_released", Direction::to_host, sizeof(message::RelidReleased), false,
     version::v0_13},
    {MessageType::initiate_contact, "initiate_contact", Direction::to_host, sizeof(message::InitiateContact), false,
     version::none},
    {MessageType::version_response, "version_response", Direction::to_guest, sizeof(message::VersionResponse), false,
     version::none},
    {MessageType::unload, "unload", Direction::to_host, sizeof(message::Unload), false, version::v0_13},
    {MessageType::unload_response, "unload_response", Direction::to_guest, sizeof(message::UnloadResponse), false,
     version::v1_1},
    {MessageType::tl_connect_request, "tl_connect_request", Direction::to_host, sizeof(message::TlConnectRequest),
     false, version::v4_0},
    {MessageType::modify_channel, "modify_channel", Direction::to_host, sizeof(message::ModifyChannel), false,
     version::v4_1},
    {MessageType::tl_connect_result, "tl_connect_result", Direction::to_guest, sizeof(message::TlConnectResult), false,
     version::v4_1},
    {MessageType::modify_channel_response, "modify_channel_response", Direction::to_guest,
     sizeof(message::ModifyChannelResponse), false, version::v5_3},
}};

// Null: the table has no such message.
constexpr const MessageRow* find_message(MessageType type) {
    for (const MessageRow& row : message_table) {
        if (row.type == type) return &row;
    }
    return nullptr;
}

template <class T>
std::span<const std::byte> bytes_of(const T& message) {
    static_assert(std::is_trivially_copyable_v<T>);
    return std::as_bytes(std::span{&message, 1});
}
// The fixed part of a message. Nothing: it is shorter.
template <class T>
std::optional<T> read_as(std::span<const std::byte> payload) {
    static_assert(std::is_trivially_copyable_v<T>);
    if (payload.size() < sizeof(T)) return std::nullopt;
    T value;
    std::memcpy(static_cast<void*>(&value), payload.data(), sizeof value);
    return value;
}
inline std::optional<MessageType> type_of(std::span<const std::byte> payload) {
    const auto header = read_as<MessageHeader>(payload);
    if (!header) return std::nullopt;
    return header->type;
}

// "open_channel relid=3 ...", for people.
std::string describe(std::span<const std::byte> payload);

}  // namespace vmbus
