// Other processors: the state in which they start, shared counters, interrupts between all of them, a second start.
#include "apic.h"
#include "hyperv.h"
#include "smp.h"
#include "x86.h"

enum { rounds = 2000, vector_ping = 0x70, vector_all = 0x71 };
static u32 count;
static volatile u32 locked_total, arrived, go, finished, pings[max_cpus], broadcasts, nmis, spin_lock, guarded_total;
static volatile u32 vp_index[max_cpus], stop;

static void on_ping(struct trap_frame* frame) {
    (void)frame;
    pings[this_cpu()->index]++;
    apic_end_of_interrupt();
}
static void on_broadcast(struct trap_frame* frame) {
    (void)frame;
    atomic_add(&broadcasts, 1);
    apic_end_of_interrupt();
}
static void on_nmi(struct trap_frame* frame) {
    (void)frame;
    atomic_add(&nmis, 1);
}

static void count_up(void) {
    for (u32 i = 0; i < rounds; i++) {
        atomic_add(&locked_total, 1);
        while (__atomic_exchange_n(&spin_lock, 1, __ATOMIC_ACQUIRE)) pause();
        guarded_total = guarded_total + 1;
        __atomic_store_n(&spin_lock, 0, __ATOMIC_RELEASE);
    }
}

static void run_other(struct cpu* cpu) {
    if (hv_present()) vp_index[cpu->index] = (u32)rdmsr(hv_msr_vp_index);
    atomic_add(&arrived, 1);
    while (!go) pause();
    count_up();
    atomic_add(&finished, 1);
    while (!stop) sti_hlt();
    cli();
}

static void check_start_state(void) {
    group_begin("state_after_sipi");
    for (u32 i = 1; i < count; i++) {
        const struct ap_state* s = &ap_states[i];
        group_expect("cs", s->cs, 0x0800);
        group_expect("ip", s->ip, 0);
        group_expect("ds", s->ds, 0);
        group_expect("ss", s->ss, 0);
        group_expect("flags", s->flags & ~0u, 2);
        group_expect("cr0_mode_bits", s->cr0 & (CR0_PG | cr0_pe | cr0_ts | cr0_em | cr0_wp), 0);
        group_expect("cr0_et", s->cr0 & 0x10, 0x10);
        group_expect("esp", s->esp, 0);
        group_expect("edx_signature", s->edx & 0xF00, cpuid(1, 0).eax & 0xF00);
    }
    group_end();
    group_begin("identities");
    for (u32 i = 0; i < count; i++) group_expect("apic_id", cpus[i].apic_id, i);
    group_end();
    if (hv_present()) {
        group_begin("vp_index");
        for (u32 i = 1; i < count; i++) group_expect("index", vp_index[i], i);
        group_expect("own", rdmsr(hv_msr_vp_index), 0);
        group_end();
    } else {
        check_skip("vp_index");
    }
}

static void check_interrupts(void) {
    group_begin("ping_each");
    for (u32 round = 1; round <= 10; round++) {
        for (u32 i = 1; i < count; i++) {
            apic_send(i, icr_fixed | icr_assert | vector_ping);
            group_expect("arrived", wait_for(&pings[i], round), 1);
        }
    }
    group_end();
    group_begin("all_but_self");
    apic_send(0, icr_others | icr_assert | vector_all);
    group_expect("arrived", wait_for(&broadcasts, count - 1), 1);
    group_end();
    group_begin("all_with_self");
    apic_send(0, icr_all | icr_assert | vector_all);
    sti();
    group_expect("arrived", wait_for(&broadcasts, 2 * count - 1), 1);
    cli();
    group_end();
    group_begin("nmi_to_others");
    apic_send(0, icr_others | icr_assert | icr_nmi);
    group_expect("arrived", wait_for(&nmis, count - 1), 1);
    group_end();
}

void guest_main(void) {
    guest_begin("smp_start");
    count = smp_count();
    set_handler(vector_ping, on_ping);
    set_handler(vector_all, on_broadcast);
    set_handler(vector_nmi, on_nmi);
    check_that("more_than_one", count > 1);
    check_that("all_started", smp_start(count, run_other));
    check_that("all_in_long_mode", wait_for(&arrived, count - 1));
    check_start_state();

    go = 1;
    count_up();
    check_that("all_counted", wait_for(&finished, count - 1));
    check_equal("locked_counter", locked_total, count * rounds);
    check_equal("spin_lock_counter", guarded_total, count * rounds);
    check_interrupts();

    // A start-up interrupt to a running processor is ignored; INIT and a new one start it afresh.
    go = 0;
    arrived = 0;
    apic_send(1, icr_startup | icr_assert | 8);
    delay_tsc(1000000);
    check_equal("sipi_while_running_ignored", arrived, 0);
    for (u32 i = 1; i < count; i++) cpus[i].online = 0;
    check_that("second_start", smp_start(count, run_other) && wait_for(&arrived, count - 1));
    go = 1;
    check_that("second_run", wait_for(&finished, 2 * (count - 1)));
    check_equal("second_locked_counter", locked_total, (2 * count - 1) * rounds);
    guest_end();
}
