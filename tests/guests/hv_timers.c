// Hyper-V's clocks: detection, reference counter, reference TSC page, synthetic timers in direct and message mode, the
// synthetic interrupt controller's registers, masks, auto-EOI and end-of-message. Facts by the TLFS.
#include "hv_timers.h"
#include "apic.h"
#include "cpu64.h"
#include "x86.h"

volatile u32 fired[timer_vectors];
volatile u64 fired_at[timer_vectors], order_log;

static void on_vector(struct trap_frame* frame) {
    u32 n = (u32)frame->vector - vector_timer0;
    fired[n]++;
    fired_at[n] = hv_reference_time();
    order_log = order_log << 4 | n;
    if (n != auto_eoi_slot) apic_end_of_interrupt();
}

bool wait_fired(u32 n, u32 count) {
    sti();
    for (u32 round = 0; round < 100000000 && fired[n] < count; round++) pause();
    cli();
    return fired[n] >= count;
}

void run_until(u64 time) {
    sti();
    while (hv_reference_time() < time) pause();
    cli();
}

void reset_counts(void) {
    for (u32 i = 0; i < timer_vectors; i++) fired[i] = 0;
    order_log = 0;
}

static void check_detection(void) {
    group_begin("leaves");
    group_expect("max_leaf", cpuid(0x40000000, 0).eax >= 0x40000005, 1);
    group_expect("interface", cpuid(0x40000001, 0).eax, 0x31237648);
    group_expect("hypercall_msrs", hv_eax() & hv_eax_hypercall, hv_eax_hypercall);
    group_expect("vp_index_msr", hv_eax() & hv_eax_vp_index, hv_eax_vp_index);
    group_expect("not_root", hv_ebx() >> 12 & 1, 0);
    group_expect("not_isolated", hv_ebx() >> 22 & 1, 0);
    group_expect("max_vps", cpuid(0x40000005, 0).eax >= 1, 1);
    group_expect("no_vs1", cpuid(0x40000081, 0).eax == 0x31235356 && !(cpuid(0x40000082, 0).eax & 4), 0);
    group_end();
    check_equal("vp_index", rdmsr(hv_msr_vp_index), 0);
    wrmsr(hv_msr_guest_os_id, HV_GUEST_OS_ID);
    check_equal("guest_os_id_kept", rdmsr(hv_msr_guest_os_id), HV_GUEST_OS_ID);
}

SNIPPET(read_unknown, "movl $0x400000FF, %ecx", "rdmsr", "");
SNIPPET(write_vp_index, "movl $0x40000002, %ecx\n xorl %eax, %eax\n xorl %edx, %edx", "wrmsr", "");
SNIPPET(write_counter, "movl $0x40000020, %ecx\n xorl %eax, %eax\n xorl %edx, %edx", "wrmsr", "");
SNIPPET(write_frequency, "movl $0x40000022, %ecx\n xorl %eax, %eax\n xorl %edx, %edx", "wrmsr", "");
SNIPPET(write_sversion, "movl $0x40000081, %ecx\n xorl %eax, %eax\n xorl %edx, %edx", "wrmsr", "");
SNIPPET(write_sint_vector, "movl $0x40000094, %ecx\n movl $15, %eax\n xorl %edx, %edx", "wrmsr", "");

static void check_refusals(void) {
    check_trap("unknown_synthetic_msr", read_unknown, 0, vector_gp, 0, read_unknown_at);
    check_trap("vp_index_read_only", write_vp_index, 0, vector_gp, 0, write_vp_index_at);
    check_trap("counter_read_only", write_counter, 0, vector_gp, 0, write_counter_at);
    check_trap("frequency_read_only", write_frequency, 0, vector_gp, 0, write_frequency_at);
    check_trap("sversion_read_only", write_sversion, 0, vector_gp, 0, write_sversion_at);
    check_trap("sint_vector_below_16", write_sint_vector, 0, vector_gp, 0, write_sint_vector_at);
}

static void check_reference_time(void) {
    group_begin("reference_counter");
    u64 last = hv_reference_time();
    u32 moved = 0;
    for (u32 i = 0; i < 1000; i++) {
        u64 now = hv_reference_time();
        group_expect("never_back", now >= last, 1);
        moved += now != last;
        last = now;
    }
    group_expect("moves", moved > 0, 1);
    group_end();

    wrmsr(hv_msr_reference_tsc, (u64)&hv_tsc_page | 1);
    group_begin("reference_tsc_page");
    group_expect("msr_kept", rdmsr(hv_msr_reference_tsc), (u64)&hv_tsc_page | 1);
    group_expect("sequence", hv_tsc_page.sequence != 0, 1);
    if (hv_edx() & hv_edx_frequencies) {
        u64 high = 10000000, low = 0, scale, rest;
        __asm__("divq %4" : "=a"(scale), "=d"(rest) : "a"(low), "d"(high), "r"(rdmsr(hv_msr_tsc_frequency)));
        group_expect("scale", hv_tsc_page.scale, scale);
    }
    for (u32 i = 0; i < 1000; i++) {
        u64 before = hv_reference_time(), page = hv_tsc_reference_time(), after = hv_reference_time();
        group_expect("agrees", page + 1 >= before && page <= after + 1, 1);
    }
    group_end();
    u64 previous = hv_tsc_reference_time();
    group_begin("reference_tsc_monotonic");
    for (u32 i = 0; i < 10000; i++) {
        u64 now = hv_tsc_reference_time();
        group_expect("never_back", now >= previous, 1);
        previous = now;
    }
    group_end();
    if (hv_edx() & hv_edx_frequencies) {
        check_that("frequencies", rdmsr(hv_msr_tsc_frequency) >= 100000000 && rdmsr(hv_msr_apic_frequency) >= 1000000);
    } else {
        check_skip("frequencies");
    }
}

static void check_enlightened_apic(void) {
    if (!(hv_eax() & hv_eax_apic)) {
        check_skip("apic_tpr");
        check_skip("apic_icr_and_eoi");
    } else {
        wrmsr(hv_msr_tpr, 0x50);
        group_begin("apic_tpr");
        group_expect("apic", apic_read(apic_tpr), 0x50);
        group_expect("msr", rdmsr(hv_msr_tpr), 0x50);
        wrmsr(hv_msr_tpr, 0);
        group_expect("cr8", read_cr8(), 0);
        group_end();
        reset_counts();
        wrmsr(hv_msr_icr, icr_self | icr_assert | (vector_timer0 + auto_eoi_slot));
        group_begin("apic_icr_and_eoi");
        group_expect("pending", apic_vector_bit(apic_irr, vector_timer0 + auto_eoi_slot), 1);
        group_expect("came", wait_fired(auto_eoi_slot, 1), 1);
        group_expect("in_service", apic_vector_bit(apic_isr, vector_timer0 + auto_eoi_slot), 1);
        wrmsr(hv_msr_eoi, 0);
        group_expect("ended", apic_vector_bit(apic_isr, vector_timer0 + auto_eoi_slot), 0);
        group_end();
    }
    static u8 assist[4096] ALIGNED(4096);
    wrmsr(hv_msr_vp_assist, (u64)assist | 1);
    check_equal("vp_assist_kept", rdmsr(hv_msr_vp_assist), (u64)assist | 1);
    wrmsr(hv_msr_vp_assist, 0);
}

void guest_main(void) {
    guest_begin("hv_timers");
    if (!hv_present()) {
        for (u32 i = 0; i < hv_timers_checks; i++) check_skip("no_hyperv");
        guest_end();
    }
    apic_set_up_best();
    for (u32 i = 0; i < timer_vectors; i++) set_handler(vector_timer0 + (int)i, on_vector);
    check_detection();
    check_refusals();
    check_reference_time();
    check_enlightened_apic();
    check_direct_timers();
    check_message_timers();
    guest_end();
}
