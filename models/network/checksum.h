// Internet checksums (RFC 1071) of IPv4 headers, TCP, UDP, ICMP and ICMPv6.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "models/network/frame.h"
#include "models/network/headers.h"

namespace models {

// The ones' complement sum of big-endian 16-bit words, not yet complemented; an odd last byte is a high one. Sums add
// up as long as each part but the last has an even length.
std::uint16_t ones_complement_sum(std::span<const std::byte> bytes, std::uint32_t initial = 0);

// What belongs into the checksum field: as if the field itself were 0. UDP's 0 is written as 0xffff.
std::uint16_t ipv4_header_checksum(std::span<const std::byte> bytes, const Headers& headers);
// Of an unfragmented TCP, UDP, ICMP or ICMPv6 message; the pseudo-header is in it where there is one.
std::uint16_t transport_checksum(std::span<const std::byte> bytes, const Headers& headers);
// Offset of the checksum field in the frame; 0 if the message has none.
std::size_t transport_checksum_offset(const Headers& headers);

// Carries out what `fill` asks for, and clears it. False, with the frame unchanged, if the headers do not match it.
bool fill_checksums(Frame& frame);
bool request_matches(const Frame& frame, const Headers& headers);

// Checks and notes the verdicts. A checksum that is still to be filled in is good, UDP's 0 over IPv4 too. What has no
// checksum stays `unknown`.
void verify_checksums(Frame& frame);

}  // namespace models
