// Caches of the second level: the nested TLB (guest-physical mappings, gpa -> spa) and the second level's own
// paging-structure caches (SDM volume 3C, 28.4; Bhargava, ASPLOS 2008, sections 3 and 4). Tagged by second level: they
// serve every virtual processor of a partition.
#pragma once

#include "mmu/paging_structure_cache.h"
#include "mmu/tlb.h"
#include "slat/second_level.h"

namespace slat {

struct NestedCacheConfig {
    std::vector<mmu::TlbArrayConfig> nested_tlb{{.shape = {64, 4}},
                                                {.shape = {16, 4}, .pages_4k = false, .pages_2m = true},
                                                {.shape = {4, 4}, .pages_4k = false, .pages_1g = true}};
    mmu::PagingStructureCacheConfig structures{.pde = {16, 4}, .pdpte = {4, 4}, .pml4e = {2, 2}, .pml5e = {}};
};

class NestedCache final {
public:
    explicit NestedCache(const NestedCacheConfig& config) : structures_(config.structures) {
        for (const mmu::TlbArrayConfig& array : config.nested_tlb) tlb_.emplace_back(array, "nested TLB");
    }

    // A cached translation that grants what the request needs; false when there is none.
    [[nodiscard]] bool find(const SecondLevel& second, u64 tag, u64 gpa, const Request& request, Translation& result) {
        for (mmu::TlbArray& array : tlb_) {
            const mmu::TlbArray::Hit hit = array.find(gpa, tag, tag);
            if (hit.slot == nullptr) continue;
            const u64 rights = hit.entry().rights();
            const detail::Need need = detail::need_of(second, request);
            const bool write_ready = rights & mmu::TlbEntry::write_ready;
            const PageRights granted{(rights & mmu::TlbEntry::readable) != 0, (rights & mmu::TlbEntry::writable) != 0,
                                     (rights & mmu::TlbEntry::executable) != 0};
            if (!granted.allow(need.read, false, need.fetch) || (need.write && !write_ready)) return false;
            result = {};
            result.gpa = gpa;
            result.page_shift = hit.shift;
            result.rights = granted;
            result.dirty = write_ready || !granted.writable;
            result.memory_type = hit.entry().host_type() & 7;
            result.ignore_pat = hit.entry().host_type() & 8;
            result.spa = hit.entry().frame() | (gpa & mmu::bit_range(0, hit.shift - 1u));
            return true;
        }
        return false;
    }

    void insert(u64 tag, const Translation& found) {
        const PageRights& r = found.rights;
        using Entry = mmu::TlbEntry;
        const u64 rights = (r.readable ? Entry::readable : 0u) | (r.writable ? Entry::writable : 0u) |
                           (r.executable ? Entry::executable : 0u) |
                           (r.writable && found.dirty ? Entry::write_ready : 0u);
        const u64 offset = mmu::bit_range(0, found.page_shift - 1u);
        const Entry entry(found.spa & ~offset, rights, 0,
                          static_cast<u8>((found.memory_type & 7) | (found.ignore_pat ? 8 : 0)), found.page_shift);
        mmu::TlbArray* best = nullptr;
        u8 size = 0;
        for (mmu::TlbArray& array : tlb_) {
            if (array.best_size(found.page_shift) > size) {
                best = &array;
                size = array.best_size(found.page_shift);
            }
        }
        if (best != nullptr) best->insert(found.gpa, size, tag, entry.part(found.gpa, found.page_shift, size));
    }

    // Where the second-level walk of `gpa` can begin.
    [[nodiscard]] Start start(const SecondLevel& second, u64 tag, u64 gpa) {
        const auto hit = structures_.find(gpa, tag, 4, 9);
        if (hit.level == 0) return root_of(second);
        const mmu::Rights& r = hit.table.rights;
        return {hit.level - 1, hit.table.table_spa, {r.user, r.writable, r.executable}};
    }
    void insert_table(u64 tag, u64 gpa, int level, u64 table, PageRights rights) {
        structures_.insert(gpa, tag, level, 9, {0, table, {rights.writable, rights.readable, rights.executable}});
    }

    void flush(const mmu::TlbFlush& what) {
        for (mmu::TlbArray& array : tlb_) array.flush(what);
        structures_.flush(what);
    }

    [[nodiscard]] const std::vector<mmu::TlbArray>& nested_tlb() const { return tlb_; }
    [[nodiscard]] const mmu::PagingStructureCache& structures() const { return structures_; }

    template <class A>
    void fields(A& a) {
        for (mmu::TlbArray& array : tlb_) a(array);
        a(structures_);
    }

private:
    std::vector<mmu::TlbArray> tlb_;
    mmu::PagingStructureCache structures_;
};

}  // namespace slat
