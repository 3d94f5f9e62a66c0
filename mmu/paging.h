// Guest paging as numbers: control bits, table entry bits, fault code bits, and the state that decides how a linear
// address is translated. Clauses are of the Intel SDM volume 3A, chapter 4 ("Paging"); AMD APM volume 2, chapter 5
// says the same except where noted.
#pragma once

#include <array>

#include "mmu/system_memory.h"

namespace mmu {

// Control register bits that paging reads (2.5, 2.2.1).
namespace cr0 {
inline constexpr u64 wp = u64{1} << 16;
inline constexpr u64 pg = u64{1} << 31;
}  // namespace cr0
namespace cr3 {
inline constexpr u64 pwt = u64{1} << 3;
inline constexpr u64 pcd = u64{1} << 4;
inline constexpr u64 pcid_mask = 0xfff;
inline constexpr u64 no_flush = u64{1} << 63;  // in the source operand of MOV to CR3 only, never stored
}  // namespace cr3
namespace cr4 {
inline constexpr u64 pse = u64{1} << 4;
inline constexpr u64 pae = u64{1} << 5;
inline constexpr u64 pge = u64{1} << 7;
inline constexpr u64 la57 = u64{1} << 12;
inline constexpr u64 pcide = u64{1} << 17;
inline constexpr u64 smep = u64{1} << 20;
inline constexpr u64 smap = u64{1} << 21;
}  // namespace cr4
namespace efer {
inline constexpr u64 lme = u64{1} << 8;
inline constexpr u64 lma = u64{1} << 10;
inline constexpr u64 nxe = u64{1} << 11;
}  // namespace efer

// Table entry bits (tables 4-5 to 4-20). The low twelve are the same in every format.
namespace pte {
inline constexpr u64 present = u64{1} << 0;
inline constexpr u64 writable = u64{1} << 1;
inline constexpr u64 user = u64{1} << 2;
inline constexpr u64 pwt = u64{1} << 3;
inline constexpr u64 pcd = u64{1} << 4;
inline constexpr u64 accessed = u64{1} << 5;
inline constexpr u64 dirty = u64{1} << 6;
inline constexpr u64 large = u64{1} << 7;  // PS, in an entry that may map a large page
inline constexpr u64 pat = u64{1} << 7;    // in an entry that maps a 4 KiB page
inline constexpr u64 global = u64{1} << 8;
inline constexpr u64 large_pat = u64{1} << 12;
inline constexpr u64 no_execute = u64{1} << 63;
inline constexpr u64 address = 0x000f'ffff'ffff'f000;
}  // namespace pte

// Page-fault error code (4.7).
namespace fault {
inline constexpr u32 present = 1u << 0;  // 0: an entry was not present; 1: rights or a reserved bit
inline constexpr u32 write = 1u << 1;
inline constexpr u32 user = 1u << 2;
inline constexpr u32 reserved = 1u << 3;
inline constexpr u32 fetch = 1u << 4;  // only where no-execute or SMEP is in force
inline constexpr u32 protection_key = 1u << 5;
inline constexpr u32 shadow_stack = 1u << 6;
}  // namespace fault

inline constexpr u8 shift_4k = 12;
inline constexpr u8 shift_2m = 21;
inline constexpr u8 shift_4m = 22;
inline constexpr u8 shift_1g = 30;

enum class PagingMode : u8 { none, bits32, pae, level4, level5 };

enum class Access : u8 { read, write, execute };

// Who touches memory, and how. `implicit_supervisor` is an access by the processor to a system table (descriptor
// tables, TSS) whatever the privilege level (4.6.1): it is never a user access and EFLAGS.AC does not excuse it.
struct AccessKind {
    Access access = Access::read;
    bool user = false;
    bool implicit_supervisor = false;

    [[nodiscard]] constexpr bool is_user() const { return user && !implicit_supervisor; }
    bool operator==(const AccessKind&) const = default;
};

// Everything besides the tables themselves that decides a translation.
struct PagingState {
    u64 cr0 = 0;
    u64 cr3 = 0;
    u64 cr4 = 0;
    u64 efer = 0;
    std::array<u64, 4> pdpte{};  // PAE: the registers that MOV to CR3 loads (4.4.1)
    u8 phys_bits = 46;           // MAXPHYADDR, 32 to 52
    bool ac = false;             // EFLAGS.AC
    bool gib_pages = true;       // CPUID 80000001h EDX.26: a PDPTE may map 1 GiB
    // AMD: bit 8 of a PML5E, PML4E and of a PDPTE that refers to a directory must be zero. Intel ignores it.
    bool table_global_reserved = false;

    [[nodiscard]] constexpr PagingMode mode() const {
        if (!(cr0 & cr0::pg)) return PagingMode::none;
        if (!(cr4 & cr4::pae)) return PagingMode::bits32;
        if (!(efer & efer::lma)) return PagingMode::pae;
        return cr4 & cr4::la57 ? PagingMode::level5 : PagingMode::level4;
    }
    [[nodiscard]] constexpr bool no_execute() const { return (cr4 & cr4::pae) && (efer & efer::nxe); }
    // The process-context identifier in force (4.10.1); 0 while CR4.PCIDE is clear.
    [[nodiscard]] constexpr u16 pcid() const {
        return cr4 & cr4::pcide ? static_cast<u16>(cr3 & cr3::pcid_mask) : u16{0};
    }

    bool operator==(const PagingState&) const = default;
    template <class A>
    void fields(A& a) {
        a(cr0, cr3, cr4, efer, pdpte, phys_bits, ac, gib_pages, table_global_reserved);
    }
};

// Bits [low, high] set.
[[nodiscard]] constexpr u64 bit_range(unsigned low, unsigned high) {
    return low > high ? 0 : (~u64{0} >> (63 - high)) & (~u64{0} << low);
}

// In 4-level paging bits 63:47 of an address must be equal, in 5-level paging bits 63:56 (SDM volume 1, 3.3.7.1).
[[nodiscard]] constexpr bool is_canonical(u64 gva, PagingMode mode) {
    const int unused = mode == PagingMode::level5 ? 7 : 16;
    return static_cast<u64>(static_cast<std::int64_t>(gva << unused) >> unused) == gva;
}

// What the tables grant to a page: the logical AND over all entries of its translation (4.6.1).
struct Rights {
    bool writable = true;
    bool user = true;
    bool executable = true;

    bool operator==(const Rights&) const = default;
    template <class A>
    void fields(A& a) {
        a(writable, user, executable);
    }
};

// The access rights rules of 4.6.1 in one place; the walk and the TLB both ask here.
[[nodiscard]] constexpr bool rights_allow(const PagingState& state, Rights rights, AccessKind kind) {
    if (!(state.cr0 & cr0::pg)) return true;
    if (kind.is_user()) {
        if (!rights.user) return false;
        if (kind.access == Access::write) return rights.writable;
        return kind.access == Access::read || rights.executable;
    }
    if (kind.access == Access::execute) {
        return rights.executable && !(rights.user && (state.cr4 & cr4::smep));
    }
    if (rights.user && (state.cr4 & cr4::smap) && (kind.implicit_supervisor || !state.ac)) return false;
    return kind.access == Access::read || rights.writable || !(state.cr0 & cr0::wp);
}

// The bits of a page-fault error code that tell of the access (4.7).
[[nodiscard]] constexpr u32 fault_code_of_access(const PagingState& state, AccessKind kind) {
    u32 code = 0;
    if (kind.access == Access::write) code |= fault::write;
    if (kind.is_user()) code |= fault::user;
    if (kind.access == Access::execute && (state.no_execute() || (state.cr4 & cr4::smep))) code |= fault::fetch;
    return code;
}

}  // namespace mmu
