// One TCP segment, read from a frame or to be written into one (RFC 9293, 3.1; options of RFC 7323 and RFC 2018), and
// the settings of the behavioural TCP.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "models/network/addresses.h"
#include "models/network/headers.h"
#include "sim/time.h"

namespace models {

struct TcpEndpoint {
    IpAddress ip;
    std::uint16_t port = 0;
    friend constexpr auto operator<=>(const TcpEndpoint&, const TcpEndpoint&) = default;
    template <class Archive>
    void fields(Archive& archive) {
        archive(ip, port);
    }
};

struct TcpTuple {
    TcpEndpoint local;
    TcpEndpoint remote;
    friend constexpr auto operator<=>(const TcpTuple&, const TcpTuple&) = default;
    template <class Archive>
    void fields(Archive& archive) {
        archive(local, remote);
    }
};

struct TcpTimestamps {
    std::uint32_t value = 0;
    std::uint32_t echo = 0;
};

struct SackBlock {
    std::uint32_t left = 0;
    std::uint32_t right = 0;
};

struct TcpSegment {
    std::uint16_t source_port = 0;
    std::uint16_t destination_port = 0;
    std::uint32_t sequence = 0;
    std::uint32_t acknowledgement = 0;
    std::uint8_t flags = 0;
    std::uint16_t window = 0;  // as in the header, unscaled
    std::optional<std::uint16_t> mss;
    std::optional<std::uint8_t> window_shift;
    bool sack_permitted = false;
    std::optional<TcpTimestamps> timestamps;
    std::array<SackBlock, 4> sack{};
    std::uint8_t sack_blocks = 0;
    std::span<const std::byte> payload;

    bool has(std::uint8_t flag) const { return (flags & flag) != 0; }
    // What it takes of the sequence space.
    std::uint32_t length() const {
        return static_cast<std::uint32_t>(payload.size()) + (has(tcp_flag::syn) ? 1 : 0) + (has(tcp_flag::fin) ? 1 : 0);
    }
};

// `headers` say that it is TCP. Nothing if an option is not sound. The payload stays in `bytes`.
std::optional<TcpSegment> parse_tcp(std::span<const std::byte> bytes, const Headers& headers);
// The header with its options, checksum 0.
void append_tcp_header(const TcpSegment& segment, std::vector<std::byte>& bytes);

struct TcpSettings {
    std::uint32_t receive_buffer = 1024 * 1024;
    bool sack = true;
    bool timestamps = true;
    bool window_scaling = true;
    std::uint32_t initial_window_segments = 10;  // RFC 6928
    // The largest payload handed down at once; 0: one segment. What leaves the host is the same, it is cut on the way.
    std::uint32_t large_send_bytes = 0;
    sim::Time initial_rto = sim::Time::s(1);     // RFC 6298, 2.1
    sim::Time minimum_rto = sim::Time::ms(200);  // as most hosts have it; RFC 6298 would have one second
    sim::Time maximum_rto = sim::Time::s(60);
    std::uint32_t retries = 15;  // of data before the connection is given up
    std::uint32_t syn_retries = 6;
    sim::Time delayed_ack = sim::Time::ms(40);
    sim::Time time_wait = sim::Time::s(60);
    std::uint32_t maximum_connections = 1024;
    std::uint32_t maximum_half_open = 256;
    std::uint32_t results_kept = 1024;
};

}  // namespace models
