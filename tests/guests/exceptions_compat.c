// 32-bit code segments within long mode, and the system call instructions.
#include "cpu64.h"
#include "exceptions.h"
#include "x86.h"

// A SNIPPET whose middle runs in the ring-0 32-bit code segment.
#define SNIPPET32(name, before, instruction) \
    SNIPPET(name, "pushq $0x18\n pushq $1f\n lretq\n .code32\n1: " before, instruction, "ljmp $0x08, $2f\n .code64\n2:")

SNIPPET32(compat_int3, "", "int3");
SNIPPET32(compat_into, "movl $0x7FFFFFFF, %eax\n addl $1, %eax", "into");
SNIPPET32(compat_into_clear, "xorl %eax, %eax", "into");
SNIPPET32(compat_int_40, "", "int $0x40");
SNIPPET32(compat_divide, "xorl %ecx, %ecx", "divl %ecx");
SNIPPET32(compat_aam, "", "aam $0");
SNIPPET32(compat_bound, "movl $100, %eax", ".byte 0x62, 0x05\n .long compat_bounds");
SNIPPET32(compat_bound_inside, "movl $5, %eax", ".byte 0x62, 0x05\n .long compat_bounds");
SNIPPET32(compat_syscall_off, "", "ud2");
SNIPPET(user_done32, ".code32\n movl %cs, %ebx", "int $0x81", ".code64");
SNIPPET(user_ud32, ".code32\n", "ud2", ".code64");
SNIPPET(call_kernel, "movq $0x123456789, %rbx\n stc\n std", "syscall",
        "movq %rax, %r14\n pushfq\n popq %r15\n int $0x81");
SNIPPET(sysret_to_32, "movl $user_done32, %ecx\n movl $0x202, %r11d\n movl $user_stack + 4096, %esp", "sysretl", "");
SNIPPET(user_sysret, "leaq 1f(%rip), %rcx\n movl $0x202, %r11d", "sysretq", "1: int $0x81");
SNIPPET(swap_gs_base, "movl $0xC0000102, %ecx", "swapgs",
        "rdmsr\n swapgs\n movl %eax, swapped_low\n movl %edx, swapped_high");

const u32 compat_bounds[2] = {0, 10};
u32 swapped_low, swapped_high;
// The kernel's end of SYSCALL: keeps what it finds, answers in RAX.
struct {
    u64 rcx, r11, rsp, rbx, flags;
    u32 cs, ss;
} syscall_seen;
void syscall_entry(void);
__asm__(
    ".text\n"
    "syscall_entry:\n"
    "movq %rcx, syscall_seen\n movq %r11, syscall_seen + 8\n movq %rsp, syscall_seen + 16\n"
    "movq %rbx, syscall_seen + 24\n movw %cs, syscall_seen + 40\n movw %ss, syscall_seen + 44\n"
    "movq %gs:0, %rax\n movq 8(%rax), %rsp\n pushfq\n popq syscall_seen + 32\n movq syscall_seen + 16, %rsp\n"
    "movl $0x5AFE, %eax\n sysretq\n");

static void check_compat_faults(void) {
    const struct {
        const char* name;
        void* code;
        u32 vector;
        const void* rip;
    } cases[] = {
        {"compat_int3", compat_int3, vector_bp, compat_int3_after},
        {"compat_into", compat_into, vector_of, compat_into_after},
        {"compat_int_n", compat_int_40, 0x40, compat_int_40_after},
        {"compat_divide", compat_divide, vector_de, compat_divide_at},
        {"compat_aam_0", compat_aam, vector_de, compat_aam_at},
        {"compat_bound", compat_bound, vector_br, compat_bound_at},
        {"compat_ud2", compat_syscall_off, vector_ud, compat_syscall_off_at},
    };
    for (u32 i = 0; i < ARRAY_LENGTH(cases); i++) {
        group_begin(cases[i].name);
        group_expect_trap(trap_catch(cases[i].code, 0), cases[i].vector, 0, cases[i].rip);
        group_expect("cs", this_cpu()->trap.cs, sel_code32);
        group_end();
    }
    check_that("compat_into_without_overflow", !trap_catch(compat_into_clear, 0));
    check_that("compat_bound_inside", !trap_catch(compat_bound_inside, 0));
}

static void check_user32(void) {
    struct cpu* cpu = this_cpu();
    group_begin("user32_to_rsp0");
    group_expect_trap(run_user32(user_done32, 0), vector_user_done, 0, user_done32_after);
    group_expect("cs", cpu->trap.cs, sel_user_code32);
    group_expect("own_cs", cpu->trap.rbx, sel_user_code32);
    group_expect("stack", cpu->trap_stack, rsp0_top(cpu));
    group_end();
    group_begin("user32_ud2");
    group_expect_trap(run_user32(user_ud32, 0), vector_ud, 0, user_ud32_at);
    group_end();
}

static void check_syscall(void) {
    struct cpu* cpu = this_cpu();
    group_begin("syscall_disabled");
    group_expect_trap(run_user(call_kernel, 0), vector_ud, 0, call_kernel_at);
    group_end();
    wrmsr(msr_efer, rdmsr(msr_efer) | efer_sce);
    wrmsr(msr_star, (u64)(sel_user_code32 & ~3) << 48 | (u64)3 << 48 | (u64)sel_code64 << 32);
    wrmsr(msr_lstar, (u64)syscall_entry);
    wrmsr(msr_fmask, flag_if | flag_df | flag_tf);
    group_begin("syscall_and_sysret");
    group_expect_trap(run_user(call_kernel, 0), vector_user_done, 0, NULL);
    group_expect("rcx", syscall_seen.rcx, (u64)call_kernel_after);
    group_expect("r11", syscall_seen.r11 & 0x601, 0x601);
    group_expect("rsp_untouched", syscall_seen.rsp, (u64)user_stack + 8192 - 64);
    group_expect("rbx", syscall_seen.rbx, 0x123456789);
    group_expect("cs", syscall_seen.cs, sel_code64);
    group_expect("ss", syscall_seen.ss, sel_data);
    group_expect("flags_masked", syscall_seen.flags & 0x601, 1);
    group_expect("answer", cpu->trap.r14, 0x5AFE);
    group_expect("flags_back", cpu->trap.r15 & 0x601, 0x601);
    group_expect("user_cs", cpu->trap.cs, sel_user_code64);
    group_expect("user_ss", cpu->trap.ss, sel_user_data);
    group_end();
    group_begin("sysret_to_32bit");
    group_expect_trap(trap_catch(sysret_to_32, 0), vector_user_done, 0, user_done32_after);
    group_expect("cs", cpu->trap.cs, sel_user_code32);
    group_expect("ss", cpu->trap.ss, sel_user_data);
    group_end();
    group_begin("sysret_in_ring3");
    group_expect_trap(run_user(user_sysret, 0), vector_gp, 0, user_sysret_at);
    group_end();
}

static void check_swapgs(void) {
    const u64 gs = rdmsr(msr_gs_base);
    wrmsr(msr_kernel_gs_base, 0x0000123456789000);
    swap_gs_base();
    group_begin("swapgs");
    group_expect("kernel_gs_base", (u64)swapped_high << 32 | swapped_low, gs);
    group_expect("gs_base_back", rdmsr(msr_gs_base), gs);
    group_expect("kernel_gs_base_back", rdmsr(msr_kernel_gs_base), 0x0000123456789000);
    group_end();
}

void check_compat(void) {
    check_compat_faults();
    check_user32();
    check_syscall();
    check_swapgs();
}
