// RNDIS (MS-RNDIS): control and data messages between the network service and the guest's driver. Offsets in messages
// count from their ninth byte, behind type and length. One table lists all messages.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "vmbus/network/layout.h"
#include "vmbus/network/nvsp.h"

namespace vmbus::rndis {

enum class MessageType : std::uint32_t {
    packet = 1,
    initialize = 2,
    halt = 3,
    query = 4,
    set = 5,
    reset = 6,
    indicate_status = 7,
    keepalive = 8,
    initialize_complete = 0x8000'0002,
    query_complete = 0x8000'0004,
    set_complete = 0x8000'0005,
    reset_complete = 0x8000'0006,
    keepalive_complete = 0x8000'0008,
};

namespace status {
inline constexpr std::uint32_t success = 0;
inline constexpr std::uint32_t media_connect = 0x4001'000b;
inline constexpr std::uint32_t media_disconnect = 0x4001'000c;
inline constexpr std::uint32_t link_speed_change = 0x4001'0013;
inline constexpr std::uint32_t network_change = 0x4001'0018;
inline constexpr std::uint32_t task_offload_current_config = 0x4002'0006;
inline constexpr std::uint32_t failure = 0xc000'0001;
inline constexpr std::uint32_t not_supported = 0xc000'00bb;
inline constexpr std::uint32_t adapter_not_ready = 0xc001'0011;
inline constexpr std::uint32_t invalid_length = 0xc001'0014;
inline constexpr std::uint32_t invalid_data = 0xc001'0015;
}  // namespace status

inline constexpr std::uint32_t major_version = 1;
inline constexpr std::uint32_t minor_version = 0;
inline constexpr std::uint32_t connectionless = 1;
inline constexpr std::uint32_t medium_802_3 = 0;
inline constexpr std::size_t header_bytes = 8;
inline constexpr std::uint32_t ethernet_header_bytes = 14;

#pragma pack(push, 1)
struct Header {
    MessageType type{};
    std::uint32_t length = 0;  // of the whole message
};
static_assert(sizeof(Header) == header_bytes);

struct Initialize {
    std::uint32_t request = 0;
    std::uint32_t major = major_version;
    std::uint32_t minor = minor_version;
    std::uint32_t maximum_transfer = 0x4000;
};
static_assert(sizeof(Initialize) == 16);

struct InitializeComplete {
    std::uint32_t request = 0;
    std::uint32_t status = 0;
    std::uint32_t major = major_version;
    std::uint32_t minor = minor_version;
    std::uint32_t device_flags = connectionless;
    std::uint32_t medium = medium_802_3;
    std::uint32_t maximum_packets = 1;  // in one message
    std::uint32_t maximum_transfer = 0;
    std::uint32_t alignment_factor = 3;  // log2 of the padding between packets in one message
    std::uint32_t address_families_offset = 0;
    std::uint32_t address_families_bytes = 0;
};
static_assert(sizeof(InitializeComplete) == 44);

// Halt, and the request of Keepalive.
struct RequestOnly {
    std::uint32_t request = 0;
};

// Also Set.
struct Query {
    std::uint32_t request = 0;
    std::uint32_t oid = 0;
    std::uint32_t information_bytes = 0;
    std::uint32_t information_offset = 0;
    std::uint32_t vc_handle = 0;
};
static_assert(sizeof(Query) == 20);

struct QueryComplete {
    std::uint32_t request = 0;
    std::uint32_t status = 0;
    std::uint32_t information_bytes = 0;
    std::uint32_t information_offset = 16;
};
static_assert(sizeof(QueryComplete) == 16);

// Also KeepaliveComplete.
struct SetComplete {
    std::uint32_t request = 0;
    std::uint32_t status = 0;
};
static_assert(sizeof(SetComplete) == 8);

struct ResetComplete {
    std::uint32_t status = 0;
    std::uint32_t addressing_reset = 0;
};
static_assert(sizeof(ResetComplete) == 8);

struct IndicateStatus {
    std::uint32_t status = 0;
    std::uint32_t buffer_bytes = 0;
    std::uint32_t buffer_offset = 0;
};
static_assert(sizeof(IndicateStatus) == 12);

struct Packet {
    std::uint32_t data_offset = 0;
    std::uint32_t data_bytes = 0;
    std::uint32_t oob_offset = 0;
    std::uint32_t oob_bytes = 0;
    std::uint32_t oob_elements = 0;
    std::uint32_t information_offset = 0;
    std::uint32_t information_bytes = 0;
    std::uint32_t vc_handle = 0;
    std::uint32_t reserved = 0;
};
static_assert(sizeof(Packet) == 36);

// One piece of per-packet information. Linux parses a list of them in a loop that ends only if each is sound.
struct PacketInformation {
    std::uint32_t bytes = 0;  // with this header
    std::uint32_t type = 0;
    std::uint32_t offset = 12;
};
static_assert(sizeof(PacketInformation) == 12);

struct PacketId {
    std::uint8_t version = 1;
    std::uint8_t flags = 0;
    std::uint16_t id = 0;
};
static_assert(sizeof(PacketId) == 4);
#pragma pack(pop)

// Bytes of an Ethernet frame's message before the frame: room for every piece of information this host sends.
inline constexpr std::size_t information_bytes = sizeof(PacketInformation) + 4;
inline constexpr std::size_t maximum_information = 4;
inline constexpr std::size_t packet_overhead = header_bytes + sizeof(Packet) + maximum_information * information_bytes;
static_assert(packet_overhead == 108);

namespace information_type {
inline constexpr std::uint32_t checksum = 0;
inline constexpr std::uint32_t large_send = 2;
inline constexpr std::uint32_t ieee_8021q = 6;
inline constexpr std::uint32_t hash_value = 8;
inline constexpr std::uint32_t internal = 0x8000'0000;
inline constexpr std::uint32_t packet_id = internal | 1;
}  // namespace information_type

namespace send_checksum {
inline constexpr std::uint32_t is_ipv4 = 1u << 0;
inline constexpr std::uint32_t is_ipv6 = 1u << 1;
inline constexpr std::uint32_t tcp = 1u << 2;
inline constexpr std::uint32_t udp = 1u << 3;
inline constexpr std::uint32_t ip_header = 1u << 4;
inline constexpr unsigned transport_offset_low = 16;  // 10 bits
}  // namespace send_checksum

namespace receive_checksum {
inline constexpr std::uint32_t tcp_failed = 1u << 0;
inline constexpr std::uint32_t udp_failed = 1u << 1;
inline constexpr std::uint32_t ip_failed = 1u << 2;
inline constexpr std::uint32_t tcp_succeeded = 1u << 3;
inline constexpr std::uint32_t udp_succeeded = 1u << 4;
inline constexpr std::uint32_t ip_succeeded = 1u << 5;
inline constexpr std::uint32_t loopback = 1u << 6;
inline constexpr std::uint32_t tcp_value_invalid = 1u << 7;
inline constexpr std::uint32_t ip_value_invalid = 1u << 8;
}  // namespace receive_checksum

namespace large_send {
inline constexpr std::uint32_t mss_mask = 0xf'ffff;
inline constexpr unsigned transport_offset_low = 20;  // 10 bits
inline constexpr std::uint32_t version_2 = 1u << 30;
inline constexpr std::uint32_t is_ipv6 = 1u << 31;
}  // namespace large_send

namespace packet_id_flag {  // of a frame that takes several sections
inline constexpr std::uint8_t several_sections = 1u << 0;
inline constexpr std::uint8_t first = 1u << 1;
inline constexpr std::uint8_t last = 1u << 2;
}  // namespace packet_id_flag

struct MessageRow {
    MessageType type;
    std::string_view name;
    nvsp::Direction direction;
    std::uint8_t bytes;  // what must be there, with the header
    std::array<MessageField, 9> fields{};
};

inline constexpr std::array<MessageRow, 13> messages{{
    {MessageType::packet,
     "PACKET",
     nvsp::Direction::both,
     44,
     {{{"data_offset", 8},
       {"data", 12},
       {"oob_offset", 16},
       {"oob", 20},
       {"oob_elements", 24},
       {"info_offset", 28},
       {"info", 32},
       {"vc", 36},
       {"reserved", 40}}}},
    {MessageType::initialize,
     "INITIALIZE",
     nvsp::Direction::to_host,
     24,
     {{{"request", 8}, {"major", 12}, {"minor", 16}, {"max_transfer", 20}}}},
    {MessageType::halt, "HALT", nvsp::Direction::to_host, 12, {{{"request", 8}}}},
    {MessageType::query,
     "QUERY",
     nvsp::Direction::to_host,
     28,
     {{{"request", 8}, {"oid", 12}, {"info", 16}, {"info_offset", 20}, {"vc", 24}}}},
    {MessageType::set,
     "SET",
     nvsp::Direction::to_host,
     28,
     {{{"request", 8}, {"oid", 12}, {"info", 16}, {"info_offset", 20}, {"vc", 24}}}},
    {MessageType::reset, "RESET", nvsp::Direction::to_host, 12, {{{"reserved", 8}}}},
    {MessageType::indicate_status,
     "INDICATE_STATUS",
     nvsp::Direction::to_guest,
     20,
     {{{"status", 8}, {"buffer", 12}, {"buffer_offset", 16}}}},
    {MessageType::keepalive, "KEEPALIVE", nvsp::Direction::to_host, 12, {{{"request", 8}}}},
    {MessageType::initialize_complete,
     "INITIALIZE_CMPLT",
     nvsp::Direction::to_guest,
     52,
     {{{"request", 8},
       {"status", 12},
       {"major", 16},
       {"minor", 20},
       {"flags", 24},
       {"medium", 28},
       {"max_packets", 32},
       {"max_transfer", 36},
       {"alignment", 40}}}},
    {MessageType::query_complete,
     "QUERY_CMPLT",
     nvsp::Direction::to_guest,
     24,
     {{{"request", 8}, {"status", 12}, {"info", 16}, {"info_offset", 20}}}},
    {MessageType::set_complete, "SET_CMPLT", nvsp::Direction::to_guest, 16, {{{"request", 8}, {"status", 12}}}},
    {MessageType::reset_complete,
     "RESET_CMPLT",
     nvsp::Direction::to_guest,
     16,
     {{{"status", 8}, {"addressing_reset", 12}}}},
    {MessageType::keepalive_complete,
     "KEEPALIVE_CMPLT",
     nvsp::Direction::to_guest,
     16,
     {{{"request", 8}, {"status", 12}}}},
}};

constexpr const MessageRow* find(std::uint32_t type) {
    for (const auto& row : messages) {
        if (static_cast<std::uint32_t>(row.type) == type) return &row;
    }
    return nullptr;
}

// A whole control message.
template <class Body>
std::vector<std::byte> message(MessageType type, const Body& body, std::span<const std::byte> information = {}) {
    std::vector<std::byte> bytes;
    bytes.reserve(header_bytes + sizeof(Body) + information.size());
    append_layout(bytes, Header{type, static_cast<std::uint32_t>(header_bytes + sizeof(Body) + information.size())});
    append_layout(bytes, body);
    bytes.insert(bytes.end(), information.begin(), information.end());
    return bytes;
}

// "QUERY request=0x2 oid=0x10106 ...", for logs.
std::string to_text(std::span<const std::byte> message);

}  // namespace vmbus::rndis
