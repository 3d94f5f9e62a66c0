// The guest page walk: one function for 32-bit, PAE, 4-level and 5-level paging (SDM volume 3A, 4.3 to 4.8).
//
// The walk reads table entries through a port, so the same code serves guest memory that is physical and guest memory
// that is itself translated (slat/two_dimensional.h), where reading an entry may fail:
//
//     struct Port {
//         bool load(u64 gpa, unsigned bytes, u64& entry);   // false: a second-level fault, which the port keeps
//         EntryUpdate update(u64 gpa, unsigned bytes, u64 expected, u64 desired);   // locked compare-exchange
//     };
//
// Choices where the architecture leaves one:
// - Accessed and dirty flags are set only by a walk that succeeds as a whole, from the root down, the dirty flag
//   together with the leaf's accessed flag. (Hardware may set the accessed flags of upper entries of a failing walk.)
// - All present and reserved-bit checks come before the check of rights.
#pragma once

#include <concepts>

#include "mmu/paging.h"

namespace mmu {

enum class EntryUpdate : u8 { done, changed, fault };

template <class Port>
concept TablePort = requires(Port& port, u64 address, unsigned bytes, u64& entry) {
    { port.load(address, bytes, entry) } -> std::same_as<bool>;
    { port.update(address, bytes, address, address) } -> std::same_as<EntryUpdate>;
};

enum class WalkKind : u8 {
    ok,
    page_fault,     // #PF with error_code, CR2 = gva
    non_canonical,  // #GP(0), or #SS(0) for a stack access
    nested_fault,   // the port failed and knows why
};

struct Walk {
    WalkKind kind = WalkKind::ok;
    u8 page_shift = shift_4k;  // size of the page the guest's tables map: 12, 21, 22 or 30
    u8 memory_type_index = 0;  // PAT << 2 | PCD << 1 | PWT of the leaf: which field of IA32_PAT applies
    u16 references = 0;        // table entries read (by the pass that stands)
    u16 updates = 0;           // table entries written (accessed and dirty flags)
    u8 level = 0;              // level of the entry that ended the walk: 1 is the PTE; 0 when no table was read
    bool global = false;
    bool dirty = false;  // the leaf's dirty flag after this access: false means a write must walk again
    Rights rights;
    u32 error_code = 0;
    u64 gva = 0;  // CR2 of a fault
    u64 gpa = 0;  // of the byte at gva

    [[nodiscard]] bool ok() const { return kind == WalkKind::ok; }
};

// What a walk leaves out. Both off is the plain access of an instruction.
struct WalkOptions {
    bool leave_accessed_dirty = false;  // for debuggers and translation hypercalls: no side effect
    bool ignore_rights = false;         // translate, whatever the access would be allowed to do
};

// Called after each entry is read. The default records nothing and costs nothing.
struct NoRecorder {
    void entry(int /*level*/, u64 /*gpa*/, unsigned /*bytes*/, u64 /*entry*/) {}
};

// Where a walk begins: at the root, or below it when a paging-structure cache knows the way.
struct WalkStart {
    int level = 0;  // level of the first entry to read
    u64 table = 0;  // guest physical address of its table
    Rights rights;  // granted by the entries above
};

// How tables of one mode look. Levels count from 1 (PTE) to 5 (PML5E); element 0 is unused.
struct TableShape {
    int top = 0;
    unsigned entry_bytes = 8;
    unsigned index_bits = 9;
    u8 large_levels = 0;                  // bit n: an entry of level n may map a page when its PS flag is set
    std::array<u64, 6> table_reserved{};  // reserved bits of a present entry that refers to a table (or a 4 KiB page)
    std::array<u64, 6> large_reserved{};  // of a present entry that maps a large page

    [[nodiscard]] static TableShape of(const PagingState& state, PagingMode mode) {
        return mode == PagingMode::bits32 ? bits32(state) : wide(state, mode);
    }

private:
    // 4.3: nothing is reserved but, in a 4 MiB leaf, bit 21 and the part of bits 20:13 that would address past the
    // physical address space. PSE-36 is offered: bits 20:13 are address bits 39:32.
    static TableShape bits32(const PagingState& state) {
        TableShape shape{.top = 2, .entry_bytes = 4, .index_bits = 10};
        if (state.cr4 & cr4::pse) {
            shape.large_levels = 1u << 2;
            const unsigned address_bits = state.phys_bits < 40 ? state.phys_bits : 40;
            shape.large_reserved[2] = bit_range(address_bits - 19, 21);
        }
        return shape;
    }

    // 4.4.2, 4.5.4. Bits 62:52 are reserved in PAE paging, ignored in 4-level and 5-level paging.
    static TableShape wide(const PagingState& state, PagingMode mode) {
        TableShape shape;
        const bool pae = mode == PagingMode::pae;
        shape.top = pae ? 2 : mode == PagingMode::level5 ? 5 : 4;
        u64 everywhere = state.phys_bits < 52 ? bit_range(state.phys_bits, 51) : 0;
        if (pae) everywhere |= bit_range(52, 62);
        if (!state.no_execute()) everywhere |= pte::no_execute;
        shape.table_reserved.fill(everywhere);
        shape.large_reserved.fill(everywhere);
        shape.large_levels = 1u << 2;
        shape.large_reserved[2] |= bit_range(13, 20);
        shape.large_reserved[3] |= bit_range(13, 29);
        if (pae) return shape;
        const u64 table_global = state.table_global_reserved ? pte::global : 0;
        shape.table_reserved[3] |= table_global;
        shape.table_reserved[4] |= table_global | pte::large;
        shape.table_reserved[5] |= table_global | pte::large;
        if (state.gib_pages) {
            shape.large_levels |= 1u << 3;
        } else {
            shape.table_reserved[3] |= pte::large;
        }
        return shape;
    }
};

// 4.4.1: the four PDPTE registers of PAE paging are loaded by MOV to CR3 (and by the changes of CR0 and CR4 that
// enable PAE paging); a present PDPTE with a reserved bit set is #GP(0) and leaves the registers as they were.
enum class PdpteLoad : u8 { ok, general_protection, nested_fault };

[[nodiscard]] constexpr u64 pdpte_reserved(u8 phys_bits) {
    return bit_range(1, 2) | bit_range(5, 8) | bit_range(phys_bits, 63);
}

template <TablePort Port>
[[nodiscard]] PdpteLoad load_pdptes(PagingState& state, Port& port) {
    std::array<u64, 4> loaded{};
    for (unsigned i = 0; i < 4; ++i) {
        if (!port.load((state.cr3 & 0xffff'ffe0) + 8 * i, 8, loaded[i])) return PdpteLoad::nested_fault;
    }
    for (const u64 entry : loaded) {
        if ((entry & pte::present) && (entry & pdpte_reserved(state.phys_bits))) return PdpteLoad::general_protection;
    }
    state.pdpte = loaded;
    return PdpteLoad::ok;
}

namespace detail {

struct VisitedEntry {
    u64 gpa;
    u64 entry;
};

[[nodiscard]] inline u64 leaf_base(u64 entry, int level, PagingMode mode) {
    if (level == 1) return entry & pte::address;
    if (mode == PagingMode::bits32) return (entry & 0xffc0'0000) | (entry >> 13 & 0xff) << 32;
    return entry & pte::address & ~bit_range(0, level == 2 ? 20 : 29);
}

// One pass from `start` to the leaf. Returns true when the pass stands: a fault, or a success whose accessed and
// dirty flags are all in place. False: an entry changed under the walk (a table that contains itself), walk again.
template <WalkOptions options, class Port, class Recorder>
bool walk_pass(Walk& walk, const PagingState& state, PagingMode mode, const TableShape& shape, const WalkStart& start,
               AccessKind kind, [[maybe_unused]] bool last_pass, Port& port, Recorder& recorder) {
    std::array<VisitedEntry, 6> visited;
    walk.references = 0;
    const u64 index_mask = (u64{1} << shape.index_bits) - 1;
    Rights rights = start.rights;
    u64 table = start.table;
    u64 entry = 0;
    int level = start.level;
    u8 shift = static_cast<u8>(12 + shape.index_bits * static_cast<unsigned>(level - 1));
    const auto page_fault = [&](u32 why) {
        walk.kind = WalkKind::page_fault;
        walk.error_code = why | fault_code_of_access(state, kind);
    };
    for (;; --level, shift = static_cast<u8>(shift - shape.index_bits)) {
        const u64 gpa = table + (walk.gva >> shift & index_mask) * shape.entry_bytes;
        walk.level = static_cast<u8>(level);
        if (!port.load(gpa, shape.entry_bytes, entry)) {
            walk.kind = WalkKind::nested_fault;
            return true;
        }
        ++walk.references;
        recorder.entry(level, gpa, shape.entry_bytes, entry);
        visited[static_cast<unsigned>(level)] = {gpa, entry};
        if (!(entry & pte::present)) {
            page_fault(0);
            return true;
        }
        const bool large = (shape.large_levels >> level & 1) && (entry & pte::large);
        const unsigned at = static_cast<unsigned>(level);
        if (entry & (large ? shape.large_reserved[at] : shape.table_reserved[at])) {
            page_fault(fault::present | fault::reserved);
            return true;
        }
        rights.writable = rights.writable && (entry & pte::writable);
        rights.user = rights.user && (entry & pte::user);
        rights.executable = rights.executable && !(entry & pte::no_execute);
        if (large || level == 1) break;
        table = entry & pte::address;
    }
    if (!options.ignore_rights && !rights_allow(state, rights, kind)) {
        page_fault(fault::present);
        return true;
    }
    bool dirty = entry & pte::dirty;
    if constexpr (!options.leave_accessed_dirty) {
        dirty = dirty || kind.access == Access::write;
        for (int at = start.level; at >= level; --at) {
            const VisitedEntry& old = visited[static_cast<unsigned>(at)];
            u64 desired = old.entry | pte::accessed;
            if (at == level && dirty) desired |= pte::dirty;
            if (desired == old.entry) continue;
            switch (port.update(old.gpa, shape.entry_bytes, old.entry, desired)) {
                case EntryUpdate::done:
                    ++walk.updates;
                    break;
                case EntryUpdate::changed:
                    if (!last_pass) return false;
                    break;
                case EntryUpdate::fault:
                    walk.kind = WalkKind::nested_fault;
                    walk.level = static_cast<u8>(at);
                    return true;
            }
        }
    }
    walk.page_shift = shift;
    walk.rights = rights;
    walk.dirty = dirty;
    walk.global = (entry & pte::global) && (state.cr4 & cr4::pge);
    const u64 pat = level == 1 ? entry >> 7 & 1 : entry >> 12 & 1;
    walk.memory_type_index = static_cast<u8>(pat << 2 | (entry >> 3 & 3));
    walk.gpa = leaf_base(entry, level, mode) | (walk.gva & bit_range(0, shift - 1u));
    return true;
}

}  // namespace detail

// The first entry a walk from the root reads. False: PAE paging, and the PDPTE register is not present.
[[nodiscard]] inline bool walk_root(const PagingState& state, PagingMode mode, u64 gva, WalkStart& start) {
    switch (mode) {
        case PagingMode::none:
            start = {};
            return true;
        case PagingMode::bits32:
            start = {2, state.cr3 & 0xffff'f000, {}};
            return true;
        case PagingMode::pae: {
            const u64 pdpte = state.pdpte[gva >> 30 & 3];
            start = {2, pdpte & pte::address, {}};
            return pdpte & pte::present;
        }
        case PagingMode::level4:
        case PagingMode::level5:
            start = {
                mode == PagingMode::level5 ? 5 : 4, state.cr3 & pte::address & bit_range(0, state.phys_bits - 1u), {}};
            return true;
    }
    return false;
}

// Walks from a given place. A paging-structure cache that supplies it has checked that the address is canonical.
template <WalkOptions options = WalkOptions{}, TablePort Port, class Recorder>
[[nodiscard]] Walk walk_from(const PagingState& state, const WalkStart& start, u64 gva, AccessKind kind, Port& port,
                             Recorder& recorder) {
    const PagingMode mode = state.mode();
    const TableShape shape = TableShape::of(state, mode);
    Walk walk;
    walk.gva = gva;
    // Each further pass happens because the last one set a flag in an entry that the walk uses twice, and there are
    // few of those; a port that claims more changes is believed no longer.
    constexpr int max_passes = 64;
    for (int pass = 1;
         !detail::walk_pass<options>(walk, state, mode, shape, start, kind, pass == max_passes, port, recorder);
         ++pass) {
    }
    return walk;
}

// Translates one access at `gva`. Outside long mode the address is 32 bits wide: upper bits of `gva` are ignored.
template <WalkOptions options = WalkOptions{}, TablePort Port, class Recorder>
[[nodiscard]] Walk walk(const PagingState& state, u64 gva, AccessKind kind, Port& port, Recorder& recorder) {
    const PagingMode mode = state.mode();
    if (mode < PagingMode::level4) {
        gva &= 0xffff'ffff;
    } else if (!is_canonical(gva, mode)) {
        Walk result;
        result.kind = WalkKind::non_canonical;
        result.gva = gva;
        return result;
    }
    Walk result;
    result.gva = gva;
    if (mode == PagingMode::none) {
        result.page_shift = shift_1g;
        result.dirty = true;
        result.gpa = gva;
        return result;
    }
    WalkStart start;
    if (!walk_root(state, mode, gva, start)) {
        result.kind = WalkKind::page_fault;
        result.error_code = fault_code_of_access(state, kind);
        result.level = 3;
        return result;
    }
    return walk_from<options>(state, start, gva, kind, port, recorder);
}

template <WalkOptions options = WalkOptions{}, TablePort Port>
[[nodiscard]] Walk walk(const PagingState& state, u64 gva, AccessKind kind, Port& port) {
    NoRecorder recorder;
    return walk<options>(state, gva, kind, port, recorder);
}

// The same translation without side effects, for debuggers and hypercalls: flags stay as they are.
template <TablePort Port>
[[nodiscard]] Walk translate(const PagingState& state, u64 gva, AccessKind kind, Port& port) {
    return walk<WalkOptions{.leave_accessed_dirty = true}>(state, gva, kind, port);
}

// Guest memory that is host memory: no second level, no second-level faults.
class PhysicalPort final {
public:
    explicit PhysicalPort(SystemMemory memory) : memory_(memory) {}

    bool load(u64 gpa, unsigned bytes, u64& entry) {
        entry = bytes == 4 ? memory_.load<u32>(gpa) : memory_.load<u64>(gpa);
        return true;
    }
    // An update outside memory vanishes like any other store there.
    EntryUpdate update(u64 gpa, unsigned bytes, u64 expected, u64 desired) {
        u64 now = 0;
        load(gpa, bytes, now);
        if (now != expected) return EntryUpdate::changed;
        if (bytes == 4) {
            memory_.store<u32>(gpa, static_cast<u32>(desired));
        } else {
            memory_.store<u64>(gpa, desired);
        }
        return EntryUpdate::done;
    }

private:
    SystemMemory memory_;
};

}  // namespace mmu
