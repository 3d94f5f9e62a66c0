// The local APIC in numbers (Intel SDM volume 3A, chapter 11). Register offsets are those of the xAPIC page; in x2APIC
// mode register n is MSR 0x800 + n / 16.
#pragma once

#include <cstdint>

namespace cpu::apic {

enum class Reg : std::uint32_t {
    id = 0x020,
    version = 0x030,
    tpr = 0x080,
    apr = 0x090,
    ppr = 0x0a0,
    eoi = 0x0b0,
    rrd = 0x0c0,
    ldr = 0x0d0,
    dfr = 0x0e0,
    svr = 0x0f0,
    isr = 0x100,  // eight registers, 0x10 apart; likewise TMR and IRR
    tmr = 0x180,
    irr = 0x200,
    esr = 0x280,
    lvt_cmci = 0x2f0,
    icr_low = 0x300,
    icr_high = 0x310,
    lvt_timer = 0x320,
    lvt_thermal = 0x330,
    lvt_performance = 0x340,
    lvt_lint0 = 0x350,
    lvt_lint1 = 0x360,
    lvt_error = 0x370,
    timer_initial = 0x380,
    timer_current = 0x390,
    timer_divide = 0x3e0,
    self_ipi = 0x3f0,  // x2APIC only
};

// Version register: integrated APIC, six LVT entries.
inline constexpr std::uint32_t version_value = 0x0005'0014;

namespace svr {
inline constexpr std::uint32_t enable = 1u << 8;
inline constexpr std::uint32_t writable = 0x1ff;
}  // namespace svr

namespace lvt {
inline constexpr std::uint32_t vector = 0xff;
inline constexpr unsigned mode_shift = 8;
inline constexpr std::uint32_t delivery_pending = 1u << 12;
inline constexpr std::uint32_t masked = 1u << 16;
inline constexpr unsigned timer_mode_shift = 17;  // 0 one-shot, 1 periodic, 2 TSC deadline
inline constexpr std::uint32_t timer_writable = 0x7'00ff;
inline constexpr std::uint32_t lint_writable = 0x1'a7ff;
inline constexpr std::uint32_t other_writable = 0x1'07ff;
inline constexpr std::uint32_t error_writable = 0x1'00ff;
// Delivery status and remote IRR: a write of them is ignored, in x2APIC mode as well. Linux sets both of LVT0 when it
// hands the processor back to an 8259.
inline constexpr std::uint32_t read_only = 1u << 12, lint_read_only = 1u << 12 | 1u << 14;
}  // namespace lvt

namespace icr {
inline constexpr unsigned mode_shift = 8;
inline constexpr std::uint32_t logical = 1u << 11;
inline constexpr std::uint32_t assert_level = 1u << 14;
inline constexpr std::uint32_t level_triggered = 1u << 15;
inline constexpr unsigned shorthand_shift = 18;  // 0 none, 1 self, 2 all, 3 all but self
inline constexpr std::uint32_t writable = 0x000c'cfff;
}  // namespace icr

namespace esr {
inline constexpr std::uint32_t send_illegal_vector = 1u << 5;
inline constexpr std::uint32_t receive_illegal_vector = 1u << 6;
inline constexpr std::uint32_t illegal_register = 1u << 7;
}  // namespace esr

namespace base {
inline constexpr std::uint64_t bsp = 1ull << 8;
inline constexpr std::uint64_t x2apic = 1ull << 10;
inline constexpr std::uint64_t enable = 1ull << 11;
inline constexpr std::uint64_t default_address = 0xfee0'0000;
}  // namespace base

enum class DeliveryMode : std::uint8_t { fixed, lowest_priority, smi, reserved, nmi, init, startup, ext_int };

}  // namespace cpu::apic
