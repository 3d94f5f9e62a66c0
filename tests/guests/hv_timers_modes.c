// Synthetic timers by interrupt (direct mode) and by message.
#include "apic.h"
#include "cpu64.h"
#include "hv_timers.h"
#include "x86.h"

static u32 config_of(u32 n) {
    return hv_msr_stimer0_config + 2 * n;
}
static u32 count_of(u32 n) {
    return hv_msr_stimer0_count + 2 * n;
}
static void stop(u32 n) {
    wrmsr(count_of(n), 0);
    wrmsr(config_of(n), 0);
}
static u64 direct(u32 n) {
    return stimer_direct | STIMER_VECTOR(vector_timer0 + n);
}
enum { ms = 10000, slack = ms };  // in 100 ns

static void check_one_shot(void) {
    reset_counts();
    wrmsr(config_of(0), direct(0) | stimer_auto);
    check_equal("direct_config_kept", rdmsr(config_of(0)), direct(0) | stimer_auto);
    u64 deadline = hv_reference_time() + 2 * ms;
    wrmsr(count_of(0), deadline);
    group_begin("direct_one_shot");
    group_expect("count_kept", rdmsr(count_of(0)), deadline);
    group_expect("auto_enabled", rdmsr(config_of(0)) & stimer_enable, stimer_enable);
    group_expect("came", wait_fired(0, 1), 1);
    group_expect("not_early", fired_at[0] >= deadline, 1);
    group_expect("not_late", fired_at[0] <= deadline + slack, 1);
    group_expect("enable_cleared", rdmsr(config_of(0)) & stimer_enable, 0);
    run_until(hv_reference_time() + 4 * ms);
    group_expect("only_once", fired[0], 1);
    group_end();

    // As Linux does it: the configuration has enable set while the count is still 0.
    stop(0);
    reset_counts();
    wrmsr(config_of(0), direct(0) | stimer_auto | stimer_enable);
    run_until(hv_reference_time() + ms);
    group_begin("direct_enabled_without_count");
    group_expect("quiet", fired[0], 0);
    deadline = hv_reference_time() + ms;
    wrmsr(count_of(0), deadline);
    group_expect("came", wait_fired(0, 1), 1);
    group_expect("not_early", fired_at[0] >= deadline, 1);
    group_end();

    reset_counts();
    wrmsr(count_of(0), 1);
    check_that("direct_past_fires_at_once", wait_fired(0, 1));
    reset_counts();
    wrmsr(count_of(0), hv_reference_time() + ms);
    wrmsr(count_of(0), 0);
    run_until(hv_reference_time() + 3 * ms);
    group_begin("direct_zero_count_stops");
    group_expect("quiet", fired[0], 0);
    group_expect("disabled", rdmsr(config_of(0)) & stimer_enable, 0);
    group_end();

    reset_counts();
    wrmsr(count_of(0), hv_reference_time() + ms);
    wrmsr(count_of(0), hv_reference_time() + 3 * ms);
    run_until(hv_reference_time() + 2 * ms);
    u32 early = fired[0];
    wait_fired(0, 1);
    group_begin("direct_moved");
    group_expect("early", early, 0);
    group_expect("once", fired[0], 1);
    group_end();
    stop(0);

    // Enabled by hand, without auto-enable: a later count does not rearm it.
    reset_counts();
    wrmsr(count_of(1), hv_reference_time() + ms);
    wrmsr(config_of(1), direct(1) | stimer_enable);
    group_begin("direct_by_hand");
    group_expect("came", wait_fired(1, 1), 1);
    wrmsr(count_of(1), hv_reference_time() + ms);
    run_until(hv_reference_time() + 3 * ms);
    group_expect("not_again", fired[1], 1);
    group_end();
    stop(1);
}

static void check_periodic(void) {
    reset_counts();
    u64 start = hv_reference_time();
    wrmsr(config_of(0), direct(0) | stimer_periodic | stimer_auto);
    wrmsr(count_of(0), ms);
    bool came = wait_fired(0, 10);
    u64 last = fired_at[0];
    group_begin("direct_periodic");
    group_expect("came", came, 1);
    group_expect("not_early", last >= start + 10 * ms, 1);
    group_expect("not_late", last <= start + 11 * ms, 1);
    group_expect("still_enabled", rdmsr(config_of(0)) & stimer_enable, stimer_enable);
    stop(0);
    u32 seen = fired[0];
    run_until(hv_reference_time() + 4 * ms);
    group_expect("stopped", fired[0] <= seen + 1, 1);
    group_end();
}

static void check_four(void) {
    reset_counts();
    u64 now = hv_reference_time();
    static const u32 order[] = {2, 0, 3, 1};
    for (u32 i = 0; i < 4; i++) {
        wrmsr(config_of(order[i]), direct(order[i]) | stimer_auto);
        wrmsr(count_of(order[i]), now + (2 + i) * ms);
    }
    run_until(now + 8 * ms);
    check_equal("four_timers_in_order", order_log, 0x2031);
    // All due at one time: by priority of their vectors.
    reset_counts();
    now = hv_reference_time() + 2 * ms;
    for (u32 i = 0; i < 4; i++) wrmsr(count_of(i), now);
    while (hv_reference_time() < now + ms) pause();
    sti();
    __asm__ volatile("nop; nop");
    cli();
    check_equal("four_timers_at_once", order_log, 0x3210);
    for (u32 i = 0; i < 4; i++) stop(i);
    // A halted processor is woken.
    reset_counts();
    wrmsr(config_of(0), direct(0) | stimer_auto);
    u64 deadline = hv_reference_time() + 5 * ms;
    wrmsr(count_of(0), deadline);
    while (!fired[0]) {
        sti_hlt();
        cli();
    }
    check_between("direct_wakes_hlt", hv_reference_time(), deadline, deadline + slack);
    stop(0);
}

void check_direct_timers(void) {
    const u32 before = check_count();
    if (hv_edx() & hv_edx_stimer_direct) {
        check_one_shot();
        check_periodic();
        check_four();
    } else {
        while (check_count() < before + 11) check_skip("direct_timers");
    }
}

// Message mode. SINT 2 raises vector_timer0 + 4, SINT 3 the same with other bits, SINT 5 with auto-EOI its own.
enum { sint_vector_slot = 4 };
static volatile struct hv_message* slot_of(u32 sint) {
    return &hv_message_page[sint];
}
struct timer_payload {
    u32 index, reserved;
    u64 expiration, delivery;
};

static void expect_message(u32 sint, u32 timer, u64 deadline) {
    volatile struct hv_message* slot = slot_of(sint);
    const volatile struct timer_payload* payload = (const volatile struct timer_payload*)slot->payload;
    group_expect("type", slot->type, hv_message_timer_expired);
    group_expect("size", slot->payload_size, 24);
    group_expect("timer", payload->index, timer);
    group_expect("expiration", payload->expiration, deadline);
    group_expect("delivery", payload->delivery >= deadline && payload->delivery <= deadline + slack, 1);
}

static void take_message(u32 sint) {
    volatile struct hv_message* slot = slot_of(sint);
    slot->type = 0;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (slot->flags & hv_message_pending) wrmsr(hv_msr_eom, 0);
}

static u64 arm_message(u32 timer, u32 sint, u64 delay) {
    wrmsr(config_of(timer), stimer_auto | STIMER_SINT(sint));
    u64 deadline = hv_reference_time() + delay;
    wrmsr(count_of(timer), deadline);
    return deadline;
}

static void check_registers(void) {
    group_begin("synic_reset_state");
    group_expect("version", rdmsr(hv_msr_sversion), 1);
    group_expect("control", rdmsr(hv_msr_scontrol) & 1, 0);
    group_expect("simp", rdmsr(hv_msr_simp) & 1, 0);
    group_expect("siefp", rdmsr(hv_msr_siefp) & 1, 0);
    for (u32 i = 0; i < 16; i++) group_expect("sint", rdmsr(hv_msr_sint0 + i), 0x10000);
    group_end();
    hv_synic_set_up();
    group_begin("synic_set_up");
    group_expect("control", rdmsr(hv_msr_scontrol) & 1, 1);
    group_expect("simp", rdmsr(hv_msr_simp), (u64)hv_message_page | 1);
    group_expect("siefp", rdmsr(hv_msr_siefp), (u64)hv_event_page | 1);
    wrmsr(hv_msr_sint0 + 2, vector_timer0 + sint_vector_slot);
    group_expect("sint", rdmsr(hv_msr_sint0 + 2), vector_timer0 + sint_vector_slot);
    for (u32 i = 0; i < sizeof(hv_message_page); i++) group_expect("empty", ((u8*)hv_message_page)[i], 0);
    group_end();
    // Message mode without a SINT cannot be enabled.
    wrmsr(config_of(0), stimer_enable | STIMER_SINT(0));
    check_equal("message_mode_needs_sint", rdmsr(config_of(0)) & stimer_enable, 0);
    stop(0);
}

static void check_delivery(void) {
    reset_counts();
    u64 deadline = arm_message(1, 2, ms);
    group_begin("message_one_shot");
    group_expect("came", wait_fired(sint_vector_slot, 1), 1);
    expect_message(2, 1, deadline);
    group_expect("not_pending", slot_of(2)->flags & hv_message_pending, 0);
    take_message(2);
    group_end();

    // The slot is still full when the second timer expires: it is marked, and comes at the end of message.
    reset_counts();
    u64 first = arm_message(1, 2, ms), second = arm_message(0, 2, 2 * ms);
    run_until(second + 2 * ms);
    group_begin("message_waits_for_slot");
    group_expect("one_interrupt", fired[sint_vector_slot], 1);
    expect_message(2, 1, first);
    group_expect("pending", slot_of(2)->flags & hv_message_pending, hv_message_pending);
    take_message(2);
    group_expect("came", wait_fired(sint_vector_slot, 2), 1);
    group_expect("type", slot_of(2)->type, hv_message_timer_expired);
    group_expect("timer", ((const volatile struct timer_payload*)slot_of(2)->payload)->index, 0);
    group_expect("expiration", ((const volatile struct timer_payload*)slot_of(2)->payload)->expiration, second);
    take_message(2);
    group_end();

    // Two SINTs have two slots.
    wrmsr(hv_msr_sint0 + 3, vector_timer0 + sint_vector_slot + 1);
    reset_counts();
    first = arm_message(1, 2, ms);
    second = arm_message(2, 3, ms);
    run_until(second + ms);
    group_begin("two_sints");
    group_expect("first", fired[sint_vector_slot], 1);
    group_expect("second", fired[sint_vector_slot + 1], 1);
    expect_message(2, 1, first);
    expect_message(3, 2, second);
    take_message(2);
    take_message(3);
    group_end();
}

static void check_sint_bits(void) {
    // Polling: the message is written, no interrupt raised.
    wrmsr(hv_msr_sint0 + 3, (vector_timer0 + sint_vector_slot) | 1 << 18);
    reset_counts();
    u64 deadline = arm_message(3, 3, ms);
    run_until(deadline + ms);
    group_begin("sint_polling");
    group_expect("interrupts", fired[sint_vector_slot], 0);
    expect_message(3, 3, deadline);
    take_message(3);
    group_end();

    wrmsr(hv_msr_sint0 + 3, (vector_timer0 + sint_vector_slot) | 1 << 16);
    reset_counts();
    deadline = arm_message(3, 3, ms);
    run_until(deadline + ms);
    check_equal("sint_masked_is_quiet", fired[sint_vector_slot], 0);
    stop(3);
    take_message(3);

    wrmsr(hv_msr_sint0 + 5, (vector_timer0 + auto_eoi_slot) | 1 << 17);
    reset_counts();
    group_begin("sint_auto_eoi");
    for (u32 i = 1; i <= 3; i++) {
        arm_message(1, 5, ms);
        group_expect("came", wait_fired(auto_eoi_slot, i), 1);
        group_expect("not_in_service", apic_vector_bit(apic_isr, vector_timer0 + auto_eoi_slot), 0);
        take_message(5);
    }
    group_end();
    wrmsr(hv_msr_sint0 + 5, 0x10000);
    for (u32 i = 0; i < 4; i++) stop(i);
}

static void check_message_periodic(void) {
    reset_counts();
    u64 start = hv_reference_time();
    wrmsr(config_of(1), stimer_auto | stimer_periodic | STIMER_SINT(2));
    wrmsr(count_of(1), ms);
    u32 messages = 0;
    u64 last = 0;
    group_begin("message_periodic");
    for (u32 i = 1; i <= 5; i++) {
        group_expect("came", wait_fired(sint_vector_slot, i), 1);
        const volatile struct timer_payload* payload = (const volatile struct timer_payload*)slot_of(2)->payload;
        messages += slot_of(2)->type == hv_message_timer_expired && payload->index == 1;
        if (last) group_expect("period", payload->expiration - last, ms);
        last = payload->expiration;
        take_message(2);
    }
    group_expect("messages", messages, 5);
    group_expect("time", hv_reference_time() >= start + 5 * ms, 1);
    group_end();
    stop(1);
    take_message(2);
    wrmsr(hv_msr_scontrol, 0);
}

void check_message_timers(void) {
    check_registers();
    check_delivery();
    check_sint_bits();
    check_message_periodic();
}
