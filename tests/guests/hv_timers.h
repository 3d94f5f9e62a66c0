// The parts of the hv_timers guest.
#pragma once
#include "guest.h"
#include "hyperv.h"

enum { vector_timer0 = 0x80, timer_vectors = 8, auto_eoi_slot = 6, hv_timers_checks = 37 };
enum {
    stimer_enable = 1,
    stimer_periodic = 2,
    stimer_lazy = 4,
    stimer_auto = 8,
    stimer_direct = 1 << 12,
};
#define STIMER_VECTOR(v) ((u64)(v) << 4)
#define STIMER_SINT(n) ((u64)(n) << 16)

extern volatile u32 fired[timer_vectors];     // by vector - vector_timer0
extern volatile u64 fired_at[timer_vectors];  // reference time of the last
extern volatile u64 order_log;                // 4 bits each, newest lowest
bool wait_fired(u32 n, u32 count);            // with interrupts on
void run_until(u64 time);                     // the same, to a reference time
void reset_counts(void);

void check_direct_timers(void);
void check_message_timers(void);
