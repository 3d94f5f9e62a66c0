// The translation hardware of one logical processor as a timing model sees it: two levels of TLB, paging-structure
// caches, nested TLB, and the two-dimensional walk that uses them all. Every access asks look_up(); a miss tells which
// memory references the walk made, for the cache model to charge.
//
// Nothing here is needed for a correct translation: with all caches empty the answers are those of
// slat/two_dimensional.h. A fault is found by a walk from both roots, so that no stale entry can cause one.
#pragma once

#include <array>
#include <span>

#include "mmu/paging_structure_cache.h"
#include "mmu/tlb.h"
#include "slat/nested_cache.h"
#include "slat/two_dimensional.h"

namespace slat {

struct TranslationUnitConfig {
    mmu::TlbConfig tlb = mmu::TlbConfig::sandy_bridge();
    mmu::PagingStructureCacheConfig structures;
    NestedCacheConfig nested;
    // True: walks leave accessed and dirty flags alone. For a unit that only measures, beside an executor that
    // translates, and sets flags, by itself.
    bool leave_flags = false;
};

// One memory reference of a walk.
struct Reference {
    u64 spa = 0;
    u8 bytes = 8;
    bool write = false;   // an accessed or dirty flag being set
    bool nested = false;  // of a second-level entry

    bool operator==(const Reference&) const = default;
};

enum class LookUp : u8 {
    l1,     // first-level TLB
    l2,     // second-level TLB
    walk,   // the tables were walked: references()
    fault,  // the walk failed: last_walk() tells how, references() what it read
};

class TranslationUnit final {
public:
    TranslationUnit(const TranslationUnitConfig& config, SystemMemory memory);

    // What the processor runs: at VM entry, and whenever a control register changes. Flushes nothing.
    void set_context(const mmu::PagingState& state, const SecondLevel& second, u16 slat, u16 vmid);
    // EFLAGS.AC alone, which changes often (STAC, CLAC).
    void set_ac(bool ac);
    [[nodiscard]] const mmu::PagingState& paging_state() const { return state_; }
    [[nodiscard]] const mmu::TlbContext& context() const { return context_; }

    struct Result {
        LookUp level = LookUp::fault;
        u8 page_shift = mmu::shift_4k;  // of the entry
        u8 guest_type = 0;              // PAT << 2 | PCD << 1 | PWT of the guest's leaf
        u8 host_type = 0;               // the second level's memory type; bit 3: ignore PAT
        u64 spa = 0;

        [[nodiscard]] bool ok() const { return level != LookUp::fault; }
    };

    // One access of up to a page's end. Accesses that cross a page are two.
    [[nodiscard, gnu::always_inline]] Result look_up(u64 gva, mmu::AccessKind kind) {
        gva &= address_mask_;
        const mmu::Tlb::Result hit = tlb_.find(gva, tags_, *masks_, kind);
        if (hit.level != mmu::TlbLevel::miss) [[likely]] {
            ++(hit.level == mmu::TlbLevel::l1 ? counts_.l1_hits : counts_.l2_hits);
            return from_entry(hit.level == mmu::TlbLevel::l1 ? LookUp::l1 : LookUp::l2, gva, hit.shift, hit.entry);
        }
        return walk(gva, kind);
    }

    // Of the last look_up() that walked.
    [[nodiscard]] std::span<const Reference> references() const { return {references_.data(), reference_count_}; }
    [[nodiscard]] const TwoDimensionalWalk& last_walk() const { return last_walk_; }

    // Removes what an instruction or hypercall names (mmu/tlb_flush.h) from the TLBs and paging-structure caches.
    void flush(const mmu::TlbFlush& what);
    // INVEPT, and any edit of second-level tables that narrows them: combined and guest-physical mappings.
    void flush_second_level(u16 slat);
    void flush_all();

    struct Counts {
        u64 l1_hits = 0;
        u64 l2_hits = 0;
        u64 walks = 0;
        u64 faults = 0;
        u64 references = 0;  // of walks
        u64 nested_hits = 0;
        u64 nested_walks = 0;

        bool operator==(const Counts&) const = default;
        template <class A>
        void fields(A& a) {
            a(l1_hits, l2_hits, walks, faults, references, nested_hits, nested_walks);
        }
    };
    [[nodiscard]] const Counts& counts() const { return counts_; }

    [[nodiscard]] const mmu::Tlb& tlb() const { return tlb_; }
    [[nodiscard]] const mmu::PagingStructureCache& structures() const { return structures_; }
    [[nodiscard]] const NestedCache& nested() const { return nested_; }

    template <class A>
    void fields(A& a) {
        a(tlb_, structures_, nested_, state_, second_, context_, counts_);
        if constexpr (A::reading) set_context(state_, second_, context_.slat, context_.vmid);
    }

private:
    struct Walker;
    friend struct Walker;

    [[nodiscard]] static Result from_entry(LookUp level, u64 gva, u8 shift, const mmu::TlbEntry& entry) {
        return {level, shift, entry.guest_type(), entry.host_type(),
                entry.frame() | (gva & mmu::bit_range(0, shift - 1u))};
    }
    [[nodiscard]] Result walk(u64 gva, mmu::AccessKind kind);
    template <mmu::WalkOptions options>
    [[nodiscard]] bool walk_tables(u64 gva, mmu::AccessKind kind, bool& use_caches);
    void note(const Reference& reference) {
        if (reference_count_ < references_.size()) references_[reference_count_++] = reference;
    }

    mmu::Tlb tlb_;
    mmu::TlbContext context_;
    mmu::Tlb::Tags tags_;
    const mmu::AccessMasks* masks_ = nullptr;
    u64 address_mask_ = ~u64{0};
    Counts counts_;
    mmu::PagingStructureCache structures_;
    NestedCache nested_;
    mmu::PagingState state_;
    SecondLevel second_;
    SystemMemory memory_;
    bool leave_flags_;
    // A walk makes at most 29 reads and some updates, twice when it has to start again; the rest is dropped.
    std::array<Reference, 128> references_;
    std::size_t reference_count_ = 0;
    TwoDimensionalWalk last_walk_;
};

}  // namespace slat
