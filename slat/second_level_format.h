// The two second-level table formats as numbers.
// Extended page tables: Intel SDM volume 3C, 28.3 (29.3 in editions since 2023). Nested page tables: AMD APM volume 2,
// 15.25; the tables themselves are those of long-mode paging (mmu/paging.h).
#pragma once

#include "mmu/paging.h"

namespace slat {

using mmu::u16;
using mmu::u32;
using mmu::u64;
using mmu::u8;

// EPT entries (tables 28-1 to 28-6).
namespace ept {
inline constexpr u64 read = u64{1} << 0;
inline constexpr u64 write = u64{1} << 1;
inline constexpr u64 execute = u64{1} << 2;
inline constexpr u64 rights = read | write | execute;
inline constexpr unsigned memory_type_shift = 3;  // bits 5:3 of an entry that maps a page
inline constexpr u64 memory_type_mask = u64{7} << memory_type_shift;
inline constexpr u64 ignore_pat = u64{1} << 6;
inline constexpr u64 large = u64{1} << 7;
inline constexpr u64 accessed = u64{1} << 8;
inline constexpr u64 dirty = u64{1} << 9;
inline constexpr u64 address = mmu::pte::address;

// The EPT pointer (table 25-9).
inline constexpr u64 eptp_memory_type_mask = 7;
inline constexpr u64 eptp_walk_length_4 = u64{3} << 3;
inline constexpr u64 eptp_accessed_dirty = u64{1} << 6;
}  // namespace ept

// EPT memory types; 2, 3 and 7 are reserved.
enum class MemoryType : u8 {
    uncacheable = 0,
    write_combining = 1,
    write_through = 4,
    write_protected = 5,
    write_back = 6,
};

// Exit qualification of an EPT violation (table 28-7; 27-7 in older editions).
namespace qualification {
inline constexpr u64 data_read = u64{1} << 0;
inline constexpr u64 data_write = u64{1} << 1;
inline constexpr u64 fetch = u64{1} << 2;
inline constexpr u64 readable = u64{1} << 3;  // bits 5:3: AND over the entries; all clear when one is not present
inline constexpr u64 writable = u64{1} << 4;
inline constexpr u64 executable = u64{1} << 5;
inline constexpr u64 user_executable = u64{1} << 6;  // mode-based execute control, not offered: always clear
inline constexpr u64 linear_valid = u64{1} << 7;
inline constexpr u64 final_address = u64{1} << 8;  // clear: the access was to a guest paging-structure entry
// Bits 11:9 only with bits 8:7 set and advanced exit information.
inline constexpr u64 linear_user = u64{1} << 9;
inline constexpr u64 linear_writable = u64{1} << 10;
inline constexpr u64 linear_no_execute = u64{1} << 11;
}  // namespace qualification

// EXITINFO1 of #VMEXIT(NPF) (APM 15.25.6): a page-fault error code, and where the fault occurred.
namespace npf {
inline constexpr u64 present = u64{1} << 0;
inline constexpr u64 write = u64{1} << 1;
inline constexpr u64 user = u64{1} << 2;  // always set: every guest access is a user access of the nested tables
inline constexpr u64 reserved = u64{1} << 3;
inline constexpr u64 fetch = u64{1} << 4;
inline constexpr u64 final_address = u64{1} << 32;
inline constexpr u64 guest_table = u64{1} << 33;
}  // namespace npf

}  // namespace slat
