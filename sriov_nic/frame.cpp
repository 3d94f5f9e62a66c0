#include "sriov_nic/frame.h"

#include <array>

#include "sriov_nic/descriptors.h"

namespace sriov_nic {

namespace {

constexpr std::uint8_t protocol_tcp = 6, protocol_udp = 17, protocol_sctp = 132;

void parse_l4(std::span<const std::byte> frame, FrameInfo& info, std::size_t at) {
    if (info.fragment) return;
    const auto bytes = [&](std::size_t n) { return at + n <= frame.size(); };
    if (info.protocol == protocol_tcp && bytes(20)) {
        const std::size_t header = std::to_integer<std::size_t>(frame[at + 12]) >> 4 << 2;
        if (header < 20 || !bytes(header)) return;
        info.types |= rx::type_tcp;
        info.payload = static_cast<std::uint16_t>(at + header);
    } else if (info.protocol == protocol_udp && bytes(8)) {
        info.types |= rx::type_udp;
        info.payload = static_cast<std::uint16_t>(at + 8);
    } else if (info.protocol == protocol_sctp && bytes(12)) {
        info.types |= rx::type_sctp;
        info.payload = static_cast<std::uint16_t>(at + 12);
    } else {
        return;
    }
    info.l4 = static_cast<std::uint16_t>(at);
}

void parse_ipv4(std::span<const std::byte> frame, FrameInfo& info) {
    const std::size_t at = info.l3;
    const auto first = std::to_integer<unsigned>(frame[at]);
    const std::size_t header = (first & 15) * 4;
    if (first >> 4 != 4 || header < 20 || at + header > frame.size()) {
        info.l3 = 0;
        return;
    }
    info.types |= header > 20 ? rx::type_ipv4 | rx::type_ipv4_options : rx::type_ipv4;
    info.protocol = std::to_integer<std::uint8_t>(frame[at + 9]);
    info.fragment = (load_be16(&frame[at + 6]) & 0x3fff) != 0;
    info.ip_end = static_cast<std::uint16_t>(at + load_be16(&frame[at + 2]));
    parse_l4(frame, info, at + header);
}

void parse_ipv6(std::span<const std::byte> frame, FrameInfo& info) {
    const std::size_t at = info.l3;
    if (at + 40 > frame.size() || std::to_integer<unsigned>(frame[at]) >> 4 != 6) {
        info.l3 = 0;
        return;
    }
    info.types |= rx::type_ipv6;
    info.ip_end = static_cast<std::uint16_t>(at + 40 + load_be16(&frame[at + 4]));
    std::uint8_t next = std::to_integer<std::uint8_t>(frame[at + 6]);
    std::size_t end = at + 40;
    // Hop-by-hop, routing, destination options; a fragment ends the parsing.
    while ((next == 0 || next == 43 || next == 60 || next == 44) && end + 8 <= frame.size()) {
        info.types |= rx::type_ipv6_extensions;
        if (next == 44) {
            info.fragment = true;
            break;
        }
        next = std::to_integer<std::uint8_t>(frame[end]);
        end += (std::to_integer<std::size_t>(frame[end + 1]) + 1) * 8;
    }
    info.protocol = next;
    parse_l4(frame, info, end);
}

}  // namespace

void parse_frame(std::span<const std::byte> frame, FrameInfo& info) {
    info = {};
    info.destination = load_mac(frame.data());
    info.source = load_mac(&frame[6]);
    info.ethertype = load_be16(&frame[12]);
    std::size_t at = mac_header_bytes;
    if (info.ethertype == ethertype_vlan && frame.size() >= mac_header_bytes + vlan_bytes) {
        info.tagged = true;
        info.vlan_tag = load_be16(&frame[14]);
        info.ethertype = load_be16(&frame[16]);
        at += vlan_bytes;
    }
    if (info.ethertype != ethertype_ipv4 && info.ethertype != ethertype_ipv6) return;
    if (at + 20 > frame.size()) return;
    info.l3 = static_cast<std::uint16_t>(at);
    if (info.ethertype == ethertype_ipv4) {
        parse_ipv4(frame, info);
    } else {
        parse_ipv6(frame, info);
    }
}

std::uint32_t ones_sum(std::span<const std::byte> bytes) {
    // Sums of little-endian words are the sums of big-endian ones with bytes swapped (RFC 1071, 2).
    std::uint64_t sum = 0;
    std::size_t at = 0;
    for (; at + 8 <= bytes.size(); at += 8) {
        std::uint64_t word = 0;
        std::memcpy(&word, &bytes[at], 8);
        sum += (word & 0xffff'ffff) + (word >> 32);
    }
    std::uint64_t rest = 0;
    if (at < bytes.size()) std::memcpy(&rest, &bytes[at], bytes.size() - at);
    sum += (rest & 0xffff'ffff) + (rest >> 32);
    return __builtin_bswap16(fold(sum));
}

std::uint32_t pseudo_sum(std::span<const std::byte> frame, const FrameInfo& info) {
    const bool v4 = (info.types & rx::type_ipv4) != 0;
    const auto addresses = v4 ? frame.subspan(info.l3 + 12u, 8) : frame.subspan(info.l3 + 8u, 32);
    return ones_sum(addresses) + info.protocol;
}

std::uint32_t sctp_crc(std::span<const std::byte> packet) {
    static constexpr auto table = [] {
        std::array<std::uint32_t, 256> t{};
        for (std::uint32_t i = 0; i < 256; ++i) {
            std::uint32_t c = i;
            for (int k = 0; k < 8; ++k) c = (c & 1) != 0 ? c >> 1 ^ 0x82f63b78u : c >> 1;
            t[i] = c;
        }
        return t;
    }();
    std::uint32_t crc = ~0u;
    for (std::size_t i = 0; i < packet.size(); ++i) {
        const unsigned byte = i >= 8 && i < 12 ? 0 : std::to_integer<unsigned>(packet[i]);
        crc = table[(crc ^ byte) & 0xff] ^ crc >> 8;
    }
    return ~crc;
}

std::uint32_t toeplitz(std::span<const std::byte> input, std::span<const std::byte, 40> key) {
    std::uint32_t hash = 0;
    std::uint64_t window = std::uint64_t{load_be32(key.data())} << 32 | load_be32(&key[4]);
    std::size_t next = 8;
    for (const std::byte byte : input) {
        auto bits = std::to_integer<unsigned>(byte);
        for (int bit = 0; bit < 8; ++bit, bits <<= 1) {
            hash ^= static_cast<std::uint32_t>(window >> 32) & (0u - (bits >> 7 & 1));
            window <<= 1;
        }
        window |= next < key.size() ? std::to_integer<std::uint64_t>(key[next]) : 0;
        ++next;
    }
    return hash;
}

}  // namespace sriov_nic
