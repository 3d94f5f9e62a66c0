// What goes over a channel: packets on a ring, with their forms.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace vmbus {

enum class PacketType : std::uint16_t {
    inband = 6,
    transfer_pages = 7,
    gpa_direct = 9,
    completion = 0xb,
};

// A message in the buffer that was established for it (a section of the receive buffer).
struct TransferRange {
    std::uint32_t length = 0;
    std::uint32_t offset = 0;
};

// Guest memory that a packet names: page numbers, as many as offset and length need.
struct GpaRange {
    std::uint32_t length = 0;
    std::uint32_t offset = 0;  // in the first page
    std::vector<std::uint64_t> pages;

    bool operator==(const GpaRange&) const = default;
    template <class Archive>
    void fields(Archive& archive) {
        archive(length, offset, pages);
    }
};

// A packet from a ring: a copy of what the other side wrote, its form checked, its meaning not.
struct Packet {
    PacketType type = PacketType::inband;
    bool wants_completion = false;
    std::uint64_t transaction = 0;
    std::uint16_t page_set = 0;            // transfer_pages
    std::vector<TransferRange> transfers;  // transfer_pages
    std::vector<GpaRange> ranges;          // gpa_direct
    std::vector<std::byte> payload;        // a multiple of 8 bytes, padding included
};

}  // namespace vmbus
