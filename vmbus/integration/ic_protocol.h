// The frame that all integration services share: numbers and layouts. A message lies in a message pipe:
//   pipe header (8) | frame (20) | body.
// Offsets within the frame: framework version major 0, minor 2 | type 4 | message version major 6, minor 8 |
// body size 10 | status 12 | transaction 16 | flags 17 | reserved 18.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "vmbus/guid.h"
#include "vmbus/inband/message_table.h"

namespace vmbus::ic {

struct Version {
    std::uint16_t major = 0;
    std::uint16_t minor = 0;

    friend auto operator<=>(const Version&, const Version&) = default;
    template <class Archive>
    void fields(Archive& archive) {
        archive(major, minor);
    }
};

enum class Type : std::uint16_t {
    negotiate = 0,
    heartbeat = 1,
    key_value_exchange = 2,
    shutdown = 3,
    time_sync = 4,
    volume_snapshot = 5,
    file_copy = 7,
};

// Requests and answers have the same type; the body lengths are those of a request.
inline constexpr std::array messages{
    inband::MessageRow{0, "negotiate", inband::Direction::both, 8},
    inband::MessageRow{1, "heartbeat", inband::Direction::both, 8},
    inband::MessageRow{2, "key-value", inband::Direction::both, 2},
    inband::MessageRow{3, "shutdown", inband::Direction::both, 12},
    inband::MessageRow{4, "time sync", inband::Direction::both, 22},
    inband::MessageRow{5, "volume snapshot", inband::Direction::both, 8},
    inband::MessageRow{7, "file copy", inband::Direction::both, 36},
};

namespace flag {
inline constexpr std::uint8_t transaction = 1;
inline constexpr std::uint8_t request = 2;
inline constexpr std::uint8_t response = 4;
}  // namespace flag

namespace status {
inline constexpr std::uint32_t ok = 0;
inline constexpr std::uint32_t fail = 0x8000'4005;
inline constexpr std::uint32_t no_more_items = 0x8007'0103;
inline constexpr std::uint32_t not_supported = 0x8007'0032;
}  // namespace status

inline constexpr std::size_t frame_bytes = 20;
inline constexpr std::array framework_versions{Version{1, 0}, Version{3, 0}};

struct Message {
    Version framework;
    Type type = Type::negotiate;
    Version version;
    std::uint32_t status = 0;
    std::uint8_t transaction = 0;
    std::uint8_t flags = 0;
    std::vector<std::byte> body;
};

// With the pipe's header in front.
std::vector<std::byte> build(const Message& message);
// Nothing: it is no message of this frame, or not all there.
std::optional<Message> parse(std::span<const std::byte> packet);

// A negotiation's body: how many of each, then framework versions, then message versions.
std::vector<std::byte> build_versions(std::span<const Version> framework, std::span<const Version> message);

// What the guest chose: one of each. Nothing: it found none.
struct Choice {
    Version framework;
    Version message;
};
std::optional<Choice> parse_choice(std::span<const std::byte> body);

}  // namespace vmbus::ic
