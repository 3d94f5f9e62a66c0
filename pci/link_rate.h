// What a link carries: symbols per second, what each transaction-layer packet (TLP) adds to its payload, and the share
// that data-link-layer packets (DLLPs) and skip symbols take. Exact integers: the rate is a fraction.
// PCIe 6.0, 2.2 (headers), 3.5 (DLLPs), 4.2 (encodings); the shares as in Neugebauer et al., SIGCOMM 2018.
#pragma once

#include <algorithm>
#include <cstdint>

#include "sim/bits.h"
#include "sim/check.h"

namespace pci {

using sim::u128;

struct LinkRate {
    unsigned generation = 3;  // 1 to 5: 2.5, 5, 8, 16, 32 GT/s
    unsigned lanes = 8;
    // An 8-byte DLLP goes for every so many bytes: acknowledgements, flow-control updates. 0: none.
    std::uint32_t ack_every_bytes = 203;
    std::uint32_t credits_every_bytes = 203;

    bool operator==(const LinkRate&) const = default;
};

inline constexpr std::uint32_t dllp_bytes = 8;  // framing included
inline constexpr std::uint32_t skip_bytes = 4;  // a skip ordered set
inline constexpr std::uint32_t skip_every_bytes = 1538;

// After how many bytes a receiver must acknowledge (PCIe 6.0, table 3-8 and its predecessors for x8 links).
constexpr std::uint32_t ack_limit_x8(unsigned generation, unsigned max_payload) {
    const std::uint32_t gen2 = max_payload <= 128 ? 118 : max_payload <= 256 ? 158 : 137;
    const std::uint32_t gen3 = max_payload <= 128 ? 163 : max_payload <= 256 ? 203 : 182;
    return generation <= 2 ? gen2 : gen3;
}

// numerator / denominator bytes per picosecond.
struct ByteRate {
    u128 numerator = 1;
    u128 denominator = 1;

    // In units of 2^-16 ps, rounded to the nearest.
    constexpr std::uint64_t byte_time() const {
        return static_cast<std::uint64_t>(((denominator << 16) + numerator / 2) / numerator);
    }
    // `payload` bytes in `wire` bytes: bits per second, rounded to the nearest.
    constexpr std::uint64_t payload_bits_per_second(std::uint64_t payload, std::uint64_t wire) const {
        const u128 bits = numerator * payload * 8 * 1'000'000'000'000u;
        const u128 by = denominator * wire;
        return static_cast<std::uint64_t>((bits + by / 2) / by);
    }
};

// Encoded away: 2 of 10 bits up to 5 GT/s, 2 of 130 from 8 GT/s on.
constexpr ByteRate raw_rate(const LinkRate& link) {
    VG_CHECK(link.generation >= 1 && link.generation <= 5 && link.lanes >= 1 && link.lanes <= 32);
    const u128 mega_transfers = link.generation == 1 ? 2500 : u128{5000} << (link.generation - 2);
    if (link.generation <= 2) return {mega_transfers * link.lanes * 8, u128{10} * 8 * 1'000'000};
    return {u128{8000} * (u128{1} << (link.generation - 3)) * link.lanes * 128, u128{130} * 8 * 1'000'000};
}

// What is left for TLPs: raw * (1 - 8 / ack - 8 / credits - 4 / 1538).
constexpr ByteRate usable_rate(const LinkRate& link) {
    const u128 ack = link.ack_every_bytes == 0 ? 1 : link.ack_every_bytes;
    const u128 credits = link.credits_every_bytes == 0 ? 1 : link.credits_every_bytes;
    const u128 whole = ack * credits * skip_every_bytes;
    u128 lost = u128{skip_bytes} * ack * credits;
    if (link.ack_every_bytes != 0) lost += u128{dllp_bytes} * credits * skip_every_bytes;
    if (link.credits_every_bytes != 0) lost += u128{dllp_bytes} * ack * skip_every_bytes;
    VG_CHECK(lost < whole);
    const ByteRate raw = raw_rate(link);
    return {raw.numerator * (whole - lost), raw.denominator * whole};
}

// How large packets may be.
struct PacketLimits {
    std::uint32_t max_payload = 256;         // MPS: of a write, of a completion
    std::uint32_t max_read_request = 512;    // MRRS
    std::uint32_t completion_boundary = 64;  // RCB: where a completer may cut
    // The largest completion, from an aligned address; short reads (up to max_payload) may be answered in smaller ones.
    std::uint32_t completion_bytes = 256;
    std::uint32_t short_completion_bytes = 256;

    bool operator==(const PacketLimits&) const = default;
};

// Framing and sequence number 4, LCRC 4, header 12 or 16: a request beyond 4 GiB carries 64 bits of address.
inline constexpr std::uint32_t request_overhead32 = 20;
inline constexpr std::uint32_t request_overhead64 = 24;
inline constexpr std::uint32_t completion_overhead = 20;

constexpr std::uint32_t request_overhead(std::uint64_t address, std::uint32_t size) {
    return address <= (std::uint64_t{1} << 32) - size ? request_overhead32 : request_overhead64;
}

struct WireBytes {
    std::uint32_t packets = 0;
    std::uint64_t bytes = 0;

    bool operator==(const WireBytes&) const = default;
};

// How much of [address, address + size) goes into the next request: up to `limit`, and not past a 4 KiB boundary
// (2.2.7).
constexpr std::uint32_t next_request(std::uint64_t address, std::uint32_t size, std::uint32_t limit) {
    const auto page = static_cast<std::uint32_t>(4096 - (address & 4095));
    return std::min({size, limit, page});
}

// Of several packets.
[[gnu::noinline]] constexpr WireBytes cut_write(const PacketLimits& limits, std::uint64_t address, std::uint32_t size) {
    WireBytes wire;
    for (std::uint32_t done = 0; done < size; ++wire.packets) {
        const std::uint32_t piece = next_request(address + done, size - done, limits.max_payload);
        wire.bytes += request_overhead(address + done, piece) + piece;
        done += piece;
    }
    return wire;
}

constexpr WireBytes write_packets(const PacketLimits& limits, std::uint64_t address, std::uint32_t size) {
    const bool one = size != 0 && size <= limits.max_payload && (address & 4095) + size <= 4096;
    return one ? WireBytes{1, std::uint64_t{request_overhead(address, size)} + size} : cut_write(limits, address, size);
}

// The completions of one request.
constexpr WireBytes completion_packets(const PacketLimits& limits, std::uint64_t address, std::uint32_t size) {
    std::uint32_t piece = size <= limits.max_payload ? limits.short_completion_bytes : limits.completion_bytes;
    piece = std::max(std::min(piece, limits.max_payload), limits.completion_boundary);
    // A request that crosses no boundary has one completion (2.3.1.1); the others are cut at aligned addresses.
    const auto packets = static_cast<std::uint32_t>((address + size - 1) / piece - address / piece + 1);
    return {packets, std::uint64_t{packets} * completion_overhead + size};
}

}  // namespace pci
