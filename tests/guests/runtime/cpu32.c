// 32-bit guests: descriptor tables, trap dispatch, start.
#include "cpu32.h"

#include "x86.h"

struct trap_record trap;
u64 gdt[gdt_entries] ALIGNED(16);
struct tss32 tss ALIGNED(16), tss2 ALIGNED(16);
struct idt_gate idt[256] ALIGNED(16);
u8 ring0_stack[4096] ALIGNED(16), user_stack[4096] ALIGNED(16);
static trap_handler* handlers[256];
extern char trap_stubs[];
extern u32 recover_esp, catching;
u32 trap_entry(struct trap_frame* frame);
void runtime_start32(void);

void set_gate(int vector, u8 type) {
    u32 address = (u32)trap_stubs + 16u * (u32)vector;
    idt[vector] = (struct idt_gate){
        .offset_low = (u16)address, .selector = sel_code, .type = type, .offset_high = (u16)(address >> 16)};
}

void load_idt(void* base, u16 limit) {
    struct PACKED {
        u16 limit;
        u32 base;
    } pointer = {limit, (u32)base};
    __asm__ volatile("lidt %0" : : "m"(pointer));
}

void set_handler(int vector, trap_handler* handler) {
    handlers[vector] = handler;
}

// Returns 0 to resume the interrupted code, or the stack with which trap_catch ends.
u32 trap_entry(struct trap_frame* frame) {
    if (handlers[frame->vector & 0xFF]) {
        handlers[frame->vector & 0xFF](frame);
        return 0;
    }
    if (!catching) {
        print("unexpected trap %x error %x eip %x cs %x cr2 %x\n", (u64)frame->vector, (u64)frame->error,
              (u64)frame->eip, (u64)frame->cs, (u64)read_cr2());
        guest_panic("trap %x at %x", frame->vector, frame->eip);
    }
    catching = 0;
    bool outer = (frame->cs & 3) != 0 || (frame->eflags & 0x20000);
    u32 size = outer ? sizeof(*frame) : __builtin_offsetof(struct trap_frame, esp);
    memset(&trap, 0, sizeof(trap));
    memcpy(&trap.frame, frame, size);
    trap.cr2 = read_cr2();
    trap.dr6 = frame->vector == vector_db ? read_dr6() : 0;
    trap.stack = (u32)frame + size;
    return recover_esp;
}

void group_expect_trap(bool trapped, u32 vector, u32 error, const void* eip) {
    group_expect("trapped", trapped, 1);
    if (!trapped) return;
    group_expect("vector", trap.frame.vector, vector);
    group_expect("error", trap.frame.error, error);
    if (eip) group_expect("eip", trap.frame.eip, (u32)eip);
}

void check_trap(const char* name, void* code, u32 argument, u32 vector, u32 error, const void* eip) {
    group_begin(name);
    group_expect_trap(trap_catch(code, argument), vector, error, eip);
    group_end();
}

static u64 tss_descriptor(const struct tss32* segment) {
    u64 base = (u32)segment;
    return (sizeof(*segment) - 1) | (base & 0xFFFFFF) << 16 | 0x890000000000 | (base >> 24) << 56;
}

void runtime_start32(void) {
    gdt[1] = 0x00CF9B000000FFFF;
    gdt[2] = 0x00CF93000000FFFF;
    gdt[3] = 0x00CFFB000000FFFF;
    gdt[4] = 0x00CFF3000000FFFF;
    gdt[5] = tss_descriptor(&tss);
    gdt[6] = tss_descriptor(&tss2);
    gdt[7] = 0x00009B000000FFFF;
    gdt[8] = 0x000093000000FFFF;
    tss.esp0 = (u32)ring0_stack + sizeof(ring0_stack);
    tss.ss0 = sel_data;
    tss.io_map_base = __builtin_offsetof(struct tss32, io_map);
    memset(tss.io_map, 0xFF, sizeof(tss.io_map));
    struct PACKED {
        u16 limit;
        u32 base;
    } pointer = {sizeof(gdt) - 1, (u32)gdt};
    __asm__ volatile("lgdt %0" : : "m"(pointer));
    __asm__ volatile("lldt %w0" : : "r"(0));
    __asm__ volatile("ltr %w0" : : "r"(sel_tss));
    for (int vector = 0; vector < 256; vector++) set_gate(vector, gate_interrupt);
    set_gate(vector_user_done, gate_interrupt | gate_user);
    load_idt(idt, sizeof(idt) - 1);
    guest_main();
    guest_panic("guest_main returned", 0, 0);
}
