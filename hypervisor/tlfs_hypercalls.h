// TLFS chapter 3 and appendix A: hypercall numbers, control and result words, and the layouts of the calls that any
// partition makes. Those of the root are in tlfs_root_hypercalls.h.
#pragma once

#include <cstdint>

#include "hypervisor/tlfs_status.h"

namespace hypervisor {

// Appendix A: hypercall codes.
enum class HvCall : std::uint16_t {
    switch_virtual_address_space = 0x0001,
    flush_virtual_address_space = 0x0002,
    flush_virtual_address_list = 0x0003,
    get_logical_processor_run_time = 0x0004,
    notify_long_spin_wait = 0x0008,
    send_synthetic_cluster_ipi = 0x000b,
    flush_virtual_address_space_ex = 0x0013,
    flush_virtual_address_list_ex = 0x0014,
    send_synthetic_cluster_ipi_ex = 0x0015,
    create_partition = 0x0040,
    initialize_partition = 0x0041,
    finalize_partition = 0x0042,
    delete_partition = 0x0043,
    get_partition_property = 0x0044,
    set_partition_property = 0x0045,
    get_partition_id = 0x0046,
    get_next_child_partition = 0x0047,
    deposit_memory = 0x0048,
    withdraw_memory = 0x0049,
    get_memory_balance = 0x004a,
    map_gpa_pages = 0x004b,
    unmap_gpa_pages = 0x004c,
    install_intercept = 0x004d,
    create_vp = 0x004e,
    delete_vp = 0x004f,
    get_vp_registers = 0x0050,
    set_vp_registers = 0x0051,
    translate_virtual_address = 0x0052,
    read_gpa = 0x0053,
    write_gpa = 0x0054,
    clear_virtual_interrupt = 0x0056,
    delete_port = 0x0058,
    get_port_property = 0x005a,
    disconnect_port = 0x005b,
    post_message = 0x005c,
    signal_event = 0x005d,
    save_partition_state = 0x005e,
    restore_partition_state = 0x005f,
    map_stats_page = 0x006c,
    unmap_stats_page = 0x006d,
    map_sparse_gpa_pages = 0x006e,
    set_port_property = 0x0070,
    get_system_property = 0x007b,
    map_device_interrupt = 0x007c,
    unmap_device_interrupt = 0x007d,
    retarget_device_interrupt = 0x007e,
    attach_device = 0x0082,
    detach_device = 0x0083,
    notify_port_ring_empty = 0x008b,
    register_intercept_result = 0x0091,
    unregister_intercept_result = 0x0092,
    assert_virtual_interrupt = 0x0094,
    create_port = 0x0095,
    connect_port = 0x0096,
    start_virtual_processor = 0x0099,
    get_vp_index_from_apic_id = 0x009a,
    translate_virtual_address_ex = 0x00ac,
    flush_guest_physical_address_space = 0x00af,
    flush_guest_physical_address_list = 0x00b0,
    signal_event_direct = 0x00c0,
    post_message_direct = 0x00c1,
    get_gpa_pages_access_state = 0x00c9,
    get_vp_state = 0x00e3,
    set_vp_state = 0x00e4,
    get_vp_cpuid_values = 0x00f4,
    ext_query_capabilities = 0x8001,
};

// 3.5: the hypercall input value (control word).
namespace hypercall_control {
inline constexpr unsigned code_high = 15, code_low = 0;
inline constexpr unsigned fast_bit = 16;
inline constexpr unsigned variable_header_high = 26, variable_header_low = 17;  // in 8-byte units
inline constexpr unsigned nested_bit = 31;
inline constexpr unsigned rep_count_high = 43, rep_count_low = 32;
inline constexpr unsigned rep_start_high = 59, rep_start_low = 48;
inline constexpr std::uint64_t reserved = 0xf000'f000'7800'0000;  // 30:27, 47:44, 63:60
}  // namespace hypercall_control

// 3.6: the result value: status 15:0, reps completed 43:32.
inline constexpr unsigned hypercall_result_reps_shift = 32;

// 3.7.1: registers of the fast forms: RDX, R8 and XMM0 to XMM5, that is seven pairs of 8 bytes.
inline constexpr unsigned hypercall_xmm_registers = 6;
inline constexpr unsigned hypercall_fast_bytes = 16 + 16 * hypercall_xmm_registers;
inline constexpr unsigned hypercall_alignment = 8;

// HV_VP_SET: format, valid bank mask, then one 64-bit bank for each bit set in the mask.
inline constexpr std::uint64_t vp_set_sparse_4k = 0;
inline constexpr std::uint64_t vp_set_all = 1;
inline constexpr unsigned vp_set_banks = 64;
inline constexpr unsigned vps_per_bank = 64;

struct HvVpSetHeader {
    std::uint64_t format;
    std::uint64_t valid_bank_mask;
};
static_assert(sizeof(HvVpSetHeader) == 16);

namespace flush_flag {
inline constexpr std::uint64_t all_processors = 1ull << 0;
inline constexpr std::uint64_t all_virtual_address_spaces = 1ull << 1;
inline constexpr std::uint64_t non_global_mappings_only = 1ull << 2;
inline constexpr std::uint64_t use_extended_range_format = 1ull << 3;
inline constexpr std::uint64_t defined = 0xf;
}  // namespace flush_flag

// HvCallFlushVirtualAddressSpace, and HvCallFlushVirtualAddressList, whose GVA ranges follow.
struct HvInputFlushVirtualAddressSpace {
    std::uint64_t address_space;
    std::uint64_t flags;
    std::uint64_t processor_mask;
};
static_assert(sizeof(HvInputFlushVirtualAddressSpace) == 24);

// HvCallFlushVirtualAddressSpaceEx and ...ListEx; banks follow as variable header.
struct HvInputFlushVirtualAddressSpaceEx {
    std::uint64_t address_space;
    std::uint64_t flags;
    HvVpSetHeader vp_set;
};
static_assert(sizeof(HvInputFlushVirtualAddressSpaceEx) == 32);

// HV_GVA_RANGE: page number 63:12 and the pages beyond the first in 11:0. In the extended format (flag 3) the count is
// 10:0 and bit 11 says "large": then bit 12 is the size (0: 2 MiB, 1: 1 GiB) and 63:21 the number in 2 MiB units.
namespace gva_range {
inline constexpr std::uint64_t additional_pages = 0xfff;
inline constexpr std::uint64_t extended_additional_pages = 0x7ff;
inline constexpr std::uint64_t extended_large = 1ull << 11;
inline constexpr std::uint64_t extended_1g = 1ull << 12;
}  // namespace gva_range

struct HvInputNotifyLongSpinWait {
    std::uint64_t spinwait_info;  // the spin count in the low 32 bits
};
static_assert(sizeof(HvInputNotifyLongSpinWait) == 8);

inline constexpr std::uint32_t ipi_low_vector = 0x10;
inline constexpr std::uint32_t ipi_high_vector = 0xff;

struct HvInputSendSyntheticClusterIpi {
    std::uint32_t vector;
    std::uint8_t target_vtl;
    std::uint8_t padding[3];
    std::uint64_t processor_mask;
};
static_assert(sizeof(HvInputSendSyntheticClusterIpi) == 16);

struct HvInputSendSyntheticClusterIpiEx {
    std::uint32_t vector;
    std::uint8_t target_vtl;
    std::uint8_t padding[3];
    HvVpSetHeader vp_set;
};
static_assert(sizeof(HvInputSendSyntheticClusterIpiEx) == 24);

inline constexpr std::uint32_t connection_id_mask = 0x00ff'ffff;  // HV_CONNECTION_ID and HV_PORT_ID: 24 bits
inline constexpr std::uint32_t message_payload_bytes = 240;
inline constexpr std::uint32_t message_bytes = 256;

struct HvInputPostMessage {
    std::uint32_t connection_id;
    std::uint32_t reserved;
    std::uint32_t message_type;
    std::uint32_t payload_size;
    std::uint8_t payload[message_payload_bytes];
};
static_assert(sizeof(HvInputPostMessage) == 256);

struct HvInputSignalEvent {
    std::uint32_t connection_id;
    std::uint16_t flag_number;
    std::uint16_t reserved;
};
static_assert(sizeof(HvInputSignalEvent) == 8);

// HvCallGetVpRegisters (32-bit names follow, 16-byte values return) and HvCallSetVpRegisters (HvRegisterAssoc follow).
struct HvInputVpRegisters {
    std::uint64_t partition_id;
    std::uint32_t vp_index;
    std::uint8_t input_vtl;
    std::uint8_t reserved[3];
};
static_assert(sizeof(HvInputVpRegisters) == 16);

struct HvInterruptEntry {
    std::uint32_t source;  // 1: MSI
    std::uint32_t reserved;
    std::uint32_t msi_address;
    std::uint32_t msi_data;
};
static_assert(sizeof(HvInterruptEntry) == 16);
inline constexpr std::uint32_t interrupt_source_msi = 1;
inline constexpr std::uint32_t interrupt_source_ioapic = 2;

// A mask of VPs, or with the flag a VP set, follows; the mask (or the set's format) is the last word of the fixed part.
struct HvInputRetargetDeviceInterrupt {
    std::uint64_t partition_id;
    std::uint64_t device_id;
    HvInterruptEntry entry;
    std::uint64_t reserved;
    std::uint32_t vector;
    std::uint32_t flags;
    std::uint64_t mask_or_format;
};
static_assert(sizeof(HvInputRetargetDeviceInterrupt) == 56);
namespace interrupt_target_flag {
inline constexpr std::uint32_t multicast = 1u << 0;
inline constexpr std::uint32_t processor_set = 1u << 1;
}  // namespace interrupt_target_flag

struct HvOutputQueryExtendedCapabilities {
    std::uint64_t capabilities;
};
static_assert(sizeof(HvOutputQueryExtendedCapabilities) == 8);

struct HvOutputGetPartitionId {
    std::uint64_t partition_id;
};
static_assert(sizeof(HvOutputGetPartitionId) == 8);

}  // namespace hypervisor
