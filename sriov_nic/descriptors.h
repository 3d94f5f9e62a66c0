// Descriptors as they lie in memory (82599 datasheet, 7.1.5, 7.1.6, 7.2.3.2): two little-endian quadwords each.
#pragma once

#include <cstdint>

namespace sriov_nic {

struct Descriptor {
    std::uint64_t low = 0;
    std::uint64_t high = 0;
    bool operator==(const Descriptor&) const = default;
    template <class Archive>
    void fields(Archive& archive) {
        archive(low, high);
    }
};
inline constexpr unsigned descriptor_bytes = 16;
static_assert(sizeof(Descriptor) == descriptor_bytes);

// Transmit, the high quadword's low half.
namespace tx {
inline constexpr std::uint32_t length = 0xffff, type = 0xfu << 20, type_context = 2u << 20, type_data = 3u << 20,
                               end_of_packet = 1u << 24, insert_fcs = 1u << 25, report_status = 1u << 27,
                               extended = 1u << 29, vlan = 1u << 30, segmentation = 1u << 31;
// Of a legacy descriptor: insert checksum; its offset is in bits 23:16, its start in bits 15:8 of the upper half.
inline constexpr std::uint32_t legacy_length = 0xffff, legacy_insert_checksum = 1u << 26;
// The upper half of a data descriptor.
inline constexpr std::uint32_t done = 1u << 0, check_context = 1u << 7, insert_ip_checksum = 1u << 8,
                               insert_l4_checksum = 1u << 9;
constexpr unsigned context_index(std::uint32_t v) {
    return v >> 4 & 7;
}
constexpr std::uint32_t payload(std::uint32_t v) {
    return v >> 14;
}
// A context's dwords.
constexpr unsigned ip_bytes(std::uint32_t macip) {
    return macip & 0x1ff;
}
constexpr unsigned mac_bytes(std::uint32_t macip) {
    return macip >> 9 & 0x7f;
}
constexpr std::uint16_t vlan_tag(std::uint32_t macip) {
    return static_cast<std::uint16_t>(macip >> 16);
}
inline constexpr std::uint32_t ipv4 = 1u << 10, l4_type = 3u << 11, l4_udp = 0, l4_tcp = 1u << 11, l4_sctp = 2u << 11;
constexpr unsigned segment_bytes(std::uint32_t mss) {
    return mss >> 16;
}
constexpr unsigned l4_bytes(std::uint32_t mss) {
    return mss >> 8 & 0xff;
}

constexpr std::uint32_t command_of(const Descriptor& d) {
    return static_cast<std::uint32_t>(d.high);
}
constexpr bool is_context(const Descriptor& d) {
    return (command_of(d) & (extended | type)) == (extended | type_context);
}
}  // namespace tx

// Receive, advanced write-back.
namespace rx {
inline constexpr std::uint32_t done = 1u << 0, end_of_packet = 1u << 1, vlan = 1u << 3, udp_checksum = 1u << 4,
                               l4_checksum = 1u << 5, ip_checksum = 1u << 6, inexact = 1u << 7, loopback = 1u << 18;
inline constexpr std::uint32_t header_overflow = 1u << 23, bad_frame = 1u << 29, l4_error = 1u << 30,
                               ip_error = 1u << 31;
// Packet types, 7.1.6.2.
inline constexpr std::uint32_t type_ipv4 = 1u << 0, type_ipv4_options = 1u << 1, type_ipv6 = 1u << 2,
                               type_ipv6_extensions = 1u << 3, type_tcp = 1u << 4, type_udp = 1u << 5,
                               type_sctp = 1u << 6;
// RSS types.
inline constexpr std::uint32_t rss_ipv4_tcp = 1, rss_ipv4 = 2, rss_ipv6_tcp = 3, rss_ipv6 = 5, rss_ipv4_udp = 7,
                               rss_ipv6_udp = 8;
inline constexpr std::uint32_t split_header = 1u << 15;  // SPH, of the upper half of the first dword
// RSC: number of merged descriptors, in bits 20:17 of the first dword; next descriptor in bits 15:4 of the third.
}  // namespace rx

}  // namespace sriov_nic
