// What an I/O memory management unit keeps in memory, as numbers: root, context and interrupt entries, posted-interrupt
// descriptors, invalidation descriptors, and the reasons of faults.
// Intel Virtualization Technology for Directed I/O (VT-d), revision 3.3: chapters 5, 6, 7 and 9.
#pragma once

#include <cstdint>

namespace pci {

// Legacy mode tables (3.4, 9.1, 9.3): 256 root entries of 16 bytes by bus, 256 context entries of 16 bytes by device
// and function.
namespace dma_remapping {
inline constexpr std::uint64_t entry_bytes = 16;
inline constexpr std::uint64_t present = 1;
inline constexpr std::uint64_t address_mask = 0x000f'ffff'ffff'f000;
inline constexpr std::uint64_t root_reserved = 0xfff0'0000'0000'0ffe;
// Context entry, lower half.
inline constexpr std::uint64_t fault_disable = 1u << 1;
inline constexpr unsigned translation_type_shift = 2;  // bits 3:2
inline constexpr std::uint64_t context_reserved_low = 0xfff0'0000'0000'0ff0;
// Upper half: address width in 2:0, domain in 23:8.
inline constexpr std::uint64_t width_mask = 7;
inline constexpr std::uint64_t width_4_levels = 2;
inline constexpr unsigned domain_shift = 8;
inline constexpr std::uint64_t context_reserved_high = 0xffff'ffff'ff00'0080;
}  // namespace dma_remapping

enum class TranslationType : std::uint8_t { second_level = 0, second_level_and_device_tlb = 1, pass_through = 2 };

// Interrupt requests and their table (5.1, 9.9, 9.10, 9.11).
namespace interrupt_remapping {
inline constexpr std::uint64_t entry_bytes = 16;
inline constexpr std::uint64_t address_base = 0xfee0'0000;
inline constexpr std::uint32_t address_remappable = 1u << 4;
inline constexpr std::uint32_t address_subhandle_valid = 1u << 3;
// Entry, lower half.
inline constexpr std::uint64_t present = 1, fault_disable = 1u << 1, destination_logical = 1u << 2,
                               redirection_hint = 1u << 3, trigger_level = 1u << 4, posted_urgent = 1u << 14,
                               posted = 1u << 15;
inline constexpr unsigned delivery_mode_shift = 5, vector_shift = 16, destination_shift = 32;
inline constexpr std::uint64_t remapped_reserved = 0x0000'0000'ff00'7000;
inline constexpr std::uint64_t posted_reserved = 0x0000'003f'ff00'30fc;
inline constexpr std::uint64_t posted_address_low = 0xffff'ffc0'0000'0000;  // bits 31:6 of the descriptor's address
// Upper half: requester in 15:0, which bits of it count in 17:16, how it is verified in 19:18.
inline constexpr unsigned source_qualifier_shift = 16, source_validation_shift = 18;
inline constexpr std::uint64_t upper_reserved = 0x0000'0000'fff0'0000;
}  // namespace interrupt_remapping

enum class SourceValidation : std::uint8_t { none = 0, requester = 1, bus_range = 2, reserved = 3 };

// A posted-interrupt descriptor (9.12): 256 requests, then the word of control at byte 32.
namespace posted_descriptor {
inline constexpr std::uint64_t bytes = 64, control = 32;
inline constexpr std::uint64_t outstanding = 1u << 0, suppress = 1u << 1;
inline constexpr unsigned vector_shift = 16, destination_shift = 32;
}  // namespace posted_descriptor

// Descriptors of the invalidation queue (6.5.2), 16 bytes.
namespace invalidation {
inline constexpr std::uint64_t descriptor_bytes = 16;
inline constexpr std::uint64_t context = 1, iotlb = 2, device_tlb = 3, interrupt_entries = 4, wait = 5;
inline constexpr std::uint64_t type_mask = 0xf;
inline constexpr unsigned granularity_shift = 4;  // bits 5:4
inline constexpr std::uint64_t global = 1, domain = 2, specific = 3;
inline constexpr unsigned domain_shift = 16, source_shift = 32, function_mask_shift = 48;
inline constexpr std::uint64_t wait_interrupt = 1u << 4, wait_status_write = 1u << 5;
}  // namespace invalidation

// Why a request was blocked (7.1.3 and 7.1.4 by their numbers in the fault recording registers).
enum class FaultReason : std::uint8_t {
    none = 0,
    root_not_present = 0x1,
    context_not_present = 0x2,
    context_invalid = 0x3,
    beyond_address_width = 0x4,
    write_denied = 0x5,
    read_denied = 0x6,
    table_access = 0x7,
    root_table_access = 0x8,
    context_table_access = 0x9,
    root_reserved = 0xa,
    context_reserved = 0xb,
    table_reserved = 0xc,
    interrupt_reserved = 0x20,
    interrupt_index = 0x21,
    interrupt_not_present = 0x22,
    interrupt_table_access = 0x23,
    interrupt_entry_reserved = 0x24,
    interrupt_compatibility_blocked = 0x25,
    interrupt_source = 0x26,
    posted_descriptor_access = 0x27,
    posted_descriptor_reserved = 0x28,
};

}  // namespace pci
