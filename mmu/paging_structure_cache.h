// Paging-structure caches: they remember where the lower tables are, so that a TLB miss reads one entry instead of four
// (SDM volume 3A, 4.10.3). An entry is made only from present table entries whose accessed flags are set, and holds the
// rights gathered on the way.
#pragma once

#include <array>

#include "mmu/associative_array.h"
#include "mmu/tlb_flush.h"
#include "mmu/walk.h"

namespace mmu {

struct PagingStructureCacheConfig {
    // By the level of the entry that is cached: a PDE leads to a page table, and so on.
    ArrayShape pde{32, 4};
    ArrayShape pdpte{4, 4};
    ArrayShape pml4e{2, 2};
    ArrayShape pml5e{2, 2};
};

class PagingStructureCache final {
public:
    explicit PagingStructureCache(const PagingStructureCacheConfig& config)
        : levels_{{{config.pde, "PDE cache"},
                   {config.pdpte, "PDPTE cache"},
                   {config.pml4e, "PML4E cache"},
                   {config.pml5e, "PML5E cache"}}} {}

    // A table that a cached entry leads to. With a second level, `table_spa` is where it is in system memory.
    struct Table {
        u64 table_gpa = 0;
        u64 table_spa = 0;
        Rights rights;

        bool operator==(const Table&) const = default;
        template <class A>
        void fields(A& a) {
            a(table_gpa, table_spa, rights);
        }
    };

    struct Hit {
        int level = 0;  // of the entry that was cached; the walk begins one below. 0: no hit
        Table table;
    };

    // The lowest table known for `gva` in a mode whose tables are indexed by `index_bits` and whose root is `top`.
    [[nodiscard]] Hit find(u64 gva, u64 tag, int top, unsigned index_bits) {
        for (int level = 2; level <= top; ++level) {
            const u8 shift = shift_of(level, index_bits);
            auto& cache = levels_[static_cast<unsigned>(level - 2)];
            if (const auto* slot = cache.find(gva >> shift, key_of(gva, shift), tag, tag)) {
                return {level, slot->payload};
            }
        }
        return {};
    }

    void insert(u64 gva, u64 tag, int level, unsigned index_bits, const Table& table) {
        const u8 shift = shift_of(level, index_bits);
        levels_[static_cast<unsigned>(level - 2)].insert(gva >> shift, key_of(gva, shift), tag, table);
    }

    void flush(const TlbFlush& what) {
        for (auto& level : levels_) {
            level.erase_if([&](const auto& slot) { return what.matches_tag(slot.context); });
        }
    }

    [[nodiscard]] const AssociativeArray<Table>& array(int level) const {
        return levels_[static_cast<unsigned>(level - 2)];
    }

    template <class A>
    void fields(A& a) {
        a(levels_);
    }

private:
    static constexpr u8 shift_of(int level, unsigned index_bits) {
        return static_cast<u8>(12 + index_bits * static_cast<unsigned>(level - 1));
    }
    static constexpr u64 key_of(u64 gva, u8 shift) { return gva >> shift | u64{shift} << 56; }

    std::array<AssociativeArray<Table>, 4> levels_;
};

}  // namespace mmu
