// How a request is known on its way: the last 16 bytes of a message are a mark and the request's number. So that frame
// which carries a message's last byte is recognised, whole, cut or put together, over TCP and UDP.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "sim/journey.h"

namespace models {

inline constexpr std::size_t request_mark_bytes = 16;

// Into the last bytes of a message, which must have that many.
void put_request_id(std::span<std::byte> message, sim::RequestId id);
// Of the last message in these bytes, if they end with one; else 0.
sim::RequestId request_in_payload(std::span<const std::byte> payload);
// The same of an Ethernet frame, which need not be sound.
sim::RequestId request_in_frame(std::span<const std::byte> frame);

}  // namespace models
