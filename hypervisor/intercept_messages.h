// Builds the messages that tell the root of an intercept, from the layouts in tlfs_messages.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <type_traits>

#include "hypervisor/tlfs_messages.h"

namespace hypervisor {

// HvMessageTypeUnsupportedFeature.
struct HvUnsupportedFeatureMessage {
    std::uint32_t vp_index;
    std::uint32_t feature_code;  // 1: intercept; 2: task switch
    std::uint64_t feature_parameter;
};
static_assert(sizeof(HvUnsupportedFeatureMessage) == 16);

struct HvX64InterruptionDeliverableMessage {
    HvX64InterceptMessageHeader header;
    std::uint8_t deliverable_type;  // pending_interruption::type_*
    std::uint8_t reserved[7];
};
static_assert(sizeof(HvX64InterruptionDeliverableMessage) == 48);

// HV_X64_IO_PORT_ACCESS_INFO and HV_X64_MEMORY_ACCESS_INFO.
namespace io_port_access {
inline constexpr std::uint8_t size_mask = 0x7;  // 1, 2 or 4 bytes
inline constexpr std::uint8_t string_op = 1u << 3;
inline constexpr std::uint8_t rep_prefix = 1u << 4;
}  // namespace io_port_access
namespace memory_access {
inline constexpr std::uint8_t gva_valid = 1u << 0;
inline constexpr std::uint8_t gva_gpa_valid = 1u << 1;
}  // namespace memory_access

// The processor's state when it was intercepted: what every header tells.
struct InterceptContext {
    std::uint32_t vp_index = 0;
    std::uint8_t instruction_length = 0;  // 0: unknown
    std::uint8_t cr8 = 0;
    std::uint8_t cpl = 0;
    bool cr0_pe = false;
    bool cr0_am = false;
    bool efer_lma = false;
    bool debug_active = false;
    bool interruption_pending = false;
    bool interrupt_shadow = false;
    HvX64SegmentRegister cs{};
    std::uint64_t rip = 0;  // of the intercepted instruction, not of the next
    std::uint64_t rflags = 0;
};

[[nodiscard]] constexpr HvX64InterceptMessageHeader intercept_header(const InterceptContext& context,
                                                                     HvInterceptAccess access) {
    HvX64InterceptMessageHeader header{};
    header.vp_index = context.vp_index;
    header.instruction_length_and_cr8 =
        static_cast<std::uint8_t>((context.instruction_length & 0xf) | (context.cr8 & 0xf) << 4);
    header.intercept_access_type = static_cast<std::uint8_t>(access);
    header.execution_state = static_cast<std::uint16_t>(
        (context.cpl & 3) | (context.cr0_pe ? 1 << 2 : 0) | (context.cr0_am ? 1 << 3 : 0) |
        (context.efer_lma ? 1 << 4 : 0) | (context.debug_active ? 1 << 5 : 0) |
        (context.interruption_pending ? 1 << 6 : 0) | (context.interrupt_shadow ? 1 << 12 : 0));
    header.cs_segment = context.cs;
    header.rip = context.rip;
    header.rflags = context.rflags;
    return header;
}

// The message of that type from `sender`, a partition.
template <class Payload>
[[nodiscard]] HvMessage make_message(HvMessageType type, std::uint64_t sender, const Payload& payload) {
    static_assert(std::is_trivially_copyable_v<Payload> && sizeof(Payload) <= sizeof(HvMessage::payload));
    HvMessage message{};
    message.header.message_type = static_cast<std::uint32_t>(type);
    message.header.payload_size = static_cast<std::uint8_t>(sizeof(Payload));
    message.header.origin = sender;
    std::memcpy(message.payload, &payload, sizeof(Payload));
    return message;
}

// The payload if the message is of that type and holds as much.
template <class Payload>
[[nodiscard]] std::optional<Payload> payload_of(const HvMessage& message, HvMessageType type) {
    static_assert(std::is_trivially_copyable_v<Payload> && sizeof(Payload) <= sizeof(HvMessage::payload));
    if (message.header.message_type != static_cast<std::uint32_t>(type)) return std::nullopt;
    if (message.header.payload_size < sizeof(Payload)) return std::nullopt;
    Payload payload;
    std::memcpy(&payload, message.payload, sizeof(Payload));
    return payload;
}

}  // namespace hypervisor
