// Frames for the tests of models/network, and receivers that remember.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "models/network/byte_order.h"
#include "models/network/checksum.h"
#include "models/network/frame.h"
#include "models/network/headers.h"
#include "models/network/peer/tcp_segment.h"
#include "sim/simulation.h"

namespace network_test {

using namespace models;

inline std::vector<std::byte> from_hex(std::string_view text) {
    std::vector<std::byte> bytes;
    unsigned digits = 0;
    unsigned value = 0;
    for (const char c : text) {
        if (c == ' ' || c == '\n') continue;
        value = value << 4 | static_cast<unsigned>(c <= '9' ? c - '0' : c - 'a' + 10);
        if (++digits % 2 == 0) {
            bytes.push_back(static_cast<std::byte>(value));
            value = 0;
        }
    }
    return bytes;
}

inline std::string to_hex(std::span<const std::byte> bytes) {
    constexpr const char* digits = "0123456789abcdef";
    std::string text;
    for (const std::byte b : bytes) {
        text += digits[std::to_integer<unsigned>(b) >> 4];
        text += digits[std::to_integer<unsigned>(b) & 0xf];
    }
    return text;
}

// Ethernet with so many bytes of payload of an experimental EtherType, numbered so that one can tell frames apart.
inline Frame plain(const MacAddress& to, const MacAddress& from, std::uint8_t number = 0, std::size_t bytes = 46) {
    Frame frame{std::vector<std::byte>(ethernet_header_bytes + bytes)};
    store_mac(frame.bytes, 0, to);
    store_mac(frame.bytes, 6, from);
    store_be16(frame.bytes, 12, 0x88b5);
    if (bytes > 0) frame.bytes[14] = std::byte{number};
    return frame;
}

struct Ends {
    MacAddress to_mac;
    MacAddress from_mac;
    IpAddress to;
    IpAddress from;
};

// An IP packet with that payload; the checksums are requests.
inline Frame ip_packet(const Ends& e, std::uint8_t protocol, std::span<const std::byte> payload) {
    const bool v4 = e.to.is_v4();
    const std::size_t at = v4 ? 34 : 54;
    Frame frame{std::vector<std::byte>(at)};
    auto& b = frame.bytes;
    store_mac(b, 0, e.to_mac);
    store_mac(b, 6, e.from_mac);
    store_be16(b, 12, v4 ? ether_type::ipv4 : ether_type::ipv6);
    if (v4) {
        store_be16(b, 14, 0x4500);
        store_be16(b, 16, static_cast<std::uint16_t>(20 + payload.size()));
        store_be16(b, 18, 0x1234);
        store_be16(b, 20, 0x4000);
        b[22] = std::byte{64};
        b[23] = std::byte{protocol};
        store_ip(b, 26, e.from);
        store_ip(b, 30, e.to);
        frame.fill.ip = true;
    } else {
        store_be16(b, 14, 0x6000);
        store_be16(b, 18, static_cast<std::uint16_t>(payload.size()));
        b[20] = std::byte{protocol};
        b[21] = std::byte{64};
        store_ip(b, 22, e.from);
        store_ip(b, 38, e.to);
    }
    b.insert(b.end(), payload.begin(), payload.end());
    return frame;
}

inline Frame udp_packet(const Ends& e, std::uint16_t from_port, std::uint16_t to_port, std::size_t bytes) {
    std::vector<std::byte> payload(8 + bytes);
    store_be16(payload, 0, from_port);
    store_be16(payload, 2, to_port);
    store_be16(payload, 4, static_cast<std::uint16_t>(8 + bytes));
    for (std::size_t i = 0; i < bytes; ++i) payload[8 + i] = static_cast<std::byte>(i);
    Frame frame = ip_packet(e, ip_protocol::udp, payload);
    frame.fill.udp = true;
    return frame;
}

inline Frame tcp_packet(const Ends& e, TcpSegment segment, std::span<const std::byte> data) {
    std::vector<std::byte> payload;
    append_tcp_header(segment, payload);
    payload.insert(payload.end(), data.begin(), data.end());
    Frame frame = ip_packet(e, ip_protocol::tcp, payload);
    frame.fill.tcp = true;
    return frame;
}

inline std::vector<std::byte> counted_bytes(std::size_t n) {
    std::vector<std::byte> bytes(n);
    for (std::size_t i = 0; i < n; ++i) bytes[i] = static_cast<std::byte>(i * 7 + i / 256);
    return bytes;
}

struct Inbox final : FrameReceiver {
    explicit Inbox(sim::Simulation& simulation) : agenda(simulation.agenda()) {}
    void receive(Frame&& frame) override {
        times.push_back(agenda.now());
        frames.push_back(std::move(frame));
    }
    // The numbers of plain() frames.
    std::string numbers() const {
        std::string text;
        for (const Frame& frame : frames) {
            if (!text.empty()) text += ' ';
            text += std::to_string(load_u8(frame.bytes, 14));
        }
        return text;
    }
    std::string take() {
        std::string text = numbers();
        clear();
        return text;
    }
    void clear() {
        frames.clear();
        times.clear();
    }
    sim::Agenda& agenda;
    std::vector<Frame> frames;
    std::vector<sim::Time> times;
};

}  // namespace network_test
