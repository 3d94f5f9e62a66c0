// The parts of the paging_permissions guest, and its window: one 4 KiB page far above the identity map, whose entry at
// each level the tests set as they like.
#pragma once
#include "guest.h"

enum {
    pte_present = 1,
    pte_write = 2,
    pte_user = 4,
    pte_accessed = 0x20,
    pte_dirty = 0x40,
    pte_large = 0x80,
    pte_global = 0x100,
};
#define PTE_NX (1ull << 63)

#define WINDOW 0x0000123456789000ull
#define WINDOW_LARGE 0x0000123456600000ull  // the 2 MiB region around it

extern u64 window_pdpt[512], window_pd[512], window_pt[512];
extern u8 target_page[4096], other_page[4096];
u64* window_entry(u32 level);  // 4 = PML4E ... 1 = PTE
// Sets the entries of all levels to permissive ones and the PTE to target_page with `flags`; flushes.
void window_set(u64 flags);
void flush_all(void);
void kernel_is_user(bool user);  // the user bit over the whole identity map

// Accesses under observation; the argument is the address.
void access_read(void), access_write(void), access_call(void);
void user_access_read(void), user_access_write(void), user_access_call(void);
enum { no_fault = 0x1000 };
// The error code of the page fault that the access gives, no_fault, or something odd for other traps.
u64 fault_of(void* code, u64 address);
u64 user_fault_of(void* code, u64 address);

void check_features(void);  // paging_features.c: SMEP, SMAP, PCID, global pages, large pages
