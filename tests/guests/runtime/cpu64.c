// 64-bit guests: descriptor tables, trap dispatch, start.
#include "cpu64.h"

#include "x86.h"

struct cpu cpus[max_cpus];
struct idt_gate idt[256] ALIGNED(16);
u8 user_stack[8192] ALIGNED(16);
static trap_handler* handlers[256];
extern char trap_recover[];
void trap_entry(struct trap_frame* frame);
void runtime_start64(void);

void set_gate(int vector, u8 type, int ist) {
    u64 address = (u64)trap_stubs + 16u * (u32)vector;
    idt[vector] = (struct idt_gate){
        .offset_low = (u16)address,
        .selector = sel_code64,
        .ist = (u8)ist,
        .type = type,
        .offset_middle = (u16)(address >> 16),
        .offset_high = (u32)(address >> 32),
    };
}

void load_idt(void* base, u16 limit) {
    struct PACKED {
        u16 limit;
        u64 base;
    } pointer = {limit, (u64)base};
    __asm__ volatile("lidt %0" : : "m"(pointer));
}

void set_handler(int vector, trap_handler* handler) {
    handlers[vector] = handler;
}

void cpu_set_up(struct cpu* cpu) {
    cpu->self = cpu;
    cpu->gdt[1] = 0x00AF9B000000FFFF;
    cpu->gdt[2] = 0x00CF93000000FFFF;
    cpu->gdt[3] = 0x00CF9B000000FFFF;
    cpu->gdt[4] = 0x00CFFB000000FFFF;
    cpu->gdt[5] = 0x00CFF3000000FFFF;
    cpu->gdt[6] = 0x00AFFB000000FFFF;
    u64 base = (u64)&cpu->tss;
    cpu->gdt[7] = (sizeof(cpu->tss) - 1) | (base & 0xFFFFFF) << 16 | 0x890000000000 | (base >> 24 & 0xFF) << 56;
    cpu->gdt[8] = base >> 32;
    cpu->tss.rsp[0] = rsp0_top(cpu);
    for (int i = 1; i < 8; i++) cpu->tss.ist[i] = ist_top(cpu, i);
    cpu->tss.io_map_base = __builtin_offsetof(struct tss64, io_map);
    memset(cpu->tss.io_map, 0xFF, sizeof(cpu->tss.io_map));
    struct PACKED {
        u16 limit;
        u64 base;
    } pointer = {sizeof(cpu->gdt) - 1, (u64)cpu->gdt};
    __asm__ volatile(
        "lgdt %0\n"
        "pushq %1\n"
        "leaq 1f(%%rip), %%rax\n"
        "pushq %%rax\n"
        "lretq\n"
        "1: movl %2, %%eax\n"
        "movl %%eax, %%ds\n movl %%eax, %%es\n movl %%eax, %%ss\n"
        "xorl %%eax, %%eax\n"
        "movl %%eax, %%fs\n movl %%eax, %%gs\n"
        :
        : "m"(pointer), "i"(sel_code64), "i"(sel_data)
        : "rax", "memory");
    wrmsr(msr_gs_base, (u64)cpu);
    __asm__ volatile("lldt %w0" : : "r"(0));
    __asm__ volatile("ltr %w0" : : "r"(sel_tss));
    load_idt(idt, sizeof(idt) - 1);
}

void trap_entry(struct trap_frame* frame) {
    if (handlers[frame->vector]) {
        handlers[frame->vector](frame);
        return;
    }
    struct cpu* cpu = this_cpu();
    if (!cpu->catching) {
        print("unexpected trap %x error %x rip %x cs %x rsp %x cr2 %x\n", frame->vector, frame->error, frame->rip,
              frame->cs, frame->rsp, (u64)read_cr2());
        guest_panic("trap %x at %x", frame->vector, frame->rip);
    }
    cpu->catching = 0;
    cpu->trap = *frame;
    cpu->trap_cr2 = read_cr2();
    cpu->trap_stack = (u64)(frame + 1);
    cpu->trap_dr6 = frame->vector == vector_db ? read_dr6() : 0;
    frame->rip = (u64)trap_recover;
    frame->cs = sel_code64;
    frame->ss = sel_data;
    frame->rsp = cpu->recover_rsp;
    frame->rflags = 2;
}

void group_expect_trap(bool trapped, u64 vector, u64 error, const void* rip) {
    const struct trap_frame* trap = &this_cpu()->trap;
    group_expect("trapped", trapped, 1);
    if (!trapped) return;
    group_expect("vector", trap->vector, vector);
    group_expect("error", trap->error, error);
    if (rip) group_expect("rip", trap->rip, (u64)rip);
}

void check_trap(const char* name, void* code, u64 argument, u64 vector, u64 error, const void* rip) {
    group_begin(name);
    group_expect_trap(trap_catch(code, argument), vector, error, rip);
    group_end();
}

void runtime_start64(void) {
    for (int vector = 0; vector < 256; vector++) set_gate(vector, gate_interrupt, 0);
    set_gate(vector_user_done, gate_interrupt | gate_user, 0);
    set_gate(vector_df, gate_interrupt, ist_double_fault);
    set_gate(vector_nmi, gate_interrupt, ist_nmi);
    cpus[0].online = 1;
    cpu_set_up(&cpus[0]);
    guest_main();
    guest_panic("guest_main returned", 0, 0);
}
