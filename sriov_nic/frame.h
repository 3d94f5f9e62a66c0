// What the parser sees in a frame (82599 datasheet, 7.1.2 and 7.1.11), and the sums over its bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace sriov_nic {

using MacKey = std::uint64_t;  // six bytes, the first on the wire in bits 7:0

inline std::uint16_t load_be16(const std::byte* at) {
    std::uint16_t v = 0;
    std::memcpy(&v, at, 2);
    return __builtin_bswap16(v);
}
inline void store_be16(std::byte* at, std::uint16_t v) {
    v = __builtin_bswap16(v);
    std::memcpy(at, &v, 2);
}
inline std::uint32_t load_be32(const std::byte* at) {
    std::uint32_t v = 0;
    std::memcpy(&v, at, 4);
    return __builtin_bswap32(v);
}
inline void store_be32(std::byte* at, std::uint32_t v) {
    v = __builtin_bswap32(v);
    std::memcpy(at, &v, 4);
}
// In registers: six bytes put together in memory and read as eight wait for the simulating computer's cache.
inline MacKey load_mac(const std::byte* at) {
    std::uint32_t low = 0;
    std::uint16_t high = 0;
    std::memcpy(&low, at, 4);
    std::memcpy(&high, at + 4, 2);
    return std::uint64_t{high} << 32 | low;
}

inline constexpr unsigned mac_header_bytes = 14;
inline constexpr unsigned vlan_bytes = 4;
inline constexpr std::uint16_t ethertype_vlan = 0x8100, ethertype_ipv4 = 0x0800, ethertype_ipv6 = 0x86dd,
                               ethertype_flow_control = 0x8808;
inline constexpr MacKey broadcast_mac = 0xffff'ffff'ffff;
constexpr bool is_multicast(MacKey mac) {
    return (mac & 1) != 0;
}
constexpr bool valid_unicast(MacKey mac) {
    return mac != 0 && !is_multicast(mac);
}

struct FrameInfo {
    MacKey destination = 0;
    MacKey source = 0;
    std::uint16_t vlan_tag = 0;  // priority and all
    bool tagged = false;
    bool fragment = false;
    std::uint8_t protocol = 0;    // of IP
    std::uint16_t ethertype = 0;  // behind the tag
    std::uint16_t l3 = 0;         // offsets; 0: none
    std::uint16_t l4 = 0;
    std::uint16_t payload = 0;  // behind TCP's or UDP's header
    std::uint16_t ip_end = 0;   // where IP says that it ends
    std::uint32_t types = 0;    // rx::type_...

    std::uint16_t vlan() const { return vlan_tag & 0xfff; }
    template <class Archive>
    void fields(Archive& a) {
        a(destination, source, vlan_tag, tagged, fragment, protocol, ethertype, l3, l4, payload, ip_end, types);
    }
};

// `frame` has 14 bytes at least. All of `info` is written, in its place: one that is made elsewhere and copied from
// there waits for the simulating computer's cache.
void parse_frame(std::span<const std::byte> frame, FrameInfo& info);

// The ones' complement sum of 16-bit words in network order, not inverted; an odd last byte counts as a high one.
std::uint32_t ones_sum(std::span<const std::byte> bytes);
constexpr std::uint16_t fold(std::uint64_t sum) {
    while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
    return static_cast<std::uint16_t>(sum);
}
// TCP's and UDP's pseudo header without the length.
std::uint32_t pseudo_sum(std::span<const std::byte> frame, const FrameInfo& info);
// CRC32c of an SCTP packet whose checksum field counts as 0.
std::uint32_t sctp_crc(std::span<const std::byte> packet);

// Microsoft's hash for RSS, with the key as in RSSRK.
std::uint32_t toeplitz(std::span<const std::byte> input, std::span<const std::byte, 40> key);

}  // namespace sriov_nic
