// Tables come from a fixed pool and are never given back.
#include "map.h"

#include "x86.h"

enum { pool_tables = 48, permissive = 7 };
static u64 pool[pool_tables][512] ALIGNED(4096);
static u32 used;
extern u64 boot_pml4[512];

u64* map_entry(u64 address) {
    u64* table = boot_pml4;
    for (u32 level = 4; level > 1; level--) {
        u64* entry = &table[address >> (12 + 9 * (level - 1)) & 511];
        if (!*entry) {
            if (used == pool_tables) guest_panic("no page table left for %x", address, 0);
            *entry = (u64)pool[used++] | permissive;
        }
        table = (u64*)(*entry & 0x000FFFFFFFFFF000ull);
    }
    return &table[address >> 12 & 511];
}

void map_page(u64 address, u64 physical, u64 flags) {
    *map_entry(address) = physical | flags;
    invlpg((void*)address);
}
