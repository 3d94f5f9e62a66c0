// What every guest shares: fixed-width types, output on the serial port, the list of checks, the command line and the
// exit. Compiled for 32-bit and 64-bit guests alike, so nothing here divides 64-bit integers (there is no libgcc).
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long s64;
typedef __SIZE_TYPE__ usize;
typedef __UINTPTR_TYPE__ uptr;
typedef _Bool bool;
#define true ((bool)1)
#define false ((bool)0)
#define NULL ((void*)0)

#define ARRAY_LENGTH(a) (sizeof(a) / sizeof((a)[0]))
#define ALIGNED(n) __attribute__((aligned(n)))
#define PACKED __attribute__((packed))
#define NORETURN __attribute__((noreturn))
#define PAGE_SIZE 4096u

void* memset(void* destination, int value, usize size);
void* memcpy(void* destination, const void* source, usize size);
void* memmove(void* destination, const void* source, usize size);
int memcmp(const void* a, const void* b, usize size);
bool text_equal(const char* a, const char* b);

// Output. `print` knows %s (text), %u (u32, decimal), %x (u64, hexadecimal with 0x) and %%.
void print(const char* format, ...);

// How the loader started us (start32.S fills these in; boot_info.c reads the two protocols).
enum { boot_multiboot = 0x2BADB002, boot_pvh = 0x336EC578 };
struct entry_state {
    u32 magic, info;
    u32 cr0, cr4, eflags;
    u32 cs, ds, es, ss;
};
extern struct entry_state entry_state;
const char* command_line(void);
u64 memory_bytes(void);                       // end of the RAM that begins at 1 MiB, in bytes
u64 option(const char* name, u64 otherwise);  // NAME=NUMBER on the command line, decimal or 0x
extern char image_start[], image_constant_end[], image_file_end[], image_end[];

// Checks. Each prints one line: "ok NAME", "FAIL NAME got X want Y" or "skip NAME".
void guest_begin(const char* name);
void check_that(const char* name, bool holds);
void check_equal(const char* name, u64 got, u64 want);
void check_between(const char* name, u64 got, u64 low, u64 high);
void check_skip(const char* name);
u32 check_count(void);  // so far, skipped ones too
// A check of several values: the first one that differs is reported as NAME.FIELD.
void group_begin(const char* name);
void group_expect(const char* field, u64 got, u64 want);
void group_end(void);
// Prints "guest NAME: N checks passed, M failed", then ends the machine with the number of the first failed check, or
// 0.
void guest_end(void) NORETURN;
void guest_exit(u32 value) NORETURN;
// For what must not happen: says so and fails the guest.
void guest_panic(const char* format, u64 a, u64 b) NORETURN;

void guest_main(void);  // each guest defines it
