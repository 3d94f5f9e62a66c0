// The synthetic video protocol: numbers and layouts. Within a message pipe every message begins with its type and its
// size, this header included (u32 each). Little-endian, nothing is padded.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "vmbus/inband/message_table.h"

namespace vmbus::video {

inline constexpr std::size_t header_bytes = 8;

// Unlike elsewhere the minor version is in the upper half.
constexpr std::uint32_t version(std::uint16_t major, std::uint16_t minor) {
    return static_cast<std::uint32_t>(minor) << 16 | major;
}
inline constexpr std::uint32_t version_3_0 = version(3, 0);  // Windows 7
inline constexpr std::uint32_t version_3_2 = version(3, 2);  // Windows 8
inline constexpr std::uint32_t version_3_3 = version(3, 3);
inline constexpr std::uint32_t version_3_4 = version(3, 4);
inline constexpr std::uint32_t version_3_5 = version(3, 5);  // Windows 10
inline constexpr std::array versions{version_3_0, version_3_2, version_3_3, version_3_4, version_3_5};

enum class Type : std::uint32_t {
    version_request = 1,        // version (u32)
    version_response = 2,       // version (u32), accepted, outputs (u8 each)
    vram_location = 3,          // context (u64), stated? (u8), address (u64)
    vram_location_ack = 4,      // context (u64)
    situation_update = 5,       // context (u64), outputs (u8), then of each: see situation_bytes
    situation_update_ack = 6,   // context (u64)
    pointer_position = 7,       // visible, output (u8 each), x, y (s32 each)
    pointer_shape = 8,          // part, kind (u8 each), width, height, hot spot x, y (u32 each), pixels
    feature_change = 9,         // wanted: dirt, pointer position, pointer shape, situation (u8 each)
    dirt = 10,                  // output, rectangles (u8 each), rectangles: left, top, right, bottom (s32 each)
    bios_request = 11,          //
    bios_response = 12,         // the device may be stopped (u32), 12 reserved bytes
    resolutions_request = 13,   // at most how many (u8)
    resolutions_response = 14,  // EDID (128), how many, the default's number, standard? (u8 each), width, height (u16)
    capability_request = 15,    //
    capability_response = 16,   // lock on disconnect (u32), 15 reserved words
};

inline constexpr std::array messages{
    inband::MessageRow{1, "version request", inband::Direction::from_guest, 4},
    inband::MessageRow{2, "version response", inband::Direction::to_guest, 6},
    inband::MessageRow{3, "VRAM location", inband::Direction::from_guest, 17},
    inband::MessageRow{4, "VRAM location seen", inband::Direction::to_guest, 8},
    inband::MessageRow{5, "situation update", inband::Direction::from_guest, 9},
    inband::MessageRow{6, "situation update seen", inband::Direction::to_guest, 8},
    inband::MessageRow{7, "pointer position", inband::Direction::from_guest, 10},
    inband::MessageRow{8, "pointer shape", inband::Direction::from_guest, 18},
    inband::MessageRow{9, "feature change", inband::Direction::to_guest, 4},
    inband::MessageRow{10, "dirt", inband::Direction::from_guest, 2},
    inband::MessageRow{11, "BIOS information request", inband::Direction::from_guest, 0},
    inband::MessageRow{12, "BIOS information", inband::Direction::to_guest, 16},
    inband::MessageRow{13, "resolutions request", inband::Direction::from_guest, 1},
    inband::MessageRow{14, "resolutions", inband::Direction::to_guest, 131},
    inband::MessageRow{15, "capability request", inband::Direction::from_guest, 0},
    inband::MessageRow{16, "capability", inband::Direction::to_guest, 64},
};

// One output's situation: active (u8), offset in VRAM (u32), depth (u8), width, height, pitch (u32 each).
inline constexpr std::size_t situation_bytes = 18;
inline constexpr std::size_t rectangle_bytes = 16;
inline constexpr std::size_t edid_bytes = 128;
inline constexpr std::size_t most_resolutions = 64;

}  // namespace vmbus::video
