// Large sends: one TCP frame of up to 64 KB cut into segments, as late as possible. Follows what adapters do (LSO
// version 2): each segment gets its sequence number, IPv4 identification, lengths and flags.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "models/network/frame.h"
#include "models/network/headers.h"

namespace models {

// Smaller segments are refused: 64 KB would become thousands of frames.
inline constexpr std::uint16_t minimum_large_send_mss = 48;

// Whether a large send is one: unfragmented TCP, an IP length that fits its field, a sensible segment size.
bool is_sound_large_send(const Frame& frame, const Headers& headers);
// Writes the IP length of the whole where a sender left 0.
void write_large_send_length(Frame& frame, const Headers& headers);

// How many segments a frame is on a wire; 1 if it is not a large send or not a sound one.
std::uint32_t segment_count(const Frame& frame);

// Appends the segments of a frame; their checksums are requests. Another frame is appended as it is.
void cut_into_segments(Frame&& frame, std::vector<Frame>& segments);

// Everything that must be done before a frame is on a wire: cut, tagged, checksums filled in; the rest is forgotten.
void finish_for_wire(Frame&& frame, std::vector<Frame>& finished);

}  // namespace models
