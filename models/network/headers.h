// Reads and lays out the headers of frames: Ethernet II, IEEE 802.1Q, ARP (RFC 826), IPv4 (RFC 791), IPv6 (RFC 8200),
// ICMP (RFC 792, RFC 4443), UDP (RFC 768), TCP (RFC 9293). Frames come from guests and files: nothing is believed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "models/network/addresses.h"
#include "models/network/frame.h"

namespace models {

inline constexpr std::size_t ethernet_header_bytes = 14;
inline constexpr std::size_t vlan_tag_bytes = 4;
inline constexpr std::size_t ipv4_header_bytes = 20;
inline constexpr std::size_t ipv6_header_bytes = 40;
inline constexpr std::size_t minimum_frame_bytes = 60;  // without the check sequence

namespace ether_type {
inline constexpr std::uint16_t ipv4 = 0x0800;
inline constexpr std::uint16_t arp = 0x0806;
inline constexpr std::uint16_t vlan = 0x8100;
inline constexpr std::uint16_t ipv6 = 0x86dd;
}  // namespace ether_type

namespace ip_protocol {
inline constexpr std::uint8_t hop_by_hop = 0;
inline constexpr std::uint8_t icmp = 1;
inline constexpr std::uint8_t tcp = 6;
inline constexpr std::uint8_t udp = 17;
inline constexpr std::uint8_t routing = 43;
inline constexpr std::uint8_t fragment = 44;
inline constexpr std::uint8_t gre = 47;
inline constexpr std::uint8_t icmpv6 = 58;
inline constexpr std::uint8_t destination_options = 60;
}  // namespace ip_protocol

namespace tcp_flag {
inline constexpr std::uint8_t fin = 0x01;
inline constexpr std::uint8_t syn = 0x02;
inline constexpr std::uint8_t rst = 0x04;
inline constexpr std::uint8_t psh = 0x08;
inline constexpr std::uint8_t ack = 0x10;
inline constexpr std::uint8_t urg = 0x20;
inline constexpr std::uint8_t ece = 0x40;
inline constexpr std::uint8_t cwr = 0x80;
}  // namespace tcp_flag

// What a frame turned out to be. Offsets are from the frame's start and lie within it.
struct Headers {
    MacAddress destination;
    MacAddress source;
    std::optional<VlanTag> vlan;       // in the bytes
    std::uint16_t ether_type = 0;      // behind the tag
    std::uint32_t network_offset = 0;  // what the EtherType speaks of begins here

    // `none` if it is not IP or its header is not sound.
    IpFamily ip = IpFamily::none;
    IpAddress ip_source;
    IpAddress ip_destination;
    std::uint8_t protocol = 0;  // of the payload, behind extension headers
    std::uint8_t hop_limit = 0;
    bool fragment = false;               // of a larger datagram, which hides what follows
    std::uint32_t transport_offset = 0;  // IP payload
    std::uint32_t end = 0;               // of the datagram; what follows is padding

    // Of an unfragmented TCP or UDP with a sound header, else 0.
    std::uint16_t source_port = 0;
    std::uint16_t destination_port = 0;
    std::uint32_t payload_offset = 0;

    bool is_tcp() const { return payload_offset != 0 && protocol == ip_protocol::tcp; }
    bool is_udp() const { return payload_offset != 0 && protocol == ip_protocol::udp; }
    std::uint32_t payload_bytes() const { return end - payload_offset; }
};

// Nothing if even the Ethernet header is cut short. A large send's IP length may be 0: it is that of the frame.
std::optional<Headers> parse_headers(std::span<const std::byte> bytes, bool large_send = false);
inline std::optional<Headers> parse_headers(const Frame& frame) {
    return parse_headers(frame.bytes, frame.large_send_mss != 0);
}

inline bool is_multicast(const Frame& frame) {
    return !frame.bytes.empty() && (frame.bytes[0] & std::byte{1}) != std::byte{0};
}

// Moves a tag from the bytes into `vlan`, and back.
void take_tag_out(Frame& frame);
void put_tag_in(Frame& frame);

// An ARP message for IPv4 over Ethernet.
struct ArpMessage {
    static constexpr std::size_t bytes = 28;
    static constexpr std::uint16_t request = 1;
    static constexpr std::uint16_t reply = 2;

    std::uint16_t operation = 0;
    MacAddress sender_mac;
    IpAddress sender_ip;
    MacAddress target_mac;
    IpAddress target_ip;
};
std::optional<ArpMessage> parse_arp(std::span<const std::byte> bytes, const Headers& headers);
// The whole frame, to the broadcast address for a request.
Frame arp_frame(const ArpMessage& message);

}  // namespace models
