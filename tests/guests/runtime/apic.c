// The local APIC helpers.
#include "apic.h"

#include "x86.h"

enum { xapic_address = 0xFEE00000, x2apic_msr = 0x800 };

bool apic_has_x2apic(void) {
    return cpuid(1, 0).ecx >> 21 & 1;
}
bool apic_in_x2apic(void) {
    return (rdmsr(msr_apic_base) & apic_base_x2apic) != 0;
}

u32 apic_read(u32 reg) {
    if (apic_in_x2apic()) return (u32)rdmsr(x2apic_msr + (reg >> 4));
    return *(volatile u32*)(uptr)(xapic_address + reg);
}

void apic_write(u32 reg, u32 value) {
    if (apic_in_x2apic()) {
        wrmsr(x2apic_msr + (reg >> 4), value);
    } else {
        *(volatile u32*)(uptr)(xapic_address + reg) = value;
    }
}

u32 apic_own_id(void) {
    return apic_in_x2apic() ? apic_read(apic_id) : apic_read(apic_id) >> 24;
}

void apic_send(u32 destination, u32 command) {
    if (apic_in_x2apic()) {
        wrmsr(x2apic_msr + (apic_icr >> 4), (u64)destination << 32 | command);
        return;
    }
    apic_write(apic_icr_high, destination << 24);
    apic_write(apic_icr, command);
    while (apic_read(apic_icr) & icr_pending) pause();
}

bool apic_vector_bit(u32 first_register, u32 vector) {
    return apic_read(first_register + (vector >> 5) * 0x10) >> (vector & 31) & 1;
}

void apic_set_up(bool x2apic) {
    u64 base = rdmsr(msr_apic_base) | apic_base_enable;
    wrmsr(msr_apic_base, base);
    if (x2apic) wrmsr(msr_apic_base, base | apic_base_x2apic);
    apic_write(apic_svr, 0x1FF);
    apic_write(apic_tpr, 0);
    apic_write(apic_lvt_timer, lvt_masked | 0xFE);
    apic_write(apic_lvt_lint0, lvt_masked | 0xFE);
    apic_write(apic_lvt_lint1, lvt_masked | 0xFE);
    apic_write(apic_timer_initial, 0);
}

void apic_set_up_best(void) {
    apic_set_up(apic_has_x2apic() || apic_in_x2apic());
}
