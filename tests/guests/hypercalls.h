// The parts of the hypercalls guest.
#pragma once
#include "guest.h"

enum { hypercalls_checks = 53 };
enum {
    call_flush_space = 0x02,
    call_flush_list = 0x03,
    call_notify_long_spin = 0x08,
    call_send_ipi = 0x0B,
    call_flush_space_ex = 0x13,
    call_flush_list_ex = 0x14,
    call_send_ipi_ex = 0x15,
    call_get_partition_id = 0x46,
    call_get_vp_registers = 0x50,
    call_set_vp_registers = 0x51,
    call_post_message = 0x5C,
    call_signal_event = 0x5D,
    call_query_capabilities = 0x8001,
};
enum { flush_all_processors = 1, flush_all_spaces = 2, flush_non_global = 4 };

extern u64 input_page[512], output_page[512];
void clear_pages(void);
u32 vp_count(void);

void check_interrupts(void);  // hypercalls_smp.c
void check_flushes(void);
