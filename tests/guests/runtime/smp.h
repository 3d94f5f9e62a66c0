// Starting the other processors: INIT-SIPI-SIPI into a real-mode trampoline below 1 MiB, then long mode.
#pragma once
#include "cpu64.h"

// What the trampoline saw in its first instructions, per processor (SDM vol. 3, table 10-1: state after INIT and SIPI).
struct ap_state {
    u32 cs, ip, ds, ss, flags, cr0, edx, esp;
};
extern struct ap_state ap_states[max_cpus];
typedef void ap_function(struct cpu* cpu);

// Starts processors 1..count-1, whose APIC ids are their numbers. Each runs `fn` with interrupts off, then halts for
// ever. True when all of them came up. Sets the APIC of this processor up.
bool smp_start(u32 count, ap_function* fn);
u32 smp_count(void);  // `cpus=` of the command line, 1 without
// Waits until *cell reaches value; false after a long time.
bool wait_for(volatile u32* cell, u32 value);
