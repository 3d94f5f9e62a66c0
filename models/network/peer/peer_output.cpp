// The half of the behavioural host that sends: packets, routes, and the questions for addresses.
#include <algorithm>
#include <utility>

#include "models/network/byte_order.h"
#include "models/network/checksum.h"
#include "models/network/headers.h"
#include "models/network/peer/peer.h"

namespace models {

namespace {
constexpr std::size_t udp_header_bytes = 8;
constexpr std::uint8_t v4_echo_request = 8;
constexpr std::uint8_t v6_echo_request = 128;
constexpr std::uint8_t neighbour_solicitation = 135;
constexpr std::uint8_t source_link_layer_address = 1;
}  // namespace

std::size_t Peer::payload_offset(const IpAddress& address) {
    return ethernet_header_bytes + (address.is_v4() ? ipv4_header_bytes : ipv6_header_bytes);
}

IpAddress Peer::source_for(const IpAddress& remote) const {
    if (remote.is_v4()) return settings_.ipv4;
    return settings_.ipv6.is_v6() && !remote.is_link_local() && !remote.is_multicast() ? settings_.ipv6 : link_local_;
}

Frame Peer::packet(const IpAddress& source, const IpAddress& destination, std::uint8_t protocol,
                   std::size_t payload_bytes, std::uint8_t hop_limit) {
    Frame frame;
    auto& b = frame.bytes;
    b.resize(payload_offset(destination) + payload_bytes);
    store_mac(b, 6, settings_.mac);
    if (destination.is_v4()) {
        store_be16(b, 12, ether_type::ipv4);
        store_be16(b, 14, 0x4500);
        store_be16(b, 16, static_cast<std::uint16_t>(ipv4_header_bytes + payload_bytes));
        store_be16(b, 18, next_identification_++);
        store_be16(b, 20, 0x4000);  // not to be fragmented
        b[22] = std::byte{hop_limit};
        b[23] = std::byte{protocol};
        store_ip(b, 26, source);
        store_ip(b, 30, destination);
        frame.fill.ip = true;
    } else {
        store_be16(b, 12, ether_type::ipv6);
        store_be16(b, 14, 0x6000);
        store_be16(b, 18, static_cast<std::uint16_t>(payload_bytes));
        b[20] = std::byte{protocol};
        b[21] = std::byte{hop_limit};
        store_ip(b, 22, source);
        store_ip(b, 38, destination);
    }
    if (settings_.vlan != 0) frame.vlan = VlanTag{settings_.vlan};
    return frame;
}

void Peer::route(const IpAddress& destination, Frame&& frame) {
    if (destination.is_multicast()) {
        store_mac(frame.bytes, 0, multicast_mac(destination));
        return put_out(std::move(frame));
    }
    if (destination == IpAddress::v4(0xffff'ffff)) {
        store_mac(frame.bytes, 0, MacAddress::broadcast());
        return put_out(std::move(frame));
    }
    const IpPrefix link = destination.is_v4() ? IpPrefix{settings_.ipv4, settings_.ipv4_prefix_length}
                                              : IpPrefix{settings_.ipv6, settings_.ipv6_prefix_length};
    if (destination.is_link_local() || link.contains(destination))
        return neighbours_.send(destination, std::move(frame));
    if (settings_.gateway.family == destination.family) return neighbours_.send(settings_.gateway, std::move(frame));
    ++unreachable_;
}

void Peer::put_out(Frame&& frame) {
    if (settings_.vlan != 0) frame.vlan = VlanTag{settings_.vlan};
    ++out_frames_;
    network_.receive(std::move(frame));
}

void Peer::unresolved(Frame&&) {
    ++unreachable_;
}

void Peer::send_icmp(const IpAddress& source, const IpAddress& destination, std::span<const std::byte> message,
                     std::uint8_t hop_limit) {
    const std::uint8_t protocol = destination.is_v4() ? ip_protocol::icmp : ip_protocol::icmpv6;
    Frame frame = packet(source, destination, protocol, message.size(), hop_limit);
    const std::size_t at = payload_offset(destination);
    std::copy(message.begin(), message.end(), frame.bytes.begin() + static_cast<std::ptrdiff_t>(at));
    store_be16(frame.bytes, at + 2, transport_checksum(frame.bytes, *parse_headers(frame)));
    route(destination, std::move(frame));
}

void Peer::send_echo_request(const IpAddress& target, std::uint16_t identifier, std::uint16_t sequence,
                             std::uint16_t payload_bytes) {
    std::vector<std::byte> message(8 + std::min<std::size_t>(payload_bytes, settings_.mtu - 48u));
    message[0] = std::byte{target.is_v4() ? v4_echo_request : v6_echo_request};
    store_be16(message, 4, identifier);
    store_be16(message, 6, sequence);
    for (std::size_t i = 8; i < message.size(); ++i) message[i] = static_cast<std::byte>(i);
    send_icmp(source_for(target), target, message);
}

void Peer::send_udp(std::uint16_t source_port, const TcpEndpoint& remote, std::span<const std::byte> payload) {
    send_udp_from(source_for(remote.ip), source_port, remote, payload, std::nullopt);
}

void Peer::send_udp_from(const IpAddress& source, std::uint16_t source_port, const TcpEndpoint& remote,
                         std::span<const std::byte> payload, const std::optional<MacAddress>& mac) {
    const std::size_t at = payload_offset(remote.ip);
    const std::size_t length = udp_header_bytes + payload.size();
    if (at + length > ethernet_header_bytes + settings_.mtu) {
        ++unreachable_;  // this host does not fragment
        return;
    }
    Frame frame = packet(source, remote.ip, ip_protocol::udp, length);
    store_be16(frame.bytes, at, source_port);
    store_be16(frame.bytes, at + 2, remote.port);
    store_be16(frame.bytes, at + 4, static_cast<std::uint16_t>(length));
    std::copy(payload.begin(), payload.end(), frame.bytes.begin() + static_cast<std::ptrdiff_t>(at + udp_header_bytes));
    frame.fill.udp = true;
    if (!mac) return route(remote.ip, std::move(frame));
    store_mac(frame.bytes, 0, *mac);
    put_out(std::move(frame));
}

void Peer::send_tcp(const TcpTuple& tuple, const TcpSegment& segment, std::uint16_t mss) {
    std::vector<std::byte> header;
    append_tcp_header(segment, header);
    Frame frame = packet(tuple.local.ip, tuple.remote.ip, ip_protocol::tcp, header.size() + segment.payload.size());
    const auto at = static_cast<std::ptrdiff_t>(payload_offset(tuple.remote.ip));
    const auto behind = std::copy(header.begin(), header.end(), frame.bytes.begin() + at);
    std::copy(segment.payload.begin(), segment.payload.end(), behind);
    frame.fill.tcp = true;
    frame.large_send_mss = mss;
    route(tuple.remote.ip, std::move(frame));
}

std::uint16_t Peer::tcp_mss(const IpAddress& remote) const {
    const std::size_t headers = (remote.is_v4() ? ipv4_header_bytes : ipv6_header_bytes) + 20;
    return static_cast<std::uint16_t>(std::max<std::size_t>(settings_.mtu, 576) - headers);
}

void Peer::solicit(const IpAddress& address) {
    if (address.is_v4()) {
        return put_out(arp_frame({.operation = ArpMessage::request,
                                  .sender_mac = settings_.mac,
                                  .sender_ip = settings_.ipv4,
                                  .target_mac = {},
                                  .target_ip = address}));
    }
    std::vector<std::byte> message(32);
    message[0] = std::byte{neighbour_solicitation};
    store_ip(message, 8, address);
    message[24] = std::byte{source_link_layer_address};
    message[25] = std::byte{1};
    store_mac(message, 26, settings_.mac);
    send_icmp(source_for(address), solicited_node(address), message, 255);
}

}  // namespace models
