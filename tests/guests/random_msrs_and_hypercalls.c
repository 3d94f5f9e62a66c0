// Does anything that a guest can do to its host, at random but the same for the same seed: `seed=` and `actions=` on
// the command line. Its own handlers survive whatever comes of it; the simulator has to as well. Left out is only what
// is meant to end the guest: reset and power-off, crash reports, INIT, halting for ever.
#include "random_guest.h"

#include "apic.h"
#include "cpu64.h"
#include "hyperv.h"
#include "x86.h"

static u64 state = 1;
u64 random_u64(void) {  // xorshift64*
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return state * 0x2545F4914F6CDD1D;
}
u32 random_below(u32 limit) {
    return (u32)(random_u64() >> 32) % limit;
}

u8 scratch[scratch_bytes] ALIGNED(4096);

// Values that find edges more often than even ones do.
u64 random_value(void) {
    switch (random_below(8)) {
        case 0:
            return random_below(16);
        case 1:
            return random_u64();
        case 2:
            return 1ull << random_below(64);
        case 3:
            return ~(1ull << random_below(64));
        case 4:
            return (u32)random_u64();
        case 5:
            return random_gpa() | random_below(16);
        case 6:
            return 0 - (u64)random_below(64);
        default:
            return random_below(0x10000);
    }
}

// Own scratch memory, nothing at all, far beyond everything, or anywhere but this guest's own code.
u64 random_gpa(void) {
    switch (random_below(6)) {
        case 0:
        case 1:
            return ((u64)scratch + random_below(scratch_bytes)) & ~7ull;
        case 2:
            return (u64)scratch + (random_below(scratch_bytes / 4096) << 12);
        case 3:
            return random_u64() << 24 >> 16 & ~0xFFFull;  // below 2^48
        case 4:
            return 0xFE000000 + (random_below(0x2000) << 12);
        default:
            return (u64)scratch + random_below(scratch_bytes);
    }
}

static u32 traps, interrupts, since_action;

// A storm of the timers that were armed at random must not keep the guest from its next action.
static void quiet(void) {
    apic_write(apic_lvt_timer, lvt_masked | 0xFE);
    apic_write(apic_timer_initial, 0);
    if (hv_eax() & hv_eax_stimer) {
        for (u32 n = 0; n < 4; n++) wrmsr(hv_msr_stimer0_config + 2 * n, 0);
    }
}

static void on_interrupt(struct trap_frame* frame) {
    (void)frame;
    interrupts++;
    if (++since_action > 20) quiet();
    apic_end_of_interrupt();
}
static void on_nmi(struct trap_frame* frame) {
    (void)frame;
}

static void window_for_interrupts(void) {
    __asm__ volatile("sti; nop; nop; cli" : : : "memory");
}

static void put_back(void) {
    wrmsr(msr_efer, efer_lme | efer_lma | efer_nxe | efer_sce);
    if (read_cr8()) write_cr8(0);
}

static u64 sum_of_image(void) {
    u64 sum = 0;
    for (const u64* cell = (const u64*)image_start; cell < (const u64*)image_constant_end; cell++)
        sum = sum * 31 + *cell;
    return sum;
}

void guest_main(void) {
    guest_begin("random_msrs_and_hypercalls");
    const u32 actions = (u32)option("actions", 100000);
    state = option("seed", 1) * 0x9E3779B97F4A7C15 | 1;
    apic_set_up_best();
    hv_set_up_hypercalls();
    write_cr4(read_cr4() | cr4_osfxsr);
    for (int vector = 0x10; vector < 256; vector++) set_handler(vector, on_interrupt);
    set_handler(vector_nmi, on_nmi);
    // As interrupts these push no error code, unlike the exceptions of the same numbers: lead them to a stub that
    // expects none.
    static const int with_error_code[] = {17, 21, 29, 30};
    for (u32 i = 0; i < ARRAY_LENGTH(with_error_code); i++) idt[with_error_code[i]] = idt[0x20];

    const u64 image = sum_of_image();
    u32 kinds[8] = {0};
    for (u32 i = 0; i < actions; i++) {
        struct action action;
        choose_action(&action);
        since_action = 0;
        kinds[action.kind & 7]++;
        if (trap_catch(perform_action, (u64)&action)) traps++;
        put_back();
        if ((i & 15) == 15) window_for_interrupts();
        if (i % 25000 == 24999) print("%u actions\n", i + 1);
    }
    quiet();
    u32 sum = 0;
    for (u32 i = 0; i < 8; i++) sum += kinds[i];
    check_equal("all_done", sum, actions);
    check_that("some_trapped", traps > 0);
    check_equal("image_unchanged", sum_of_image(), image);
    guest_end();
}
