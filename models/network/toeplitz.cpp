#include "models/network/toeplitz.h"

#include <algorithm>

#include "sim/check.h"

namespace models {

std::uint32_t toeplitz_hash(const RssKey& key, std::span<const std::uint8_t> input) {
    VG_CHECK(input.size() + 4 <= key.size());
    std::uint32_t hash = 0;
    // The 32 key bits that belong to the present input bit, with the next eight below them.
    std::uint64_t window = 0;
    for (unsigned i = 0; i < 4; ++i) window = window << 8 | key[i];
    for (std::size_t i = 0; i < input.size(); ++i) {
        window = window << 8 | key[i + 4];
        for (unsigned bit = 0; bit < 8; ++bit) {
            const std::uint32_t taken = 0u - (input[i] >> (7 - bit) & 1u);  // all ones, or none: no branch to guess
            hash ^= taken & static_cast<std::uint32_t>(window >> (8 - bit));
        }
    }
    return hash;
}

std::optional<RssHash> rss_hash(const RssKey& key, std::uint16_t enabled, const Headers& h) {
    if (h.ip == IpFamily::none) return std::nullopt;
    const bool v4 = h.ip == IpFamily::v4;
    const std::uint16_t addresses_type = v4 ? rss_type::ipv4 : rss_type::ipv6;
    std::uint16_t type = 0;
    if (h.is_tcp()) type = v4 ? rss_type::tcp_ipv4 : rss_type::tcp_ipv6;
    if (h.is_udp()) type = v4 ? rss_type::udp_ipv4 : rss_type::udp_ipv6;
    const bool ports = (enabled & type) != 0;
    if (!ports) type = enabled & addresses_type;
    if (type == 0) return std::nullopt;

    std::array<std::uint8_t, 36> input{};
    const unsigned size = h.ip_source.size();
    std::copy_n(h.ip_source.bytes.begin(), size, input.begin());
    std::copy_n(h.ip_destination.bytes.begin(), size, input.begin() + size);
    std::size_t length = 2 * size;
    if (ports) {
        for (const std::uint16_t port : {h.source_port, h.destination_port}) {
            input[length++] = static_cast<std::uint8_t>(port >> 8);
            input[length++] = static_cast<std::uint8_t>(port);
        }
    }
    return RssHash{toeplitz_hash(key, std::span{input}.first(length)), type};
}

}  // namespace models
