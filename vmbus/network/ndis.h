// What RNDIS queries and sets: objects of NDIS by their identifiers (OIDs), and their layouts. Numbers are those of the
// NDIS documentation; one table lists the objects that this host knows.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace vmbus::ndis {

enum class Oid : std::uint32_t {
    supported_list = 0x0001'0101,
    hardware_status = 0x0001'0102,
    media_supported = 0x0001'0103,
    media_in_use = 0x0001'0104,
    maximum_lookahead = 0x0001'0105,
    maximum_frame_size = 0x0001'0106,
    link_speed = 0x0001'0107,
    transmit_buffer_space = 0x0001'0108,
    receive_buffer_space = 0x0001'0109,
    transmit_block_size = 0x0001'010a,
    receive_block_size = 0x0001'010b,
    vendor_id = 0x0001'010c,
    vendor_description = 0x0001'010d,
    current_packet_filter = 0x0001'010e,
    current_lookahead = 0x0001'010f,
    driver_version = 0x0001'0110,
    maximum_total_size = 0x0001'0111,
    protocol_options = 0x0001'0112,
    mac_options = 0x0001'0113,
    media_connect_status = 0x0001'0114,
    maximum_send_packets = 0x0001'0115,
    vendor_driver_version = 0x0001'0116,
    network_layer_addresses = 0x0001'0118,
    receive_scale_capabilities = 0x0001'0203,
    receive_scale_parameters = 0x0001'0204,
    maximum_link_speed = 0x0001'0206,
    link_state = 0x0001'0207,
    link_parameters = 0x0001'0208,
    rndis_config_parameter = 0x0001'021b,
    transmit_ok = 0x0002'0101,
    receive_ok = 0x0002'0102,
    transmit_error = 0x0002'0103,
    receive_error = 0x0002'0104,
    receive_no_buffer = 0x0002'0105,
    directed_bytes_transmitted = 0x0002'0201,
    directed_frames_transmitted = 0x0002'0202,
    multicast_bytes_transmitted = 0x0002'0203,
    multicast_frames_transmitted = 0x0002'0204,
    broadcast_bytes_transmitted = 0x0002'0205,
    broadcast_frames_transmitted = 0x0002'0206,
    directed_bytes_received = 0x0002'0207,
    directed_frames_received = 0x0002'0208,
    multicast_bytes_received = 0x0002'0209,
    multicast_frames_received = 0x0002'020a,
    broadcast_bytes_received = 0x0002'020b,
    broadcast_frames_received = 0x0002'020c,
    friendly_name = 0x0002'0216,
    bytes_received = 0x0002'0219,
    bytes_transmitted = 0x0002'021a,
    receive_discards = 0x0002'021b,
    transmit_discards = 0x0002'021c,
    permanent_address = 0x0101'0101,
    current_address = 0x0101'0102,
    multicast_list = 0x0101'0103,
    maximum_list_size = 0x0101'0104,
    offload_encapsulation = 0x0101'010a,
    receive_error_alignment = 0x0102'0101,
    transmit_one_collision = 0x0102'0102,
    transmit_more_collisions = 0x0102'0103,
    tcp_offload_current_config = 0xfc01'020b,
    tcp_offload_parameters = 0xfc01'020c,
    tcp_offload_hardware_capabilities = 0xfc01'020d,
};

struct OidRow {
    Oid oid;
    std::string_view name;
    bool query;
    bool set;
    std::uint16_t first_ndis;  // major << 8 | minor of the guest's NDIS that is told of it
};

inline constexpr std::uint16_t ndis_5 = 0x500;
inline constexpr std::uint16_t ndis_6_0 = 0x600;
inline constexpr std::uint16_t ndis_6_30 = 0x61e;

inline constexpr std::array<OidRow, 62> oids{{
    {Oid::supported_list, "SUPPORTED_LIST", true, false, ndis_5},
    {Oid::hardware_status, "HARDWARE_STATUS", true, false, ndis_5},
    {Oid::media_supported, "MEDIA_SUPPORTED", true, false, ndis_5},
    {Oid::media_in_use, "MEDIA_IN_USE", true, false, ndis_5},
    {Oid::maximum_lookahead, "MAXIMUM_LOOKAHEAD", true, false, ndis_5},
    {Oid::maximum_frame_size, "MAXIMUM_FRAME_SIZE", true, false, ndis_5},
    {Oid::link_speed, "LINK_SPEED", true, false, ndis_5},
    {Oid::transmit_buffer_space, "TRANSMIT_BUFFER_SPACE", true, false, ndis_5},
    {Oid::receive_buffer_space, "RECEIVE_BUFFER_SPACE", true, false, ndis_5},
    {Oid::transmit_block_size, "TRANSMIT_BLOCK_SIZE", true, false, ndis_5},
    {Oid::receive_block_size, "RECEIVE_BLOCK_SIZE", true, false, ndis_5},
    {Oid::vendor_id, "VENDOR_ID", true, false, ndis_5},
    {Oid::vendor_description, "VENDOR_DESCRIPTION", true, false, ndis_5},
    {Oid::current_packet_filter, "CURRENT_PACKET_FILTER", true, true, ndis_5},
    {Oid::current_lookahead, "CURRENT_LOOKAHEAD", true, true, ndis_5},
    {Oid::driver_version, "DRIVER_VERSION", true, false, ndis_5},
    {Oid::maximum_total_size, "MAXIMUM_TOTAL_SIZE", true, false, ndis_5},
    {Oid::protocol_options, "PROTOCOL_OPTIONS", false, true, ndis_5},
    {Oid::mac_options, "MAC_OPTIONS", true, false, ndis_5},
    {Oid::media_connect_status, "MEDIA_CONNECT_STATUS", true, false, ndis_5},
    {Oid::maximum_send_packets, "MAXIMUM_SEND_PACKETS", true, false, ndis_5},
    {Oid::vendor_driver_version, "VENDOR_DRIVER_VERSION", true, false, ndis_5},
    {Oid::network_layer_addresses, "NETWORK_LAYER_ADDRESSES", false, true, ndis_5},
    {Oid::receive_scale_capabilities, "RECEIVE_SCALE_CAPABILITIES", true, false, ndis_6_30},
    {Oid::receive_scale_parameters, "RECEIVE_SCALE_PARAMETERS", false, true, ndis_6_30},
    {Oid::maximum_link_speed, "MAX_LINK_SPEED", true, false, ndis_6_0},
    {Oid::link_state, "LINK_STATE", true, false, ndis_6_0},
    {Oid::link_parameters, "LINK_PARAMETERS", false, true, ndis_6_0},
    {Oid::rndis_config_parameter, "RNDIS_CONFIG_PARAMETER", false, true, ndis_5},
    {Oid::transmit_ok, "XMIT_OK", true, false, ndis_5},
    {Oid::receive_ok, "RCV_OK", true, false, ndis_5},
    {Oid::transmit_error, "XMIT_ERROR", true, false, ndis_5},
    {Oid::receive_error, "RCV_ERROR", true, false, ndis_5},
    {Oid::receive_no_buffer, "RCV_NO_BUFFER", true, false, ndis_5},
    {Oid::directed_bytes_transmitted, "DIRECTED_BYTES_XMIT", true, false, ndis_5},
    {Oid::directed_frames_transmitted, "DIRECTED_FRAMES_XMIT", true, false, ndis_5},
    {Oid::multicast_bytes_transmitted, "MULTICAST_BYTES_XMIT", true, false, ndis_5},
    {Oid::multicast_frames_transmitted, "MULTICAST_FRAMES_XMIT", true, false, ndis_5},
    {Oid::broadcast_bytes_transmitted, "BROADCAST_BYTES_XMIT", true, false, ndis_5},
    {Oid::broadcast_frames_transmitted, "BROADCAST_FRAMES_XMIT", true, false, ndis_5},
    {Oid::directed_bytes_received, "DIRECTED_BYTES_RCV", true, false, ndis_5},
    {Oid::directed_frames_received, "DIRECTED_FRAMES_RCV", true, false, ndis_5},
    {Oid::multicast_bytes_received, "MULTICAST_BYTES_RCV", true, false, ndis_5},
    {Oid::multicast_frames_received, "MULTICAST_FRAMES_RCV", true, false, ndis_5},
    {Oid::broadcast_bytes_received, "BROADCAST_BYTES_RCV", true, false, ndis_5},
    {Oid::broadcast_frames_received, "BROADCAST_FRAMES_RCV", true, false, ndis_5},
    {Oid::friendly_name, "FRIENDLY_NAME", true, false, ndis_5},
    {Oid::bytes_received, "BYTES_RCV", true, false, ndis_6_0},
    {Oid::bytes_transmitted, "BYTES_XMIT", true, false, ndis_6_0},
    {Oid::receive_discards, "RCV_DISCARDS", true, false, ndis_6_0},
    {Oid::transmit_discards, "XMIT_DISCARDS", true, false, ndis_6_0},
    {Oid::permanent_address, "802_3_PERMANENT_ADDRESS", true, false, ndis_5},
    {Oid::current_address, "802_3_CURRENT_ADDRESS", true, false, ndis_5},
    {Oid::multicast_list, "802_3_MULTICAST_LIST", true, true, ndis_5},
    {Oid::maximum_list_size, "802_3_MAXIMUM_LIST_SIZE", true, false, ndis_5},
    {Oid::offload_encapsulation, "OFFLOAD_ENCAPSULATION", true, true, ndis_6_0},
    {Oid::receive_error_alignment, "802_3_RCV_ERROR_ALIGNMENT", true, false, ndis_5},
    {Oid::transmit_one_collision, "802_3_XMIT_ONE_COLLISION", true, false, ndis_5},
    {Oid::transmit_more_collisions, "802_3_XMIT_MORE_COLLISIONS", true, false, ndis_5},
    {Oid::tcp_offload_current_config, "TCP_OFFLOAD_CURRENT_CONFIG", true, false, ndis_6_0},
    {Oid::tcp_offload_parameters, "TCP_OFFLOAD_PARAMETERS", false, true, ndis_6_0},
    {Oid::tcp_offload_hardware_capabilities, "TCP_OFFLOAD_HARDWARE_CAPABILITIES", true, false, ndis_6_0},
}};

constexpr const OidRow* find(std::uint32_t oid) {
    for (const auto& row : oids) {
        if (static_cast<std::uint32_t>(row.oid) == oid) return &row;
    }
    return nullptr;
}

namespace packet_filter {
inline constexpr std::uint32_t directed = 0x1;
inline constexpr std::uint32_t multicast = 0x2;  // what the multicast list says
inline constexpr std::uint32_t all_multicast = 0x4;
inline constexpr std::uint32_t broadcast = 0x8;
inline constexpr std::uint32_t promiscuous = 0x20;
}  // namespace packet_filter

namespace mac_option {
inline constexpr std::uint32_t copy_lookahead_data = 0x1;
inline constexpr std::uint32_t transfers_not_pend = 0x4;
inline constexpr std::uint32_t no_loopback = 0x8;
inline constexpr std::uint32_t priority_8021p = 0x40;
inline constexpr std::uint32_t vlan_8021q = 0x200;
}  // namespace mac_option

namespace object_type {
inline constexpr std::uint8_t standard = 0x80;
inline constexpr std::uint8_t rss_capabilities = 0x88;
inline constexpr std::uint8_t rss_parameters = 0x89;
inline constexpr std::uint8_t offload = 0xa7;
inline constexpr std::uint8_t offload_encapsulation = 0xa8;
}  // namespace object_type

inline constexpr std::uint32_t encapsulation_ethernet = 2;

// NDIS_TCP_IP_CHECKSUM_OFFLOAD: each is two bits wide, 1 for "supported".
namespace ipv4_checksum {
inline constexpr std::uint32_t ip_options = 0x001;
inline constexpr std::uint32_t tcp_options = 0x004;
inline constexpr std::uint32_t tcp = 0x010;
inline constexpr std::uint32_t udp = 0x040;
inline constexpr std::uint32_t ip_header = 0x100;
}  // namespace ipv4_checksum
namespace ipv6_checksum {
inline constexpr std::uint32_t extension_headers = 0x001;
inline constexpr std::uint32_t tcp_options = 0x004;
inline constexpr std::uint32_t tcp = 0x010;
inline constexpr std::uint32_t udp = 0x040;
}  // namespace ipv6_checksum
inline constexpr std::uint32_t ipv6_large_send_options = 0x005;  // extension headers and TCP options
// What Hyper-V's switch says of large sends.
inline constexpr std::uint32_t largest_send_bytes = 0xf53c;
inline constexpr std::uint32_t least_send_segments = 2;

#pragma pack(push, 1)
struct ObjectHeader {
    std::uint8_t type = 0;
    std::uint8_t revision = 0;
    std::uint16_t bytes = 0;
};
static_assert(sizeof(ObjectHeader) == 4);

// NDIS_OFFLOAD. Guests of older NDIS know the beginning only.
struct Offload {
    ObjectHeader header;
    std::uint32_t ipv4_send_encapsulation = 0;
    std::uint32_t ipv4_send = 0;
    std::uint32_t ipv4_receive_encapsulation = 0;
    std::uint32_t ipv4_receive = 0;
    std::uint32_t ipv6_send_encapsulation = 0;
    std::uint32_t ipv6_send = 0;
    std::uint32_t ipv6_receive_encapsulation = 0;
    std::uint32_t ipv6_receive = 0;
    std::array<std::uint32_t, 4> large_send_1{};
    std::array<std::uint32_t, 7> ipsec_1{};
    std::uint32_t ipv4_large_send_encapsulation = 0;
    std::uint32_t ipv4_large_send_bytes = 0;
    std::uint32_t ipv4_large_send_segments = 0;
    std::uint32_t ipv6_large_send_encapsulation = 0;
    std::uint32_t ipv6_large_send_bytes = 0;
    std::uint32_t ipv6_large_send_segments = 0;
    std::uint32_t ipv6_large_send_options = 0;
    std::uint32_t flags = 0;
    std::array<std::uint32_t, 8> ipsec_2{};
    std::uint8_t rsc_ipv4 = 0;
    std::uint8_t rsc_ipv6 = 0;
    std::array<std::uint8_t, 2> padding{};
    std::array<std::uint32_t, 2> gre{};
};
static_assert(offsetof(Offload, ipv4_large_send_encapsulation) == 80 && offsetof(Offload, flags) == 108);
static_assert(offsetof(Offload, rsc_ipv4) == 144 && sizeof(Offload) == 156);
inline constexpr std::uint16_t offload_bytes_1 = offsetof(Offload, ipsec_2);   // NDIS 6.0
inline constexpr std::uint16_t offload_bytes_2 = offsetof(Offload, rsc_ipv4);  // NDIS 6.1
inline constexpr std::uint16_t offload_bytes_3 = sizeof(Offload);              // NDIS 6.30
static_assert(offload_bytes_1 == 112 && offload_bytes_2 == 144);

// NDIS_OFFLOAD_PARAMETERS; the last four bytes from NDIS 6.30 on.
struct OffloadParameters {
    ObjectHeader header{object_type::standard, 3, 28};
    std::uint8_t ipv4_checksum = 0;
    std::uint8_t tcp4_checksum = 0;
    std::uint8_t udp4_checksum = 0;
    std::uint8_t tcp6_checksum = 0;
    std::uint8_t udp6_checksum = 0;
    std::uint8_t large_send_1 = 0;
    std::uint8_t ipsec_1 = 0;
    std::uint8_t large_send_ipv4 = 0;
    std::uint8_t large_send_ipv6 = 0;
    std::uint8_t tcp_connection_ipv4 = 0;
    std::uint8_t tcp_connection_ipv6 = 0;
    std::uint8_t padding = 0;
    std::uint32_t flags = 0;
    std::uint8_t ipsec_2 = 0;
    std::uint8_t ipsec_2_ipv4 = 0;
    std::uint8_t rsc_ipv4 = 0;
    std::uint8_t rsc_ipv6 = 0;
    std::array<std::uint8_t, 4> encapsulation{};
};
static_assert(offsetof(OffloadParameters, rsc_ipv4) == 22 && sizeof(OffloadParameters) == 28);
inline constexpr std::size_t offload_parameters_least = 20;

namespace checksum_parameter {
inline constexpr std::uint8_t no_change = 0;
inline constexpr std::uint8_t off = 1;
inline constexpr std::uint8_t send = 2;
inline constexpr std::uint8_t receive = 3;
inline constexpr std::uint8_t both = 4;
}  // namespace checksum_parameter
namespace simple_parameter {  // large sends, RSC
inline constexpr std::uint8_t no_change = 0;
inline constexpr std::uint8_t off = 1;
inline constexpr std::uint8_t on = 2;
}  // namespace simple_parameter

struct OffloadEncapsulation {
    ObjectHeader header{object_type::offload_encapsulation, 1, 28};
    std::uint32_t ipv4_enabled = 0;
    std::uint32_t ipv4_type = 0;
    std::uint32_t ipv4_header_bytes = 0;
    std::uint32_t ipv6_enabled = 0;
    std::uint32_t ipv6_type = 0;
    std::uint32_t ipv6_header_bytes = 0;
};
static_assert(sizeof(OffloadEncapsulation) == 28);

// Revision 2, without the padding that a compiler would put at its end: Linux asks for these 18 bytes and no more.
struct RssCapabilities {
    ObjectHeader header{object_type::rss_capabilities, 2, 18};
    std::uint32_t flags = 0;
    std::uint32_t interrupt_messages = 1;
    std::uint32_t receive_queues = 1;
    std::uint16_t table_entries = 128;
};
static_assert(sizeof(RssCapabilities) == 18);

struct RssParameters {
    ObjectHeader header{object_type::rss_parameters, 2, 40};
    std::uint16_t flags = 0;
    std::uint16_t base_processor = 0;
    std::uint32_t hash_information = 0;
    std::uint16_t table_bytes = 0;
    std::uint16_t padding = 0;
    std::uint32_t table_offset = 40;
    std::uint16_t key_bytes = 0;
    std::uint16_t padding_2 = 0;
    std::uint32_t key_offset = 0;
    std::uint32_t masks_offset = 0;
    std::uint32_t mask_count = 0;
    std::uint32_t mask_bytes = 0;
};
static_assert(offsetof(RssParameters, key_offset) == 24 && sizeof(RssParameters) == 40);
inline constexpr std::size_t rss_parameters_least = 28;  // revision 1

namespace rss_flag {
inline constexpr std::uint16_t hash_information_unchanged = 0x2;
inline constexpr std::uint16_t table_unchanged = 0x4;
inline constexpr std::uint16_t key_unchanged = 0x8;
inline constexpr std::uint16_t disable = 0x10;
}  // namespace rss_flag

namespace rss_capability {
inline constexpr std::uint32_t toeplitz = 0x1;
inline constexpr std::uint32_t tcp_ipv4 = 0x100;
inline constexpr std::uint32_t tcp_ipv6 = 0x200;
}  // namespace rss_capability

namespace hash {
inline constexpr std::uint32_t function_mask = 0xff;
inline constexpr std::uint32_t toeplitz = 0x1;
inline constexpr std::uint32_t ipv4 = 0x100;
inline constexpr std::uint32_t tcp_ipv4 = 0x200;
inline constexpr std::uint32_t ipv6 = 0x400;
inline constexpr std::uint32_t tcp_ipv6 = 0x1000;
inline constexpr std::uint32_t type_mask = 0xffff'ff00;
}  // namespace hash

struct LinkState {
    ObjectHeader header{object_type::standard, 1, 40};
    std::uint32_t connected = 1;  // 1 connected, 2 disconnected
    std::uint32_t duplex = 2;     // full
    std::uint32_t padding = 0;
    std::uint64_t send_bits_per_second = 0;
    std::uint64_t receive_bits_per_second = 0;
    std::uint32_t pause = 0;
    std::uint32_t negotiation = 0;
};
static_assert(sizeof(LinkState) == 40);

// RNDIS_CONFIG_PARAMETER: names and values are UTF-16.
struct ConfigParameter {
    std::uint32_t name_offset = 0;
    std::uint32_t name_bytes = 0;
    std::uint32_t type = 0;
    std::uint32_t value_offset = 0;
    std::uint32_t value_bytes = 0;
};
static_assert(sizeof(ConfigParameter) == 20);
inline constexpr std::uint32_t config_parameter_integer = 0;
inline constexpr std::uint32_t config_parameter_string = 2;
#pragma pack(pop)

}  // namespace vmbus::ndis
