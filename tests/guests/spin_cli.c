// Spins for ever with interrupts off. The simulator must stay in command of time; what ends this is `--until`.
// With several processors all of them spin, `mode=1` with a memory write in the loop, `mode=2` on a jump to itself.
#include "smp.h"
#include "x86.h"

static volatile u32 cell;

static void spin(struct cpu* cpu) {
    (void)cpu;
    cli();
    u64 how = option("mode", 2);
    if (how == 1) {
        for (;;) cell = cell + 1;
    }
    __asm__ volatile("1: jmp 1b");
}

void guest_main(void) {
    guest_begin("spin_cli");
    u32 count = smp_count();
    if (count > 1) smp_start(count, spin);
    check_that("alive", true);
    print("guest spin_cli: spinning\n");
    spin(&cpus[0]);
}
