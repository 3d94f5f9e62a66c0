// The dynamic-memory protocol (the balloon): numbers and layouts.
// Header of every message: type (u16), size of all (u16), transaction (u32), little-endian.
#pragma once

#include <array>
#include <cstdint>

#include "vmbus/inband/message_table.h"
#include "vmbus/memory/page_set.h"

namespace vmbus::dynamic_memory {

inline constexpr std::size_t header_bytes = 8;
// What the guest's driver has room for.
inline constexpr std::size_t largest_message = 4096;

// Major version in the upper half.
inline constexpr std::uint32_t version_0_3 = 0x0000'0003;
inline constexpr std::uint32_t version_1_0 = 0x0001'0000;
inline constexpr std::uint32_t version_2_0 = 0x0002'0000;
inline constexpr std::array versions{version_2_0, version_1_0, version_0_3};  // newest first

enum class Type : std::uint16_t {
    error = 0,
    version_request = 1,        // version (u32), bit 0: the last that it will ask for (u32)
    version_response = 2,       // bit 0: accepted (u64)
    capabilities_report = 3,    // capabilities, least pages, most pages (u64 each)
    capabilities_response = 4,  // bit 0: accepted (u64)
    status_report = 5,          // available, committed, page file, zero and free (u64), page file writes, I/O (u32)
    balloon_request = 6,        // pages (u32), reserved (u32)
    balloon_response = 7,       // reserved (u32), bit 0: more come, bits 31:1: ranges (u32), ranges
    unballoon_request = 8,      // bit 0: more come (u32), ranges (u32), ranges
    unballoon_response = 9,     //
    hot_add_request = 10,       // range, and the region that it lies in, if that is stated
    hot_add_response = 11,      // pages added (u32), result (u32)
    information = 12,           // reserved, bytes, kind, bytes of it (u32 each), value; from version 1.0
};

inline constexpr std::array messages{
    inband::MessageRow{0, "error", inband::Direction::from_guest, 0},
    inband::MessageRow{1, "version request", inband::Direction::from_guest, 8},
    inband::MessageRow{2, "version response", inband::Direction::to_guest, 8},
    inband::MessageRow{3, "capabilities", inband::Direction::from_guest, 24},
    inband::MessageRow{4, "capabilities response", inband::Direction::to_guest, 8},
    inband::MessageRow{5, "status", inband::Direction::from_guest, 40},
    inband::MessageRow{6, "balloon request", inband::Direction::to_guest, 8},
    inband::MessageRow{7, "balloon response", inband::Direction::from_guest, 8},
    inband::MessageRow{8, "unballoon request", inband::Direction::to_guest, 8},
    inband::MessageRow{9, "unballoon response", inband::Direction::from_guest, 0},
    inband::MessageRow{10, "hot add request", inband::Direction::to_guest, 8},
    inband::MessageRow{11, "hot add response", inband::Direction::from_guest, 8},
    inband::MessageRow{12, "information", inband::Direction::to_guest, 24},
};

// A range of pages in 64 bits: the first in the lower 40, how many in the upper 24.
inline constexpr std::uint64_t most_first_page = (std::uint64_t{1} << 40) - 1;
inline constexpr std::uint64_t most_pages_in_range = (std::uint64_t{1} << 24) - 1;
constexpr std::uint64_t encode(const PageRange& range) {
    return range.first | range.count << 40;
}
constexpr PageRange decode(std::uint64_t word) {
    return {word & most_first_page, word >> 40};
}

// Capabilities.
inline constexpr std::uint64_t can_balloon = 1;
inline constexpr std::uint64_t can_hot_add = 2;
constexpr std::uint64_t hot_add_alignment_megabytes(std::uint64_t capabilities) {
    return std::uint64_t{1} << (capabilities >> 2 & 0xf);
}

}  // namespace vmbus::dynamic_memory
