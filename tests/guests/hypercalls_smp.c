// Interrupts and translation flushes by hypercall, among several virtual processors.
#include "apic.h"
#include "cpu64.h"
#include "hypercalls.h"
#include "hyperv.h"
#include "map.h"
#include "smp.h"
#include "x86.h"

enum { vector_ipi = 0x60, writable = 3 };
static volatile u32 interrupts[max_cpus];
static void on_ipi(struct trap_frame* frame) {
    (void)frame;
    interrupts[this_cpu()->index]++;
    apic_end_of_interrupt();
}

// The other processors answer what they read through the window whenever `question` moves, without flushing themselves.
#define WINDOW 0x0000300000000000ull
static volatile u32 question, answered, ready;
static volatile u64 answers[max_cpus];
static void answer_questions(struct cpu* cpu) {
    sti();
    atomic_add(&ready, 1);
    for (u32 last = 0;;) {
        while (question == last) pause();
        last = question;
        answers[cpu->index] = *(volatile u64*)WINDOW;
        atomic_add(&answered, 1);
    }
}
static bool ask(void) {
    answered = 0;
    question = question + 1;
    return wait_for(&answered, vp_count() - 1);
}

static u64 all_mask(void) {
    return (1ull << vp_count()) - 1;
}

static void expect_interrupts(const char* name, u64 result, u64 mask) {
    group_begin(name);
    group_expect("status", HV_STATUS(result), hv_success);
    sti();
    for (u32 i = 0; i < vp_count(); i++) group_expect("arrived", wait_for(&interrupts[i], mask >> i & 1), 1);
    cli();
    delay_tsc(100000);
    for (u32 i = 0; i < vp_count(); i++) group_expect("exactly", interrupts[i], mask >> i & 1);
    group_end();
    for (u32 i = 0; i < max_cpus; i++) interrupts[i] = 0;
}

static u64 ipi_ex(u64 format, u64 banks, u64 bank) {
    clear_pages();
    input_page[0] = vector_ipi;
    input_page[1] = format;
    input_page[2] = banks;
    input_page[3] = bank;
    return hv_call(call_send_ipi_ex | HV_VARIABLE(format ? 0 : 1), (u64)input_page, 0);
}

void check_interrupts(void) {
    set_handler(vector_ipi, on_ipi);
    const u32 count = vp_count();
    check_that("others_started", count > 1 && smp_start(count, answer_questions) && wait_for(&ready, count - 1));
    expect_interrupts("ipi_to_self", hv_call(HV_FAST | call_send_ipi, vector_ipi, 1), 1);
    expect_interrupts("ipi_to_one", hv_call(HV_FAST | call_send_ipi, vector_ipi, 2), 2);
    expect_interrupts("ipi_to_all", hv_call(HV_FAST | call_send_ipi, vector_ipi, all_mask()), all_mask());
    clear_pages();
    input_page[0] = vector_ipi;
    input_page[1] = 2;
    expect_interrupts("ipi_from_memory", hv_call(call_send_ipi, (u64)input_page, 0), 2);
    expect_interrupts("ipi_ex_bank", ipi_ex(0, 1, all_mask() & ~1ull), all_mask() & ~1ull);
    expect_interrupts("ipi_ex_all", ipi_ex(1, 0, 0), all_mask());
    check_equal("ipi_vector_too_low", HV_STATUS(hv_call(HV_FAST | call_send_ipi, 0x0F, 1)), hv_invalid_parameter);
    check_equal("ipi_vector_too_high", HV_STATUS(hv_call(HV_FAST | call_send_ipi, 0x100, 1)), hv_invalid_parameter);
}

static u8 first_page[4096] ALIGNED(4096), second_page[4096] ALIGNED(4096);

// Everybody reads the first page, the entry then points to the second, the call flushes, everybody must read the
// second.
static void expect_flush(const char* name, u64 control, u64 reps) {
    map_page(WINDOW, (u64)first_page, writable);
    group_begin(name);
    u64 own = *(volatile u64*)WINDOW;
    group_expect("asked", ask(), 1);
    group_expect("own_before", own, 1);
    *map_entry(WINDOW) = (u64)second_page | writable;
    u64 result = hv_call(control, (u64)input_page, 0);
    group_expect("status", HV_STATUS(result), hv_success);
    group_expect("reps", HV_DONE(result), reps);
    group_expect("own_after", *(volatile u64*)WINDOW, 2);
    group_expect("asked_again", ask(), 1);
    for (u32 i = 1; i < vp_count(); i++) group_expect("other_after", answers[i], 2);
    group_end();
    // Leave no stale translation of the second page behind on the others.
    *map_entry(WINDOW) = (u64)first_page | writable;
    clear_pages();
    input_page[1] = flush_all_processors | flush_all_spaces;
    hv_call(call_flush_space, (u64)input_page, 0);
}

void check_flushes(void) {
    *(volatile u64*)first_page = 1;
    *(volatile u64*)second_page = 2;
    clear_pages();
    input_page[1] = flush_all_processors | flush_all_spaces;
    expect_flush("flush_space_all", call_flush_space, 0);
    clear_pages();
    input_page[0] = read_cr3();
    input_page[2] = all_mask();
    expect_flush("flush_space_one", call_flush_space, 0);

    clear_pages();
    input_page[0] = read_cr3();
    input_page[1] = flush_all_processors;
    input_page[3] = WINDOW;
    expect_flush("flush_list", call_flush_list | HV_REPS(1, 0), 1);

    // The longest list that fits, the window last, begun in the middle: what counts as completed includes what was
    // skipped.
    const u32 most = (4096 - 24) / 8;
    clear_pages();
    input_page[0] = read_cr3();
    input_page[1] = flush_all_processors;
    for (u32 i = 0; i < most; i++) input_page[3 + i] = 0x400000000000ull + i * 0x1000ull;
    input_page[3 + most - 1] = WINDOW;
    expect_flush("flush_list_longest", call_flush_list | HV_REPS(most, 0), most);
    clear_pages();
    input_page[0] = read_cr3();
    input_page[1] = flush_all_processors;
    for (u32 i = 0; i < most; i++) input_page[3 + i] = 0x400000000000ull + i * 0x1000ull;
    input_page[3 + most - 1] = WINDOW;
    expect_flush("flush_list_continued", call_flush_list | HV_REPS(most, 100), most);
    // A range: the low 12 bits are the pages after the first.
    clear_pages();
    input_page[0] = read_cr3();
    input_page[1] = flush_all_processors;
    input_page[3] = (WINDOW - 0x10000) | 0x20;
    expect_flush("flush_list_range", call_flush_list | HV_REPS(1, 0), 1);

    clear_pages();
    input_page[0] = read_cr3();
    input_page[3] = 1;  // sparse, bank 0
    input_page[4] = all_mask();
    expect_flush("flush_space_ex", call_flush_space_ex | HV_VARIABLE(1), 0);
    clear_pages();
    input_page[0] = read_cr3();
    input_page[3] = 1;
    input_page[4] = all_mask();
    input_page[5] = WINDOW;
    expect_flush("flush_list_ex", call_flush_list_ex | HV_VARIABLE(1) | HV_REPS(1, 0), 1);
    clear_pages();
    check_equal("flush_list_over_page_end",
                HV_STATUS(hv_call(call_flush_list | HV_REPS(most + 1, 0), (u64)input_page, 0)), hv_invalid_alignment);
}
