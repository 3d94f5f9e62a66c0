// Receive side scaling: the Toeplitz hash over addresses and ports, and the kinds of header fields that it covers, as
// Microsoft's "RSS hashing types" define them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "models/network/frame.h"
#include "models/network/headers.h"

namespace models {

namespace rss_type {
inline constexpr std::uint16_t ipv4 = 0x0100;
inline constexpr std::uint16_t tcp_ipv4 = 0x0200;
inline constexpr std::uint16_t ipv6 = 0x0400;
inline constexpr std::uint16_t tcp_ipv6 = 0x1000;
inline constexpr std::uint16_t udp_ipv4 = 0x4000;
inline constexpr std::uint16_t udp_ipv6 = 0x8000;
}  // namespace rss_type

using RssKey = std::array<std::uint8_t, 40>;

// The key of the published test vectors, also the default of many adapters.
inline constexpr RssKey microsoft_rss_key{0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67,
                                          0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb,
                                          0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30,
                                          0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa};

// `input` is at most 36 bytes, as the key's length allows.
std::uint32_t toeplitz_hash(const RssKey& key, std::span<const std::uint8_t> input);

// The hash of a packet for the most specific of the enabled types that fits it; nothing if none fits.
std::optional<RssHash> rss_hash(const RssKey& key, std::uint16_t enabled_types, const Headers& headers);

}  // namespace models
