// The parts of the random guest: draws, and the actions made of them.
#pragma once
#include "guest.h"

enum { scratch_bytes = 16 * 4096 };
extern u8 scratch[scratch_bytes];

u64 random_u64(void);
u32 random_below(u32 limit);
u64 random_value(void);
u64 random_gpa(void);

enum action_kind {
    action_read_msr,
    action_write_msr,
    action_cpuid,
    action_in,
    action_out,
    action_hypercall,
    action_instruction,
    action_xmm_hypercall,
};
// Everything is drawn before the action runs, so that a trap half-way changes nothing of what follows.
struct action {
    enum action_kind kind;
    u32 number, size;
    u64 value, input, output;
};
void choose_action(struct action* action);
void perform_action(struct action* action);
