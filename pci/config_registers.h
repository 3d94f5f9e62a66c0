// Offsets and bits of the configuration header (PCI 3.0, 6.1 and 6.2; PCI-to-PCI bridges 1.2, 3.2; PCIe 6.0, 7.5.1).
#pragma once

#include <cstdint>

namespace pci {

inline constexpr unsigned legacy_config_bytes = 256;
inline constexpr unsigned extended_config_bytes = 4096;
inline constexpr std::uint16_t first_extended_capability = 0x100;

// Both header types
namespace header {
inline constexpr std::uint16_t vendor_id = 0x00, device_id = 0x02, command = 0x04, status = 0x06, revision_id = 0x08,
                               class_code = 0x09, cache_line_size = 0x0c, latency_timer = 0x0d, header_type = 0x0e,
                               bist = 0x0f, bar0 = 0x10, capabilities_pointer = 0x34, interrupt_line = 0x3c,
                               interrupt_pin = 0x3d;
inline constexpr std::uint8_t multi_function = 0x80;
inline constexpr std::uint8_t bars = 6;
}  // namespace header

namespace header0 {
inline constexpr std::uint16_t cardbus_cis = 0x28, subsystem_vendor_id = 0x2c, subsystem_id = 0x2e, rom = 0x30,
                               min_gnt = 0x3e, max_lat = 0x3f;
inline constexpr std::uint8_t bars = 6;
}  // namespace header0

namespace header1 {
inline constexpr std::uint16_t primary_bus = 0x18, secondary_bus = 0x19, subordinate_bus = 0x1a,
                               secondary_latency = 0x1b, io_base = 0x1c, io_limit = 0x1d, secondary_status = 0x1e,
                               memory_base = 0x20, memory_limit = 0x22, prefetch_base = 0x24, prefetch_limit = 0x26,
                               prefetch_base_upper = 0x28, prefetch_limit_upper = 0x2c, io_base_upper = 0x30,
                               io_limit_upper = 0x32, rom = 0x38, bridge_control = 0x3e;
inline constexpr std::uint8_t bars = 2;
}  // namespace header1

namespace command {
inline constexpr std::uint16_t io_space = 1u << 0, memory_space = 1u << 1, bus_master = 1u << 2,
                               special_cycles = 1u << 3, write_invalidate = 1u << 4, vga_snoop = 1u << 5,
                               parity_response = 1u << 6, serr_enable = 1u << 8, fast_back_to_back = 1u << 9,
                               intx_disable = 1u << 10;
}  // namespace command

namespace status {
inline constexpr std::uint16_t interrupt = 1u << 3, capabilities_list = 1u << 4, capable_66mhz = 1u << 5,
                               fast_back_to_back = 1u << 7, master_parity_error = 1u << 8, devsel_medium = 1u << 9,
                               signalled_target_abort = 1u << 11, received_target_abort = 1u << 12,
                               received_master_abort = 1u << 13, signalled_system_error = 1u << 14,
                               detected_parity_error = 1u << 15;
inline constexpr std::uint16_t errors = master_parity_error | signalled_target_abort | received_target_abort |
                                        received_master_abort | signalled_system_error | detected_parity_error;
}  // namespace status

namespace bar_bits {
inline constexpr std::uint32_t io = 1u << 0, memory64 = 2u << 1, prefetchable = 1u << 3;
inline constexpr std::uint32_t io_address = ~std::uint32_t{3}, memory_address = ~std::uint32_t{0xf};
inline constexpr std::uint32_t rom_enable = 1u << 0, rom_address = ~std::uint32_t{0x7ff};
}  // namespace bar_bits

namespace bridge_control {
inline constexpr std::uint16_t parity_response = 1u << 0, serr_enable = 1u << 1, secondary_bus_reset = 1u << 6;
}  // namespace bridge_control

// Base classes and sub-classes (PCI Code and ID Assignment 1.11) as the class register's upper 16 bits.
namespace class_of {
inline constexpr std::uint16_t ide = 0x0101, ethernet = 0x0200, host_bridge = 0x0600, isa_bridge = 0x0601,
                               pci_bridge = 0x0604, other_bridge = 0x0680;
}  // namespace class_of

}  // namespace pci
