// Starting the other processors, one after another.
#include "smp.h"

#include "apic.h"
#include "x86.h"

enum { trampoline_address = 0x8000, trampoline_vector = 8 };
extern const char ap_trampoline[], ap_trampoline_end[], ap_stack[];
struct ap_state ap_states[max_cpus];
static ap_function* ap_main;
static u32 starting;
void ap_entry(const struct ap_state* state);

u32 smp_count(void) {
    u32 count = (u32)option("cpus", 1);
    return count > max_cpus ? max_cpus : count;
}

bool wait_for(volatile u32* cell, u32 value) {
    for (u32 round = 0; *cell != value; round++) {
        if (round > 50000000) return false;
        pause();
    }
    return true;
}

void ap_entry(const struct ap_state* state) {
    struct cpu* cpu = &cpus[starting];
    ap_states[starting] = *state;
    cpu->index = starting;
    cpu_set_up(cpu);
    apic_set_up_best();
    cpu->apic_id = apic_own_id();
    __atomic_store_n(&cpu->online, 1, __ATOMIC_SEQ_CST);
    ap_main(cpu);
}

bool smp_start(u32 count, ap_function* fn) {
    ap_main = fn;
    apic_set_up_best();
    cpus[0].apic_id = apic_own_id();
    memcpy((void*)trampoline_address, ap_trampoline, (usize)(ap_trampoline_end - ap_trampoline));
    volatile u32* stack = (volatile u32*)(uptr)(trampoline_address + (ap_stack - ap_trampoline));
    for (starting = 1; starting < count; starting++) {
        struct cpu* cpu = &cpus[starting];
        *stack = (u32)(uptr)(cpu->main_stack + sizeof(cpu->main_stack));
        apic_send(starting, icr_init | icr_assert);
        delay_tsc(200000);
        apic_send(starting, icr_startup | icr_assert | trampoline_vector);
        delay_tsc(200000);
        if (!cpu->online) apic_send(starting, icr_startup | icr_assert | trampoline_vector);
        if (!wait_for(&cpu->online, 1)) return false;
    }
    return true;
}
