// Reports a crash the way a Linux panic does: parameters in the crash MSRs, the text by its address.
#include "cpu64.h"
#include "hyperv.h"
#include "x86.h"

#define CRASH_NOTIFY (1ull << 63)
#define CRASH_MESSAGE (1ull << 62)
static const char text[] ALIGNED(4096) = "Kernel panic - not syncing: the crash_msrs guest says so\n";

void guest_main(void) {
    guest_begin("crash_msrs");
    if (!(hv_edx() & hv_edx_crash)) {
        check_skip("parameters_keep_values");
        check_skip("supports_notify");
        check_skip("supports_message");
        check_skip("returned");
        guest_end();
    }
    wrmsr(hv_msr_guest_os_id, HV_GUEST_OS_ID);
    group_begin("parameters_keep_values");
    for (u32 i = 0; i < 5; i++) wrmsr(hv_msr_crash_p0 + i, 0x1111111111111111 * (i + 1));
    for (u32 i = 0; i < 5; i++) group_expect("parameter", rdmsr(hv_msr_crash_p0 + i), 0x1111111111111111 * (i + 1));
    group_end();
    const u64 can = rdmsr(hv_msr_crash_control);
    check_equal("supports_notify", can >> 63, 1);
    check_equal("supports_message", can >> 62 & 1, 1);
    // drivers/hv/hv_common.c hv_kmsg_dump: no code, the text's address and length.
    wrmsr(hv_msr_crash_p0, 0);
    wrmsr(hv_msr_crash_p0 + 1, 0);
    wrmsr(hv_msr_crash_p0 + 2, 0);
    wrmsr(hv_msr_crash_p0 + 3, (u64)text);
    wrmsr(hv_msr_crash_p0 + 4, sizeof(text) - 1);
    print("guest crash_msrs: reporting\n");
    wrmsr(hv_msr_crash_control, CRASH_NOTIFY | CRASH_MESSAGE);
    // A host may end the guest here, or let it go on to reset itself.
    check_that("returned", true);
    guest_end();
}
