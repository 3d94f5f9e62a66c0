// The guest's side of the Hyper-V interface. One processor at a time may enable pages.
#include "hyperv.h"

#include "x86.h"

u8 hv_hypercall_page[4096] ALIGNED(4096);
struct hv_message hv_message_page[16] ALIGNED(4096);
u8 hv_event_page[4096] ALIGNED(4096);
static u8 tsc_page_memory[4096] ALIGNED(4096);
extern struct hv_tsc_page hv_tsc_page __attribute__((alias("tsc_page_memory")));

bool hv_present(void) {
    if (!(cpuid(1, 0).ecx >> 31)) return false;
    struct cpuid_result r = cpuid(0x40000000, 0);
    return r.eax >= 0x40000005 && r.ebx == 0x7263694D && r.ecx == 0x666F736F && r.edx == 0x76482074;
}

u32 hv_eax(void) {
    return hv_present() ? cpuid(0x40000003, 0).eax : 0;
}
u32 hv_ebx(void) {
    return hv_present() ? cpuid(0x40000003, 0).ebx : 0;
}
u32 hv_edx(void) {
    return hv_present() ? cpuid(0x40000003, 0).edx : 0;
}
u32 hv_hints(void) {
    return hv_present() ? cpuid(0x40000004, 0).eax : 0;
}

bool hv_set_up_hypercalls(void) {
    if (!(hv_eax() & hv_eax_hypercall)) return false;
    wrmsr(hv_msr_guest_os_id, HV_GUEST_OS_ID);
    wrmsr(hv_msr_hypercall, (rdmsr(hv_msr_hypercall) & 0xFFE) | (u64)hv_hypercall_page | 1);
    return true;
}

u64 hv_call(u64 control, u64 input, u64 output) {
    u64 result;
    register u64 r8 __asm__("r8") = output;
    __asm__ volatile("call *%[page]"
                     : "=a"(result), "+c"(control), "+d"(input), "+r"(r8)
                     : [page] "r"(hv_hypercall_page)
                     : "cc", "memory", "r9", "r10", "r11");
    return result;
}

u64 hv_call_xmm(u64 control, u64 input, u64 output, void* cells) {
    u64 result;
    register u64 r8 __asm__("r8") = output;
    __asm__ volatile(
        "movups (%[cells]), %%xmm0\n movups 16(%[cells]), %%xmm1\n movups 32(%[cells]), %%xmm2\n"
        "movups 48(%[cells]), %%xmm3\n movups 64(%[cells]), %%xmm4\n movups 80(%[cells]), %%xmm5\n"
        "call *%[page]\n"
        "movups %%xmm0, (%[cells])\n movups %%xmm1, 16(%[cells])\n movups %%xmm2, 32(%[cells])\n"
        "movups %%xmm3, 48(%[cells])\n movups %%xmm4, 64(%[cells])\n movups %%xmm5, 80(%[cells])\n"
        : "=a"(result), "+c"(control), "+d"(input), "+r"(r8)
        : [page] "r"(hv_hypercall_page), [cells] "r"(cells)
        : "cc", "memory", "r9", "r10", "r11");
    return result;
}

void hv_synic_set_up(void) {
    wrmsr(hv_msr_simp, (u64)hv_message_page | 1);
    wrmsr(hv_msr_siefp, (u64)hv_event_page | 1);
    wrmsr(hv_msr_scontrol, 1);
}

u64 hv_reference_time(void) {
    return rdmsr(hv_msr_time_ref_count);
}

u64 hv_tsc_reference_time(void) {
    u32 sequence;
    u64 time;
    do {
        sequence = hv_tsc_page.sequence;
        if (!sequence) return hv_reference_time();
        u64 high, low;
        __asm__("mulq %3" : "=d"(high), "=a"(low) : "a"(rdtsc()), "r"(hv_tsc_page.scale));
        time = high + (u64)hv_tsc_page.offset;
    } while (hv_tsc_page.sequence != sequence);
    return time;
}
