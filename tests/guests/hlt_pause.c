// Halting, interrupt shadows and the interrupt window.
#include "apic.h"
#include "cpu64.h"
#include "hyperv.h"
#include "smp.h"
#include "x86.h"

enum { vector_wake = 0x60, vector_other = 0x61 };
static volatile u32 wakes, others, nmis;
static volatile u64 wake_rip, wake_rsp, nmi_rip;

static void on_wake(struct trap_frame* frame) {
    wakes++;
    wake_rip = frame->rip;
    wake_rsp = frame->rsp;
    apic_end_of_interrupt();
}
static volatile u32 parted;
extern const char between_the_pair[];
static void on_other(struct trap_frame* frame) {
    parted += frame->rip == (u64)between_the_pair;
    others++;
    apic_end_of_interrupt();
}
static void on_nmi(struct trap_frame* frame) {
    nmis++;
    nmi_rip = frame->rip;
}

static void send_self(u32 vector) {
    apic_send(apic_own_id(), icr_self | icr_assert | vector);
}

// Each runs with an interrupt pending and IF clear, and shows where it is taken.
SNIPPET(sti_nop, "", "sti", "nop\n nop\n cli");
SNIPPET(sti_cli, "", "sti", "cli\n nop");
SNIPPET(sti_sti, "", "sti\n sti", "nop\n cli");
SNIPPET(sti_hlt_once, "", "sti\n hlt", "cli");
SNIPPET(popf_opens, "pushfq\n orq $0x200, (%rsp)", "popfq", "nop\n cli");
SNIPPET(iret_opens,
        "movq %rsp, %rax\n pushq $0x10\n pushq %rax\n pushq $0x202\n pushq $0x08\n leaq 1f(%rip), %rax\n pushq %rax",
        "iretq", "1: nop\n cli");
SNIPPET(cr8_opens, "movl $15, %eax\n movq %rax, %cr8\n sti\n nop\n xorl %eax, %eax", "movq %rax, %cr8", "nop\n cli");

static void check_taken(const char* name, void (*code)(void), const char* at) {
    wakes = 0;
    send_self(vector_wake);
    code();
    group_begin(name);
    group_expect("taken", wakes, 1);
    group_expect("rip", wake_rip, (u64)at);
    group_end();
}

static void check_shadows(void) {
    check_taken("sti_delays_by_one", sti_nop, sti_nop_after + 1);
    check_taken("second_sti_gives_no_new_shadow", sti_sti, sti_sti_after);
    check_taken("sti_hlt_wakes", sti_hlt_once, sti_hlt_once_after);
    check_taken("popf_has_no_shadow", popf_opens, popf_opens_after);
    check_taken("iret_has_no_shadow", iret_opens, iret_opens_after);
    check_taken("cr8_lowered", cr8_opens, cr8_opens_after);
    wakes = 0;
    send_self(vector_wake);
    sti_cli();
    check_equal("sti_cli_takes_none", wakes, 0);
    sti_nop();
    check_equal("taken_later", wakes, 1);
}

// While the timer interrupts at every odd moment, none comes between `mov ss` and the load of RSP after it.
void load_stack_pairs(u64 times);
__asm__(
    ".text\n.globl load_stack_pairs, between_the_pair\n"
    "load_stack_pairs:\n"
    "movq %rsp, %rdx\n movw %ss, %ax\n"
    "1: movw %ax, %ss\n"
    "between_the_pair: movq %rdx, %rsp\n"
    "decq %rdi\n jnz 1b\n"
    "ret\n");

static void check_timer_storm(void) {
    apic_write(apic_timer_divide, divide_by_1);
    wakes = others = 0;
    apic_write(apic_lvt_timer, vector_other | lvt_periodic);
    apic_write(apic_timer_initial, 30011);
    // `sti; hlt` with the interrupt arriving anywhere around it never sleeps through one.
    u32 slept = 0;
    for (u32 i = 0; i < 200; i++) {
        u32 before = others;
        while (others == before) {
            sti_hlt();
            cli();
            slept++;
        }
    }
    u32 woken = others;
    sti();
    for (u32 i = 0; i < 200; i++) load_stack_pairs(2000);
    cli();
    apic_write(apic_lvt_timer, vector_other | lvt_masked);
    apic_write(apic_timer_initial, 0);
    check_between("timer_wakes_hlt_each_time", woken, 200, 200 + slept);
    group_begin("mov_ss_shadow");
    group_expect("interrupted", others > woken, 1);
    group_expect("parted", parted, 0);
    group_end();
}

static void check_nmi_alone(void) {
    // NMI to self, taken although IF is clear.
    nmis = 0;
    apic_send(apic_own_id(), icr_nmi | icr_assert);
    for (u32 i = 0; i < 1000 && !nmis; i++) pause();
    check_equal("nmi_with_if_clear", nmis, 1);
}

// Another processor halts with IF clear: an interrupt does not wake it, an NMI does.
static volatile u32 other_halted, other_woke;
static void halt_with_if_clear(struct cpu* cpu) {
    (void)cpu;
    other_halted = 1;
    hlt();
    other_woke = nmis;
    for (;;) sti_hlt();
}

static void check_halted_other(void) {
    nmis = 0;
    others = 0;
    group_begin("hlt_with_if_clear");
    group_expect("started", smp_start(2, halt_with_if_clear), 1);
    group_expect("halted", wait_for(&other_halted, 1), 1);
    delay_tsc(1000000);
    apic_send(1, icr_fixed | icr_assert | vector_other);
    delay_tsc(1000000);
    group_expect("not_woken_by_interrupt", other_woke, 0);
    group_expect("not_taken", others, 0);
    apic_send(1, icr_nmi | icr_assert);
    group_expect("woken_by_nmi", wait_for(&other_woke, 1), 1);
    group_expect("interrupt_taken_then", wait_for(&others, 1), 1);
    group_end();
}

static void check_pause(void) {
    u64 start = rdtsc();
    for (u32 i = 0; i < 1000; i++) pause();
    check_that("pause_takes_time", rdtsc() > start);
}

static void check_idle_msr(void) {
    if (!(hv_eax() & hv_eax_idle)) {
        check_skip("idle_msr");
        return;
    }
    // Reading it halts until an interrupt is pending, even with IF clear, and does not take it.
    others = 0;
    apic_write(apic_timer_divide, divide_by_1);
    apic_write(apic_lvt_timer, vector_other);
    apic_write(apic_timer_initial, 200000);
    group_begin("idle_msr");
    group_expect("value", rdmsr(hv_msr_guest_idle), 0);
    group_expect("pending", apic_vector_bit(apic_irr, vector_other), 1);
    group_expect("not_taken", others, 0);
    sti();
    __asm__ volatile("nop");
    cli();
    group_expect("taken", others, 1);
    group_end();
}

void guest_main(void) {
    guest_begin("hlt_pause");
    set_handler(vector_wake, on_wake);
    set_handler(vector_other, on_other);
    set_handler(vector_nmi, on_nmi);
    apic_set_up_best();
    check_shadows();
    check_timer_storm();
    check_nmi_alone();
    check_pause();
    check_idle_msr();
    check_halted_other();
    guest_end();
}
