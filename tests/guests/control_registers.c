// What a guest may not write to control, debug and model-specific registers: each is #GP(0) and changes nothing.
// (QEMU's emulator accepts many of these, so this guest is for Verdigris alone.)
#include "cpu64.h"
#include "x86.h"

SNIPPET(set_cr0, "", "movq %rdi, %cr0", "");
SNIPPET(set_cr3, "", "movq %rdi, %cr3", "");
SNIPPET(set_cr4, "", "movq %rdi, %cr4", "");
SNIPPET(set_cr8, "", "movq %rdi, %cr8", "");
SNIPPET(set_dr6, "", "movq %rdi, %dr6", "");
SNIPPET(set_dr7, "", "movq %rdi, %dr7", "");
SNIPPET(read_cr1, "", ".byte 0x0F, 0x20, 0xC8", "");
SNIPPET(read_msr, "movl %edi, %ecx", "rdmsr", "");
#define SET_MSR(name, number) \
    SNIPPET(name, "movl $" #number ", %ecx\n movl %edi, %eax\n movq %rdi, %rdx\n shrq $32, %rdx", "wrmsr", "")
SET_MSR(set_efer, 0xC0000080);
SET_MSR(set_lstar, 0xC0000082);
SET_MSR(set_fs_base, 0xC0000100);
SET_MSR(set_pat, 0x277);
SET_MSR(set_apic_base, 0x1B);
SET_MSR(set_unknown, 0x12345678);

void guest_main(void) {
    guest_begin("control_registers");
    const u64 cr0 = read_cr0(), cr3 = read_cr3(), cr4 = read_cr4(), efer = rdmsr(msr_efer), pat = rdmsr(msr_pat);
    const u64 noncanonical = 0x0000800000000000;
    const struct {
        const char* name;
        void* code;
        u64 value;
        u32 vector;
        const void* rip;
    } cases[] = {
        {"cr0_pg_without_pe", set_cr0, cr0 & ~(u64)cr0_pe, vector_gp, set_cr0_at},
        {"cr0_nw_without_cd", set_cr0, cr0 | 1u << 29, vector_gp, set_cr0_at},
        {"cr0_upper_half", set_cr0, cr0 | 1ull << 32, vector_gp, set_cr0_at},
        {"cr1", read_cr1, 0, vector_ud, read_cr1_at},
        {"cr3_reserved_bit", set_cr3, cr3 | 1ull << 62, vector_gp, set_cr3_at},
        {"cr4_without_pae", set_cr4, cr4 & ~(u64)cr4_pae, vector_gp, set_cr4_at},
        {"cr4_reserved_bit", set_cr4, cr4 | 1ull << 31, vector_gp, set_cr4_at},
        {"cr4_upper_half", set_cr4, cr4 | 1ull << 40, vector_gp, set_cr4_at},
        {"cr8_reserved_bit", set_cr8, 0x10, vector_gp, set_cr8_at},
        {"dr6_upper_half", set_dr6, 1ull << 32, vector_gp, set_dr6_at},
        {"dr7_upper_half", set_dr7, 1ull << 32, vector_gp, set_dr7_at},
        {"efer_lme_while_paging", set_efer, efer & ~(u64)efer_lme, vector_gp, set_efer_at},
        {"efer_reserved_bit", set_efer, efer | 1ull << 40, vector_gp, set_efer_at},
        {"lstar_noncanonical", set_lstar, noncanonical, vector_gp, set_lstar_at},
        {"fs_base_noncanonical", set_fs_base, noncanonical, vector_gp, set_fs_base_at},
        {"pat_reserved_type", set_pat, 2, vector_gp, set_pat_at},
        {"apic_base_reserved_bit", set_apic_base, rdmsr(msr_apic_base) | 1, vector_gp, set_apic_base_at},
        {"unknown_msr_read", read_msr, 0x12345678, vector_gp, read_msr_at},
        {"unknown_msr_write", set_unknown, 0, vector_gp, set_unknown_at},
    };
    for (u32 i = 0; i < ARRAY_LENGTH(cases); i++) {
        check_trap(cases[i].name, cases[i].code, cases[i].value, cases[i].vector, 0, cases[i].rip);
    }
    group_begin("nothing_changed");
    group_expect("cr0", read_cr0(), cr0);
    group_expect("cr3", read_cr3(), cr3);
    group_expect("cr4", read_cr4(), cr4);
    group_expect("efer", rdmsr(msr_efer), efer);
    group_expect("pat", rdmsr(msr_pat), pat);
    group_end();

    // TPR is CR8, four bits wide.
    write_cr8(0xF);
    check_equal("cr8_keeps_value", read_cr8(), 0xF);
    write_cr8(0);
    wrmsr(msr_efer, efer | efer_lma);  // LMA is the processor's own: a write leaves it
    check_equal("efer_lma_ignored", rdmsr(msr_efer), efer);
    wrmsr(msr_pat, 0x0007040600010405);
    check_equal("pat_keeps_value", rdmsr(msr_pat), 0x0007040600010405);
    wrmsr(msr_pat, pat);
    u64 before = rdtsc();
    wrmsr(msr_tsc, 0x123456789000);
    check_between("tsc_written", rdtsc(), 0x123456789000, 0x123456789000 + 100000000);
    wrmsr(msr_tsc, before);
    guest_end();
}
