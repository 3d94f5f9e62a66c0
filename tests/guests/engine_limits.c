// What the instruction engine (the TCG core that QEMU and Unicorn share) is known to get wrong, asked in the manual's
// terms. guests.json lists these checks as failing; one that begins to pass has to be taken off that list.
#include "cpu64.h"
#include "map.h"
#include "x86.h"

SNIPPET(sse_divide, "movl $0x1D80, limit_word\n ldmxcsr limit_word\n xorps %xmm1, %xmm1\n movaps limit_ones, %xmm0",
        "divps %xmm1, %xmm0", "");
SNIPPET(load_bad_mxcsr, "movl $0xFFFF0000, limit_word", "ldmxcsr limit_word", "");
SNIPPET(restore_bad_mxcsr, "", "fxrstor64 limit_area", "");
SNIPPET(locked_add, "movl $1, %eax", "lock addq %rax, (%rdi)", "");
SNIPPET(exchange, "", "xchgq %rax, (%rdi)", "");
SNIPPET(null_ss, "movl $3, %eax", "movw %ax, %ss", "");
SNIPPET(null_tr, "xorl %eax, %eax", "ltr %ax", "");
SNIPPET(one_byte_db, "", ".byte 0xF1", "");
SNIPPET(user_misaligned, "pushfq\n orq $0x40000, (%rsp)\n popfq\n andq $-16, %rsp", "movl 1(%rsp), %eax", "int $0x81");
u32 limit_word;
u8 limit_area[512] ALIGNED(64);
const u32 limit_ones[4] ALIGNED(16) = {0x3F800000, 0x3F800000, 0x3F800000, 0x3F800000};

void guest_main(void) {
    guest_begin("engine_limits");
    write_cr4(read_cr4() | cr4_osfxsr | cr4_osxmmexcpt);
    check_trap("unmasked_sse_exception", sse_divide, 0, vector_xm, 0, sse_divide_at);
    write_cr4(read_cr4() & ~(u64)cr4_osxmmexcpt);
    check_trap("unmasked_sse_without_osxmmexcpt", sse_divide, 0, vector_ud, 0, sse_divide_at);
    check_trap("mxcsr_reserved", load_bad_mxcsr, 0, vector_gp, 0, load_bad_mxcsr_at);
    __asm__ volatile("fxsave64 limit_area");
    *(u32*)(limit_area + 24) = 0xFFFF0000;
    check_trap("fxrstor_mxcsr_reserved", restore_bad_mxcsr, 0, vector_gp, 0, restore_bad_mxcsr_at);

    // A locked read-modify-write is one write to the page-fault code; the engine reads first.
    const u64 hole = 0x100000000000;
    check_trap("locked_add_faults_as_write", locked_add, hole, vector_pf, 2, locked_add_at);
    check_trap("exchange_faults_as_write", exchange, hole, vector_pf, 2, exchange_at);

    check_trap("icebp", one_byte_db, 0, vector_db, 0, one_byte_db_after);
    check_trap("ss_null_rpl3", null_ss, 0, vector_gp, 0, null_ss_at);
    __asm__ volatile("movl $0x10, %%eax\n movl %%eax, %%ss" : : : "eax");
    check_trap("ltr_null", null_tr, 0, vector_gp, 0, null_tr_at);
    this_cpu()->gdt[sel_tss / 8] &= ~0x20000000000ull;  // not busy
    __asm__ volatile("ltr %w0" : : "r"(sel_tss));

    write_cr0(read_cr0() | cr0_am);
    group_begin("alignment_check");
    group_expect_trap(run_user(user_misaligned, 0), 17, 0, user_misaligned_at);
    group_end();
    guest_end();
}
