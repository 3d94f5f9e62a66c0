// Ethernet frames in RNDIS data messages: out of what a guest sent, and into what it receives.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "vmbus/network/network_port.h"

namespace vmbus {

// What carries what in a frame, as far as checksums go by it.
struct FrameKind {
    bool ipv4 = false;
    bool ipv6 = false;
    bool tcp = false;
    bool udp = false;
};
FrameKind frame_kind(std::span<const std::byte> frame);

// Why a frame from the guest goes no further.
enum class SendFault : std::uint8_t {
    none,
    malformed,            // no RNDIS data messages, one after the other
    unsupported,          // out-of-band data, virtual circuits, large sends of version 1
    offload_not_enabled,  // asks for what the guest has not switched on
    too_long,             // longer than the frame size that was agreed
};

struct SendLimits {
    std::uint32_t frame_bytes = 1514;
    OffloadSettings offloads;
};

// Takes apart the messages that came in one packet. Appends their frames; all or none.
[[nodiscard]] SendFault parse_data_messages(std::span<const std::byte> bytes, const SendLimits& limits,
                                            std::vector<OutgoingFrame>& frames);

// Lays out the message of one frame as a driver sends it: header, information, frame, and zeros up to `alignment`.
// `offset` answers where the frame begins in it.
std::vector<std::byte> data_message(const OutgoingFrame& frame, std::size_t alignment, std::size_t* offset = nullptr);

// Lays out what a guest receives: one message, or several if the frame exceeds what one section holds.
// `offloads` are those that the guest has switched on.
std::vector<std::vector<std::byte>> receive_messages(const IncomingFrame& frame, const OffloadSettings& offloads,
                                                     std::uint32_t section_bytes, std::uint16_t packet_id);
// How many sections it takes.
std::size_t sections_needed(std::size_t frame_bytes, std::uint32_t section_bytes);

// Takes a received message apart; a driver's side. `more`: it is a part, and the frame goes on in the next message.
struct ReceivedMessage {
    IncomingFrame frame;
    bool part = false;
    bool first = true;
    bool last = true;
};
[[nodiscard]] bool parse_received_message(std::span<const std::byte> bytes, ReceivedMessage& received);

}  // namespace vmbus
