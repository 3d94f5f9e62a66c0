// The guest's side of the Hyper-V interface (TLFS): detection, hypercalls, SynIC pages, reference time.
#pragma once
#include "guest.h"

enum {
    hv_msr_guest_os_id = 0x40000000,
    hv_msr_hypercall = 0x40000001,
    hv_msr_vp_index = 0x40000002,
    hv_msr_vp_runtime = 0x40000010,
    hv_msr_time_ref_count = 0x40000020,
    hv_msr_reference_tsc = 0x40000021,
    hv_msr_tsc_frequency = 0x40000022,
    hv_msr_apic_frequency = 0x40000023,
    hv_msr_eoi = 0x40000070,
    hv_msr_icr = 0x40000071,
    hv_msr_tpr = 0x40000072,
    hv_msr_vp_assist = 0x40000073,
    hv_msr_scontrol = 0x40000080,
    hv_msr_sversion = 0x40000081,
    hv_msr_siefp = 0x40000082,
    hv_msr_simp = 0x40000083,
    hv_msr_eom = 0x40000084,
    hv_msr_sint0 = 0x40000090,
    hv_msr_stimer0_config = 0x400000B0,  // + 2n
    hv_msr_stimer0_count = 0x400000B1,
    hv_msr_guest_idle = 0x400000F0,
    hv_msr_crash_p0 = 0x40000100,
    hv_msr_crash_control = 0x40000105,
};
// CPUID 0x40000003 EAX, EDX and 0x40000004 EAX.
enum {
    hv_eax_runtime = 1 << 0,
    hv_eax_reference_counter = 1 << 1,
    hv_eax_synic = 1 << 2,
    hv_eax_stimer = 1 << 3,
    hv_eax_apic = 1 << 4,
    hv_eax_hypercall = 1 << 5,
    hv_eax_vp_index = 1 << 6,
    hv_eax_reference_tsc = 1 << 9,
    hv_eax_idle = 1 << 10,
    hv_eax_frequencies = 1 << 11,
    hv_edx_xmm_input = 1 << 4,
    hv_edx_frequencies = 1 << 8,
    hv_edx_crash = 1 << 10,
    hv_edx_xmm_output = 1 << 15,
    hv_edx_stimer_direct = 1 << 19,
    hv_hint_ex_masks = 1 << 11,
};
enum {
    hv_success = 0,
    hv_invalid_code = 2,
    hv_invalid_input = 3,
    hv_invalid_alignment = 4,
    hv_invalid_parameter = 5,
    hv_access_denied = 6,
    hv_invalid_connection = 0x12,
};
#define HV_FAST (1ull << 16)
#define HV_REPS(count, start) ((u64)(count) << 32 | (u64)(start) << 48)
#define HV_VARIABLE(words) ((u64)(words) << 17)
#define HV_STATUS(result) ((result)&0xFFFF)
#define HV_DONE(result) ((result) >> 32 & 0xFFF)
#define HV_SELF_PARTITION 0xFFFFFFFFFFFFFFFFull
#define HV_GUEST_OS_ID 0x8100000601B00000ull  // what a Linux 6.1 says: open source, Linux

bool hv_present(void);
u32 hv_eax(void);
u32 hv_ebx(void);
u32 hv_edx(void);
u32 hv_hints(void);

// Names the guest operating system and enables the hypercall page. False when there is no Hyper-V.
bool hv_set_up_hypercalls(void);
extern u8 hv_hypercall_page[4096];
u64 hv_call(u64 control, u64 input, u64 output);
// With XMM0..5 loaded from, and after it stored to, six 16-byte cells.
u64 hv_call_xmm(u64 control, u64 input, u64 output, void* cells);

struct hv_message {
    u32 type;
    u8 payload_size, flags;
    u16 reserved;
    u64 origin;
    u8 payload[240];
};
enum { hv_message_timer_expired = 0x80000010u, hv_message_pending = 1 };
extern struct hv_message hv_message_page[16];
extern u8 hv_event_page[4096];
void hv_synic_set_up(void);

struct hv_tsc_page {
    volatile u32 sequence;
    u32 reserved;
    volatile u64 scale;
    volatile s64 offset;
};
extern struct hv_tsc_page hv_tsc_page;
u64 hv_reference_time(void);      // by the counter MSR
u64 hv_tsc_reference_time(void);  // by the reference TSC page
