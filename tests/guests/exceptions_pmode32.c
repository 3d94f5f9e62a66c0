// Exceptions in 32-bit protected mode without paging: stacks by TSS, task gate, 32-bit-only instructions.
#include "cpu32.h"
#include "x86.h"

#define DONE "int $0x81"
SNIPPET(divide_error, "xorl %ecx, %ecx", "divl %ecx", "");
SNIPPET(breakpoint, "", "int3", "");
SNIPPET(overflow, "movl $0x7FFFFFFF, %eax\n incl %eax", "into", "");
SNIPPET(overflow_clear, "xorl %eax, %eax", "into", "");
SNIPPET(bound_outside, "movl $11, %eax", ".byte 0x62, 0x05\n .long bounds", "");
SNIPPET(bound_inside, "movl $10, %eax", ".byte 0x62, 0x05\n .long bounds", "");
SNIPPET(aam_zero, "", "aam $0", "");
SNIPPET(undefined, "", "ud2", "");
SNIPPET(interrupt_40, "", "int $0x40", "");
SNIPPET(load_ds, "", "movw %ax, %ds", "");
SNIPPET(load_ss, "", "movw %ax, %ss", "");
SNIPPET(load_tr, "", "ltr %ax", "");
SNIPPET(far_return, "pushl %eax\n pushl $1f", "lretl", "1:");
SNIPPET(interrupt_return, "pushfl\n pushl %eax\n pushl $1f", "iretl", "1:");
SNIPPET(user_done, "movl %cs, %ebx\n movl %ss, %ecx\n movl %eax, %edi", DONE, "");
SNIPPET(user_ud2, "", "ud2", DONE);
SNIPPET(user_cli, "", "cli", DONE);
SNIPPET(user_hlt, "", "hlt", DONE);
SNIPPET(user_int_40, "", "int $0x40", DONE);
SNIPPET(user_in, "movl %eax, %edx", "inb %dx, %al", DONE);
SNIPPET(user_load_kernel_ds, "movl $0x10, %eax", "movw %ax, %ds", DONE);
SNIPPET(user_call_gate, "", "lcall $0x4B, $0", "int $0x81");
SNIPPET(user_far_call_kernel, "", "lcall $0x08, $0", DONE);
SNIPPET(gate_target, "movl %esp, %esi\n movl %cs, %ebx\n movl %ss, %ecx", "lret", "");

const u32 bounds[2] = {0, 10};
static u8 task_stack[4096] ALIGNED(16);

static void check_faults(void) {
    gdt[sel_scratch1 / 8] = 0x00CF13000000FFFF;  // data, not present
    gdt[sel_scratch2 / 8] = 0x00CF1B000000FFFF;  // code, not present
    const struct {
        const char* name;
        void* code;
        u32 argument, vector, error;
        const void* eip;
    } cases[] = {
        {"divide_by_zero", divide_error, 0, vector_de, 0, divide_error_at},
        {"int3", breakpoint, 0, vector_bp, 0, breakpoint_after},
        {"into", overflow, 0, vector_of, 0, overflow_after},
        {"bound", bound_outside, 0, vector_br, 0, bound_outside_at},
        {"aam_0", aam_zero, 0, vector_de, 0, aam_zero_at},
        {"ud2", undefined, 0, vector_ud, 0, undefined_at},
        {"int_n", interrupt_40, 0, 0x40, 0, interrupt_40_after},
        {"ds_beyond_gdt", load_ds, 0xFFF8, vector_gp, 0xFFF8, load_ds_at},
        {"ds_not_present", load_ds, sel_scratch1, vector_np, sel_scratch1, load_ds_at},
        {"ss_null", load_ss, 0, vector_gp, 0, load_ss_at},
        {"ss_not_present", load_ss, sel_scratch1, vector_ss, sel_scratch1, load_ss_at},
        {"ss_is_code", load_ss, sel_code, vector_gp, sel_code, load_ss_at},
        {"ltr_busy", load_tr, sel_tss, vector_gp, sel_tss, load_tr_at},
        {"far_return_to_data", far_return, sel_data, vector_gp, sel_data, far_return_at},
        {"far_return_not_present", far_return, sel_scratch2, vector_np, sel_scratch2, far_return_at},
        {"iret_not_present", interrupt_return, sel_scratch2, vector_np, sel_scratch2, interrupt_return_at},
        {"iret_null", interrupt_return, 0, vector_gp, 0, interrupt_return_at},
    };
    for (u32 i = 0; i < ARRAY_LENGTH(cases); i++) {
        check_trap(cases[i].name, cases[i].code, cases[i].argument, cases[i].vector, cases[i].error, cases[i].eip);
    }
    check_that("into_without_overflow", !trap_catch(overflow_clear, 0));
    check_that("bound_inside", !trap_catch(bound_inside, 0));
    load_idt(idt, 0x40 * 8 - 1);
    check_trap("int_beyond_idt", interrupt_40, 0, vector_gp, 0x40 * 8 + 2, interrupt_40_at);
    load_idt(idt, sizeof(idt) - 1);
    idt[0x40].type = 0x0E;
    check_trap("int_gate_not_present", interrupt_40, 0, vector_np, 0x40 * 8 + 2, interrupt_40_at);
    idt[0x40].type = 0x8C;  // a call gate has no place in an IDT
    check_trap("int_gate_wrong_type", interrupt_40, 0, vector_gp, 0x40 * 8 + 2, interrupt_40_at);
    set_gate(0x40, gate_interrupt);
}

static void check_user(void) {
    const u32 stack = (u32)ring0_stack + sizeof(ring0_stack);
    group_begin("user_to_esp0");
    group_expect_trap(run_user(user_done, 0x12345678), vector_user_done, 0, user_done_after);
    group_expect("stack", trap.stack, stack);
    group_expect("cs", trap.frame.cs, sel_user_code);
    group_expect("ss", trap.frame.ss, sel_user_data);
    group_expect("esp", trap.frame.esp, (u32)user_stack + 4096 - 16);
    group_expect("own_cs", trap.frame.ebx, sel_user_code);
    group_expect("own_ss", trap.frame.ecx, sel_user_data);
    group_expect("register", trap.frame.edi, 0x12345678);
    group_end();
    const struct {
        const char* name;
        void* code;
        u32 argument, vector, error;
        const void* eip;
    } cases[] = {
        {"user_ud2", user_ud2, 0, vector_ud, 0, user_ud2_at},
        {"user_cli", user_cli, 0, vector_gp, 0, user_cli_at},
        {"user_hlt", user_hlt, 0, vector_gp, 0, user_hlt_at},
        {"user_int_dpl0", user_int_40, 0, vector_gp, 0x40 * 8 + 2, user_int_40_at},
        {"user_in_denied", user_in, 0x5A0, vector_gp, 0, user_in_at},
        {"user_loads_kernel_ds", user_load_kernel_ds, 0, vector_gp, sel_data, user_load_kernel_ds_at},
        {"user_far_call_kernel", user_far_call_kernel, 0, vector_gp, sel_code, user_far_call_kernel_at},
    };
    for (u32 i = 0; i < ARRAY_LENGTH(cases); i++) {
        group_begin(cases[i].name);
        group_expect_trap(run_user(cases[i].code, cases[i].argument), cases[i].vector, cases[i].error, cases[i].eip);
        group_expect("stack", trap.stack, stack);
        group_end();
    }
    tss.io_map[0x5A0 / 8] = 0xFE;
    group_begin("user_in_allowed");
    group_expect_trap(run_user(user_in, 0x5A0), vector_user_done, 0, user_in_after + 2);
    group_end();
    tss.io_map[0x5A0 / 8] = 0xFF;
}

static void check_call_gate(void) {
    const u32 stack = (u32)ring0_stack + sizeof(ring0_stack), target = (u32)gate_target;
    gdt[sel_scratch0 / 8] = (target & 0xFFFF) | (u64)sel_code << 16 | 0xEC0000000000 | (u64)(target >> 16) << 48;
    group_begin("call_gate_switches_stack");
    group_expect_trap(run_user(user_call_gate, 0), vector_user_done, 0, user_call_gate_after + 2);
    group_expect("inner_cs", trap.frame.ebx, sel_code);
    group_expect("inner_ss", trap.frame.ecx, sel_data);
    group_expect("inner_esp", trap.frame.esi, stack - 16);
    group_expect("outer_cs", trap.frame.cs, sel_user_code);
    group_expect("outer_esp", trap.frame.esp, (u32)user_stack + 4096 - 16);
    group_end();
    gdt[sel_scratch0 / 8] &= ~(u64)0x800000000000;
    group_begin("call_gate_not_present");
    group_expect_trap(run_user(user_call_gate, 0), vector_np, sel_scratch0, user_call_gate_at);
    group_end();
}

// A double fault through a task gate: the only way to survive a broken stack in 32-bit mode.
void double_fault_task(void);
__asm__(
    ".text\n"
    "double_fault_task:\n"
    "popl %eax\n"  // the error code
    "movl $1, double_fault_seen\n movl %eax, double_fault_seen + 4\n"
    "str %eax\n movw %ax, double_fault_seen + 8\n"
    "movl recover_esp, %esp\n"
    // Leave the nested task for good: NT off, this TSS stays the current one.
    "pushfl\n andl $~0x4000, (%esp)\n popfl\n"
    "clts\n"
    "movl $1, %eax\n popfl\n popl %edi\n popl %esi\n popl %ebp\n popl %ebx\n ret\n");
u32 double_fault_seen[3];

static void check_task_gate(void) {
    memset(&tss2, 0, sizeof(tss2));
    tss2.eip = (u32)double_fault_task;
    tss2.esp = (u32)task_stack + sizeof(task_stack);
    tss2.cs = sel_code;
    tss2.ds = tss2.es = tss2.ss = sel_data;
    tss2.eflags = 2;
    tss2.esp0 = tss2.esp;
    tss2.ss0 = sel_data;
    tss2.io_map_base = sizeof(tss2);
    idt[vector_df] = (struct idt_gate){.selector = sel_tss2, .type = gate_task};
    idt[vector_gp].type = 0x0E;
    bool caught = trap_catch(load_ds, 0xFFF8);
    group_begin("double_fault_by_task_gate");
    group_expect("caught", caught, 1);
    group_expect("seen", double_fault_seen[0], 1);
    group_expect("error", double_fault_seen[1], 0);
    group_expect("task_register", double_fault_seen[2], sel_tss2);
    group_expect("back_link", tss2.link, sel_tss);
    group_expect("saved_eip", tss.eip, (u32)load_ds_at);
    group_expect("saved_cs", tss.cs, sel_code);
    group_expect("old_task_busy", gdt[sel_tss / 8] >> 40 & 0xF, 0xB);
    group_end();
    set_gate(vector_gp, gate_interrupt);
}

void guest_main(void) {
    guest_begin("exceptions_pmode32");
    check_faults();
    check_user();
    check_call_gate();
    // Verdigris has no task switches; QEMU has (cpu/README.md).
    if (option("task_gate", 0)) check_task_gate();
    guest_end();
}
