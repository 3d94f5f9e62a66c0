// Identifiers, offsets (from the capability's start) and bits of the capabilities (PCIe 6.0, 7.5, 7.7 and 7.8; PCI
// Power Management 1.2; SR-IOV 1.1).
#pragma once

#include <cstdint>

namespace pci {

namespace capability_id {
inline constexpr std::uint8_t power_management = 0x01, msi = 0x05, vendor = 0x09, express = 0x10, msix = 0x11;
}
namespace extended_id {
inline constexpr std::uint16_t aer = 0x0001, serial_number = 0x0003, acs = 0x000d, ari = 0x000e, sriov = 0x0010;
}

namespace power {  // PCI PM 1.2, 3.2
inline constexpr std::uint16_t length = 8, capabilities = 2, control = 4;
inline constexpr std::uint16_t version3 = 3, d1 = 1u << 9, d2 = 1u << 10;
inline constexpr std::uint16_t state_mask = 3, no_soft_reset = 1u << 3, pme_enable = 1u << 8, pme_status = 1u << 15;
inline constexpr std::uint16_t d3hot = 3;
}  // namespace power

namespace msi_cap {  // PCIe 7.7.1
inline constexpr std::uint16_t control = 2, address = 4, upper_address = 8;
inline constexpr std::uint16_t enable = 1u << 0, address64 = 1u << 7, per_vector_masking = 1u << 8;
inline constexpr unsigned capable_shift = 1, enabled_shift = 4;  // fields of 3 bits: log2 of the number of vectors
}  // namespace msi_cap

namespace msix_cap {  // PCIe 7.7.2
inline constexpr std::uint16_t length = 12, control = 2, table = 4, pending = 8;
inline constexpr std::uint16_t enable = 1u << 15, function_mask = 1u << 14, size_mask = 0x7ff;
inline constexpr unsigned entry_bytes = 16, most_vectors = 2048;
inline constexpr std::uint32_t entry_masked = 1u << 0;
}  // namespace msix_cap

namespace express {  // PCIe 7.5.3
inline constexpr std::uint16_t length = 0x3c, capabilities = 0x02, device_capabilities = 0x04, device_control = 0x08,
                               device_status = 0x0a, link_capabilities = 0x0c, link_control = 0x10, link_status = 0x12,
                               slot_capabilities = 0x14, slot_control = 0x18, slot_status = 0x1a, root_control = 0x1c,
                               root_capabilities = 0x1e, root_status = 0x20, device_capabilities2 = 0x24,
                               device_control2 = 0x28, link_capabilities2 = 0x2c, link_control2 = 0x30,
                               link_status2 = 0x32;
inline constexpr std::uint32_t flr_capable = 1u << 28, role_based_errors = 1u << 15, extended_tags = 1u << 5;
inline constexpr std::uint16_t initiate_flr = 1u << 15, relaxed_ordering = 1u << 4, no_snoop = 1u << 11,
                               unsupported_reporting = 1u << 3, nonfatal_reporting = 1u << 1;
inline constexpr std::uint16_t correctable_detected = 1u << 0, nonfatal_detected = 1u << 1, fatal_detected = 1u << 2,
                               unsupported_detected = 1u << 3, transactions_pending = 1u << 5;
inline constexpr unsigned max_payload_shift = 5, max_read_shift = 12;  // device control; 128 << field bytes
inline constexpr std::uint16_t slot_implemented = 1u << 8;
inline constexpr std::uint32_t slot_surprise = 1u << 5, slot_hot_plug = 1u << 6, slot_no_command_completed = 1u << 18;
inline constexpr std::uint16_t slot_presence_enable = 1u << 3, slot_interrupt_enable = 1u << 5,
                               slot_link_state_enable = 1u << 12;
inline constexpr std::uint16_t slot_presence_changed = 1u << 3, slot_present = 1u << 6, slot_link_changed = 1u << 8;
inline constexpr std::uint16_t link_active = 1u << 13;  // link status
inline constexpr std::uint32_t link_active_reporting = 1u << 20;
inline constexpr std::uint32_t ari_forwarding = 1u << 5;  // in device capabilities 2 and in device control 2
enum class PortType : std::uint8_t {
    endpoint = 0,
    legacy_endpoint = 1,
    root_port = 4,
    upstream_port = 5,
    downstream_port = 6,
    integrated_endpoint = 9,
};
}  // namespace express

namespace aer {  // PCIe 7.8.4
inline constexpr std::uint16_t length = 0x48, uncorrectable_status = 0x04, uncorrectable_mask = 0x08,
                               uncorrectable_severity = 0x0c, correctable_status = 0x10, correctable_mask = 0x14,
                               control = 0x18, header_log = 0x1c, root_command = 0x2c, root_status = 0x30,
                               error_source = 0x34;
inline constexpr std::uint32_t unsupported_request = 1u << 20, completer_abort = 1u << 15,
                               completion_timeout = 1u << 14, unexpected_completion = 1u << 16, poisoned = 1u << 12,
                               acs_violation = 1u << 21;
inline constexpr std::uint32_t uncorrectable_all = 0x003f'f030, uncorrectable_severity_reset = 0x0006'2030,
                               correctable_all = 0x0000'31c1, correctable_mask_reset = 0x0000'2000;
inline constexpr std::uint32_t bad_packet = 1u << 6, replay_rollover = 1u << 8, correctable_advisory = 1u << 13;
}  // namespace aer

namespace acs_cap {  // PCIe 7.7.11
inline constexpr std::uint16_t length = 8, capabilities = 4, control = 6;
inline constexpr std::uint16_t source_validation = 1u << 0, translation_blocking = 1u << 1, p2p_request = 1u << 2,
                               p2p_completion = 1u << 3, upstream_forwarding = 1u << 4;
}  // namespace acs_cap

namespace ari_cap {  // PCIe 7.8.8
inline constexpr std::uint16_t length = 8, capabilities = 4, control = 6;
}

namespace serial {  // PCIe 7.9.3
inline constexpr std::uint16_t length = 12, low = 4, high = 8;
}

namespace sriov {  // SR-IOV 1.1, 3.3
inline constexpr std::uint16_t length = 0x40, capabilities = 0x04, control = 0x08, status = 0x0a, initial_vfs = 0x0c,
                               total_vfs = 0x0e, num_vfs = 0x10, dependency_link = 0x12, first_vf_offset = 0x14,
                               vf_stride = 0x16, vf_device_id = 0x1a, supported_page_sizes = 0x1c,
                               system_page_size = 0x20, vf_bar0 = 0x24, migration_array = 0x3c;
inline constexpr std::uint16_t vf_enable = 1u << 0, vf_memory_space = 1u << 3, ari_capable_hierarchy = 1u << 4;
inline constexpr std::uint32_t ari_hierarchy_preserved = 1u << 1;
inline constexpr std::uint32_t page_sizes_usual = 0x553;  // 4K, 8K, 64K, 256K, 1M and 4M, which every device has
static_assert(vf_bar0 + 6 * 4 == migration_array && migration_array + 4 == length);
}  // namespace sriov

}  // namespace pci
