// TLFS 7.8: virtual processor register names and values, as HvCallGetVpRegisters and HvCallSetVpRegisters carry them.
#pragma once

#include <cstdint>

namespace hypervisor {

// HV_REGISTER_NAME. Numbered families continue from their first member (sint0 + n, x64_xmm0 + n).
enum class HvRegister : std::uint32_t {
    explicit_suspend = 0x0000'0000,
    intercept_suspend = 0x0000'0001,
    dispatch_suspend = 0x0000'0003,
    internal_activity_state = 0x0000'0004,

    hypervisor_version = 0x0000'0100,  // 128 bits: as CPUID leaf 0x40000002, and so on
    privileges_and_features_info = 0x0000'0200,
    features_info = 0x0000'0201,
    implementation_limits_info = 0x0000'0202,
    hardware_features_info = 0x0000'0203,

    guest_crash_p0 = 0x0000'0210,
    guest_crash_p4 = 0x0000'0214,
    guest_crash_ctl = 0x0000'0215,

    processor_clock_frequency = 0x0000'0240,
    interrupt_clock_frequency = 0x0000'0241,
    guest_idle = 0x0000'0250,

    pending_interruption = 0x0001'0002,
    interrupt_state = 0x0001'0003,
    pending_event0 = 0x0001'0004,
    pending_event1 = 0x0001'0005,
    deliverability_notifications = 0x0001'0006,

    x64_rax = 0x0002'0000,
    x64_rcx = 0x0002'0001,
    x64_rdx = 0x0002'0002,
    x64_rbx = 0x0002'0003,
    x64_rsp = 0x0002'0004,
    x64_rbp = 0x0002'0005,
    x64_rsi = 0x0002'0006,
    x64_rdi = 0x0002'0007,
    x64_r8 = 0x0002'0008,
    x64_r15 = 0x0002'000f,
    x64_rip = 0x0002'0010,
    x64_rflags = 0x0002'0011,

    x64_xmm0 = 0x0003'0000,
    x64_xmm15 = 0x0003'000f,
    x64_fp_mmx0 = 0x0003'0010,
    x64_fp_mmx7 = 0x0003'0017,
    x64_fp_control_status = 0x0003'0018,
    x64_xmm_control_status = 0x0003'0019,

    x64_cr0 = 0x0004'0000,
    x64_cr2 = 0x0004'0001,
    x64_cr3 = 0x0004'0002,
    x64_cr4 = 0x0004'0003,
    x64_cr8 = 0x0004'0004,
    x64_xfem = 0x0004'0005,

    x64_dr0 = 0x0005'0000,
    x64_dr1 = 0x0005'0001,
    x64_dr2 = 0x0005'0002,
    x64_dr3 = 0x0005'0003,
    x64_dr6 = 0x0005'0004,
    x64_dr7 = 0x0005'0005,

    x64_es = 0x0006'0000,
    x64_cs = 0x0006'0001,
    x64_ss = 0x0006'0002,
    x64_ds = 0x0006'0003,
    x64_fs = 0x0006'0004,
    x64_gs = 0x0006'0005,
    x64_ldtr = 0x0006'0006,
    x64_tr = 0x0006'0007,

    x64_idtr = 0x0007'0000,
    x64_gdtr = 0x0007'0001,

    x64_tsc = 0x0008'0000,
    x64_efer = 0x0008'0001,
    x64_kernel_gs_base = 0x0008'0002,
    x64_apic_base = 0x0008'0003,
    x64_pat = 0x0008'0004,
    x64_sysenter_cs = 0x0008'0005,
    x64_sysenter_eip = 0x0008'0006,
    x64_sysenter_esp = 0x0008'0007,
    x64_star = 0x0008'0008,
    x64_lstar = 0x0008'0009,
    x64_cstar = 0x0008'000a,
    x64_sfmask = 0x0008'000b,
    x64_initial_apic_id = 0x0008'000c,
    x64_mtrr_cap = 0x0008'000d,
    x64_mtrr_def_type = 0x0008'000e,
    x64_mtrr_phys_base0 = 0x0008'0010,
    x64_mtrr_phys_mask0 = 0x0008'0040,
    x64_mtrr_fix64k_00000 = 0x0008'0070,
    x64_mtrr_fix16k_80000 = 0x0008'0071,
    x64_mtrr_fix16k_a0000 = 0x0008'0072,
    x64_mtrr_fix4k_c0000 = 0x0008'0073,
    x64_mtrr_fix4k_f8000 = 0x0008'007a,
    x64_tsc_aux = 0x0008'007b,
    x64_spec_ctrl = 0x0008'0084,
    x64_tsc_deadline = 0x0008'0095,
    x64_tsc_adjust = 0x0008'0096,

    // Local APIC: the x2APIC MSR number with 0x8'4000 added.
    x64_apic_id = 0x0008'4802,
    x64_apic_version = 0x0008'4803,
    x64_apic_tpr = 0x0008'4808,
    x64_apic_divide = 0x0008'483e,

    vp_runtime = 0x0009'0000,
    x64_hypercall = 0x0009'0001,
    guest_os_id = 0x0009'0002,
    vp_index = 0x0009'0003,
    time_ref_count = 0x0009'0004,
    cpu_management_version = 0x0009'0007,
    x64_synthetic_eoi = 0x0009'0010,
    x64_synthetic_icr = 0x0009'0011,
    x64_synthetic_tpr = 0x0009'0012,
    vp_assist_page = 0x0009'0013,
    reference_tsc = 0x0009'0017,
    reference_tsc_sequence = 0x0009'001a,

    sint0 = 0x000a'0000,
    sint15 = 0x000a'000f,
    scontrol = 0x000a'0010,
    sversion = 0x000a'0011,
    siefp = 0x000a'0012,
    simp = 0x000a'0013,
    eom = 0x000a'0014,
    sirbp = 0x000a'0015,

    stimer0_config = 0x000b'0000,
    stimer0_count = 0x000b'0001,
    stimer3_count = 0x000b'0007,
};

// HV_REGISTER_VALUE: 16 bytes; narrower registers in the low bytes.
struct HvRegisterValue {
    std::uint64_t low;
    std::uint64_t high;
    friend bool operator==(const HvRegisterValue&, const HvRegisterValue&) = default;
};
static_assert(sizeof(HvRegisterValue) == 16);

// HV_X64_SEGMENT_REGISTER. Attributes: type 3:0, S 4, DPL 6:5, P 7, AVL 12, L 13, D/B 14, G 15.
struct HvX64SegmentRegister {
    std::uint64_t base;
    std::uint32_t limit;
    std::uint16_t selector;
    std::uint16_t attributes;
};
static_assert(sizeof(HvX64SegmentRegister) == 16);

struct HvX64TableRegister {
    std::uint16_t pad[3];
    std::uint16_t limit;
    std::uint64_t base;
};
static_assert(sizeof(HvX64TableRegister) == 16);

// HV_REGISTER_ASSOC: an element of HvCallSetVpRegisters.
struct HvRegisterAssoc {
    std::uint32_t name;
    std::uint32_t reserved1;
    std::uint64_t reserved2;
    HvRegisterValue value;
};
static_assert(sizeof(HvRegisterAssoc) == 32);

// HvRegisterInterruptState.
namespace interrupt_state {
inline constexpr std::uint64_t interrupt_shadow = 1ull << 0;
inline constexpr std::uint64_t nmi_masked = 1ull << 1;
}  // namespace interrupt_state

// HvRegisterPendingInterruption: pending 0, type 3:1, deliver error code 4, instruction length 8:5, nested 9,
// vector 31:16, error code 63:32.
namespace pending_interruption {
inline constexpr std::uint64_t pending = 1ull << 0;
inline constexpr unsigned type_shift = 1;
inline constexpr std::uint64_t deliver_error_code = 1ull << 4;
inline constexpr unsigned vector_shift = 16;
inline constexpr unsigned error_code_shift = 32;
inline constexpr std::uint64_t type_interrupt = 0;
inline constexpr std::uint64_t type_nmi = 2;
inline constexpr std::uint64_t type_exception = 3;
}  // namespace pending_interruption

// HvRegisterInternalActivityState.
namespace activity_state {
inline constexpr std::uint64_t startup_suspend = 1ull << 0;
inline constexpr std::uint64_t halt_suspend = 1ull << 1;
inline constexpr std::uint64_t idle_suspend = 1ull << 2;
}  // namespace activity_state

}  // namespace hypervisor
