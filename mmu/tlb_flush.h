// Which cached translations an instruction, a control-register write or a hypercall must remove: SDM volume 3A, 4.10.4
// and volume 3C, 28.4.3; APM volume 2, 15.16; TLFS, "Virtual MMU". The same description serves TLBs (by address) and
// paging-structure caches (always whole contexts: 4.10.4.1 removes those of the current PCID whatever the address).
#pragma once

#include <optional>

#include "mmu/paging.h"

namespace mmu {

// Who a cached translation belongs to. `slat` names the second level (0: none), `vmid` the VPID or ASID (0: the host
// itself).
struct TlbContext {
    u16 slat = 0;
    u16 vmid = 0;
    u16 pcid = 0;  // twelve bits

    static constexpr u64 global_bit = u64{1} << 12;
    [[nodiscard]] constexpr u64 tag() const { return u64{slat} << 32 | u64{vmid} << 16 | (pcid & 0xfff); }
    [[nodiscard]] constexpr u64 global_tag() const { return u64{slat} << 32 | u64{vmid} << 16 | global_bit; }
    // The context of another process of the same virtual processor.
    [[nodiscard]] constexpr TlbContext with_pcid(u16 other) const { return {slat, vmid, other}; }

    bool operator==(const TlbContext&) const = default;
    template <class A>
    void fields(A& a) {
        a(slat, vmid, pcid);
    }
};

// Removes the entries of which every given property matches.
struct TlbFlush {
    bool any_slat = true;
    bool any_vmid = true;
    bool any_pcid = true;
    bool keep_global = false;  // spare global pages
    bool keep_host = false;    // spare VMID 0
    bool one_address = false;  // TLBs: only the page that holds gva
    TlbContext context{};      // the values of what is not "any"
    u64 gva = 0;

    [[nodiscard]] constexpr bool matches_tag(u64 tag) const {
        const TlbContext of{static_cast<u16>(tag >> 32), static_cast<u16>(tag >> 16), static_cast<u16>(tag & 0xfff)};
        if (!any_slat && of.slat != context.slat) return false;
        if (!any_vmid && of.vmid != context.vmid) return false;
        if (keep_host && of.vmid == 0) return false;
        if (tag & TlbContext::global_bit) return !keep_global;
        return any_pcid || of.pcid == context.pcid;
    }
};

namespace flush {

// Everything, of everybody: reset; AMD TLB_CONTROL 1.
[[nodiscard]] constexpr TlbFlush everything() {
    return {};
}

// INVLPG: the page in the current process, and global.
[[nodiscard]] constexpr TlbFlush invlpg(const TlbContext& current, u64 gva) {
    return {.any_vmid = false, .any_pcid = false, .one_address = true, .context = current, .gva = gva};
}

// All of one virtual processor, or all but its global pages.
[[nodiscard]] constexpr TlbFlush processor(const TlbContext& current, bool keep_global) {
    return {.any_vmid = false, .keep_global = keep_global, .context = current};
}

// One process of one virtual processor, without or with global pages.
[[nodiscard]] constexpr TlbFlush process(const TlbContext& of, bool keep_global) {
    return {.any_vmid = false, .any_pcid = false, .keep_global = keep_global, .context = of};
}

// MOV to CR3. `loaded` has the new PCID; no_flush is bit 63 of the operand, which counts only with CR4.PCIDE set.
[[nodiscard]] constexpr std::optional<TlbFlush> mov_cr3(const TlbContext& loaded, bool pcide, bool no_flush) {
    if (pcide && no_flush) return std::nullopt;
    return process(loaded, true);
}

// MOV to CR4, and any other change of mode: by what differs.
[[nodiscard]] constexpr std::optional<TlbFlush> mode_change(const TlbContext& current, const PagingState& before,
                                                            const PagingState& after) {
    const u64 cr4_changed = before.cr4 ^ after.cr4;
    const bool everything = ((before.cr0 ^ after.cr0) & cr0::pg) || ((before.efer ^ after.efer) & efer::lma) ||
                            (cr4_changed & (cr4::pge | cr4::pae | cr4::pse | cr4::la57)) ||
                            (before.cr4 & ~after.cr4 & cr4::pcide);
    if (everything) return processor(current, false);
    if (after.cr4 & ~before.cr4 & cr4::smep) return process(current, false);
    return std::nullopt;
}

// INVPCID by its type; nothing for a type above 3, which is #GP.
[[nodiscard]] constexpr std::optional<TlbFlush> invpcid(u64 type, const TlbContext& current, u16 pcid, u64 gva) {
    switch (type) {
        case 0: {
            TlbFlush page = process(current.with_pcid(pcid), true);
            page.one_address = true;
            page.gva = gva;
            return page;
        }
        case 1:
            return process(current.with_pcid(pcid), true);
        case 2:
            return processor(current, false);
        case 3:
            return processor(current, true);
        default:
            return std::nullopt;
    }
}

// INVVPID by its type; nothing for an invalid type or VPID 0 where one is named, which is VMfail.
[[nodiscard]] constexpr std::optional<TlbFlush> invvpid(u64 type, u16 vpid, u64 gva) {
    if (type > 3 || (type != 2 && vpid == 0)) return std::nullopt;
    if (type == 2) return TlbFlush{.keep_host = true};
    TlbFlush flush = processor({.vmid = vpid}, type == 3);
    if (type == 0) {
        flush.one_address = true;
        flush.gva = gva;
    }
    return flush;
}

// INVEPT: 1 names a second level, 2 means all. Nothing for another type. (Nested caches are flushed with it: see
// slat/translation_unit.h.)
[[nodiscard]] constexpr std::optional<TlbFlush> invept(u64 type, u16 slat) {
    if (type == 1) return TlbFlush{.any_slat = false, .context = {.slat = slat}};
    if (type == 2) return TlbFlush{};
    return std::nullopt;
}

// AMD: TLB_CONTROL in the control block, at VMRUN. Nothing for 0 and for reserved values.
[[nodiscard]] constexpr std::optional<TlbFlush> tlb_control(u8 value, u16 asid) {
    switch (value) {
        case 1:
            return everything();
        case 3:
            return processor({.vmid = asid}, false);
        case 7:
            return processor({.vmid = asid}, true);
        default:
            return std::nullopt;
    }
}

// HvCallFlushVirtualAddressSpace for one virtual processor: one address space or all, with or without global pages.
[[nodiscard]] constexpr TlbFlush hypercall_space(const TlbContext& processor_context, bool all_spaces,
                                                 bool non_global_only) {
    return all_spaces ? processor(processor_context, non_global_only) : process(processor_context, non_global_only);
}

// One page of HvCallFlushVirtualAddressList's ranges.
[[nodiscard]] constexpr TlbFlush hypercall_page(const TlbContext& processor_context, bool all_spaces,
                                                bool non_global_only, u64 gva) {
    TlbFlush page = hypercall_space(processor_context, all_spaces, non_global_only);
    page.one_address = true;
    page.gva = gva;
    return page;
}

}  // namespace flush

}  // namespace mmu
