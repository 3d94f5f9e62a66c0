// The `timed` fidelity of one logical processor: what each access costs beyond its instruction, by the TLBs, the
// two-dimensional walks that they spare, and the caches. It measures beside the engine, which translates by itself.
//
// The model is blocking: what a miss takes is added in full, nothing overlaps. Costs are those of the profile.
#pragma once

#include <cstdint>

#include "cpu/cache_model.h"
#include "cpu/engine.h"
#include "sim/scope.h"
#include "slat/translation_unit.h"

namespace cpu {

struct MemoryTimingConfig {
    slat::TranslationUnitConfig translation;
    CacheHierarchyConfig caches;
    std::int64_t l2_tlb_ps = 0;  // beyond a hit in the first level
    // Of several NUMA nodes with so much memory each, in order; 0: there is one. The processor's own, and what a line
    // of another's takes besides.
    std::uint64_t node_bytes = 0;
    std::uint64_t node = 0;
    std::int64_t remote_ps = 0;
};

class MemoryTiming final : public AccessObserver {
public:
    MemoryTiming(const sim::Scope& scope, const MemoryTimingConfig& config, mmu::SystemMemory memory,
                 CacheArray& last_level);

    // What the processor runs from now on; and what MOV to CR3 and INVLPG remove from its TLBs.
    void set_context(const mmu::PagingState& state, const slat::SecondLevel& second, std::uint16_t partition,
                     std::uint16_t vp);
    void set_user(bool user) { user_ = user; }
    void loaded_cr3();
    void mode_changed(const mmu::PagingState& before, const mmu::PagingState& after);
    void invalidate_page(std::uint64_t linear);
    // On behalf of a virtual processor that need not be the running one.
    void flush_space(std::uint16_t partition, std::uint16_t vp, bool all_spaces, bool non_global_only);
    void flush_page(std::uint16_t partition, std::uint16_t vp, bool all_spaces, bool non_global_only,
                    std::uint64_t linear);
    void second_level_changed(std::uint16_t partition) { unit_.flush_second_level(partition); }

    std::int64_t access_cost_ps(std::uint64_t linear, std::uint64_t spa, unsigned size, bool write) override;
    std::int64_t fetch_cost_ps(std::uint64_t linear, unsigned size) override;

    struct Counts {
        std::uint64_t accesses = 0;
        std::array<std::uint64_t, 4> data{};         // by CacheLevel
        std::array<std::uint64_t, 4> instruction{};  // lines, by CacheLevel

        friend bool operator==(const Counts&, const Counts&) = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(accesses, data, instruction);
        }
    };
    const Counts& counts() const { return counts_; }
    // What was counted so far, as statistics.
    void publish();
    const slat::TranslationUnit& translation() const { return unit_; }

    template <class Archive>
    void fields(Archive& archive) {
        archive(unit_, caches_, counts_, user_, partition_, vp_);
    }

private:
    std::int64_t translation_cost(const slat::TranslationUnit::Result& result);
    std::int64_t cost(CacheLevel level) const { return extra_ps_[static_cast<std::size_t>(level)]; }
    std::int64_t cost(CacheLevel level, std::uint64_t line) const {
        const bool remote = node_lines_ != 0 && level == CacheLevel::memory && line / node_lines_ != node_;
        return remote ? cost(level) + remote_ps_ : cost(level);
    }

    slat::TranslationUnit unit_;
    CacheHierarchy caches_;
    std::array<std::int64_t, 4> extra_ps_;
    std::int64_t l2_tlb_ps_;
    std::uint64_t node_lines_;
    std::uint64_t node_;
    std::int64_t remote_ps_;
    bool user_ = false;
    std::uint16_t partition_ = 0;
    std::uint16_t vp_ = 0;
    Counts counts_;
    struct Published {
        explicit Published(const sim::Scope& scope);
        sim::Counter& accesses;
        sim::Counter& tlb_l1;
        sim::Counter& tlb_l2;
        sim::Counter& walks;
        sim::Counter& walk_references;
        std::array<sim::Counter*, 4> data;
        std::array<sim::Counter*, 4> instruction;
    } published_;
};

}  // namespace cpu
