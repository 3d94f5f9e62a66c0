// Delivery in long mode: ring 3 to ring 0, interrupt stacks, gates, and faults that happen while delivering.
#include "cpu64.h"
#include "exceptions.h"
#include "x86.h"

#define DONE "int $0x81"
SNIPPET(user_done, "movq %rdi, %r15", DONE, "");
SNIPPET(user_ud2, "", "ud2", DONE);
SNIPPET(user_cli, "", "cli", DONE);
SNIPPET(user_hlt, "", "hlt", DONE);
SNIPPET(user_in, "movl %edi, %edx", "inb %dx, %al", DONE);
SNIPPET(user_in16, "movl %edi, %edx", "inw %dx, %ax", DONE);
SNIPPET(user_int_40, "", "int $0x40", DONE);
SNIPPET(user_int3, "", "int3", DONE);
SNIPPET(user_read, "", "movq (%rdi), %rax", DONE);
SNIPPET(user_write, "", "movq %rax, (%rdi)", DONE);
SNIPPET(user_jump, "", "jmp *%rdi", DONE);
SNIPPET(user_rdmsr, "movl $0xC0000080, %ecx", "rdmsr", DONE);
SNIPPET(user_mov_cr, "", "movq %cr0, %rax", DONE);
SNIPPET(user_lgdt, "", "lgdt (%rdi)", DONE);
SNIPPET(user_swapgs, "", "swapgs", DONE);
SNIPPET(user_invlpg, "", "invlpg (%rdi)", DONE);
SNIPPET(user_popf, "pushfq\n andq $~0x200, (%rsp)\n orq $0x3000, (%rsp)\n popfq\n pushfq\n popq %r15", DONE, "");
SNIPPET(kernel_int_41, "", "int $0x41", "");
SNIPPET(kernel_misaligned, "movq %rsp, %rbp\n andq $-16, %rsp\n subq $8, %rsp", "int $0x40", "movq %rbp, %rsp");
SNIPPET(kernel_ud2, "", "ud2", "");
SNIPPET(kernel_int_42, "movl $1, %r12d", "int $0x42", "movl %r12d, saw_after_nested");
SNIPPET(kernel_load_ds, "movl %edi, %eax", "movw %ax, %ds", "");
SNIPPET(kernel_read, "", "movq (%rdi), %rax", "");
SNIPPET(return_to, "pushq $0x10\n pushq %rsp\n pushfq\n pushq %rdi\n leaq 1f(%rip), %rax\n pushq %rax", "iretq", "1:");
SNIPPET(return_null_ss, "pushq $3\n pushq %rsp\n pushfq\n pushq $0x33\n leaq 1f(%rip), %rax\n pushq %rax", "iretq",
        "1:");
SNIPPET(return_nested_task, "pushfq\n orq $0x4000, (%rsp)\n popfq", "iretq", "");

u32 saw_after_nested;
static volatile u64 handler_flags, nested_vector;

static void note_flags(struct trap_frame* frame) {
    (void)frame;
    handler_flags = read_flags();
}

static void trap_within(struct trap_frame* frame) {
    (void)frame;
    if (trap_catch(kernel_ud2, 0)) nested_vector = this_cpu()->trap.vector;
}

static void check_user_faults(void) {
    const u64 hole = 0x100000000000;
    const struct {
        const char* name;
        void* code;
        u64 argument;
        u32 vector, error;
        const void* rip;
    } cases[] = {
        {"user_ud2", user_ud2, 0, vector_ud, 0, user_ud2_at},
        {"user_cli", user_cli, 0, vector_gp, 0, user_cli_at},
        {"user_hlt", user_hlt, 0, vector_gp, 0, user_hlt_at},
        {"user_rdmsr", user_rdmsr, 0, vector_gp, 0, user_rdmsr_at},
        {"user_mov_cr0", user_mov_cr, 0, vector_gp, 0, user_mov_cr_at},
        {"user_lgdt", user_lgdt, (u64)user_stack, vector_gp, 0, user_lgdt_at},
        {"user_swapgs", user_swapgs, 0, vector_gp, 0, user_swapgs_at},
        {"user_invlpg", user_invlpg, 0, vector_gp, 0, user_invlpg_at},
        {"user_int_dpl0", user_int_40, 0, vector_gp, 0x40 * 8 + 2, user_int_40_at},
        {"user_int3_dpl0", user_int3, 0, vector_gp, 3 * 8 + 2, user_int3_at},
        {"user_page_fault_read", user_read, hole, vector_pf, 4, user_read_at},
        {"user_page_fault_write", user_write, hole, vector_pf, 6, user_write_at},
        {"user_page_fault_fetch", user_jump, hole, vector_pf, 0x14, (void*)hole},
        {"user_in_denied", user_in, 0x5A0, vector_gp, 0, user_in_at},
        {"user_in_beyond_map", user_in, 0x5000, vector_gp, 0, user_in_at},
    };
    for (u32 i = 0; i < ARRAY_LENGTH(cases); i++) {
        group_begin(cases[i].name);
        group_expect_trap(run_user(cases[i].code, cases[i].argument), cases[i].vector, cases[i].error, cases[i].rip);
        group_expect("cs", this_cpu()->trap.cs, sel_user_code64);
        group_end();
    }
}

static void check_user_ports_and_flags(void) {
    struct cpu* cpu = this_cpu();
    group_begin("user_in_allowed");
    cpu->tss.io_map[0x5A0 / 8] = 0xFE;
    group_expect_trap(run_user(user_in, 0x5A0), vector_user_done, 0, user_in_after + 2);
    group_end();
    group_begin("user_in_wider_than_allowed");
    group_expect_trap(run_user(user_in16, 0x5A0), vector_gp, 0, user_in16_at);
    group_end();
    cpu->tss.io_map[0x5A0 / 8] = 0xFF;
    group_begin("user_popf_keeps_if_and_iopl");
    group_expect_trap(run_user(user_popf, 0), vector_user_done, 0, user_popf_after);
    group_expect("flags", cpu->trap.r15 & 0x3200, 0x200);
    group_end();
}

static void check_stacks(void) {
    struct cpu* cpu = this_cpu();
    group_begin("user_to_rsp0");
    group_expect_trap(run_user(user_done, 0x1122334455667788), vector_user_done, 0, user_done_after);
    group_expect("stack", cpu->trap_stack, rsp0_top(cpu));
    group_expect("cs", cpu->trap.cs, sel_user_code64);
    group_expect("ss", cpu->trap.ss, sel_user_data);
    group_expect("rsp", cpu->trap.rsp, (u64)user_stack + 8192 - 64);
    group_expect("flags", cpu->trap.rflags & 0xFFFFF & ~0xFDull, 0x202 & ~0xFDull);
    group_expect("register", cpu->trap.r15, 0x1122334455667788);
    group_end();
    set_gate(0x41, gate_interrupt, ist_test);
    group_begin("ist_from_ring0");
    group_expect_trap(trap_catch(kernel_int_41, 0), 0x41, 0, kernel_int_41_after);
    group_expect("stack", cpu->trap_stack, ist_top(cpu, ist_test));
    group_expect("ss", cpu->trap.ss, sel_data);
    group_end();
    set_gate(vector_ud, gate_interrupt, ist_test);
    group_begin("ist_from_ring3");
    group_expect_trap(run_user(user_ud2, 0), vector_ud, 0, user_ud2_at);
    group_expect("stack", cpu->trap_stack, ist_top(cpu, ist_test));
    group_end();
    set_gate(vector_ud, gate_interrupt, 0);
    group_begin("stack_aligned_to_16");
    group_expect_trap(trap_catch(kernel_misaligned, 0), 0x40, 0, kernel_misaligned_after);
    group_expect("saved_rsp", cpu->trap.rsp & 15, 8);
    group_expect("stack", cpu->trap_stack, cpu->trap.rsp - 8);
    group_end();
}

static void check_gates(void) {
    set_handler(0x43, note_flags);
    cli();
    sti();
    __asm__ volatile("int $0x43");
    check_equal("interrupt_gate_clears_if", handler_flags & flag_if, 0);
    set_gate(0x43, gate_trap, 0);
    __asm__ volatile("int $0x43");
    check_equal("trap_gate_keeps_if", handler_flags & flag_if, flag_if);
    cli();
    set_handler(0x42, trap_within);
    kernel_int_42();
    group_begin("trap_within_a_handler");
    group_expect("inner", nested_vector, vector_ud);
    group_expect("outer_resumed", saw_after_nested, 1);
    group_end();
    check_trap("iret_not_present", return_to, sel_scratch2, vector_np, sel_scratch2, return_to_at);
    check_trap("iret_to_data", return_to, sel_data, vector_gp, sel_data, return_to_at);
    check_trap("iret_null_cs", return_to, 0, vector_gp, 0, return_to_at);
    check_trap("iret_null_ss_ring3", return_null_ss, 0, vector_gp, 0, return_null_ss_at);
    check_trap("iret_nested_task", return_nested_task, 0, vector_gp, 0, return_nested_task_at);
}

// SDM vol. 3 table 6-5: contributory after contributory, and page fault after page fault, are double faults.
static void check_faults_while_delivering(void) {
    struct cpu* cpu = this_cpu();
    const u64 hole = 0x100000000000, good = cpu->tss.rsp[0];
    idt[vector_gp].type = 0x0E;
    group_begin("double_fault_missing_gate");
    group_expect_trap(trap_catch(kernel_load_ds, 0xFFF8), vector_df, 0, kernel_load_ds_at);
    group_expect("stack", cpu->trap_stack, ist_top(cpu, ist_double_fault));
    group_end();
    set_gate(vector_gp, gate_interrupt, 0);

    idt[vector_pf].type = 0x0E;
    group_begin("double_fault_missing_page_fault_gate");
    group_expect_trap(trap_catch(kernel_read, hole + 0x10), vector_df, 0, kernel_read_at);
    group_expect("cr2", cpu->trap_cr2, hole + 0x10);
    group_end();
    set_gate(vector_pf, gate_interrupt, 0);

    // Benign first: the second one is delivered instead, EXT set (the first was no software interrupt).
    idt[vector_ud].type = 0x0E;
    check_trap("ud2_missing_gate_is_np", kernel_ud2, 0, vector_np, vector_ud * 8 + 3, kernel_ud2_at);
    set_gate(vector_ud, gate_interrupt, 0);

    cpu->tss.rsp[0] = hole + 0x1000;
    group_begin("double_fault_page_fault_on_bad_stack");
    group_expect_trap(run_user(user_read, hole + 0x20), vector_df, 0, user_read_at);
    group_expect("cr2", cpu->trap_cr2, hole + 0xFF8);
    group_expect("cs", cpu->trap.cs, sel_user_code64);
    group_end();

    set_gate(vector_pf, gate_interrupt, ist_test);
    group_begin("gp_then_page_fault_in_turn");
    group_expect_trap(run_user(user_cli, 0), vector_pf, 2, user_cli_at);
    group_expect("cr2", cpu->trap_cr2, hole + 0xFF8);
    group_expect("cs", cpu->trap.cs, sel_user_code64);
    group_end();
    group_begin("int_then_page_fault_restarts_int");
    group_expect_trap(run_user(user_done, 0), vector_pf, 2, user_done_at);
    group_expect("cr2", cpu->trap_cr2, hole + 0xFF8);
    group_expect("rsp", cpu->trap.rsp, (u64)user_stack + 8192 - 64);
    group_end();
    cpu->tss.rsp[0] = good;
    set_gate(vector_pf, gate_interrupt, 0);
}

void check_delivery(void) {
    check_user_faults();
    check_user_ports_and_flags();
    check_stacks();
    check_gates();
    check_faults_while_delivering();
}
