// 32-bit guests: descriptor tables, traps and code run under observation, in protected mode on one processor.
#pragma once
#include "guest.h"

enum {
    sel_code = 0x08,
    sel_data = 0x10,
    sel_user_code = 0x18 | 3,
    sel_user_data = 0x20 | 3,
    sel_tss = 0x28,
    sel_tss2 = 0x30,    // the task of a task gate
    sel_code16 = 0x38,  // for the way to real mode
    sel_data16 = 0x40,
    sel_scratch0 = 0x48,  // free for tests, as are the two after it
    sel_scratch1 = 0x50,
    sel_scratch2 = 0x58,
    gdt_entries = 12,
};
enum { vector_user_done = 0x81 };

struct trap_frame {
    u32 edi, esi, ebp, esp_unused, ebx, edx, ecx, eax;
    u32 vector, error;
    u32 eip, cs, eflags;
    u32 esp, ss;  // only when the trap came from an outer ring
};

struct PACKED tss32 {
    u16 link, reserved0;
    u32 esp0, ss0, esp1, ss1, esp2, ss2;
    u32 cr3, eip, eflags, eax, ecx, edx, ebx, esp, ebp, esi, edi;
    u32 es, cs, ss, ds, fs, gs, ldt;
    u16 debug_trap, io_map_base;
    u8 io_map[0x2000 / 8 + 1];
};

struct trap_record {
    struct trap_frame frame;
    u32 cr2, dr6;
    u32 stack;  // ESP before the error code and the frame were pushed
};
extern struct trap_record trap;
extern u64 gdt[gdt_entries];
extern struct tss32 tss, tss2;
extern u8 ring0_stack[4096], user_stack[4096];

struct PACKED idt_gate {
    u16 offset_low, selector;
    u8 zero, type;
    u16 offset_high;
};
extern struct idt_gate idt[256];
enum { gate_interrupt = 0x8E, gate_trap = 0x8F, gate_task = 0x85, gate_user = 0x60 };
void set_gate(int vector, u8 type);
void load_idt(void* base, u16 limit);
typedef void trap_handler(struct trap_frame* frame);
void set_handler(int vector, trap_handler* handler);

// Runs fn(argument in EAX). True: it trapped, and `trap` tells how.
bool trap_catch(void* fn, u32 argument);
bool run_user(void* fn, u32 argument);
void check_trap(const char* name, void* code, u32 argument, u32 vector, u32 error, const void* eip);
void group_expect_trap(bool trapped, u32 vector, u32 error, const void* eip);

#define SNIPPET(name, before, instruction, after)                                                                  \
    void name(void);                                                                                               \
    extern const char name##_at[], name##_after[];                                                                 \
    __asm__(".pushsection .text\n.globl " #name "\n" #name ":\n" before "\n" #name "_at:\n" instruction "\n" #name \
            "_after:\n" after "\n ret\n.popsection\n")
