// Hypercall conventions (TLFS chapter 3): the page, the control word, register, memory and XMM input, rep calls, status
// codes.
#include "hypercalls.h"

#include "cpu64.h"
#include "hyperv.h"
#include "smp.h"
#include "x86.h"

u64 input_page[512] ALIGNED(4096), output_page[512] ALIGNED(4096);
void clear_pages(void) {
    memset(input_page, 0, sizeof(input_page));
    memset(output_page, 0, sizeof(output_page));
}
u32 vp_count(void) {
    return smp_count();
}

static u64 status(u64 control, u64 input, u64 output) {
    return HV_STATUS(hv_call(control, input, output));
}
static u64 in(void) {
    return (u64)input_page;
}
static u64 out(void) {
    return (u64)output_page;
}

SNIPPET(enable_hypercalls, "movl $0x40000001, %ecx\n movl %edi, %eax\n xorl %edx, %edx", "wrmsr", "");
SNIPPET(user_hypercall, "movl $0x10008, %ecx\n xorl %edx, %edx", "call *%rdi", "int $0x81");

static void check_page(void) {
    // Without a guest operating system there is no hypercall page, whether the write is refused or ignored.
    wrmsr(hv_msr_guest_os_id, 0);
    trap_catch(enable_hypercalls, (u64)hv_hypercall_page | 1);
    check_equal("not_without_guest_os_id", rdmsr(hv_msr_hypercall) & 1, 0);
    check_that("set_up", hv_set_up_hypercalls());
    check_equal("page_kept", rdmsr(hv_msr_hypercall) & ~0xFFEull, (u64)hv_hypercall_page | 1);

    group_begin("from_ring3_is_ud");
    group_expect_trap(run_user(user_hypercall, (u64)hv_hypercall_page), vector_ud, 0, NULL);
    group_expect("in_the_page", (this_cpu()->trap.rip & ~0xFFFull), (u64)hv_hypercall_page);
    group_end();

    // Moved, the page works at the new place; with the identity cleared it is gone.
    static u8 other[4096] ALIGNED(4096);
    wrmsr(hv_msr_hypercall, (u64)other | 1);
    u64 result;
    u64 control = HV_FAST | call_notify_long_spin;
    __asm__ volatile("xorl %%edx, %%edx\n call *%2"
                     : "=a"(result), "+c"(control)
                     : "r"(other)
                     : "rdx", "r8", "r9", "r10", "r11", "memory");
    check_equal("page_moved", HV_STATUS(result), hv_success);
    wrmsr(hv_msr_guest_os_id, 0);
    check_equal("identity_cleared_disables", rdmsr(hv_msr_hypercall) & 1, 0);
    hv_set_up_hypercalls();
    check_equal("enabled_again", status(HV_FAST | call_notify_long_spin, 0, 0), hv_success);
}

static void check_control(void) {
    static const struct {
        const char* name;
        u64 control, status;
    } cases[] = {
        {"code_0", 0, hv_invalid_code},
        {"unknown_code", 0x7777, hv_invalid_code},
        {"unknown_code_fast", HV_FAST | 0x7777, hv_invalid_code},
        {"unknown_extended_code", 0x8FFF, hv_invalid_code},
        {"simple_fast_call", HV_FAST | call_notify_long_spin, hv_success},
        {"reserved_bit_27", HV_FAST | call_notify_long_spin | 1ull << 27, hv_invalid_input},
        {"reserved_bit_30", HV_FAST | call_notify_long_spin | 1ull << 30, hv_invalid_input},
        {"reserved_bit_44", HV_FAST | call_notify_long_spin | 1ull << 44, hv_invalid_input},
        {"reserved_bit_60", HV_FAST | call_notify_long_spin | 1ull << 60, hv_invalid_input},
        {"reserved_bit_63", HV_FAST | call_notify_long_spin | 1ull << 63, hv_invalid_input},
        {"simple_call_with_reps", HV_FAST | call_notify_long_spin | HV_REPS(1, 0), hv_invalid_input},
        {"rep_start_beyond_count", call_flush_list | HV_REPS(2, 3), hv_invalid_input},
    };
    clear_pages();
    for (u32 i = 0; i < ARRAY_LENGTH(cases); i++)
        check_equal(cases[i].name, status(cases[i].control, in(), 0), cases[i].status);
}

static void check_pointers(void) {
    clear_pages();
    const u64 post = call_post_message;
    check_equal("input_unaligned", status(post, in() + 4, 0), hv_invalid_alignment);
    check_equal("input_unaligned_by_1", status(post, in() + 1, 0), hv_invalid_alignment);
    check_equal("input_over_page_end", status(post, in() + 4096 - 128, 0), hv_invalid_alignment);
    check_equal("input_outside_gpa_space", status(post, 1ull << 60, 0), hv_invalid_alignment);
}

static void check_messages(void) {
    clear_pages();
    u32* message = (u32*)input_page;
    message[0] = 0x00ABCDEF;  // nobody's connection
    message[2] = 1;
    message[3] = 16;
    check_equal("post_to_nobody", status(call_post_message, in(), 0), hv_invalid_connection);
    message[3] = 241;
    check_equal("post_too_long", status(call_post_message, in(), 0), hv_invalid_parameter);
    check_equal("signal_nobody_fast", status(HV_FAST | call_signal_event, 0x00ABCDEF, 0), hv_invalid_connection);
    clear_pages();
    input_page[0] = 0x00ABCDEF;
    check_equal("signal_nobody_memory", status(call_signal_event, in(), 0), hv_invalid_connection);
}

static void check_registers_kept(void) {
    // All but RAX, RCX, RDX, R8 to R11 and the flags.
    static u64 kept[8];
    __asm__ volatile(
        "pushq %%rbx\n pushq %%rbp\n"
        "movq $0x11, %%rbx\n movq $0x22, %%rbp\n movq $0x33, %%rsi\n movq $0x44, %%rdi\n"
        "movq $0x55, %%r12\n movq $0x66, %%r13\n movq $0x77, %%r14\n movq $0x88, %%r15\n"
        "movl $0x10008, %%ecx\n xorl %%edx, %%edx\n xorl %%r8d, %%r8d\n"
        "movl $hv_hypercall_page, %%eax\n call *%%rax\n"
        "movq %%rbx, %0\n movq %%rbp, 8+%0\n movq %%rsi, 16+%0\n movq %%rdi, 24+%0\n"
        "movq %%r12, 32+%0\n movq %%r13, 40+%0\n movq %%r14, 48+%0\n movq %%r15, 56+%0\n"
        "popq %%rbp\n popq %%rbx\n"
        : "=m"(kept)
        :
        : "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "memory");
    group_begin("registers_kept");
    for (u32 i = 0; i < 8; i++) group_expect("register", kept[i], (i + 1) * 0x11);
    group_end();
    static u64 cells[12], before[12];
    for (u32 i = 0; i < 12; i++) cells[i] = before[i] = 0x0101010101010101 * i;
    hv_call_xmm(HV_FAST | call_notify_long_spin, 0, 0, cells);
    check_equal("xmm_kept", (u64)memcmp(cells, before, sizeof(cells)), 0);
}

// The caller's own registers: a child that may not (privilege AccessVpRegisters, EBX bit 17) is told so.
static void check_own_registers(void) {
    enum { register_vp_index = 0x00090003, register_rip = 0x00020010 };
    clear_pages();
    input_page[0] = HV_SELF_PARTITION;
    ((u32*)input_page)[2] = 0xFFFFFFFE;  // HV_VP_INDEX_SELF
    ((u32*)input_page)[4] = register_vp_index;
    memset(output_page, 0xEE, sizeof(output_page));
    u64 result = hv_call(call_get_vp_registers | HV_REPS(1, 0), in(), out());
    group_begin("own_vp_registers");
    if (hv_ebx() >> 17 & 1) {
        group_expect("status", HV_STATUS(result), hv_success);
        group_expect("reps", HV_DONE(result), 1);
        group_expect("value", output_page[0], 0);
    } else {
        group_expect("status", HV_STATUS(result), hv_access_denied);
        group_expect("reps", HV_DONE(result), 0);
        group_expect("untouched", output_page[0], 0xEEEEEEEEEEEEEEEE);
    }
    group_end();
    clear_pages();
    u64 expected = hv_ebx() >> 1 & 1 ? hv_success : hv_access_denied;
    check_equal("get_partition_id", status(call_get_partition_id, 0, out()), expected);
    if (hv_ebx() >> 20 & 1) {
        check_equal("query_capabilities", status(call_query_capabilities, 0, out()), hv_success);
    } else {
        u64 refused = status(call_query_capabilities, 0, out());
        check_that("query_capabilities", refused == hv_access_denied || refused == hv_invalid_code);
    }
}

static void check_xmm_input(void) {
    static u64 cells[12] ALIGNED(16);
    if (!(hv_edx() & hv_edx_xmm_input)) {
        // Without XMM input, a fast call whose input needs more than 16 bytes is refused.
        check_equal("xmm_absent", HV_STATUS(hv_call_xmm(HV_FAST | call_flush_space, 0, flush_all_spaces, cells)),
                    hv_invalid_input);
        check_skip("xmm_flush_list");
        check_skip("xmm_ipi_ex");
        return;
    }
    // Flush space: address space in RDX, flags in R8, processor mask in XMM0.
    cells[0] = 1;
    check_equal("xmm_flush_space", HV_STATUS(hv_call_xmm(HV_FAST | call_flush_space, 0, flush_all_spaces, cells)),
                hv_success);
    // Flush list: the same header, then ranges from the upper half of XMM0 on.
    for (u32 i = 1; i < 12; i++) cells[i] = 0x200000ull * i;
    cells[0] = 1;
    u64 result = hv_call_xmm(HV_FAST | call_flush_list | HV_REPS(11, 0), 0, flush_all_spaces, cells);
    group_begin("xmm_flush_list");
    group_expect("status", HV_STATUS(result), hv_success);
    group_expect("reps", HV_DONE(result), 11);
    group_end();
    // IPI by VP set: vector, format, bank mask, bank 0 (none set).
    memset(cells, 0, sizeof(cells));
    cells[0] = 1;
    check_equal("xmm_ipi_ex", HV_STATUS(hv_call_xmm(HV_FAST | call_send_ipi_ex | HV_VARIABLE(1), 0x60, 0, cells)),
                hv_success);
}

void guest_main(void) {
    guest_begin("hypercalls");
    if (!hv_present()) {
        for (u32 i = 0; i < hypercalls_checks; i++) check_skip("no_hyperv");
        guest_end();
    }
    write_cr4(read_cr4() | cr4_osfxsr);
    check_page();
    check_control();
    check_pointers();
    check_messages();
    check_registers_kept();
    check_own_registers();
    check_xmm_input();
    check_interrupts();
    check_flushes();
    guest_end();
}
