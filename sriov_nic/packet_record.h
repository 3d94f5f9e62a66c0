// The record that each frame leaves in the trace ("packet"), and what it says: where the time of the frame's life went.
// Words: which end of its way, queue, bytes, then moments in picoseconds, in order. Between two that follow each other
// lies one part of the life, so that the parts add up to the whole.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

namespace sriov_nic {

// Where the record was written: a sent frame's by the wire or by the switch's loopback, a received one's at its last
// write to memory.
enum class PacketEnd : std::uint8_t { wire, loopback, memory, memory_looped };

// Of a sent frame: from the doorbell that tells of its last descriptor to its last bit.
inline constexpr std::array<std::string_view, 8> sent_parts{
    "doorbell",          // until its descriptor's fetch leaves: the one before it, a full cache, a full link
    "descriptor_fetch",  // there and back: link, IOMMU, memory
    "arbitration",       // until it is its queue's turn: other queues, its rate limit, a full packet buffer
    "data_dma",          // until the last byte has come
    "order",             // frames that were cut before it and are not complete
    "pipeline",          // offloads, switch, MAC
    "wait",              // frames before it on the wire or on the loopback, a pause of the partner's
    "transfer",          // its own bits there
};
// Of a received one, for each pool that gets it: from its first bit until software is told.
inline constexpr std::array<std::string_view, 8> received_parts{
    "transfer",     // its own bits on the wire or on the loopback
    "path",         // MAC, up to the packet buffer
    "switch",       // filters, pool and queue
    "buffer",       // frames before it in the packet buffer, or its writes to other pools
    "descriptors",  // none there for it, or a full link
    "data_dma",     // until its bytes are in memory
    "write_back",   // until its descriptor is
    "moderation",   // until its interrupt may go; none while software has masked it and polls
};
inline constexpr std::size_t packet_parts = 8, packet_moments = packet_parts + 1, packet_words = 3 + packet_moments;

struct PacketLife {
    std::string_view way;
    std::uint64_t queue = 0, bytes = 0;
    std::span<const std::string_view> names;
    std::array<std::int64_t, packet_parts> parts_ps{};
    std::int64_t whole_ps = 0;
};

// `words` are packet_words.
constexpr PacketLife packet_life(std::span<const std::uint64_t> words) {
    constexpr std::array<std::string_view, 4> ways{"to the wire", "to other functions", "from the wire",
                                                   "from other functions"};
    const std::uint64_t end = words[0] & 3;
    PacketLife life{ways[end], words[1], words[2], end < 2 ? std::span{sent_parts} : std::span{received_parts}, {}, 0};
    for (std::size_t n = 0; n < packet_parts; ++n) {
        life.parts_ps[n] = static_cast<std::int64_t>(words[3 + n + 1] - words[3 + n]);
    }
    life.whole_ps = static_cast<std::int64_t>(words[3 + packet_parts] - words[3]);
    return life;
}

}  // namespace sriov_nic
