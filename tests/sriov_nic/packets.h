// Packets of IPv4 and IPv6 for the tests, with right sums made byte by byte: another way than the adapter's.
#pragma once

#include "tests/sriov_nic/rig.h"

namespace nic_test {

inline std::uint16_t slow_sum(std::span<const std::byte> bytes, std::uint32_t start = 0) {
    std::uint32_t sum = start;
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        sum += std::to_integer<std::uint32_t>(bytes[i]) << (i % 2 == 0 ? 8 : 0);
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return static_cast<std::uint16_t>(~sum);
}

struct Packet {
    MacKey to = mac_of(1), from = mac_of(0);
    bool v6 = false;
    std::uint8_t protocol = 6;
    std::uint16_t source_port = 1000, destination_port = 2000;
    std::uint32_t sequence = 0x0102'0304;
    std::uint8_t flags = 0x18;
    std::size_t payload = 100;

    std::size_t l3() const { return 14; }
    std::size_t l4() const { return l3() + (v6 ? 40 : 20); }
    std::size_t l4_header() const { return protocol == 6 ? 20 : 8; }
    std::size_t headers() const { return l4() + l4_header(); }

    std::uint32_t pseudo(std::span<const std::byte> f, std::size_t length) const {
        const auto addresses = v6 ? f.subspan(l3() + 8, 32) : f.subspan(l3() + 12, 8);
        return static_cast<std::uint16_t>(~slow_sum(addresses, protocol)) + static_cast<std::uint32_t>(length);
    }
    std::vector<std::byte> build(bool sums = true) const {
        std::vector<std::byte> f = frame(to, from, headers() + payload);
        for (std::size_t i = 0; i < payload; ++i) f[headers() + i] = static_cast<std::byte>(i * 7 + 3);
        const auto length = static_cast<std::uint16_t>(l4_header() + payload);
        store_be16(&f[12], v6 ? ethertype_ipv6 : ethertype_ipv4);
        std::fill(f.begin() + 14, f.begin() + static_cast<std::ptrdiff_t>(headers()), std::byte{});
        if (v6) {
            f[14] = std::byte{0x60};
            store_be16(&f[18], length);
            f[20] = static_cast<std::byte>(protocol);
            f[21] = std::byte{64};
            f[22] = f[38] = std::byte{0xfe};
            f[37] = std::byte{1};
            f[53] = std::byte{2};
        } else {
            f[14] = std::byte{0x45};
            store_be16(&f[16], static_cast<std::uint16_t>(20 + length));
            store_be16(&f[18], 0x1234);
            f[22] = std::byte{64};
            f[23] = static_cast<std::byte>(protocol);
            store_be32(&f[26], 0x0a00'0001);
            store_be32(&f[30], 0x0a00'0002);
            if (sums) store_be16(&f[24], slow_sum(std::span{f}.subspan(14, 20)));
        }
        store_be16(&f[l4()], source_port);
        store_be16(&f[l4() + 2], destination_port);
        if (protocol == 6) {
            store_be32(&f[l4() + 4], sequence);
            f[l4() + 12] = std::byte{0x50};
            f[l4() + 13] = static_cast<std::byte>(flags);
        } else {
            store_be16(&f[l4() + 4], length);
        }
        if (sums) store_be16(&f[sum_at()], slow_sum(std::span{f}.subspan(l4()), pseudo(f, length)));
        return f;
    }
    std::size_t sum_at() const { return l4() + (protocol == 6 ? 16 : 6); }
    // As a stack leaves it to the adapter: the pseudo header's sum in the field, with or without the length.
    std::vector<std::byte> build_partial(bool with_length) const {
        std::vector<std::byte> f = build(false);
        const std::uint32_t sum = pseudo(f, with_length ? l4_header() + payload : 0);
        store_be16(&f[sum_at()], static_cast<std::uint16_t>((sum & 0xffff) + (sum >> 16)));
        return f;
    }
    std::uint32_t macip(std::uint16_t tag = 0) const {
        return static_cast<std::uint32_t>(tag) << 16 | static_cast<std::uint32_t>(l3()) << 9 |
               static_cast<std::uint32_t>(l4() - l3());
    }
    std::uint32_t mode() const { return (v6 ? 0 : tx::ipv4) | (protocol == 6 ? tx::l4_tcp : tx::l4_udp); }
};

}  // namespace nic_test
