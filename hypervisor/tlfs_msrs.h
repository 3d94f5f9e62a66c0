// The synthetic MSRs (TLFS appendix on MSRs; chapters 3, 8, 10, 11, 12) and the layouts of their contents.
#pragma once

#include <cstdint>

namespace hypervisor {

namespace msr {
inline constexpr std::uint32_t first_synthetic = 0x4000'0000;
inline constexpr std::uint32_t last_synthetic = 0x4000'01ff;

inline constexpr std::uint32_t guest_os_id = 0x4000'0000;
inline constexpr std::uint32_t hypercall = 0x4000'0001;
inline constexpr std::uint32_t vp_index = 0x4000'0002;
inline constexpr std::uint32_t reset = 0x4000'0003;
inline constexpr std::uint32_t vp_runtime = 0x4000'0010;
inline constexpr std::uint32_t time_ref_count = 0x4000'0020;
inline constexpr std::uint32_t reference_tsc = 0x4000'0021;
inline constexpr std::uint32_t tsc_frequency = 0x4000'0022;
inline constexpr std::uint32_t apic_frequency = 0x4000'0023;
inline constexpr std::uint32_t npiep_config = 0x4000'0040;
inline constexpr std::uint32_t eoi = 0x4000'0070;
inline constexpr std::uint32_t icr = 0x4000'0071;
inline constexpr std::uint32_t tpr = 0x4000'0072;
inline constexpr std::uint32_t vp_assist_page = 0x4000'0073;
inline constexpr std::uint32_t scontrol = 0x4000'0080;
inline constexpr std::uint32_t sversion = 0x4000'0081;
inline constexpr std::uint32_t siefp = 0x4000'0082;
inline constexpr std::uint32_t simp = 0x4000'0083;
inline constexpr std::uint32_t eom = 0x4000'0084;
inline constexpr std::uint32_t sirbp = 0x4000'0085;
inline constexpr std::uint32_t sint0 = 0x4000'0090;
inline constexpr std::uint32_t sint15 = 0x4000'009f;
inline constexpr std::uint32_t stimer0_config = 0x4000'00b0;
inline constexpr std::uint32_t stimer0_count = 0x4000'00b1;
inline constexpr std::uint32_t stimer3_count = 0x4000'00b7;
inline constexpr std::uint32_t guest_idle = 0x4000'00f0;
inline constexpr std::uint32_t crash_p0 = 0x4000'0100;
inline constexpr std::uint32_t crash_p4 = 0x4000'0104;
inline constexpr std::uint32_t crash_ctl = 0x4000'0105;
inline constexpr std::uint32_t reenlightenment_control = 0x4000'0106;
inline constexpr std::uint32_t tsc_emulation_control = 0x4000'0107;
inline constexpr std::uint32_t tsc_emulation_status = 0x4000'0108;
inline constexpr std::uint32_t tsc_invariant_control = 0x4000'0118;
}  // namespace msr

// What all page registers share (hypercall, SIMP, SIEFP, reference TSC, VP assist): bit 0 enables, 63:12 is the page.
namespace page_register {
inline constexpr std::uint64_t enable = 1ull << 0;
inline constexpr unsigned gpfn_shift = 12;
}  // namespace page_register

// HV_X64_MSR_HYPERCALL: bit 1 locks the register until reset; 11:2 are preserved.
namespace hypercall_register {
inline constexpr std::uint64_t enable = 1ull << 0;
inline constexpr std::uint64_t locked = 1ull << 1;
}  // namespace hypercall_register

// HV_X64_MSR_SCONTROL.
inline constexpr std::uint64_t scontrol_enable = 1ull << 0;
inline constexpr std::uint64_t synic_version_1 = 1;
inline constexpr unsigned synic_sint_count = 16;
inline constexpr unsigned synic_first_valid_vector = 16;
inline constexpr unsigned synic_interception_sint = 0;
inline constexpr unsigned synic_vmbus_sint = 2;

// HV_X64_MSR_SINTx.
namespace sint_register {
inline constexpr std::uint64_t vector_mask = 0xff;
inline constexpr std::uint64_t masked = 1ull << 16;
inline constexpr std::uint64_t auto_eoi = 1ull << 17;
inline constexpr std::uint64_t polling = 1ull << 18;
inline constexpr std::uint64_t as_intercept = 1ull << 19;
inline constexpr std::uint64_t proxy = 1ull << 20;
inline constexpr std::uint64_t at_reset = masked;
}  // namespace sint_register

// HV_X64_MSR_STIMERx_CONFIG.
inline constexpr unsigned stimer_count = 4;
namespace stimer_config {
inline constexpr std::uint64_t enable = 1ull << 0;
inline constexpr std::uint64_t periodic = 1ull << 1;
inline constexpr std::uint64_t lazy = 1ull << 2;
inline constexpr std::uint64_t auto_enable = 1ull << 3;
inline constexpr unsigned apic_vector_shift = 4;  // 11:4
inline constexpr std::uint64_t direct_mode = 1ull << 12;
inline constexpr unsigned sintx_shift = 16;  // 19:16
inline constexpr std::uint64_t defined = 0x000f'1fff;
}  // namespace stimer_config

// HV_X64_MSR_CRASH_CTL.
namespace crash_control {
inline constexpr std::uint64_t no_crash_dump = 1ull << 61;
inline constexpr std::uint64_t crash_message = 1ull << 62;  // P3 is the text's GPA, P4 its length in bytes
inline constexpr std::uint64_t crash_notify = 1ull << 63;
}  // namespace crash_control

// HV_X64_MSR_REENLIGHTENMENT_CONTROL: vector 7:0, enabled 16, target VP 63:32.
namespace reenlightenment_register {
inline constexpr std::uint64_t enabled = 1ull << 16;
inline constexpr std::uint64_t defined = 0xffff'ffff'0001'00ff;
}  // namespace reenlightenment_register

// HV_REFERENCE_TSC_PAGE. time = ((tsc * tsc_scale) >> 64) + tsc_offset in 100 ns; sequence 0: don't use the page.
struct HvReferenceTscPage {
    std::uint32_t tsc_sequence;
    std::uint32_t reserved1;
    std::uint64_t tsc_scale;
    std::int64_t tsc_offset;
};
static_assert(sizeof(HvReferenceTscPage) == 24);

// HV_VP_ASSIST_PAGE, the part that a child without VTLs and nesting uses.
struct HvVpAssistPage {
    std::uint32_t apic_assist;  // bit 0: no EOI required
    std::uint32_t reserved;
};
static_assert(sizeof(HvVpAssistPage) == 8);
inline constexpr std::uint32_t apic_assist_no_eoi_required = 1u << 0;

}  // namespace hypervisor
