#include "models/network/headers.h"

#include <algorithm>

#include "models/network/byte_order.h"

namespace models {

namespace {

// Sets `end`, `transport_offset`, `protocol`, ...; false if the header is not sound.
bool parse_ipv4(std::span<const std::byte> bytes, bool large_send, Headers& h) {
    const std::size_t at = h.network_offset;
    if (bytes.size() - at < ipv4_header_bytes) return false;
    const std::uint8_t version_and_length = load_u8(bytes, at);
    const std::size_t header_bytes = (version_and_length & 0xf) * 4u;
    std::size_t total = load_be16(bytes, at + 2);
    if (large_send && total == 0) total = bytes.size() - at;
    if (version_and_length >> 4 != 4 || header_bytes < ipv4_header_bytes || total < header_bytes) return false;
    if (total > bytes.size() - at) return false;
    h.fragment = (load_be16(bytes, at + 6) & 0x3fff) != 0;  // more fragments, or an offset
    h.hop_limit = load_u8(bytes, at + 8);
    h.protocol = load_u8(bytes, at + 9);
    h.ip_source = load_ip(bytes, at + 12, IpFamily::v4);
    h.ip_destination = load_ip(bytes, at + 16, IpFamily::v4);
    h.transport_offset = static_cast<std::uint32_t>(at + header_bytes);
    h.end = static_cast<std::uint32_t>(at + total);
    return true;
}

bool is_extension(std::uint8_t protocol) {
    return protocol == ip_protocol::hop_by_hop || protocol == ip_protocol::routing ||
           protocol == ip_protocol::fragment || protocol == ip_protocol::destination_options;
}

bool parse_ipv6(std::span<const std::byte> bytes, bool large_send, Headers& h) {
    const std::size_t at = h.network_offset;
    if (bytes.size() - at < ipv6_header_bytes || load_u8(bytes, at) >> 4 != 6) return false;
    std::size_t payload = load_be16(bytes, at + 4);
    if (large_send && payload == 0) payload = bytes.size() - at - ipv6_header_bytes;
    if (payload > bytes.size() - at - ipv6_header_bytes) return false;
    h.hop_limit = load_u8(bytes, at + 7);
    h.ip_source = load_ip(bytes, at + 8, IpFamily::v6);
    h.ip_destination = load_ip(bytes, at + 24, IpFamily::v6);
    std::size_t next = at + ipv6_header_bytes;
    const std::size_t end = next + payload;
    std::uint8_t protocol = load_u8(bytes, at + 6);
    while (is_extension(protocol)) {
        if (end - next < 8) return false;
        if (protocol == ip_protocol::fragment) {
            // An atomic fragment (RFC 6946) is whole.
            h.fragment = (load_be16(bytes, next + 2) & 0xfff9) != 0;
            protocol = load_u8(bytes, next);
            next += 8;
            if (h.fragment) break;
            continue;
        }
        const std::size_t length = (load_u8(bytes, next + 1) + 1u) * 8;
        if (length > end - next) return false;
        protocol = load_u8(bytes, next);
        next += length;
    }
    h.protocol = protocol;
    h.transport_offset = static_cast<std::uint32_t>(next);
    h.end = static_cast<std::uint32_t>(end);
    return true;
}

void parse_transport(std::span<const std::byte> bytes, Headers& h) {
    const std::size_t at = h.transport_offset;
    const std::size_t room = h.end - at;
    std::size_t header_bytes = 0;
    if (h.protocol == ip_protocol::tcp) {
        if (room < 20) return;
        header_bytes = (load_u8(bytes, at + 12) >> 4) * 4u;
        if (header_bytes < 20 || header_bytes > room) return;
    } else if (h.protocol == ip_protocol::udp) {
        header_bytes = 8;
        if (room < 8 || load_be16(bytes, at + 4) < 8 || load_be16(bytes, at + 4) > room) return;
    } else {
        return;
    }
    h.source_port = load_be16(bytes, at);
    h.destination_port = load_be16(bytes, at + 2);
    h.payload_offset = static_cast<std::uint32_t>(at + header_bytes);
}

}  // namespace

std::optional<Headers> parse_headers(std::span<const std::byte> bytes, bool large_send) {
    if (bytes.size() < ethernet_header_bytes) return std::nullopt;
    std::optional<Headers> result{std::in_place};  // made where it is returned: it is large, and asked for often
    Headers& h = *result;
    h.destination = load_mac(bytes, 0);
    h.source = load_mac(bytes, 6);
    h.ether_type = load_be16(bytes, 12);
    h.network_offset = ethernet_header_bytes;
    if (h.ether_type == ether_type::vlan) {
        if (bytes.size() < ethernet_header_bytes + vlan_tag_bytes) return std::nullopt;
        h.vlan = VlanTag::from_tci(load_be16(bytes, 14));
        h.ether_type = load_be16(bytes, 16);
        h.network_offset += vlan_tag_bytes;
    }
    if (h.ether_type == ether_type::ipv4) {
        if (parse_ipv4(bytes, large_send, h)) h.ip = IpFamily::v4;
    } else if (h.ether_type == ether_type::ipv6) {
        if (parse_ipv6(bytes, large_send, h)) h.ip = IpFamily::v6;
    }
    if (h.ip != IpFamily::none && !h.fragment) parse_transport(bytes, h);
    return result;
}

void take_tag_out(Frame& frame) {
    auto& bytes = frame.bytes;
    if (bytes.size() < ethernet_header_bytes + vlan_tag_bytes || load_be16(bytes, 12) != ether_type::vlan) return;
    frame.vlan = VlanTag::from_tci(load_be16(bytes, 14));
    bytes.erase(bytes.begin() + 12, bytes.begin() + 16);
}

void put_tag_in(Frame& frame) {
    if (!frame.vlan || frame.bytes.size() < ethernet_header_bytes) return;
    frame.bytes.insert(frame.bytes.begin() + 12, vlan_tag_bytes, std::byte{0});
    store_be16(frame.bytes, 12, ether_type::vlan);
    store_be16(frame.bytes, 14, frame.vlan->tci());
    frame.vlan.reset();
}

std::optional<ArpMessage> parse_arp(std::span<const std::byte> bytes, const Headers& headers) {
    const std::size_t at = headers.network_offset;
    if (headers.ether_type != ether_type::arp || bytes.size() - at < ArpMessage::bytes) return std::nullopt;
    // Hardware type Ethernet, protocol type IPv4, their address sizes.
    if (load_be32(bytes, at) != 0x0001'0800 || load_be16(bytes, at + 4) != 0x0604) return std::nullopt;
    ArpMessage m;
    m.operation = load_be16(bytes, at + 6);
    m.sender_mac = load_mac(bytes, at + 8);
    m.sender_ip = load_ip(bytes, at + 14, IpFamily::v4);
    m.target_mac = load_mac(bytes, at + 18);
    m.target_ip = load_ip(bytes, at + 24, IpFamily::v4);
    return m;
}

Frame arp_frame(const ArpMessage& m) {
    Frame frame{std::vector<std::byte>(ethernet_header_bytes + ArpMessage::bytes)};
    auto& bytes = frame.bytes;
    const bool ask = m.operation == ArpMessage::request && m.target_mac.is_zero();
    store_mac(bytes, 0, ask ? MacAddress::broadcast() : m.target_mac);
    store_mac(bytes, 6, m.sender_mac);
    store_be16(bytes, 12, ether_type::arp);
    store_be32(bytes, 14, 0x0001'0800);
    store_be16(bytes, 18, 0x0604);
    store_be16(bytes, 20, m.operation);
    store_mac(bytes, 22, m.sender_mac);
    store_ip(bytes, 28, m.sender_ip);
    store_mac(bytes, 32, m.target_mac);
    store_ip(bytes, 38, m.target_ip);
    return frame;
}

}  // namespace models
