// Real mode entered from protected mode and left again: vector table, exceptions, interrupts, addressing.
#include "apic.h"
#include "cpu32.h"
#include "x86.h"

enum { real_address = 0x7000, other_table = 0x6000 };
extern char real_image[], real_image_end[], real_stubs[], real_elsewhere[], real_gdt_pointer[], real_records[];
extern char real_msw[], real_sp[], real_far_cs[], real_port[], real_unreal[], real_high[], real_wide[], real_cpuid[],
    real_efer[];
void real_run(void);

struct record {
    u16 vector, ip, flags, cs, flags_inside, seen, unused[2];
};

static u32 copied(const char* symbol) {
    return real_address + (u32)(symbol - real_image);
}
static u32 word(const char* symbol) {
    return *(volatile u32*)copied(symbol);
}
static u32 half(const char* symbol) {
    return *(volatile u16*)copied(symbol);
}
static const volatile struct record* record(u32 number) {
    return (const volatile struct record*)copied(real_records) + number;
}

static void set_vector(u32 table, u32 vector, u32 segment, u32 offset) {
    u32 address = table + vector * 4;
    __asm__ volatile("movl %0, (%1)" : : "r"(segment << 16 | offset), "r"(address) : "memory");
}

static void prepare(void) {
    memcpy((void*)real_address, real_image, (u32)(real_image_end - real_image));
    for (u32 vector = 0; vector <= 0x50; vector++) set_vector(0, vector, 0, copied(real_stubs) + vector * 8);
    set_vector(0, 0x41, 0x0700, (u32)(real_elsewhere - real_image));
    // The other table knows vector 0x42 as the handler of 0x43.
    set_vector(other_table, 0x42, 0, copied(real_stubs) + 0x43 * 8);
    *(volatile u16*)copied(real_gdt_pointer) = sizeof(gdt) - 1;
    __asm__ volatile("movl %0, (%1)" : : "r"(gdt), "r"(copied(real_gdt_pointer) + 2) : "memory");
}

// The instruction ends `length` bytes before the place where the test resumes; a fault saves its start instead.
static void check_record(const char* name, u32 number, u32 vector, const u8* opcode, u32 length, bool fault) {
    const volatile struct record* r = record(number);
    group_begin(name);
    group_expect("seen", r->seen, 1);
    group_expect("vector", r->vector, vector);
    group_expect("cs", r->cs, 0);
    group_expect("flags_inside", r->flags_inside & (flag_if | flag_tf), 0);
    const u8* at = (const u8*)(u32)(r->ip - (fault ? 0 : length));
    for (u32 i = 0; i < length; i++) group_expect("ip", at[i], opcode[i]);
    group_end();
}

static void check_round(void) {
    static const u8 int_40[] = {0xCD, 0x40}, div_cx[] = {0xF7, 0xF1}, ud2[] = {0x0F, 0x0B}, int3[] = {0xCC},
                    into[] = {0xCE}, bound[] = {0x62, 0x06}, nop[] = {0x90}, int_42[] = {0xCD, 0x42};
    check_record("int_n", 0, 0x40, int_40, 2, false);
    check_equal("int_n_saves_if", record(0)->flags & flag_if, flag_if);
    check_record("divide_error", 1, vector_de, div_cx, 2, true);
    check_record("ud2", 2, vector_ud, ud2, 2, true);
    check_record("int3", 3, vector_bp, int3, 1, false);
    check_record("into", 4, vector_of, into, 1, false);
    check_record("bound", 5, vector_br, bound, 2, true);
    check_record("single_step", 6, vector_db, nop, 1, false);
    check_equal("single_step_saves_tf", record(6)->flags & flag_tf, flag_tf);
    group_begin("handler_in_other_segment");
    group_expect("vector", record(7)->vector, 0x41);
    group_expect("cs", record(7)->cs, 0x0700);
    group_end();
    check_record("pending_interrupt", 8, 0x50, nop, 1, false);
    check_record("moved_vector_table", 9, 0x43, int_42, 2, false);
    check_record("beyond_vector_table", 10, vector_gp, int_42, 2, true);

    check_equal("pe_clear", half(real_msw) & 1, 0);
    check_equal("unreal_es", word(real_unreal), *(volatile u32*)image_start);
    check_equal("segment_times_16", *(volatile u32*)0x12350, 0xCAFEF00D);
    check_equal("string_move", (u32)memcmp((void*)0x12360, "Verdigri", 8), 0);
    check_equal("above_1_mib", word(real_high), *(volatile u32*)image_start);
    check_equal("wide_address", word(real_wide), 0x69726769);
    check_equal("far_call", half(real_far_cs), 0x0700);
    check_equal("stack_balanced", half(real_sp), 0x7000);
    check_equal("cpuid", word(real_cpuid), cpuid(0, 0).ebx);
    check_equal("rdmsr", word(real_efer), (u32)rdmsr(msr_efer));
    check_equal("port", half(real_port), 0xFF);
}

void guest_main(void) {
    guest_begin("realmode");
    apic_set_up_best();
    for (u32 round = 0; round < 2; round++) {
        prepare();
        apic_send(0, icr_self | icr_assert | 0x50);
        check_that("pending_before", apic_vector_bit(apic_irr, 0x50));
        real_run();
        check_that("in_service_after", apic_vector_bit(apic_isr, 0x50));
        apic_end_of_interrupt();
        check_round();
    }
    guest_end();
}
