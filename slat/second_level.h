// Second-level address translation: guest physical to system physical, in AMD's and in Intel's format, with the exit
// information a hypervisor gets when it fails.
//
// Choices where the architecture leaves one: accessed and dirty flags are set only by a translation that succeeds, from
// the root down; an accessed-flag update of a guest table entry that violates (EPT without its own A/D flags) reports a
// data write, not a read and a write.
#pragma once

#include "mmu/walk.h"
#include "slat/second_level_format.h"

namespace slat {

using mmu::Access;
using mmu::SystemMemory;

enum class Format : u8 {
    none,  // no second level: a guest physical address is a system physical address
    npt,
    ept,
};

// What the control block says of the second level: nCR3 and the host's paging state, or the EPT pointer.
struct SecondLevel {
    Format format = Format::ept;
    u64 root = 0;       // system physical address of the root table; low twelve bits ignored
    u8 phys_bits = 46;  // of the host: system physical addresses
    bool gib_pages = true;
    bool no_execute = true;          // NPT: the host's EFER.NXE
    bool accessed_dirty = true;      // EPT: EPTP bit 6. NPT tables always carry accessed and dirty flags
    bool execute_only = true;        // EPT: IA32_VMX_EPT_VPID_CAP bit 0
    bool advanced_exit_info = true;  // EPT: qualification bits 11:9

    bool operator==(const SecondLevel&) const = default;
    template <class A>
    void fields(A& a) {
        a(format, root, phys_bits, gib_pages, no_execute, accessed_dirty, execute_only, advanced_exit_info);
    }
};

// What the guest physical address is of.
enum class Purpose : u8 {
    final_address,  // the translation of a linear address
    guest_table,    // a guest paging-structure entry, read by the walk
    table_update,   // the same, to set its accessed or dirty flag
    pdpte_load,     // PAE: MOV to CR loading the PDPTE registers; no linear address is involved
};

struct Request {
    Access access = Access::read;  // of a final address; the other purposes have their own
    Purpose purpose = Purpose::final_address;
    bool linear_valid = true;  // false: a physical access of the processor that stems from no linear address
    // Of the guest's page, for the advanced exit information of a final address; as with paging off by default.
    bool linear_user = true;
    bool linear_writable = true;
    bool linear_no_execute = false;

    bool operator==(const Request&) const = default;
};

// What the second level grants: the AND over its entries.
struct PageRights {
    bool readable = true;
    bool writable = true;
    bool executable = true;

    [[nodiscard]] constexpr bool allow(bool read, bool write, bool fetch) const {
        return (!read || readable) && (!write || writable) && (!fetch || executable);
    }
    bool operator==(const PageRights&) const = default;
    template <class A>
    void fields(A& a) {
        a(readable, writable, executable);
    }
};

enum class Outcome : u8 {
    ok,
    violation,         // EPT violation or nested page fault
    misconfiguration,  // EPT only
};

struct Translation {
    Outcome outcome = Outcome::ok;
    u8 page_shift = mmu::shift_4k;
    u8 level = 0;        // level of the entry that ended the walk; 0 when none was read
    u8 memory_type = 6;  // EPT: the leaf's type. NPT: PAT << 2 | PCD << 1 | PWT of the leaf
    bool ignore_pat = false;
    bool dirty = false;  // the leaf's dirty flag after this access (true where there are no such flags)
    u16 references = 0;  // second-level entries read
    u16 updates = 0;     // second-level entries written (accessed and dirty flags)
    PageRights rights;
    u64 gpa = 0;
    u64 spa = 0;
    // The exit's information: EXITINFO1 and EXITINFO2, or exit qualification and guest-physical address.
    u64 exit_info1 = 0;
    u64 exit_info2 = 0;

    [[nodiscard]] bool ok() const { return outcome == Outcome::ok; }
};

// Where a second-level walk begins when a paging-structure cache knows part of the way.
struct Start {
    int level = 4;
    u64 table = 0;
    PageRights rights;
};

[[nodiscard]] inline Start root_of(const SecondLevel& second) {
    return {4, second.root & mmu::pte::address & mmu::bit_range(0, second.phys_bits - 1u), {}};
}

namespace detail {

// The rights an access needs, as EPT sees it: with accessed/dirty flags on, a use of a guest table is a write
// (28.3.3.2).
struct Need {
    bool read = false;
    bool write = false;
    bool fetch = false;
};

[[nodiscard]] constexpr Need need_of(const SecondLevel& second, const Request& request) {
    const bool flags = second.format == Format::npt || second.accessed_dirty;
    switch (request.purpose) {
        case Purpose::final_address:
            return {request.access == Access::read, request.access == Access::write, request.access == Access::execute};
        case Purpose::guest_table:
            return {true, flags, false};
        case Purpose::table_update:
            return {flags, true, false};
        case Purpose::pdpte_load:
            return {true, false, false};
    }
    return {};
}

[[nodiscard]] constexpr u64 violation_qualification(const SecondLevel& second, const Request& request, Need need,
                                                    bool present, PageRights rights) {
    namespace q = qualification;
    u64 info = (need.read ? q::data_read : 0) | (need.write ? q::data_write : 0) | (need.fetch ? q::fetch : 0);
    if (present) {
        info |= (rights.readable ? q::readable : 0) | (rights.writable ? q::writable : 0) |
                (rights.executable ? q::executable : 0);
    }
    if (!request.linear_valid || request.purpose == Purpose::pdpte_load) return info;
    info |= q::linear_valid;
    if (request.purpose != Purpose::final_address) return info;
    info |= q::final_address;
    if (second.advanced_exit_info) {
        info |= (request.linear_user ? q::linear_user : 0) | (request.linear_writable ? q::linear_writable : 0) |
                (request.linear_no_execute ? q::linear_no_execute : 0);
    }
    return info;
}

// 28.3.3.1: what makes a present entry a misconfiguration.
[[nodiscard]] constexpr bool ept_misconfigured(const SecondLevel& second, u64 entry, int level, bool leaf) {
    const u64 rights = entry & ept::rights;
    if ((rights & ept::write) && !(rights & ept::read)) return true;
    if (rights == ept::execute && !second.execute_only) return true;
    u64 reserved = second.phys_bits < 52 ? mmu::bit_range(second.phys_bits, 51) : 0;
    if (!leaf) {
        // Bits 6:3; and bit 7 where the entry cannot map a page.
        reserved |= mmu::bit_range(3, level == 4 || (level == 3 && !second.gib_pages) ? 7 : 6);
        return entry & reserved;
    }
    if (level == 2) reserved |= mmu::bit_range(12, 20);
    if (level == 3) reserved |= mmu::bit_range(12, 29);
    const u64 type = entry >> ept::memory_type_shift & 7;
    return (entry & reserved) || type == 2 || type == 3 || type == 7;
}

template <bool leave_flags, class Recorder>
void translate_ept(Translation& result, const SecondLevel& second, SystemMemory memory, const Start& start,
                   const Request& request, Recorder& recorder) {
    const Need need = need_of(second, request);
    std::array<u64, 5> visited;
    PageRights rights = start.rights;
    u64 table = start.table;
    u64 entry = 0;
    int level = start.level;
    const auto violation = [&](bool present) {
        result.outcome = Outcome::violation;
        result.rights = present ? rights : PageRights{false, false, false};
        result.exit_info1 = violation_qualification(second, request, need, present, rights);
    };
    // Four levels translate 48 bits; a wider address has no translation (28.3.2).
    if (result.gpa >> 48) return violation(false);
    for (;; --level) {
        const u64 spa = table + (result.gpa >> (3 + 9 * level) & 0x1ff) * 8;
        result.level = static_cast<u8>(level);
        entry = memory.load<u64>(spa);
        ++result.references;
        recorder.entry(level, spa, 8, entry);
        visited[static_cast<unsigned>(level)] = spa;
        if (!(entry & ept::rights)) return violation(false);
        const bool leaf = level == 1 || ((entry & ept::large) && (level == 2 || (level == 3 && second.gib_pages)));
        if (ept_misconfigured(second, entry, level, leaf)) {
            result.outcome = Outcome::misconfiguration;  // the exit qualification is undefined: zero
            return;
        }
        rights.readable = rights.readable && (entry & ept::read);
        rights.writable = rights.writable && (entry & ept::write);
        rights.executable = rights.executable && (entry & ept::execute);
        if (leaf) break;
        table = entry & ept::address;
    }
    if (!rights.allow(need.read, need.write, need.fetch)) return violation(true);
    result.dirty = true;
    if (second.accessed_dirty) {
        result.dirty = (entry & ept::dirty) || (need.write && !leave_flags);
        if constexpr (!leave_flags) {
            for (int at = start.level; at >= level; --at) {
                const u64 spa = visited[static_cast<unsigned>(at)];
                const u64 old = memory.load<u64>(spa);
                const u64 flags = ept::accessed | (at == level && need.write ? ept::dirty : 0);
                if ((old & flags) == flags) continue;
                memory.store<u64>(spa, old | flags);
                ++result.updates;
            }
        }
    }
    result.rights = rights;
    result.page_shift = static_cast<u8>(3 + 9 * level);
    result.memory_type = static_cast<u8>(entry >> ept::memory_type_shift & 7);
    result.ignore_pat = entry & ept::ignore_pat;
    const u64 offset = mmu::bit_range(0, result.page_shift - 1u);
    result.spa = (entry & ept::address & ~offset) | (result.gpa & offset);
}

// The host's long-mode paging, every access a user access (APM 15.25.5). A use of a guest table is a write, whatever
// the guest's access: it may have to set flags.
template <bool leave_flags, class Recorder>
void translate_npt(Translation& result, const SecondLevel& second, SystemMemory memory, const Start& start,
                   const Request& request, Recorder& recorder) {
    mmu::PagingState host;
    host.cr0 = mmu::cr0::pg | mmu::cr0::wp;
    host.cr4 = mmu::cr4::pae;
    host.efer = mmu::efer::lme | mmu::efer::lma | (second.no_execute ? mmu::efer::nxe : 0);
    host.phys_bits = second.phys_bits;
    host.gib_pages = second.gib_pages;
    host.table_global_reserved = true;
    const bool final_address = request.purpose == Purpose::final_address;
    const bool table_use = request.purpose == Purpose::guest_table || request.purpose == Purpose::table_update;
    const mmu::AccessKind kind{.access = final_address ? request.access
                                         : table_use   ? Access::write
                                                       : Access::read,
                               .user = true};
    mmu::Walk walk;
    if (result.gpa >> 48) {
        walk.kind = mmu::WalkKind::page_fault;
        walk.error_code = mmu::fault_code_of_access(host, kind);
    } else {
        mmu::PhysicalPort port(memory);
        const mmu::WalkStart from{
            start.level, start.table, {start.rights.writable, start.rights.readable, start.rights.executable}};
        walk = mmu::walk_from<mmu::WalkOptions{.leave_accessed_dirty = leave_flags}>(host, from, result.gpa, kind, port,
                                                                                     recorder);
    }
    result.level = walk.level;
    result.references = walk.references;
    result.updates = walk.updates;
    if (!walk.ok()) {
        result.outcome = Outcome::violation;
        result.rights = {false, false, false};
        result.exit_info1 = walk.error_code | (final_address ? npf::final_address : npf::guest_table);
        return;
    }
    result.rights = {walk.rights.user, walk.rights.writable, walk.rights.executable};
    result.dirty = walk.dirty;
    result.page_shift = walk.page_shift;
    result.memory_type = walk.memory_type_index;
    result.spa = walk.gpa;
}

}  // namespace detail

struct TranslateOptions {
    bool leave_flags = false;  // no accessed or dirty flag is set: for debuggers and the hypervisor's own look-ups
};

// One guest physical address through the second level, beginning at `start`. The recorder sees each entry read:
// entry(level, spa, bytes, entry), as in mmu/walk.h.
template <TranslateOptions options = TranslateOptions{}, class Recorder>
[[nodiscard]] Translation translate_from(const SecondLevel& second, SystemMemory memory, const Start& start, u64 gpa,
                                         const Request& request, Recorder& recorder) {
    Translation result;
    result.gpa = gpa;
    if (second.format == Format::ept) {
        detail::translate_ept<options.leave_flags>(result, second, memory, start, request, recorder);
    } else if (second.format == Format::npt) {
        detail::translate_npt<options.leave_flags>(result, second, memory, start, request, recorder);
    } else {
        result.page_shift = mmu::shift_1g;
        result.dirty = true;
        result.spa = gpa;
    }
    if (!result.ok()) result.exit_info2 = gpa;
    return result;
}

template <TranslateOptions options = TranslateOptions{}>
[[nodiscard]] Translation translate(const SecondLevel& second, SystemMemory memory, u64 gpa, const Request& request) {
    mmu::NoRecorder recorder;
    return translate_from<options>(second, memory, root_of(second), gpa, request, recorder);
}

// The same without side effects.
[[nodiscard]] inline Translation look_up(const SecondLevel& second, SystemMemory memory, u64 gpa,
                                         const Request& request) {
    return translate<TranslateOptions{.leave_flags = true}>(second, memory, gpa, request);
}

}  // namespace slat
