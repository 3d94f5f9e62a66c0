// Single step and hardware breakpoints (SDM vol. 3 chapter 17).
#include "cpu64.h"
#include "x86.h"

SNIPPET(step_one, "pushfq\n orq $0x100, (%rsp)", "popfq", "nop\n nop");
SNIPPET(step_jump, "pushfq\n orq $0x100, (%rsp)\n popfq", "jmp 1f", "ud2\n 1:");
SNIPPET(step_faulting, "pushfq\n orq $0x100, (%rsp)\n popfq", "ud2", "");
SNIPPET(step_mov_ss, "movw %ss, %ax\n pushfq\n orq $0x100, (%rsp)\n popfq", "movw %ax, %ss\n nop", "nop");
SNIPPET(target, "", "nop", "nop");
SNIPPET(access_write, "", "movl $1, watched_cells + 4", "nop");
SNIPPET(access_read, "", "movl watched_cells + 4, %eax", "nop");
SNIPPET(access_near, "", "movl $1, watched_cells + 8", "nop");
SNIPPET(access_into, "", "movb $1, watched_cells + 7", "nop");
SNIPPET(access_across, "", "movq $1, watched_cells", "nop");
SNIPPET(access_dr4, "", "movq %rax, %dr4", "");
SNIPPET(read_dr5, "", "movq %dr5, %rax", "");

// Code reaches one cell to each side of the watched one.
u32 watched_cells[4] ALIGNED(16);
#define watched (watched_cells[1])

enum { dr7_fixed = 0x400, dr6_clear = 0xFFFF0FF0 };
enum { on_execution = 0, on_write = 1, on_access = 3 };
static u64 enable(u32 number, u32 kind, u32 length_code) {
    return 2u << (2 * number) | (u64)(kind | length_code << 2) << (16 + 4 * number);
}

static void arm(u64 dr7) {
    write_dr6(dr6_clear);
    write_dr7(dr7 | dr7_fixed);
}
static void disarm(void) {
    write_dr7(dr7_fixed);
}

static void expect_hit(const char* name, void* code, const void* rip, u64 dr6_bits) {
    bool trapped = trap_catch(code, 0);
    disarm();
    group_begin(name);
    group_expect_trap(trapped, vector_db, 0, rip);
    group_expect("dr6", this_cpu()->trap_dr6, dr6_clear | dr6_bits);
    group_end();
}

static void expect_none(const char* name, void* code) {
    bool trapped = trap_catch(code, 0);
    disarm();
    check_that(name, !trapped);
}

static volatile u32 resumed;
static void resume_with_rf(struct trap_frame* frame) {
    resumed++;
    frame->rflags |= flag_rf;
}

static u32 steps;
static u64 step_rips[8];
static void count_step(struct trap_frame* frame) {
    if (steps < ARRAY_LENGTH(step_rips)) step_rips[steps] = frame->rip;
    steps++;
    if (steps == 4) frame->rflags &= ~(u64)flag_tf;
}

static void check_steps(void) {
    write_dr6(dr6_clear);
    expect_hit("step_after_popf", step_one, step_one_after + 1, 0x4000);
    write_dr6(dr6_clear);
    expect_hit("step_over_jump", step_jump, step_jump_after + 2, 0x4000);
    write_dr6(dr6_clear);
    check_trap("step_fault_comes_first", step_faulting, 0, vector_ud, 0, step_faulting_at);
    write_dr6(dr6_clear);
    expect_hit("step_shadow_of_mov_ss", step_mov_ss, step_mov_ss_after, 0x4000);

    set_handler(vector_db, count_step);
    __asm__ volatile(
        "pushfq\n orq $0x100, (%%rsp)\n popfq\n"
        ".globl stepped\n stepped: nop\n nop\n nop\n nop\n nop\n"
        :
        :
        : "cc", "memory");
    set_handler(vector_db, NULL);
    extern const char stepped[];
    group_begin("step_four_then_stop");
    group_expect("steps", steps, 4);
    group_expect("first", step_rips[0], (u64)stepped + 1);
    group_expect("last", step_rips[3], (u64)stepped + 4);
    group_expect("tf_after", read_flags() & flag_tf, 0);
    group_end();
    write_dr6(dr6_clear);
}

static void check_execution(void) {
    write_dr0((u64)target_at);
    arm(enable(0, on_execution, 0));
    expect_hit("execution_is_a_fault", target, target_at, 1);
    write_dr0(0);
    write_dr3((u64)target_at);
    arm(enable(3, on_execution, 0));
    expect_hit("execution_dr3", target, target_at, 8);
    arm(0);
    expect_none("disabled", target);
    write_dr0((u64)target_at);
    arm(enable(0, on_execution, 0));
    set_handler(vector_db, resume_with_rf);
    target();
    set_handler(vector_db, NULL);
    disarm();
    check_equal("resume_flag_passes_once", resumed, 1);
}

static void check_data(void) {
    write_dr1((u64)&watched);
    arm(enable(1, on_write, 3));
    expect_hit("write_is_a_trap", access_write, access_write_after, 2);
    arm(enable(1, on_write, 3));
    expect_none("write_watch_ignores_read", access_read);
    arm(enable(1, on_access, 3));
    expect_hit("access_sees_read", access_read, access_read_after, 2);
    arm(enable(1, on_access, 3));
    expect_none("neighbour_is_not_watched", access_near);
    arm(enable(1, on_write, 3));
    expect_hit("byte_within", access_into, access_into_after, 2);
    arm(enable(1, on_write, 3));
    expect_hit("overlap_from_below", access_across, access_across_after, 2);
}

static void check_registers(void) {
    write_dr2(0x123456789A);
    check_equal("dr2_keeps_value", read_dr2(), 0x123456789A);
    write_dr7(0);
    check_equal("dr7_bit10_is_one", read_dr7() & dr7_fixed, dr7_fixed);
    write_dr6(0);
    check_equal("dr6_fixed_bits", read_dr6() & 0xFFFF1FF0, 0xFFFF0FF0);
    write_cr4(read_cr4() | cr4_de);
    check_trap("dr4_with_de", access_dr4, 0, vector_ud, 0, access_dr4_at);
    check_trap("dr5_with_de", read_dr5, 0, vector_ud, 0, read_dr5_at);
    write_cr4(read_cr4() & ~(u64)cr4_de);
    check_that("dr5_without_de", !trap_catch(read_dr5, 0));
}

void guest_main(void) {
    guest_begin("debug_registers");
    check_steps();
    check_registers();
    check_execution();
    check_data();
    guest_end();
}
