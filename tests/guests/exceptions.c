// Exceptions in long mode: vector, error code and saved RIP of each, as SDM vol. 3 chapter 6 says.
#include "exceptions.h"

#include "cpu64.h"
#include "x86.h"

SNIPPET(divide_error, "xorl %ecx, %ecx\n xorl %edx, %edx\n movl $1, %eax", "divl %ecx", "");
SNIPPET(divide_overflow, "movl $1, %ecx\n movl $1, %edx\n xorl %eax, %eax", "divl %ecx", "");
SNIPPET(divide_signed, "movq $-1, %rcx\n movq $1, %rax\n shlq $63, %rax\n cqto", "idivq %rcx", "");
SNIPPET(breakpoint, "", "int3", "");
SNIPPET(breakpoint_two_bytes, "", ".byte 0xCD, 3", "");
SNIPPET(undefined, "", "ud2", "");
SNIPPET(undefined_lock, "", ".byte 0xF0, 0x90", "");                 // LOCK NOP
SNIPPET(undefined_lock_register, "", ".byte 0xF0, 0x01, 0xC0", "");  // LOCK ADD EAX, EAX
SNIPPET(undefined_into, "", ".byte 0xCE", "");                       // INTO does not exist in 64-bit code
SNIPPET(undefined_push_es, "", ".byte 0x06", "");
SNIPPET(undefined_lds, "", ".byte 0xD5, 0x00", "");
SNIPPET(interrupt_40, "", "int $0x40", "");
SNIPPET(interrupt_13, "", "int $13", "");
SNIPPET(interrupt_beyond, "", "int $0x40", "");
SNIPPET(load_ds, "movl %edi, %eax", "movw %ax, %ds", "");
SNIPPET(load_ss, "movl %edi, %eax", "movw %ax, %ss", "");
SNIPPET(load_tr, "movl %edi, %eax", "ltr %ax", "");
SNIPPET(load_ldt, "movl %edi, %eax", "lldt %ax", "");
SNIPPET(far_return, "pushq %rdi\n leaq 1f(%rip), %rax\n pushq %rax", "lretq", "1:");
SNIPPET(read_memory, "", "movq (%rdi), %rax", "");
SNIPPET(write_memory, "", "movq %rax, (%rdi)", "");
SNIPPET(jump_to, "", "jmp *%rdi", "");
SNIPPET(push_at, "movq %rsp, %rbp\n movq %rdi, %rsp", "pushq %rax", "movq %rbp, %rsp");
SNIPPET(sse_unaligned, "", "movaps 1(%rdi), %xmm0", "");
SNIPPET(single_step, "pushfq\n orq $0x100, (%rsp)", "popfq", "nop\n nop");
SNIPPET(call_absent, "", "call *%rdi", "");

static const u64 data_not_present = 0x00CF13000000FFFF;
static const u64 data_user_only = 0x00CFF3000000FFFF;
static const u64 code_not_present = 0x00AF1B000000FFFF;

struct fault_case {
    const char* name;
    void* code;
    u64 argument;
    u32 vector, error;
    const void* rip;
};

static u8 aligned_bytes[32] ALIGNED(16);

static void check_table(const struct fault_case* cases, u32 count) {
    for (u32 i = 0; i < count; i++) {
        const struct fault_case* c = &cases[i];
        check_trap(c->name, c->code, c->argument, c->vector, c->error, c->rip);
    }
}

static void check_page_faults(void) {
    struct cpu* cpu = this_cpu();
    const u64 hole = 0x100000000000;  // nothing is mapped there
    group_begin("page_fault_read");
    group_expect_trap(trap_catch(read_memory, hole + 0x123), vector_pf, 0, read_memory_at);
    group_expect("cr2", cpu->trap_cr2, hole + 0x123);
    group_end();
    group_begin("page_fault_write");
    group_expect_trap(trap_catch(write_memory, hole + 0x456), vector_pf, 2, write_memory_at);
    group_expect("cr2", cpu->trap_cr2, hole + 0x456);
    group_end();
    group_begin("page_fault_fetch");
    group_expect_trap(trap_catch(jump_to, hole + 0x789), vector_pf, 0x10, (void*)(hole + 0x789));
    group_expect("cr2", cpu->trap_cr2, hole + 0x789);
    group_end();
    // The push fails on the very stack that delivery would use: only an IST stack can take it.
    set_gate(vector_pf, gate_interrupt, ist_test);
    group_begin("page_fault_push");
    group_expect_trap(trap_catch(push_at, hole + 0x800), vector_pf, 2, push_at_at);
    group_expect("cr2", cpu->trap_cr2, hole + 0x7F8);
    group_expect("rsp", cpu->trap.rsp, hole + 0x800);
    group_end();
    set_gate(vector_pf, gate_interrupt, 0);
}

static void check_single_step(void) {
    write_dr6(0xFFFF0FF0);
    group_begin("single_step");
    group_expect_trap(trap_catch(single_step, 0), vector_db, 0, single_step_after + 1);
    group_expect("dr6", this_cpu()->trap_dr6, 0xFFFF4FF0);
    group_expect("tf_saved", this_cpu()->trap.rflags & flag_tf, flag_tf);
    group_end();
}

void check_faults(void) {
    struct cpu* cpu = this_cpu();
    cpu->gdt[sel_scratch0 / 8] = data_not_present;
    cpu->gdt[sel_scratch1 / 8] = data_user_only;
    cpu->gdt[sel_scratch2 / 8] = code_not_present;
    const u64 noncanonical = 0x0000800000000000;
    const struct fault_case cases[] = {
        {"divide_by_zero", divide_error, 0, vector_de, 0, divide_error_at},
        {"divide_overflow", divide_overflow, 0, vector_de, 0, divide_overflow_at},
        {"divide_signed_overflow", divide_signed, 0, vector_de, 0, divide_signed_at},
        {"int3_is_a_trap", breakpoint, 0, vector_bp, 0, breakpoint_after},
        {"int_3_two_bytes", breakpoint_two_bytes, 0, vector_bp, 0, breakpoint_two_bytes_after},
        {"ud2", undefined, 0, vector_ud, 0, undefined_at},
        {"lock_nop", undefined_lock, 0, vector_ud, 0, undefined_lock_at},
        {"lock_on_register", undefined_lock_register, 0, vector_ud, 0, undefined_lock_register_at},
        {"into_in_64bit", undefined_into, 0, vector_ud, 0, undefined_into_at},
        {"push_es_in_64bit", undefined_push_es, 0, vector_ud, 0, undefined_push_es_at},
        {"aad_in_64bit", undefined_lds, 0, vector_ud, 0, undefined_lds_at},
        {"int_n", interrupt_40, 0, 0x40, 0, interrupt_40_after},
        // The stub takes what it finds for an error code: RIP, so CS stands where it looks for RIP.
        {"int_13_has_no_error_code", interrupt_13, 0, vector_gp, (u32)(u64)interrupt_13_after, (void*)sel_code64},
        {"ds_beyond_gdt", load_ds, 0xFFF8, vector_gp, 0xFFF8, load_ds_at},
        {"ds_beyond_gdt_rpl", load_ds, 0xFFF3, vector_gp, 0xFFF0, load_ds_at},
        {"ds_no_ldt", load_ds, 0x0C, vector_gp, 0x0C, load_ds_at},
        {"ds_not_present", load_ds, sel_scratch0, vector_np, sel_scratch0, load_ds_at},
        {"ss_not_present", load_ss, sel_scratch0, vector_ss, sel_scratch0, load_ss_at},
        {"ss_wrong_dpl", load_ss, sel_scratch1, vector_gp, sel_scratch1, load_ss_at},
        {"ltr_busy", load_tr, sel_tss, vector_gp, sel_tss, load_tr_at},
        {"lldt_of_data", load_ldt, sel_data, vector_gp, sel_data, load_ldt_at},
        {"far_return_to_data", far_return, sel_data, vector_gp, sel_data, far_return_at},
        {"far_return_not_present", far_return, sel_scratch2, vector_np, sel_scratch2, far_return_at},
        {"far_return_null", far_return, 0, vector_gp, 0, far_return_at},
        {"noncanonical_read", read_memory, noncanonical, vector_gp, 0, read_memory_at},
        {"noncanonical_write", write_memory, noncanonical, vector_gp, 0, write_memory_at},
        {"noncanonical_push", push_at, noncanonical + 0x100, vector_ss, 0, push_at_at},
        {"sse_unaligned", sse_unaligned, (u64)aligned_bytes, vector_gp, 0, sse_unaligned_at},
    };
    write_cr4(read_cr4() | cr4_osfxsr);
    set_gate(vector_ss, gate_interrupt, ist_test);
    set_gate(vector_gp, gate_interrupt, ist_test);
    check_table(cases, ARRAY_LENGTH(cases));

    set_gate(vector_ss, gate_interrupt, 0);
    set_gate(vector_gp, gate_interrupt, 0);

    load_idt(idt, 0x40 * 16 - 1);
    check_trap("int_beyond_idt", interrupt_beyond, 0, vector_gp, 0x40 * 8 + 2, interrupt_beyond_at);
    load_idt(idt, sizeof(idt) - 1);
    idt[0x40].type = 0x0E;  // not present
    check_trap("int_gate_not_present", interrupt_40, 0, vector_np, 0x40 * 8 + 2, interrupt_40_at);
    idt[0x40].type = 0x85;  // a task gate does not exist in long mode
    check_trap("int_gate_wrong_type", interrupt_40, 0, vector_gp, 0x40 * 8 + 2, interrupt_40_at);
    set_gate(0x40, gate_interrupt, 0);

    check_page_faults();
    check_single_step();
}

void guest_main(void) {
    guest_begin("exceptions");
    check_faults();
    check_delivery();
    check_compat();
    guest_end();
}
