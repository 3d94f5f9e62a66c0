// TLFS chapter 2: CPUID leaves; and the partition privilege mask (4.2.2), which is EAX and EBX of leaf 0x40000003.
#pragma once

#include <cstdint>

namespace hypervisor {

namespace hv_leaf {
inline constexpr std::uint32_t vendor_and_max = 0x4000'0000;
inline constexpr std::uint32_t interface = 0x4000'0001;
inline constexpr std::uint32_t version = 0x4000'0002;
inline constexpr std::uint32_t features = 0x4000'0003;
inline constexpr std::uint32_t enlightenments = 0x4000'0004;
inline constexpr std::uint32_t limits = 0x4000'0005;
inline constexpr std::uint32_t hardware_features = 0x4000'0006;
inline constexpr std::uint32_t cpu_management = 0x4000'0007;
inline constexpr std::uint32_t nested_features = 0x4000'000a;
inline constexpr std::uint32_t isolation = 0x4000'000c;
inline constexpr std::uint32_t virtualization_stack_interface = 0x4000'0081;
inline constexpr std::uint32_t virtualization_stack_properties = 0x4000'0082;
}  // namespace hv_leaf

inline constexpr std::uint32_t hv_signature_ebx = 0x7263'694d;  // "Micr"
inline constexpr std::uint32_t hv_signature_ecx = 0x666f'736f;  // "osof"
inline constexpr std::uint32_t hv_signature_edx = 0x7648'2074;  // "t Hv"
inline constexpr std::uint32_t hv_interface_hv1 = 0x3123'7648;  // "Hv#1"

// HV_PARTITION_PRIVILEGE_MASK.
namespace privilege {
inline constexpr std::uint64_t access_vp_runtime_msr = 1ull << 0;
inline constexpr std::uint64_t access_partition_reference_counter = 1ull << 1;
inline constexpr std::uint64_t access_synic_msrs = 1ull << 2;
inline constexpr std::uint64_t access_synthetic_timer_msrs = 1ull << 3;
inline constexpr std::uint64_t access_apic_msrs = 1ull << 4;
inline constexpr std::uint64_t access_hypercall_msrs = 1ull << 5;
inline constexpr std::uint64_t access_vp_index = 1ull << 6;
inline constexpr std::uint64_t access_reset_msr = 1ull << 7;
inline constexpr std::uint64_t access_stats_msr = 1ull << 8;
inline constexpr std::uint64_t access_partition_reference_tsc = 1ull << 9;
inline constexpr std::uint64_t access_guest_idle_msr = 1ull << 10;
inline constexpr std::uint64_t access_frequency_msrs = 1ull << 11;
inline constexpr std::uint64_t access_debug_msrs = 1ull << 12;
inline constexpr std::uint64_t access_reenlightenment_controls = 1ull << 13;
inline constexpr std::uint64_t access_root_scheduler_msr = 1ull << 14;
inline constexpr std::uint64_t access_tsc_invariant_controls = 1ull << 15;

inline constexpr std::uint64_t create_partitions = 1ull << 32;
inline constexpr std::uint64_t access_partition_id = 1ull << 33;
inline constexpr std::uint64_t access_memory_pool = 1ull << 34;
inline constexpr std::uint64_t adjust_message_buffers = 1ull << 35;
inline constexpr std::uint64_t post_messages = 1ull << 36;
inline constexpr std::uint64_t signal_events = 1ull << 37;
inline constexpr std::uint64_t create_port = 1ull << 38;
inline constexpr std::uint64_t connect_port = 1ull << 39;
inline constexpr std::uint64_t access_stats = 1ull << 40;
inline constexpr std::uint64_t debugging = 1ull << 43;
inline constexpr std::uint64_t cpu_management = 1ull << 44;
inline constexpr std::uint64_t configure_profiler = 1ull << 45;
inline constexpr std::uint64_t access_vp_exit_tracing = 1ull << 46;
inline constexpr std::uint64_t enable_extended_gva_ranges_flush = 1ull << 47;
inline constexpr std::uint64_t access_vsm = 1ull << 48;
inline constexpr std::uint64_t access_vp_registers = 1ull << 49;
inline constexpr std::uint64_t fast_hypercall_output = 1ull << 51;
inline constexpr std::uint64_t enable_extended_hypercalls = 1ull << 52;
inline constexpr std::uint64_t start_virtual_processor = 1ull << 53;
inline constexpr std::uint64_t isolation = 1ull << 54;
}  // namespace privilege

// Leaf 0x40000003 EDX: miscellaneous features.
namespace hv_feature {
inline constexpr std::uint32_t guest_debugging = 1u << 1;
inline constexpr std::uint32_t performance_monitors = 1u << 2;
inline constexpr std::uint32_t cpu_dynamic_partitioning = 1u << 3;
inline constexpr std::uint32_t hypercall_xmm_input = 1u << 4;
inline constexpr std::uint32_t guest_idle_state = 1u << 5;
inline constexpr std::uint32_t hypervisor_sleep_state = 1u << 6;
inline constexpr std::uint32_t numa_distance_query = 1u << 7;
inline constexpr std::uint32_t frequency_msrs = 1u << 8;
inline constexpr std::uint32_t synthetic_machine_check = 1u << 9;
inline constexpr std::uint32_t guest_crash_msrs = 1u << 10;
inline constexpr std::uint32_t debug_msrs = 1u << 11;
inline constexpr std::uint32_t npiep = 1u << 12;
inline constexpr std::uint32_t disable_hypervisor = 1u << 13;
inline constexpr std::uint32_t extended_gva_ranges_flush = 1u << 14;
inline constexpr std::uint32_t hypercall_xmm_output = 1u << 15;
inline constexpr std::uint32_t sint_polling_mode = 1u << 17;
inline constexpr std::uint32_t hypercall_msr_lock = 1u << 18;
inline constexpr std::uint32_t direct_synthetic_timers = 1u << 19;
}  // namespace hv_feature

// Leaf 0x40000004 EAX: recommendations.
namespace hv_hint {
inline constexpr std::uint32_t hypercall_for_address_space_switch = 1u << 0;
inline constexpr std::uint32_t hypercall_for_local_flush = 1u << 1;
inline constexpr std::uint32_t hypercall_for_remote_flush = 1u << 2;
inline constexpr std::uint32_t apic_msrs = 1u << 3;
inline constexpr std::uint32_t reset_msr = 1u << 4;
inline constexpr std::uint32_t relaxed_timing = 1u << 5;
inline constexpr std::uint32_t x2apic_msrs = 1u << 8;
inline constexpr std::uint32_t deprecate_auto_eoi = 1u << 9;
inline constexpr std::uint32_t synthetic_cluster_ipi = 1u << 10;
inline constexpr std::uint32_t ex_processor_masks = 1u << 11;
inline constexpr std::uint32_t nested = 1u << 12;
inline constexpr std::uint32_t enlightened_vmcs = 1u << 14;
}  // namespace hv_hint
// Leaf 0x40000006 EAX: hardware that the hypervisor found and uses.
namespace hv_hardware_feature {
inline constexpr std::uint32_t apic_overlay_assist = 1u << 0;
inline constexpr std::uint32_t msr_bitmaps = 1u << 1;
inline constexpr std::uint32_t performance_counters = 1u << 2;
inline constexpr std::uint32_t second_level_translation = 1u << 3;
}  // namespace hv_hardware_feature

inline constexpr std::uint32_t long_spin_wait_never = 0xffff'ffff;

}  // namespace hypervisor
