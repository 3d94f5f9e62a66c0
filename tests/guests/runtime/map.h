// 4 KiB mappings outside the identity map of the low 4 GiB, in the address space of all processors.
#pragma once
#include "guest.h"

// The page-table entry of `address` (from 0x8000000000 up), tables made as needed. Set it, then flush.
u64* map_entry(u64 address);
// Maps one page with these flags and drops the old translation on this processor.
void map_page(u64 address, u64 physical, u64 flags);
