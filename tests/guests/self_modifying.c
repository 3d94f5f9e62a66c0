// Code that changes: by itself, from another page, across a page boundary, by another processor, through an alias, by
// remapping; and accesses that cross into a page that faults.
#include "apic.h"
#include "cpu64.h"
#include "map.h"
#include "smp.h"
#include "x86.h"

typedef u32 function(void);
static u8 code[4 * 4096] ALIGNED(4096);
static u8 second_code[2 * 4096] ALIGNED(4096);

// mov $value, %eax; ret at `place`.
static void put_function(u8* place, u32 value) {
    place[0] = 0xB8;
    memcpy(place + 1, &value, 4);
    place[5] = 0xC3;
}
static u32 call(const void* place) {
    return ((function*)(uptr)place)();
}

// The store changes the immediate of the very next instruction. SDM vol. 3 §9.1.3: the same linear address needs no
// more.
u32 patch_next(u32 value);
u32 patch_ahead(u32 value);
u32 patch_by_string(u32 value);
u32 patch_behind(u32 value);
__asm__(
    ".text\n.balign 64\n"
    "patch_next: movl %edi, 1f + 1\n"
    "1: movl $0x11111111, %eax\n ret\n"
    ".balign 64\n"
    "patch_ahead: movl %edi, 2f + 1\n jmp 1f\n nop\n nop\n"
    "1: nop\n 2: movl $0x22222222, %eax\n ret\n"
    ".balign 64\n"
    "patch_by_string: movl %edi, %eax\n movl $1f + 1, %edi\n movl $1, %ecx\n cld\n rep stosl\n"
    "1: movl $0x33333333, %eax\n ret\n"
    // A loop whose earlier instruction is changed by a later one: round 1 adds 1, rounds 2..4 add the new value.
    ".balign 64\n"
    "patch_behind: xorl %eax, %eax\n movl $4, %ecx\n movb $1, 1f + 2\n"
    "1: addl $1, %eax\n movb %dil, 1b + 2\n decl %ecx\n jnz 1b\n ret\n");

static void check_itself(void) {
    group_begin("next_instruction");
    for (u32 i = 1; i < 20; i++) group_expect("value", patch_next(i * 0x01010101), i * 0x01010101);
    group_end();
    group_begin("same_page_ahead");
    for (u32 i = 1; i < 20; i++) group_expect("value", patch_ahead(i * 0x10001), i * 0x10001);
    group_end();
    group_begin("by_string_store");
    for (u32 i = 1; i < 20; i++) group_expect("value", patch_by_string(i * 0x30003), i * 0x30003);
    group_end();
    group_begin("earlier_in_the_loop");
    for (u32 i = 2; i < 20; i++) group_expect("sum", patch_behind(i), 1 + 3 * i);
    group_end();
}

static void check_other_page(void) {
    group_begin("other_page");
    for (u32 i = 1; i < 50; i++) {
        put_function(code + 100, i);
        group_expect("value", call(code + 100), i);
        put_function(code + 3000, i + 1000);  // same page, elsewhere: the first function stays
        group_expect("first", call(code + 100), i);
        group_expect("second", call(code + 3000), i + 1000);
    }
    group_end();
    group_begin("one_byte_at_a_time");
    put_function(code, 0);
    for (u32 i = 0; i < 4; i++) {
        ((volatile u8*)code)[1 + i] = (u8)(0x40 + i);
        group_expect("value", call(code), 0x43424140u & (0xFFFFFFFFu >> (24 - 8 * i)));
    }
    group_end();
}

// The 5-byte instruction begins `before` bytes below the boundary.
static void check_crossing(void) {
    static const char* const names[] = {"", "crossing_after_1", "crossing_after_2", "crossing_after_3",
                                        "crossing_after_4"};
    for (u32 before = 1; before <= 4; before++) {
        u8* place = code + 4096 - before;
        group_begin(names[before]);
        put_function(place, 0);
        for (u32 i = 1; i < 20; i++) {
            const u32 value = i * 0x01020304;
            // First the part on the second page alone, then the part on the first.
            for (u32 n = before - 1; n < 4; n++) ((volatile u8*)place)[1 + n] = (u8)(value >> 8 * n);
            const u32 second_part = value >> 8 * (before - 1) << 8 * (before - 1);
            group_expect("second_page", call(place) >> 8 * (before - 1) << 8 * (before - 1), second_part);
            for (u32 n = 0; n < before - 1; n++) ((volatile u8*)place)[1 + n] = (u8)(value >> 8 * n);
            group_expect("both", call(place), value);
        }
        group_end();
    }
}

enum { writable = 3 };
#define ALIAS 0x0000200000000000ull

static void check_aliases(void) {
    map_page(ALIAS, (u64)code, writable);
    map_page(ALIAS + 0x10000, (u64)code, writable);
    u8 *first = (u8*)ALIAS, *second = (u8*)(ALIAS + 0x10000);
    group_begin("aliases");
    for (u32 i = 1; i < 20; i++) {
        put_function(code + 200, i);
        group_expect("through_first", call(first + 200), i);
        put_function(first + 200, i + 100);
        group_expect("through_second", call(second + 200), i + 100);
        put_function(second + 200, i + 200);
        group_expect("through_identity", call(code + 200), i + 200);
        group_expect("through_first_again", call(first + 200), i + 200);
    }
    group_end();

    put_function(code + 300, 1);
    put_function(second_code + 300, 2);
    group_begin("remapped");
    for (u32 i = 0; i < 10; i++) {
        map_page(ALIAS, (u64)code, writable);
        group_expect("one", call(first + 300), 1);
        map_page(ALIAS, (u64)second_code, writable);
        group_expect("two", call(first + 300), 2);
    }
    group_end();

    // An instruction whose second half comes from another page when the page after it is remapped.
    put_function(code + 4096 - 3, 0xAAAA1234);
    put_function(second_code + 4096 - 3, 0xBBBB1234);
    map_page(ALIAS, (u64)code, writable);
    group_begin("second_half_remapped");
    for (u32 i = 0; i < 10; i++) {
        map_page(ALIAS + 4096, (u64)code + 4096, writable);
        group_expect("one", call(first + 4096 - 3), 0xAAAA1234);
        map_page(ALIAS + 4096, (u64)second_code + 4096, writable);
        group_expect("two", call(first + 4096 - 3), 0xBBBB1234);
    }
    group_end();
}

static volatile u32 faults, fault_error;
static volatile u64 fault_address, fault_rip;
static u64 fault_repair;
static void repair_page(struct trap_frame* frame) {
    faults++;
    fault_error = (u32)frame->error;
    fault_address = read_cr2();
    fault_rip = frame->rip;
    map_page(ALIAS + 4096, fault_repair, writable);
}

// fn(argument) with the second page absent: it faults once, is repaired and completes.
static u64 run_with_absent_second(void* fn, u64 argument, u64 physical) {
    map_page(ALIAS + 4096, 0, 0);
    faults = 0;
    fault_repair = physical;
    set_handler(vector_pf, repair_page);
    u64 result = ((u64(*)(u64))fn)(argument);
    set_handler(vector_pf, NULL);
    return result;
}
SNIPPET(load_8, "", "movq (%rdi), %rax", "");
SNIPPET(store_8, "movabsq $0x1122334455667788, %rax", "movq %rax, (%rdi)", "");
SNIPPET(add_8, "movl $1, %eax", "lock addq %rax, (%rdi)", "");
SNIPPET(exchange_8, "movabsq $0x5566, %rax", "xchgq %rax, (%rdi)", "");
SNIPPET(string_copy, "leaq second_half_source(%rip), %rsi\n movl $64, %ecx", "rep movsb", "movq %rcx, %rax");
const u8 second_half_source[64] = "0123456789012345678901234567890123456789012345678901234567890123";

static void check_faulting_second_page(void) {
    map_page(ALIAS, (u64)code, writable);
    u8* at = (u8*)ALIAS + 4096;
    put_function(code + 4096 - 2, 0x0BADCAFE);
    group_begin("fetch_across");
    group_expect("result", run_with_absent_second(at - 2, 0, (u64)code + 4096), 0x0BADCAFE);
    group_expect("faults", faults, 1);
    group_expect("error", fault_error, 0x10);
    group_expect("cr2", fault_address, (u64)at);
    group_expect("rip", fault_rip, (u64)at - 2);
    group_end();

    memset(code, 0, sizeof(code));
    *(u32*)(code + 4092) = 0x44332211;
    *(u32*)(code + 4096) = 0x88776655;
    const struct {
        const char* name;
        void* code;
        const char* rip;
        u32 error;  // 0x100: either, see engine_limits
        u64 result, memory;
    } cases[] = {
        {"load_across", load_8, load_8_at, 0, 0x8877665544332211, 0x8877665544332211},
        {"store_across", store_8, store_8_at, 2, 0x1122334455667788, 0x1122334455667788},
        {"locked_add_across", add_8, add_8_at, 0x100, 1, 0x1122334455667789},
        {"exchange_across", exchange_8, exchange_8_at, 0x100, 0x1122334455667789, 0x5566},
    };
    for (u32 i = 0; i < ARRAY_LENGTH(cases); i++) {
        group_begin(cases[i].name);
        group_expect("result", run_with_absent_second(cases[i].code, (u64)at - 4, (u64)code + 4096), cases[i].result);
        group_expect("memory", *(u64*)(code + 4092), cases[i].memory);
        group_expect("faults", faults, 1);
        if (cases[i].error != 0x100) group_expect("error", fault_error, cases[i].error);
        group_expect("cr2", fault_address, (u64)at);
        group_expect("rip", fault_rip, (u64)cases[i].rip);
        group_end();
    }
    group_begin("string_across");
    group_expect("rest", run_with_absent_second(string_copy, (u64)at - 32, (u64)code + 4096), 0);
    group_expect("copied", (u64)memcmp(code + 4096 - 32, second_half_source, 64), 0);
    group_expect("faults", faults, 1);
    group_expect("cr2", fault_address, (u64)at);
    group_end();
}

// Cross-modifying code, SDM vol. 3 §9.1.3: the other processor is told by an interrupt and serialises before it calls.
enum { vector_run = 0x70, cross_rounds = 300 };
static volatile u32 ran, other_result, other_ready;
static void on_run(struct trap_frame* frame) {
    (void)frame;
    cpuid(0, 0);
    other_result = call(code + 500);
    apic_end_of_interrupt();
    ran++;
}
static void serve(struct cpu* cpu) {
    (void)cpu;
    other_ready = 1;
    for (;;) sti_hlt();
}

// And without any interrupt: the other processor only reads a flag, then serialises and calls.
static volatile u32 turn, answer;
static void poll_and_call(struct cpu* cpu) {
    (void)cpu;
    other_ready = 1;
    for (u32 round = 1; round <= cross_rounds; round++) {
        while (turn != round) pause();
        cpuid(0, 0);
        answer = call(code + 500);
        turn = round | 0x80000000;
    }
    for (;;) sti_hlt();
}

static void check_other_processor(void) {
    set_handler(vector_run, on_run);
    group_begin("by_another_processor_interrupt");
    group_expect("started", smp_start(2, serve) && wait_for(&other_ready, 1), 1);
    for (u32 i = 1; i <= cross_rounds; i++) {
        put_function(code + 500, i * 7);
        apic_send(1, icr_fixed | icr_assert | vector_run);
        group_expect("ran", wait_for(&ran, i), 1);
        group_expect("value", other_result, i * 7);
    }
    group_end();
    cpus[1].online = other_ready = 0;
    group_begin("by_another_processor_flag");
    group_expect("started", smp_start(2, poll_and_call) && wait_for(&other_ready, 1), 1);
    for (u32 i = 1; i <= cross_rounds; i++) {
        put_function(code + 500, i * 11);
        turn = i;
        group_expect("ran", wait_for(&turn, i | 0x80000000), 1);
        group_expect("value", answer, i * 11);
    }
    group_end();
}

void guest_main(void) {
    guest_begin("self_modifying");
    check_itself();
    check_other_page();
    check_crossing();
    check_aliases();
    check_faulting_second_page();
    check_other_processor();
    guest_end();
}
