// Layouts of the hypercalls with which a partition manages its children (TLFS chapters 4 to 11).
#pragma once

#include <cstdint>

#include "hypervisor/tlfs_hypercalls.h"
#include "hypervisor/tlfs_registers.h"

namespace hypervisor {

struct HvProximityDomainInfo {
    std::uint32_t domain_id;
    std::uint32_t flags;  // bit 0 preferred, bit 31 information is valid
};
static_assert(sizeof(HvProximityDomainInfo) == 8);

// --- Partitions (chapter 4) ---------------------------------------------------------------------------------------

namespace create_partition_flag {
inline constexpr std::uint64_t exo_partition = 1ull << 8;
inline constexpr std::uint64_t lapic_enabled = 1ull << 13;
inline constexpr std::uint64_t intercept_message_page_enabled = 1ull << 19;
inline constexpr std::uint64_t x2apic_capable = 1ull << 22;
}  // namespace create_partition_flag

// HV_PARTITION_CREATION_PROPERTIES: a set bit disables the processor feature.
struct HvPartitionCreationProperties {
    std::uint64_t disabled_processor_features[2];
    std::uint64_t disabled_processor_xsave_features;
};
static_assert(sizeof(HvPartitionCreationProperties) == 24);

struct HvInputCreatePartition {
    std::uint64_t flags;
    HvProximityDomainInfo proximity_domain_info;
    std::uint32_t compatibility_version;
    std::uint32_t padding;
    HvPartitionCreationProperties partition_creation_properties;
    std::uint64_t isolation_properties;
};
static_assert(sizeof(HvInputCreatePartition) == 56);

struct HvOutputCreatePartition {
    std::uint64_t partition_id;
};
static_assert(sizeof(HvOutputCreatePartition) == 8);

// HvCallInitializePartition, HvCallFinalizePartition, HvCallDeletePartition.
struct HvInputPartition {
    std::uint64_t partition_id;
};
static_assert(sizeof(HvInputPartition) == 8);

enum class HvPartitionProperty : std::uint32_t {
    privilege_flags = 0x0001'0000,
    synthetic_proc_features = 0x0001'0001,
    suspend = 0x0002'0000,
    cpu_reserve = 0x0002'0001,
    cpu_cap = 0x0002'0002,
    cpu_weight = 0x0002'0003,
    cpu_group_id = 0x0002'0004,
    time_freeze = 0x0003'0003,
    apic_frequency = 0x0003'0004,
    reference_time = 0x0003'0005,
    debug_channel_id = 0x0004'0000,
    virtual_tlb_page_count = 0x0005'0000,
    processors_per_socket = 0x0005'0003,
    gpa_page_access_tracking = 0x0005'0005,  // as Linux' mshv driver sets it
    unimplemented_msr_action = 0x0005'0017,
    processor_vendor = 0x0006'0000,
    processor_features = 0x0006'0001,
    processor_xsave_features = 0x0006'0002,
    processor_cl_flush_size = 0x0006'0003,
    physical_address_width = 0x0006'0006,
    processor_clock_frequency = 0x0006'0009,
    guest_os_id = 0x0007'0000,
};
inline constexpr std::uint64_t cpu_reserve_max = 1ull << 16;
inline constexpr std::uint64_t cpu_cap_max = 1ull << 16;
inline constexpr std::uint64_t cpu_weight_min = 1;
inline constexpr std::uint64_t cpu_weight_max = 10'000;

struct HvInputGetPartitionProperty {
    std::uint64_t partition_id;
    std::uint32_t property_code;
    std::uint32_t padding;
};
static_assert(sizeof(HvInputGetPartitionProperty) == 16);

struct HvOutputGetPartitionProperty {
    std::uint64_t property_value;
};
static_assert(sizeof(HvOutputGetPartitionProperty) == 8);

struct HvInputSetPartitionProperty {
    std::uint64_t partition_id;
    std::uint32_t property_code;
    std::uint32_t padding;
    std::uint64_t property_value;
};
static_assert(sizeof(HvInputSetPartitionProperty) == 24);

struct HvInputGetNextChildPartition {
    std::uint64_t parent_id;
    std::uint64_t previous_child_id;  // invalid (0): the first
};
static_assert(sizeof(HvInputGetNextChildPartition) == 16);

struct HvOutputGetNextChildPartition {
    std::uint64_t next_child_id;
};
static_assert(sizeof(HvOutputGetNextChildPartition) == 8);

// --- Memory (chapters 4 and 5) ------------------------------------------------------------------------------------

struct HvInputDepositMemory {  // GPA page numbers of the caller follow, one a rep
    std::uint64_t partition_id;
};
static_assert(sizeof(HvInputDepositMemory) == 8);

struct HvInputWithdrawMemory {  // GPA page numbers return, one a rep
    std::uint64_t partition_id;
    HvProximityDomainInfo proximity_domain_info;
};
static_assert(sizeof(HvInputWithdrawMemory) == 16);

struct HvInputGetMemoryBalance {
    std::uint64_t partition_id;
    HvProximityDomainInfo proximity_domain_info;
};
static_assert(sizeof(HvInputGetMemoryBalance) == 16);

struct HvOutputGetMemoryBalance {
    std::uint64_t pages_available;
    std::uint64_t pages_in_use;
};
static_assert(sizeof(HvOutputGetMemoryBalance) == 16);

// HvCallGetGpaPagesAccessState, as Linux' mshv driver calls it: a byte a rep comes back.
struct HvInputGetGpaPagesAccessState {
    std::uint64_t partition_id;
    std::uint64_t flags;  // gpa_access_flag
    std::uint64_t gpa_page_number;
};
static_assert(sizeof(HvInputGetGpaPagesAccessState) == 24);
namespace gpa_access_flag {
inline constexpr std::uint64_t clear_accessed = 1, set_accessed = 2, clear_dirty = 4, set_dirty = 8;
}
namespace gpa_access_state {
inline constexpr std::uint8_t accessed = 1, dirty = 2;
}

// HvCallSavePartitionState and HvCallRestorePartitionState (TLFS 1.0, "Partition save and restore"): all that the
// hypervisor keeps of a partition whose processors stand, but its memory, in parts of a page. What a part holds is the
// hypervisor's own.
inline constexpr std::uint32_t partition_state_bytes = 4080;
struct HvPartitionStatePart {
    std::uint32_t count;  // of bytes
    std::uint32_t more;   // 1: there are others
    std::uint8_t data[partition_state_bytes];
};
static_assert(sizeof(HvPartitionStatePart) == 4088);

struct HvInputSavePartitionState {
    std::uint64_t partition_id;
    std::uint64_t flags;  // bit 0: from the beginning
};
static_assert(sizeof(HvInputSavePartitionState) == 16);

struct HvInputRestorePartitionState {
    std::uint64_t partition_id;
    HvPartitionStatePart part;
};
static_assert(sizeof(HvInputRestorePartitionState) == 4096);

namespace map_gpa_flag {
inline constexpr std::uint32_t readable = 0x1;
inline constexpr std::uint32_t writable = 0x2;
inline constexpr std::uint32_t kernel_executable = 0x4;
inline constexpr std::uint32_t user_executable = 0x8;
inline constexpr std::uint32_t permissions_mask = 0xf;
inline constexpr std::uint32_t adjustable = 0x8000;
inline constexpr std::uint32_t no_access = 0x1'0000;
inline constexpr std::uint32_t not_cached = 0x20'0000;
inline constexpr std::uint32_t large_page = 0x8000'0000;
}  // namespace map_gpa_flag

struct HvInputMapGpaPages {  // GPA page numbers of the caller follow, one a rep
    std::uint64_t target_partition_id;
    std::uint64_t target_gpa_base;  // a page number
    std::uint32_t map_flags;
    std::uint32_t padding;
};
static_assert(sizeof(HvInputMapGpaPages) == 24);

inline constexpr std::uint32_t unmap_gpa_large_page = 0x2;

struct HvInputUnmapGpaPages {  // a rep call without elements: the rep count is the number of pages
    std::uint64_t target_partition_id;
    std::uint64_t target_gpa_base;
    std::uint32_t unmap_flags;
    std::uint32_t padding;
};
static_assert(sizeof(HvInputUnmapGpaPages) == 24);

enum class HvAccessGpaResult : std::uint32_t {
    success = 0,
    unmapped = 1,
    read_intercept = 2,
    write_intercept = 3,
    illegal_overlay_access = 4,
};

struct HvInputReadGpa {
    std::uint64_t partition_id;
    std::uint32_t vp_index;
    std::uint32_t byte_count;
    std::uint64_t base_gpa;
    std::uint64_t control_flags;
};
static_assert(sizeof(HvInputReadGpa) == 32);

struct HvOutputReadGpa {
    std::uint32_t result_code;
    std::uint32_t reserved;
    std::uint8_t data[16];
};
static_assert(sizeof(HvOutputReadGpa) == 24);

struct HvInputWriteGpa {
    std::uint64_t partition_id;
    std::uint32_t vp_index;
    std::uint32_t byte_count;
    std::uint64_t base_gpa;
    std::uint64_t control_flags;
    std::uint8_t data[16];
};
static_assert(sizeof(HvInputWriteGpa) == 48);

struct HvOutputWriteGpa {
    std::uint32_t result_code;
    std::uint32_t reserved;
};
static_assert(sizeof(HvOutputWriteGpa) == 8);

namespace translate_gva_flag {
inline constexpr std::uint64_t validate_read = 0x1;
inline constexpr std::uint64_t validate_write = 0x2;
inline constexpr std::uint64_t validate_execute = 0x4;
inline constexpr std::uint64_t privilege_exempt = 0x8;
inline constexpr std::uint64_t set_page_table_bits = 0x10;
inline constexpr std::uint64_t tlb_flush_inhibit = 0x20;
inline constexpr std::uint64_t control_mask = 0x3f;
}  // namespace translate_gva_flag

enum class HvTranslateGvaResult : std::uint32_t {
    success = 0,
    page_not_present = 1,
    privilege_violation = 2,
    invalid_page_table_flags = 3,
    gpa_unmapped = 4,
    gpa_no_read_access = 5,
    gpa_no_write_access = 6,
    gpa_illegal_overlay_access = 7,
    intercept = 8,
};

struct HvInputTranslateVirtualAddress {
    std::uint64_t partition_id;
    std::uint32_t vp_index;
    std::uint32_t padding;
    std::uint64_t control_flags;
    std::uint64_t gva_page;
};
static_assert(sizeof(HvInputTranslateVirtualAddress) == 32);

struct HvOutputTranslateVirtualAddress {
    std::uint32_t result_code;
    std::uint8_t cache_type;
    std::uint8_t overlay_page;  // bit 0
    std::uint16_t reserved;
    std::uint64_t gpa_page;
};
static_assert(sizeof(HvOutputTranslateVirtualAddress) == 16);

// --- Virtual processors (chapter 7) -------------------------------------------------------------------------------

struct HvInputCreateVp {
    std::uint64_t partition_id;
    std::uint32_t vp_index;
    std::uint8_t padding[3];
    std::uint8_t subnode_type;
    std::uint64_t subnode_id;
    HvProximityDomainInfo proximity_domain_info;
    std::uint64_t flags;
};
static_assert(sizeof(HvInputCreateVp) == 40);

struct HvInputDeleteVp {
    std::uint64_t partition_id;
    std::uint32_t vp_index;
    std::uint32_t reserved;
};
static_assert(sizeof(HvInputDeleteVp) == 16);

// --- Intercepts (chapter 6) ---------------------------------------------------------------------------------------

enum class HvInterceptType : std::uint32_t {
    x64_io_port = 0x0,
    x64_msr = 0x1,
    x64_cpuid = 0x2,
    exception = 0x3,
    mmio = 0x5,
    x64_global_cpuid = 0x6,
    x64_apic_smi = 0x7,
    hypercall = 0x8,
    x64_apic_init_sipi = 0x9,
    x64_apic_write = 0xb,
    x64_msr_index = 0xc,
    x64_io_port_range = 0x11,
};

namespace intercept_access_mask {
inline constexpr std::uint32_t none = 0x0;
inline constexpr std::uint32_t read = 0x1;
inline constexpr std::uint32_t write = 0x2;
inline constexpr std::uint32_t execute = 0x4;
}  // namespace intercept_access_mask

struct HvInputInstallIntercept {
    std::uint64_t partition_id;
    std::uint32_t access_type_mask;
    std::uint32_t intercept_type;
    std::uint64_t intercept_parameters;  // I/O port (range: base 15:0, last 31:16), CPUID leaf, exception, MSR number
};
static_assert(sizeof(HvInputInstallIntercept) == 24);

// HvCallRegisterInterceptResult for CPUID: what the leaf answers, by mask, without an intercept each time.
struct HvInputRegisterInterceptResultCpuid {
    std::uint64_t partition_id;
    std::uint32_t vp_index;
    std::uint32_t intercept_type;
    std::uint32_t input_eax;
    std::uint32_t input_ecx;
    std::uint8_t subleaf_specific;
    std::uint8_t always_override;
    std::uint16_t padding;
    std::uint32_t eax, eax_mask;
    std::uint32_t ebx, ebx_mask;
    std::uint32_t ecx, ecx_mask;
    std::uint32_t edx, edx_mask;
    std::uint32_t reserved;
};
static_assert(sizeof(HvInputRegisterInterceptResultCpuid) == 64);

// --- Interrupts (chapter 10) --------------------------------------------------------------------------------------

enum class HvInterruptType : std::uint32_t {
    fixed = 0,
    lowest_priority = 1,
    smi = 2,
    remote_read = 3,
    nmi = 4,
    init = 5,
    sipi = 6,
    ext_int = 7,
    local_int0 = 8,
    local_int1 = 9,
};

struct HvInputAssertVirtualInterrupt {
    std::uint64_t partition_id;
    std::uint32_t interrupt_type;
    std::uint32_t control;  // bit 0 level triggered, bit 1 logical destination mode
    std::uint64_t destination_address;
    std::uint32_t requested_vector;
    std::uint8_t target_vtl;
    std::uint8_t reserved0;
    std::uint16_t reserved1;
};
static_assert(sizeof(HvInputAssertVirtualInterrupt) == 32);
inline constexpr std::uint32_t interrupt_control_level_triggered = 1u << 0;
inline constexpr std::uint32_t interrupt_control_logical_destination = 1u << 1;

// --- Ports and connections (chapter 11) ---------------------------------------------------------------------------

enum class HvPortType : std::uint32_t { message = 1, event = 2, monitor = 3, doorbell = 4 };

// HV_PORT_INFO. For a monitor port, the first two words are the monitored page's GPA.
struct HvPortInfo {
    std::uint32_t port_type;
    std::uint32_t padding;
    std::uint32_t target_sint;
    std::uint32_t target_vp;
    std::uint16_t base_flag_number;  // event ports
    std::uint16_t flag_count;        // event ports
    std::uint32_t reserved;
};
static_assert(sizeof(HvPortInfo) == 24);

struct HvConnectionInfo {
    std::uint32_t port_type;
    std::uint32_t padding;
    std::uint64_t parameters[3];  // monitor: GPA; doorbell: GPA, trigger value, flags
};
static_assert(sizeof(HvConnectionInfo) == 32);

struct HvInputCreatePort {
    std::uint64_t port_partition_id;
    std::uint32_t port_id;
    std::uint8_t port_vtl;
    std::uint8_t min_connection_vtl;
    std::uint16_t padding;
    std::uint64_t connection_partition_id;
    HvPortInfo port_info;
    HvProximityDomainInfo proximity_domain_info;
};
static_assert(sizeof(HvInputCreatePort) == 56);

struct HvInputDeletePort {
    std::uint64_t port_partition_id;
    std::uint32_t port_id;
    std::uint32_t reserved;
};
static_assert(sizeof(HvInputDeletePort) == 16);

struct HvInputConnectPort {
    std::uint64_t connection_partition_id;
    std::uint32_t connection_id;
    std::uint8_t connection_vtl;
    std::uint8_t reserved0;
    std::uint16_t reserved1;
    std::uint64_t port_partition_id;
    std::uint32_t port_id;
    std::uint32_t reserved2;
    HvConnectionInfo connection_info;
    HvProximityDomainInfo proximity_domain_info;
};
static_assert(sizeof(HvInputConnectPort) == 72);

struct HvInputDisconnectPort {
    std::uint64_t connection_partition_id;
    std::uint32_t connection_id;
    std::uint32_t flags;  // bit 0: a doorbell
};
static_assert(sizeof(HvInputDisconnectPort) == 16);

}  // namespace hypervisor
