// The virtual PCI bus protocol: numbers and layouts. Every message begins with its type (u32); little-endian, nothing
// is padded but what is named as reserved.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "vmbus/inband/message_table.h"

namespace vmbus::virtual_pci {

// Minor version in the lower half.
inline constexpr std::uint32_t version_1_1 = 0x0001'0001;  // Windows 10
inline constexpr std::uint32_t version_1_2 = 0x0001'0002;  // RS1: lists of processors
inline constexpr std::uint32_t version_1_3 = 0x0001'0003;  // Vibranium: NUMA nodes
inline constexpr std::uint32_t version_1_4 = 0x0001'0004;  // Server 2022: vectors of 32 bits
inline constexpr std::array versions{version_1_1, version_1_2, version_1_3, version_1_4};

inline constexpr std::uint32_t type_base = 0x4249'0000;

enum class Type : std::uint32_t {
    bus_relations = type_base + 0x00,                // functions (u32), then of each: see function_bytes
    query_bus_relations = type_base + 0x01,          //
    power_state_change = type_base + 0x04,           // slot, state (u32 each)
    query_resource_requirements = type_base + 0x05,  // slot (u32)
    query_resources = type_base + 0x06,              // slot (u32)
    bus_d0_entry = type_base + 0x07,                 // reserved (u32), the configuration window's address (u64)
    bus_d0_exit = type_base + 0x08,                  //
    read_block = type_base + 0x09,                   // slot, block, bytes (u32 each)
    write_block = type_base + 0x0a,                  // slot, block, bytes (u32 each), what to write
    eject = type_base + 0x0b,                        // slot (u32)
    ejection_complete = type_base + 0x0f,            // slot, status (u32 each)
    resources_assigned = type_base + 0x10,           // slot (u32), 120 unused bytes, vectors (u32), 16 reserved bytes
    resources_released = type_base + 0x11,           // slot (u32)
    query_protocol_version = type_base + 0x13,       // version (u32)
    create_interrupt = type_base + 0x14,             // slot (u32), vector, mode (u8 each), count (u16), reserved (u32),
                                                     // mask of processors (u64)
    delete_interrupt = type_base + 0x15,             // slot (u32), then: see message_bytes
    resources_assigned2 = type_base + 0x16,          // as resources_assigned, with 70 reserved bytes
    create_interrupt2 = type_base + 0x17,  // slot (u32), vector, mode (u8 each), count, processors (u16 each),
                                           // 32 processors (u16 each)
    bus_relations2 = type_base + 0x19,     // as bus_relations, of each also the NUMA node
    create_interrupt3 = type_base + 0x1b,  // as create_interrupt2, with vector (u32), mode, reserved (u8 each)
};

// A message, the versions that have it, and which form of a request belongs to which version.
struct Row : inband::MessageRow {
    std::uint32_t first_version;
    std::uint32_t last_version;
};

inline constexpr auto in = inband::Direction::from_guest;
inline constexpr auto out = inband::Direction::to_guest;
// clang-format off
inline constexpr std::array messages{
    Row{{type_base + 0x00, "bus relations", out, 4}, version_1_1, version_1_2},
    Row{{type_base + 0x01, "query bus relations", in, 0}, version_1_1, version_1_4},
    Row{{type_base + 0x04, "power state change", in, 8}, version_1_1, version_1_4},
    Row{{type_base + 0x05, "query resource requirements", in, 4}, version_1_1, version_1_4},
    Row{{type_base + 0x06, "query resources", in, 4}, version_1_1, version_1_4},
    Row{{type_base + 0x07, "bus D0 entry", in, 12}, version_1_1, version_1_4},
    Row{{type_base + 0x08, "bus D0 exit", in, 0}, version_1_1, version_1_4},
    Row{{type_base + 0x09, "read block", in, 12}, version_1_1, version_1_4},
    Row{{type_base + 0x0a, "write block", in, 12}, version_1_1, version_1_4},
    Row{{type_base + 0x0b, "eject", out, 4}, version_1_1, version_1_4},
    Row{{type_base + 0x0f, "ejection complete", in, 8}, version_1_1, version_1_4},
    Row{{type_base + 0x10, "resources assigned", in, 4}, version_1_1, version_1_1},
    Row{{type_base + 0x11, "resources released", in, 4}, version_1_1, version_1_4},
    Row{{type_base + 0x13, "query protocol version", in, 4}, 0, version_1_4},
    Row{{type_base + 0x14, "create interrupt", in, 20}, version_1_1, version_1_1},
    Row{{type_base + 0x15, "delete interrupt", in, 20}, version_1_1, version_1_4},
    Row{{type_base + 0x16, "resources assigned, second form", in, 4}, version_1_2, version_1_4},
    Row{{type_base + 0x17, "create interrupt, second form", in, 10}, version_1_2, version_1_3},
    Row{{type_base + 0x19, "bus relations, second form", out, 4}, version_1_3, version_1_4},
    Row{{type_base + 0x1b, "create interrupt, third form", in, 14}, version_1_4, version_1_4},
};
// clang-format on

// A function: vendor, device (u16 each), revision, programming interface, sub-class, class (u8 each), subsystem vendor,
// subsystem (u16 each), slot, serial number (u32 each).
inline constexpr std::size_t function_bytes = 20;
// In the second form: flags (u32), NUMA node, reserved (u16 each).
inline constexpr std::size_t function2_bytes = 28;
inline constexpr std::uint32_t numa_node_valid = 1u << 0;

// An interrupt message: reserved, count (u16 each), data (u32), address (u64).
inline constexpr std::size_t message_bytes = 16;

inline constexpr std::size_t most_processors = 32;
inline constexpr std::size_t bars = 6;

// Of completions (s32; not negative: success).
namespace status {
inline constexpr std::uint32_t success = 0;
inline constexpr std::uint32_t unsuccessful = 0xc000'0001;
inline constexpr std::uint32_t invalid_parameter = 0xc000'000d;
inline constexpr std::uint32_t no_such_device = 0xc000'000e;
inline constexpr std::uint32_t revision_mismatch = 0xc000'0059;
inline constexpr std::uint32_t insufficient_resources = 0xc000'009a;
inline constexpr std::uint32_t not_supported = 0xc000'00bb;
inline constexpr std::uint32_t invalid_device_state = 0xc000'0184;
}  // namespace status

// The configuration window, two pages: which slot (a dword, written), and that function's configuration space.
namespace window {
inline constexpr std::uint64_t bytes = 0x2000;
inline constexpr std::uint64_t slot = 0;
inline constexpr std::uint64_t config = 0x1000;
}  // namespace window

// Device number in bits 4:0, function number in bits 7:5.
constexpr std::uint32_t slot_of(unsigned device, unsigned function) {
    return (device & 31) | (function & 7) << 5;
}

}  // namespace vmbus::virtual_pci
