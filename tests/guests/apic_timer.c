// The local APIC: timer modes, priorities, self interrupts, in xAPIC (memory) and x2APIC (registers) form.
// Durations are compared with each other, not with a wall clock, so they hold on any machine whose TSC is steady.
#include "apic.h"
#include "cpu64.h"
#include "hyperv.h"
#include "x86.h"

enum { vector_timer = 0x60, vector_low = 0x31, vector_high = 0xA1 };

static const char* mode;
static char name_buffer[64];
static const char* named(const char* name) {  // MODE_NAME
    u32 n = 0;
    for (const char* c = mode; *c; c++) name_buffer[n++] = *c;
    name_buffer[n++] = '_';
    for (; *name; name++) name_buffer[n++] = *name;
    name_buffer[n] = 0;
    return name_buffer;
}

static volatile u32 fired;
static volatile u64 fired_at[16];
static volatile u32 order[16], order_count;

static void on_timer(struct trap_frame* frame) {
    (void)frame;
    if (fired < ARRAY_LENGTH(fired_at)) fired_at[fired] = rdtsc();
    fired++;
    apic_end_of_interrupt();
}

static void on_interrupt(struct trap_frame* frame) {
    if (order_count < ARRAY_LENGTH(order)) order[order_count++] = (u32)frame->vector;
    apic_end_of_interrupt();
}

// Spins with interrupts on until the timer has fired `count` times; false after a long time.
static bool wait_fired(u32 count) {
    sti();
    for (u32 round = 0; round < 200000000 && fired < count; round++) pause();
    cli();
    return fired >= count;
}

static void prepare(u32 lvt, u32 divide) {
    apic_write(apic_timer_initial, 0);
    apic_write(apic_timer_divide, divide);
    apic_write(apic_lvt_timer, lvt);
    fired = 0;
}

static void check_one_shot(void) {
    prepare(vector_timer, divide_by_1);
    apic_write(apic_timer_initial, 0x7FFFFFFF);
    u32 first = apic_read(apic_timer_current);
    delay_tsc(100000);
    u32 second = apic_read(apic_timer_current);
    group_begin(named("counts_down"));
    group_expect("first", first <= 0x7FFFFFFF && first > 0x40000000, 1);
    group_expect("second_less", second < first, 1);
    group_expect("initial_kept", apic_read(apic_timer_initial), 0x7FFFFFFF);
    group_end();
    apic_write(apic_timer_initial, 0);
    check_equal(named("zero_stops"), apic_read(apic_timer_current), 0);

    prepare(vector_timer, divide_by_1);
    u64 start = rdtsc();
    apic_write(apic_timer_initial, 2000000);
    bool came = wait_fired(1);
    u64 delay = fired_at[0] - start;
    group_begin(named("one_shot"));
    group_expect("came", came, 1);
    group_expect("current", apic_read(apic_timer_current), 0);
    sti();
    delay_tsc(3 * delay);
    cli();
    group_expect("only_once", fired, 1);
    group_end();

    prepare(vector_timer, divide_by_4);
    start = rdtsc();
    apic_write(apic_timer_initial, 2000000);
    came = wait_fired(1);
    check_between(named("divider_4_takes_longer"), came ? (fired_at[0] - start) * 10 / delay : 0, 38, 42);
    if (hv_edx() & hv_edx_frequencies) {
        u64 apic_hz = rdmsr(hv_msr_apic_frequency), tsc_hz = rdmsr(hv_msr_tsc_frequency);
        u64 expected = 2000000 * tsc_hz / apic_hz;
        check_between(named("one_shot_duration"), delay, expected, expected + expected / 20 + 20000);
    } else {
        check_skip(named("one_shot_duration"));
    }
}

static void check_masked(void) {
    prepare(vector_timer | lvt_masked, divide_by_1);
    apic_write(apic_timer_initial, 20000);
    sti();
    delay_tsc(2000000);
    cli();
    group_begin(named("masked"));
    group_expect("fired", fired, 0);
    group_expect("irr", apic_vector_bit(apic_irr, vector_timer), 0);
    group_expect("current", apic_read(apic_timer_current), 0);
    group_end();
    prepare(vector_timer, divide_by_1);
    apic_write(apic_timer_initial, 20000);
    delay_tsc(4000000);
    group_begin(named("pending_while_if_clear"));
    group_expect("fired", fired, 0);
    group_expect("irr", apic_vector_bit(apic_irr, vector_timer), 1);
    sti();
    __asm__ volatile("nop");
    cli();
    group_expect("fired_after", fired, 1);
    group_expect("irr_after", apic_vector_bit(apic_irr, vector_timer), 0);
    group_end();
}

static void check_periodic(void) {
    prepare(vector_timer | lvt_periodic, divide_by_1);
    u64 start = rdtsc();
    apic_write(apic_timer_initial, 1000000);
    bool came = wait_fired(8);
    apic_write(apic_lvt_timer, vector_timer | lvt_masked);
    apic_write(apic_timer_initial, 0);
    u64 period = (fired_at[7] - start) / 8;
    group_begin(named("periodic"));
    group_expect("came", came, 1);
    for (u32 i = 1; i < 8; i++) group_expect("in_order", fired_at[i] > fired_at[i - 1], 1);
    group_end();
    if (hv_edx() & hv_edx_frequencies) {
        u64 expected = 1000000 * rdmsr(hv_msr_tsc_frequency) / rdmsr(hv_msr_apic_frequency);
        check_between(named("period"), period, expected - expected / 100, expected + expected / 50);
    } else {
        check_skip(named("period"));
    }
}

static void check_deadline(void) {
    if (!(cpuid(1, 0).ecx >> 24 & 1)) {
        check_skip(named("tsc_deadline"));
        return;
    }
    prepare(vector_timer | lvt_tsc_deadline, divide_by_1);
    group_begin(named("tsc_deadline"));
    u64 deadline = rdtsc() + 1000000;
    wrmsr(msr_tsc_deadline, deadline);
    group_expect("reads_back", rdmsr(msr_tsc_deadline), deadline);
    group_expect("came", wait_fired(1), 1);
    group_expect("not_early", fired_at[0] >= deadline, 1);
    group_expect("cleared", rdmsr(msr_tsc_deadline), 0);
    wrmsr(msr_tsc_deadline, 1);  // long past: at once
    group_expect("past", wait_fired(2), 1);
    wrmsr(msr_tsc_deadline, rdtsc() + 2000000);
    wrmsr(msr_tsc_deadline, 0);
    sti();
    delay_tsc(4000000);
    cli();
    group_expect("disarmed", fired, 2);
    group_end();
    apic_write(apic_lvt_timer, vector_timer | lvt_masked);
}

static void send_self(u32 vector) {
    apic_send(apic_own_id(), icr_self | icr_assert | vector);
}

static void check_priorities(void) {
    order_count = 0;
    send_self(vector_low);
    send_self(vector_high);
    send_self(0x51);
    sti();
    __asm__ volatile("nop; nop");
    cli();
    group_begin(named("highest_first"));
    group_expect("count", order_count, 3);
    group_expect("first", order[0], vector_high);
    group_expect("second", order[1], 0x51);
    group_expect("third", order[2], vector_low);
    group_end();

    order_count = 0;
    apic_write(apic_tpr, 0x50);
    send_self(0x51);
    send_self(vector_high);
    sti();
    __asm__ volatile("nop; nop");
    cli();
    group_begin(named("tpr_holds_back"));
    group_expect("count", order_count, 1);
    group_expect("first", order[0], vector_high);
    group_expect("ppr", apic_read(apic_ppr) & 0xF0, 0x50);
    group_expect("cr8", read_cr8(), 5);
    write_cr8(0);
    group_expect("tpr", apic_read(apic_tpr), 0);
    sti();
    __asm__ volatile("nop; nop");
    cli();
    group_expect("released", order_count, 2);
    group_expect("second", order[1], 0x51);
    group_end();

    order_count = 0;
    send_self(vector_low);
    send_self(vector_low);
    sti();
    __asm__ volatile("nop; nop");
    cli();
    check_equal(named("same_vector_merges"), order_count, 1);
}

// A handler that turns interrupts on again is interrupted only by a higher class, until it ends its own.
static volatile u32 nest_depth, nest_log[8], nest_count;
static void on_nested(struct trap_frame* frame) {
    nest_log[nest_count++ & 7] = (u32)frame->vector << 8 | nest_depth;
    nest_depth++;
    if (frame->vector == 0x51) {
        send_self(0x58);  // same class: waits
        send_self(vector_high);
        sti();
        __asm__ volatile("nop; nop");
        cli();
    }
    nest_depth--;
    apic_end_of_interrupt();
}

static void check_nesting(void) {
    nest_count = nest_depth = 0;
    set_handler(0x51, on_nested);
    set_handler(0x58, on_nested);
    set_handler(vector_high, on_nested);
    send_self(0x51);
    sti();
    __asm__ volatile("nop; nop");
    cli();
    group_begin(named("in_service_holds_its_class"));
    group_expect("count", nest_count, 3);
    group_expect("first", nest_log[0], 0x5100);
    group_expect("second", nest_log[1], vector_high << 8 | 1);
    group_expect("third", nest_log[2], 0x5800);
    group_end();
    set_handler(0x51, on_interrupt);
    set_handler(vector_high, on_interrupt);
}

static void check_registers(void) {
    group_begin(named("registers"));
    group_expect("version", (apic_read(apic_version) & 0xFF) >= 0x10 && (apic_read(apic_version) & 0xFF) <= 0x15, 1);
    group_expect("max_lvt", (apic_read(apic_version) >> 16 & 0xFF) >= 4, 1);
    group_expect("id", apic_own_id(), 0);
    group_expect("svr", apic_read(apic_svr) & 0x1FF, 0x1FF);
    group_expect("bsp", rdmsr(msr_apic_base) & apic_base_bsp, apic_base_bsp);
    group_expect("base", rdmsr(msr_apic_base) & 0xFFFFFF000, 0xFEE00000);
    group_end();
    // Software-disabled: LVT entries are forced masked (SDM vol. 3 §11.4.7.2).
    apic_write(apic_lvt_timer, vector_timer);
    apic_write(apic_svr, 0xFF);
    u32 lvt = apic_read(apic_lvt_timer);
    apic_write(apic_svr, 0x1FF);
    check_equal(named("software_disable_masks_lvt"), lvt & lvt_masked, lvt_masked);
}

static void check_mode(const char* which) {
    mode = which;
    check_registers();
    check_one_shot();
    check_masked();
    check_periodic();
    check_deadline();
    check_priorities();
    check_nesting();
}

SNIPPET(read_x2apic_id, "movl $0x802, %ecx", "rdmsr", "");
SNIPPET(write_x2apic_id, "movl $0x802, %ecx\n xorl %eax, %eax\n xorl %edx, %edx", "wrmsr", "");
SNIPPET(write_x2apic_eoi, "movl $0x80B, %ecx\n movl $1, %eax\n xorl %edx, %edx", "wrmsr", "");
SNIPPET(write_icr_reserved, "movl $0x830, %ecx\n movl $0x80000031, %eax\n xorl %edx, %edx", "wrmsr", "");

void guest_main(void) {
    guest_begin("apic_timer");
    set_handler(vector_timer, on_timer);
    set_handler(vector_low, on_interrupt);
    set_handler(0x51, on_interrupt);
    set_handler(vector_high, on_interrupt);
    mode = "xapic";
    if (apic_in_x2apic()) {
        // From x2APIC the way back leads through the disabled state (SDM vol. 3 §11.12.5).
        wrmsr(msr_apic_base, rdmsr(msr_apic_base) & ~(u64)(apic_base_enable | apic_base_x2apic));
    }
    apic_set_up(false);
    check_mode("xapic");
    const u32 checks_per_mode = check_count();
    mode = "x2apic";
    if (apic_has_x2apic()) {
        check_trap("x2apic_register_in_xapic_mode", read_x2apic_id, 0, vector_gp, 0, read_x2apic_id_at);
        apic_set_up(true);
        check_mode("x2apic");
        order_count = 0;
        wrmsr(0x83F, vector_low);
        sti();
        __asm__ volatile("nop; nop");
        cli();
        check_equal("x2apic_self_ipi", order_count == 1 && order[0] == vector_low, 1);
        check_trap("x2apic_id_read_only", write_x2apic_id, 0, vector_gp, 0, write_x2apic_id_at);
        check_trap("x2apic_eoi_nonzero", write_x2apic_eoi, 0, vector_gp, 0, write_x2apic_eoi_at);
        check_trap("x2apic_icr_reserved", write_icr_reserved, 0, vector_gp, 0, write_icr_reserved_at);
    } else {
        for (u32 i = 0; i < checks_per_mode + 5; i++) check_skip("x2apic");
    }
    guest_end();
}
