// 64-bit guests: per-processor state, descriptor tables, traps, and code run under observation.
#pragma once
#include "guest.h"

// Selectors; the user ones are in the order that SYSRET wants.
enum {
    sel_code64 = 0x08,
    sel_data = 0x10,
    sel_code32 = 0x18,
    sel_user_code32 = 0x20 | 3,
    sel_user_data = 0x28 | 3,
    sel_user_code64 = 0x30 | 3,
    sel_tss = 0x38,       // 16 bytes
    sel_scratch0 = 0x48,  // free for tests, as are the two after it
    sel_scratch1 = 0x50,
    sel_scratch2 = 0x58,
    gdt_entries = 12,
};
enum { ist_double_fault = 1, ist_nmi = 2, ist_test = 3, ist_other = 4 };
enum { vector_user_done = 0x81 };  // int $0x81 from CPL 3 ends run_user

struct trap_frame {
    u64 r15, r14, r13, r12, r11, r10, r9, r8, rbp, rdi, rsi, rdx, rcx, rbx, rax;
    u64 vector, error;
    u64 rip, cs, rflags, rsp, ss;
};

struct PACKED tss64 {
    u32 reserved0;
    u64 rsp[3];
    u64 ist[8];  // [0] is reserved
    u64 reserved2;
    u16 reserved3, io_map_base;
    u8 io_map[0x2000 / 8 + 1];  // ports 0..0x1FFF
};

struct cpu {
    struct cpu* self;  // at %gs:0
    u64 recover_rsp;   // offsets 8 and 16 are known to traps64.S
    u64 catching;
    u32 index, apic_id;
    struct trap_frame trap;  // the last caught trap
    u64 trap_cr2, trap_dr6, trap_stack;
    volatile u32 online;
    u64 gdt[gdt_entries];
    struct tss64 tss ALIGNED(16);
    u8 trap_stack_area[8][4096] ALIGNED(16);  // [0] = RSP0, [n] = IST n
    u8 main_stack[16384] ALIGNED(16);
};
enum { max_cpus = 16 };
extern struct cpu cpus[max_cpus];

static inline struct cpu* this_cpu(void) {
    struct cpu* cpu;
    __asm__ volatile("mov %%gs:0, %0" : "=r"(cpu));
    return cpu;
}
static inline u64 rsp0_top(struct cpu* cpu) {
    return (u64)cpu->trap_stack_area[1];
}
static inline u64 ist_top(struct cpu* cpu, int ist) {
    return (u64)cpu->trap_stack_area[ist] + 4096;
}

// Loads this processor's GDT, TSS, IDT and GS base.
void cpu_set_up(struct cpu* cpu);

struct PACKED idt_gate {
    u16 offset_low, selector;
    u8 ist, type;
    u16 offset_middle;
    u32 offset_high, reserved;
};
extern struct idt_gate idt[256];
enum { gate_interrupt = 0x8E, gate_trap = 0x8F, gate_user = 0x60 };
extern char trap_stubs[];  // 16 bytes each
void set_gate(int vector, u8 type, int ist);
void load_idt(void* base, u16 limit);

// A handler returns to the interrupted code. Without one, a trap inside trap_catch ends it, and any other is a panic.
typedef void trap_handler(struct trap_frame* frame);
void set_handler(int vector, trap_handler* handler);

// Runs fn(argument). True: it trapped, and this_cpu()->trap tells how. Registers, stack and flags are as before the
// call.
bool trap_catch(void* fn, u64 argument);
// The same at CPL 3 on a user stack, in 64-bit code or in 32-bit code; `int $0x81` ends it.
bool run_user(void* fn, u64 argument);
bool run_user32(void* fn, u64 argument);
extern u8 user_stack[8192];
// One check: code trapped with this vector, error code and saved RIP.
void check_trap(const char* name, void* code, u64 argument, u64 vector, u64 error, const void* rip);
// A group's part of it, after trap_catch or run_user.
void group_expect_trap(bool trapped, u64 vector, u64 error, const void* rip);

// A function in assembly: NAME runs `before`, then one instruction of interest between NAME_at and NAME_after.
#define SNIPPET(name, before, instruction, after)                                                                  \
    void name(void);                                                                                               \
    extern const char name##_at[], name##_after[];                                                                 \
    __asm__(".pushsection .text\n.globl " #name "\n" #name ":\n" before "\n" #name "_at:\n" instruction "\n" #name \
            "_after:\n" after "\n ret\n.popsection\n")
