// The local APIC through whichever interface it is in: registers by their xAPIC offset (SDM vol. 3, table 11-1).
#pragma once
#include "guest.h"

enum {
    apic_id = 0x20,
    apic_version = 0x30,
    apic_tpr = 0x80,
    apic_ppr = 0xA0,
    apic_eoi_register = 0xB0,
    apic_ldr = 0xD0,
    apic_dfr = 0xE0,
    apic_svr = 0xF0,
    apic_isr = 0x100,
    apic_tmr = 0x180,
    apic_irr = 0x200,
    apic_esr = 0x280,
    apic_icr = 0x300,
    apic_icr_high = 0x310,
    apic_lvt_timer = 0x320,
    apic_lvt_lint0 = 0x350,
    apic_lvt_lint1 = 0x360,
    apic_lvt_error = 0x370,
    apic_timer_initial = 0x380,
    apic_timer_current = 0x390,
    apic_timer_divide = 0x3E0,
    apic_self_ipi = 0x3F0,
};
enum {
    apic_base_bsp = 1 << 8,
    apic_base_x2apic = 1 << 10,
    apic_base_enable = 1 << 11,
};
enum {
    icr_fixed = 0,
    icr_nmi = 4 << 8,
    icr_init = 5 << 8,
    icr_startup = 6 << 8,
    icr_pending = 1 << 12,
    icr_assert = 1 << 14,
    icr_self = 1 << 18,
    icr_all = 2 << 18,
    icr_others = 3 << 18,
};
enum { lvt_masked = 1 << 16, lvt_periodic = 1 << 17, lvt_tsc_deadline = 2 << 17 };
enum { divide_by_1 = 0xB, divide_by_2 = 0, divide_by_4 = 1, divide_by_16 = 3, divide_by_128 = 0xA };

bool apic_has_x2apic(void);
bool apic_in_x2apic(void);
// Software-enables the APIC with everything masked and TPR 0, in the interface it is in; `x2apic` asks for a switch.
void apic_set_up(bool x2apic);
// The best there is: x2APIC where CPUID has it.
void apic_set_up_best(void);
u32 apic_read(u32 reg);
void apic_write(u32 reg, u32 value);
static inline void apic_end_of_interrupt(void) {
    apic_write(apic_eoi_register, 0);
}
u32 apic_own_id(void);
void apic_send(u32 destination, u32 command);
bool apic_vector_bit(u32 first_register, u32 vector);  // in IRR, ISR or TMR
