// Loops of exactly known instruction counts between two RDTSCs, for exact checks of virtual time. Each line
// "count NAME instructions N tsc T" holds what was executed between the two readings (the second RDTSC counts, the
// first does not) and the difference; the test compares it with the profile's costs.
#include "cpu64.h"
#include "hyperv.h"
#include "x86.h"

// u64 NAME(u64 times): the TSC difference over `times` rounds of the body. Between the two RDTSCs stand 5 instructions
// (shl, or, mov; then the loop) and per round the body and 2 of the loop; see instructions_of.
#define LOOP(name, body)                                                                   \
    u64 name(u64 times);                                                                   \
    __asm__(".pushsection .text\n.balign 64\n" #name                                       \
            ":\n pushq %rbx\n rdtsc\n shlq $32, %rdx\n orq %rdx, %rax\n movq %rax, %rbx\n" \
            "1: " body                                                                     \
            "\n decq %rdi\n jnz 1b\n"                                                      \
            "rdtsc\n shlq $32, %rdx\n orq %rdx, %rax\n subq %rbx, %rax\n popq %rbx\n ret\n.popsection\n")

LOOP(loop_empty, "");
LOOP(loop_nop, "nop");
LOOP(loop_add, "addq $1, %rcx\n addq $1, %rcx\n addq $1, %rcx\n addq $1, %rcx");
LOOP(loop_load, "movq count_cell, %rcx\n movq count_cell, %rdx");
LOOP(loop_store, "movq %rcx, count_cell");
LOOP(loop_multiply, "imulq %rcx, %rcx");
LOOP(loop_branch, "jmp 2f\n 2: jmp 3f\n 3:");
LOOP(loop_call, "call return_only");
u64 count_cell;
void return_only(void);
__asm__(".text\nreturn_only: ret\n");

struct loop {
    const char* name;
    u64 (*run)(u64);
    u32 per_round;  // instructions of one round, the loop's own two included
};

enum { before_loop = 3, after_loop = 1 };  // shl, or, mov; the second RDTSC

void guest_main(void) {
    guest_begin("tsc_and_count");
    static const struct loop loops[] = {
        {"empty", loop_empty, 2},   {"nop", loop_nop, 3},          {"add", loop_add, 6},
        {"load", loop_load, 4},     {"store", loop_store, 3},      {"multiply", loop_multiply, 3},
        {"branch", loop_branch, 4}, {"call_return", loop_call, 4},
    };
    static const u32 times[] = {1, 2, 10, 1000, 100000};
    for (u32 i = 0; i < ARRAY_LENGTH(loops); i++) {
        u64 deltas[ARRAY_LENGTH(times)];
        loops[i].run(1);  // first use: whatever it costs to meet new code stays out of the figures
        for (u32 t = 0; t < ARRAY_LENGTH(times); t++) {
            deltas[t] = loops[i].run(times[t]);
            print("count %s instructions %u tsc %x\n", loops[i].name,
                  before_loop + times[t] * loops[i].per_round + after_loop, deltas[t]);
        }
        check_that(loops[i].name, deltas[4] > deltas[2]);
        if (hv_present()) {
            u64 per_million = (deltas[3] - deltas[2]) * 1000000 / (times[3] - times[2]);
            u64 expected = deltas[3] + per_million * (times[4] - times[3]) / 1000000;
            check_between("proportional", deltas[4], expected - expected / 50, expected + expected / 50);
        } else {
            check_skip("proportional");
        }
    }
    // Time never stands still nor goes back.
    u64 last = rdtsc();
    u32 backward = 0;
    for (u32 i = 0; i < 10000; i++) {
        u64 now = rdtsc();
        backward += now <= last;
        last = now;
    }
    check_equal("tsc_strictly_increases", backward, 0);
    if (hv_present() && (hv_edx() & hv_edx_frequencies)) {
        // Reference time and TSC run at the rates that are told.
        u64 hz = rdmsr(hv_msr_tsc_frequency), tsc = rdtsc(), time = hv_reference_time();
        delay_tsc(hz / 100);
        u64 cycles = rdtsc() - tsc, units = hv_reference_time() - time;
        check_between("reference_rate", units * (hz / 10000000) / (cycles / 1000), 995, 1005);
    } else {
        check_skip("reference_rate");
    }
    guest_end();
}
