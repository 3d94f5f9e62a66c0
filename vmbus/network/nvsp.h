// The network service's own messages (NVSP), which set the service up and carry RNDIS. Layouts are those of Linux
// drivers/net/hyperv/hyperv_net.h and of the public Hyper-V network protocol descriptions. One table lists all of them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

#include "vmbus/network/layout.h"

namespace vmbus::nvsp {

// Protocol versions, oldest first: Windows Server 2008, 2008 R2, 2012, 2012 R2, 2016, 2019.
inline constexpr std::uint32_t version_1 = 0x0'0002;
inline constexpr std::uint32_t version_2 = 0x3'0002;
inline constexpr std::uint32_t version_4 = 0x4'0000;
inline constexpr std::uint32_t version_5 = 0x5'0000;
inline constexpr std::uint32_t version_6 = 0x6'0000;
inline constexpr std::uint32_t version_6_1 = 0x6'0001;
inline constexpr std::array versions{version_1, version_2, version_4, version_5, version_6, version_6_1};
inline constexpr std::uint32_t no_version = 0xffff'ffff;

enum class MessageType : std::uint32_t {
    init = 1,
    init_complete = 2,
    send_ndis_version = 100,
    send_receive_buffer = 101,
    send_receive_buffer_complete = 102,
    revoke_receive_buffer = 103,
    send_send_buffer = 104,
    send_send_buffer_complete = 105,
    revoke_send_buffer = 106,
    send_rndis_packet = 107,
    send_rndis_packet_complete = 108,
    send_ndis_config = 125,
    send_vf_association = 128,
    switch_data_path = 129,
    oid_query_ex = 131,
    oid_query_ex_complete = 132,
    sub_channel = 133,
    send_indirection_table = 134,
};

enum class Status : std::uint32_t {
    none = 0,
    success = 1,
    failure = 2,
    invalid_rndis_packet = 5,
    busy = 6,
};

// A message of the latest version; older guests and hosts use 28 bytes, but accept these.
inline constexpr std::size_t message_bytes = 40;
inline constexpr std::uint16_t receive_buffer_id = 0xcafe;
inline constexpr std::uint32_t no_section = 0xffff'ffff;
// The longest chain of memory descriptors that the host takes for one packet.
inline constexpr std::uint32_t maximum_mdl_chain = 34;
// Ranges in one transfer-page packet: Linux's buffer for packets holds 562 of them.
inline constexpr std::size_t maximum_ranges = 562;
inline constexpr std::uint32_t send_table_entries = 16;

namespace channel_type {
inline constexpr std::uint32_t data = 0;
inline constexpr std::uint32_t control = 1;
}  // namespace channel_type

namespace capability {  // SendNdisConfig
inline constexpr std::uint64_t vmq = 1u << 0;
inline constexpr std::uint64_t chimney = 1u << 1;
inline constexpr std::uint64_t sriov = 1u << 2;
inline constexpr std::uint64_t ieee_8021q = 1u << 3;
inline constexpr std::uint64_t correlation = 1u << 4;
inline constexpr std::uint64_t teaming = 1u << 5;
inline constexpr std::uint64_t virtual_subnet = 1u << 6;
inline constexpr std::uint64_t rsc = 1u << 7;
}  // namespace capability

namespace data_path {
inline constexpr std::uint32_t synthetic = 0;
inline constexpr std::uint32_t virtual_function = 1;
}  // namespace data_path

inline constexpr std::uint32_t sub_channel_allocate = 1;

#pragma pack(push, 1)
struct Init {
    MessageType type = MessageType::init;
    std::uint32_t version = 0;        // once the lowest,
    std::uint32_t version_again = 0;  // and the highest; today the same twice
};
static_assert(sizeof(Init) == 12);

struct InitComplete {
    MessageType type = MessageType::init_complete;
    std::uint32_t version = no_version;  // said to version 1 only
    std::uint32_t maximum_mdl_chain = nvsp::maximum_mdl_chain;
    Status status = Status::none;
};
static_assert(sizeof(InitComplete) == 16);

struct SendNdisVersion {
    MessageType type = MessageType::send_ndis_version;
    std::uint32_t major = 6;
    std::uint32_t minor = 30;
};
static_assert(sizeof(SendNdisVersion) == 12);

// Also SendSendBuffer.
struct SendBuffer {
    MessageType type = MessageType::send_receive_buffer;
    std::uint32_t gpadl = 0;
    std::uint16_t id = 0;
    std::uint16_t reserved = 0;
};
static_assert(sizeof(SendBuffer) == 12);

struct SendReceiveBufferComplete {
    MessageType type = MessageType::send_receive_buffer_complete;
    Status status = Status::none;
    std::uint32_t sections = 0;  // kinds of sections: 1
    std::uint32_t offset = 0;
    std::uint32_t section_bytes = 0;
    std::uint32_t section_count = 0;
    std::uint32_t end_offset = 0;
};
static_assert(sizeof(SendReceiveBufferComplete) == 28);

struct SendSendBufferComplete {
    MessageType type = MessageType::send_send_buffer_complete;
    Status status = Status::none;
    std::uint32_t section_bytes = 0;
};
static_assert(sizeof(SendSendBufferComplete) == 12);

struct RevokeBuffer {
    MessageType type = MessageType::revoke_receive_buffer;
    std::uint16_t id = 0;
};
static_assert(sizeof(RevokeBuffer) == 6);

struct SendRndisPacket {
    MessageType type = MessageType::send_rndis_packet;
    std::uint32_t channel_type = nvsp::channel_type::data;
    std::uint32_t section = no_section;
    std::uint32_t section_bytes = 0;
};
static_assert(sizeof(SendRndisPacket) == 16);

struct SendRndisPacketComplete {
    MessageType type = MessageType::send_rndis_packet_complete;
    Status status = Status::success;
};
static_assert(sizeof(SendRndisPacketComplete) == 8);

struct SendNdisConfig {
    MessageType type = MessageType::send_ndis_config;
    std::uint32_t mtu = 0;  // with the Ethernet header
    std::uint32_t reserved = 0;
    std::uint64_t capabilities = 0;
};
static_assert(sizeof(SendNdisConfig) == 20);

struct SendVfAssociation {
    MessageType type = MessageType::send_vf_association;
    std::uint32_t allocated = 0;
    std::uint32_t serial = 0;
};
static_assert(sizeof(SendVfAssociation) == 12);

struct SwitchDataPath {
    MessageType type = MessageType::switch_data_path;
    std::uint32_t path = nvsp::data_path::synthetic;
};
static_assert(sizeof(SwitchDataPath) == 8);

struct OidQueryEx {
    MessageType type = MessageType::oid_query_ex;
    std::uint32_t header = 0;
    std::uint32_t oid = 0;
};
static_assert(sizeof(OidQueryEx) == 12);

struct OidQueryExComplete {
    MessageType type = MessageType::oid_query_ex_complete;
    std::uint32_t status = 0;
    std::uint32_t bytes = 0;
};
static_assert(sizeof(OidQueryExComplete) == 12);

struct SubChannelRequest {
    MessageType type = MessageType::sub_channel;
    std::uint32_t operation = sub_channel_allocate;
    std::uint32_t count = 0;
};
static_assert(sizeof(SubChannelRequest) == 12);

struct SubChannelComplete {
    MessageType type = MessageType::sub_channel;
    Status status = Status::none;
    std::uint32_t count = 0;
};
static_assert(sizeof(SubChannelComplete) == 12);

// The table lies behind the space of the largest message: Linux looks there, whatever `offset` says, up to version 6.0.
struct SendIndirectionTable {
    MessageType type = MessageType::send_indirection_table;
    std::uint32_t count = send_table_entries;
    std::uint32_t offset = message_bytes;
    std::array<std::byte, message_bytes - 12> unused{};
    std::array<std::uint32_t, send_table_entries> table{};
};
static_assert(offsetof(SendIndirectionTable, table) == message_bytes && sizeof(SendIndirectionTable) == 104);
#pragma pack(pop)

enum class Direction : std::uint8_t { to_host, to_guest, both };
enum class Carried : std::uint8_t { request, completion };

struct MessageRow {
    MessageType type;
    std::string_view name;
    Direction direction;
    Carried carried;
    std::uint32_t first_version;  // 0: before a version is agreed
    bool on_sub_channels;
    std::uint8_t bytes;  // what must be there
    std::array<MessageField, 6> fields{};
};

inline constexpr std::array<MessageRow, 18> messages{{
    {MessageType::init, "INIT", Direction::to_host, Carried::request, 0, false, 12, {{{"min", 4}, {"max", 8}}}},
    {MessageType::init_complete,
     "INIT_COMPLETE",
     Direction::to_guest,
     Carried::completion,
     0,
     false,
     16,
     {{{"version", 4}, {"mdl_chain", 8}, {"status", 12}}}},
    {MessageType::send_ndis_version,
     "SEND_NDIS_VER",
     Direction::to_host,
     Carried::request,
     version_1,
     false,
     12,
     {{{"major", 4}, {"minor", 8}}}},
    {MessageType::send_receive_buffer,
     "SEND_RECV_BUF",
     Direction::to_host,
     Carried::request,
     version_1,
     false,
     10,
     {{{"gpadl", 4}, {"id", 8, 2}}}},
    {MessageType::send_receive_buffer_complete,
     "SEND_RECV_BUF_COMPLETE",
     Direction::to_guest,
     Carried::completion,
     version_1,
     false,
     28,
     {{{"status", 4}, {"sections", 8}, {"offset", 12}, {"section_bytes", 16}, {"section_count", 20}, {"end", 24}}}},
    {MessageType::revoke_receive_buffer,
     "REVOKE_RECV_BUF",
     Direction::to_host,
     Carried::request,
     version_1,
     false,
     6,
     {{{"id", 4, 2}}}},
    {MessageType::send_send_buffer,
     "SEND_SEND_BUF",
     Direction::to_host,
     Carried::request,
     version_1,
     false,
     10,
     {{{"gpadl", 4}, {"id", 8, 2}}}},
    {MessageType::send_send_buffer_complete,
     "SEND_SEND_BUF_COMPLETE",
     Direction::to_guest,
     Carried::completion,
     version_1,
     false,
     12,
     {{{"status", 4}, {"section_bytes", 8}}}},
    {MessageType::revoke_send_buffer,
     "REVOKE_SEND_BUF",
     Direction::to_host,
     Carried::request,
     version_1,
     false,
     6,
     {{{"id", 4, 2}}}},
    {MessageType::send_rndis_packet,
     "SEND_RNDIS_PKT",
     Direction::both,
     Carried::request,
     version_1,
     true,
     16,
     {{{"channel_type", 4}, {"section", 8}, {"section_bytes", 12}}}},
    {MessageType::send_rndis_packet_complete,
     "SEND_RNDIS_PKT_COMPLETE",
     Direction::both,
     Carried::completion,
     version_1,
     true,
     8,
     {{{"status", 4}}}},
    {MessageType::send_ndis_config,
     "SEND_NDIS_CONFIG",
     Direction::to_host,
     Carried::request,
     version_2,
     false,
     20,
     {{{"mtu", 4}, {"capabilities", 12, 8}}}},
    {MessageType::send_vf_association,
     "SEND_VF_ASSOCIATION",
     Direction::to_guest,
     Carried::request,
     version_4,
     false,
     12,
     {{{"allocated", 4}, {"serial", 8}}}},
    {MessageType::switch_data_path,
     "SWITCH_DATA_PATH",
     Direction::to_host,
     Carried::request,
     version_4,
     false,
     8,
     {{{"path", 4}}}},
    {MessageType::oid_query_ex,
     "OID_QUERY_EX",
     Direction::to_host,
     Carried::request,
     version_5,
     false,
     12,
     {{{"header", 4}, {"oid", 8}}}},
    {MessageType::oid_query_ex_complete,
     "OID_QUERY_EX_COMPLETE",
     Direction::to_guest,
     Carried::completion,
     version_5,
     false,
     12,
     {{{"status", 4}, {"bytes", 8}}}},
    {MessageType::sub_channel,
     "SUBCHANNEL",
     Direction::both,
     Carried::request,
     version_5,
     false,
     12,
     {{{"operation", 4}, {"count", 8}}}},
    {MessageType::send_indirection_table,
     "SEND_INDIRECTION_TABLE",
     Direction::to_guest,
     Carried::request,
     version_5,
     false,
     104,
     {{{"count", 4}, {"offset", 8}}}},
}};

// Nothing: no such message, or one that is not modelled (chimney, packet direct).
constexpr const MessageRow* find(std::uint32_t type) {
    for (const auto& row : messages) {
        if (static_cast<std::uint32_t>(row.type) == type) return &row;
    }
    return nullptr;
}

// A message in the room of the largest, with zeros behind it. Linux passes every completion to a chain of checks of
// which the longest wants 28 bytes, and copies 40.
template <class Message>
std::array<std::byte, message_bytes> padded(const Message& message) {
    static_assert(sizeof(Message) <= message_bytes);
    std::array<std::byte, message_bytes> bytes{};
    std::memcpy(bytes.data(), &message, sizeof(message));
    return bytes;
}

// "SEND_RECV_BUF gpadl=0x1 id=0xcafe", for logs.
std::string to_text(std::span<const std::byte> message);

}  // namespace vmbus::nvsp
