#include "cpu/memory_timing.h"

#include <string>

#include "mmu/tlb_flush.h"

namespace cpu {

namespace {

slat::TranslationUnitConfig measuring(slat::TranslationUnitConfig config) {
    config.leave_flags = true;  // the engine's own translation sets them
    return config;
}

// The measuring unit is asked only for accesses that were allowed: RFLAGS.AC may have changed meanwhile.
mmu::PagingState permissive(mmu::PagingState state) {
    state.ac = true;
    return state;
}

// No PCIDs are offered.
mmu::TlbContext context_of(std::uint16_t partition, std::uint16_t vp) {
    return {.slat = partition, .vmid = static_cast<std::uint16_t>(vp + 1), .pcid = 0};
}

}  // namespace

MemoryTiming::MemoryTiming(const sim::Scope& scope, const MemoryTimingConfig& config, mmu::SystemMemory memory,
                           CacheArray& last_level)
    : unit_(measuring(config.translation), memory),
      caches_(config.caches, last_level),
      extra_ps_(config.caches.extra_ps),
      l2_tlb_ps_(config.l2_tlb_ps),
      node_lines_(config.node_bytes >> cache_line_shift),
      node_(config.node),
      remote_ps_(config.remote_ps),
      published_(scope) {}

MemoryTiming::Published::Published(const sim::Scope& scope)
    : accesses(scope.counter("accesses", "count", "data accesses")),
      tlb_l1(scope.counter("tlb.l1", "count", "translations found in the first-level TLBs")),
      tlb_l2(scope.counter("tlb.l2", "count", "translations found in the second-level TLB")),
      walks(scope.counter("tlb.walks", "count", "translations that took a walk of the tables")),
      walk_references(scope.counter("tlb.walk_references", "count", "table entries that walks read")) {
    constexpr std::array<const char*, 4> levels{"l1", "l2", "l3", "memory"};  // in the order of CacheLevel
    for (std::size_t i = 0; i < levels.size(); ++i) {
        const std::string level = levels[i];
        data[i] = &scope.counter("cache.data." + level, "count", "lines that data accesses found in " + level);
        instruction[i] = &scope.counter("cache.instruction." + level, "count", "lines that fetches found in " + level);
    }
}

void MemoryTiming::publish() {
    const slat::TranslationUnit::Counts& tlb = unit_.counts();
    published_.accesses.set(counts_.accesses);
    published_.tlb_l1.set(tlb.l1_hits);
    published_.tlb_l2.set(tlb.l2_hits);
    published_.walks.set(tlb.walks);
    published_.walk_references.set(tlb.references);
    for (std::size_t i = 0; i < counts_.data.size(); ++i) {
        published_.data[i]->set(counts_.data[i]);
        published_.instruction[i]->set(counts_.instruction[i]);
    }
}

void MemoryTiming::set_context(const mmu::PagingState& state, const slat::SecondLevel& second, std::uint16_t partition,
                               std::uint16_t vp) {
    partition_ = partition;
    vp_ = vp;
    unit_.set_context(permissive(state), second, partition, context_of(partition, vp).vmid);
}

void MemoryTiming::loaded_cr3() {
    // No PCIDs are offered: every load of CR3 ends the non-global translations of this processor.
    if (const auto what = mmu::flush::mov_cr3(unit_.context(), false, false)) unit_.flush(*what);
}

void MemoryTiming::mode_changed(const mmu::PagingState& before, const mmu::PagingState& after) {
    if (const auto what = mmu::flush::mode_change(unit_.context(), before, after)) unit_.flush(*what);
}

void MemoryTiming::invalidate_page(std::uint64_t linear) {
    unit_.flush(mmu::flush::invlpg(unit_.context(), linear));
}

void MemoryTiming::flush_space(std::uint16_t partition, std::uint16_t vp, bool all_spaces, bool non_global_only) {
    unit_.flush(mmu::flush::hypercall_space(context_of(partition, vp), all_spaces, non_global_only));
}

void MemoryTiming::flush_page(std::uint16_t partition, std::uint16_t vp, bool all_spaces, bool non_global_only,
                              std::uint64_t linear) {
    unit_.flush(mmu::flush::hypercall_page(context_of(partition, vp), all_spaces, non_global_only, linear));
}

std::int64_t MemoryTiming::translation_cost(const slat::TranslationUnit::Result& result) {
    if (result.level == slat::LookUp::l1) [[likely]]
        return 0;
    if (result.level == slat::LookUp::l2) return l2_tlb_ps_;
    // Page walks read their entries through the data caches.
    std::int64_t ps = l2_tlb_ps_;
    for (const slat::Reference& reference : unit_.references()) {
        const std::uint64_t line = reference.spa >> cache_line_shift;
        ps += cost(CacheLevel::l1) + cost(caches_.data(line), line);
    }
    return ps;
}

std::int64_t MemoryTiming::access_cost_ps(std::uint64_t linear, std::uint64_t spa, unsigned size, bool write) {
    ++counts_.accesses;
    const auto found = write ? unit_.look_up(linear, {mmu::Access::write, user_, false})
                             : unit_.look_up(linear, {mmu::Access::read, user_, false});
    std::int64_t ps = translation_cost(found);
    const std::uint64_t first = spa >> cache_line_shift;
    const std::uint64_t last = (spa + size - 1) >> cache_line_shift;
    for (std::uint64_t line = first; line <= last; ++line) {
        const CacheLevel level = caches_.data(line);
        ++counts_.data[static_cast<std::size_t>(level)];
        ps += cost(level, line);
    }
    return ps;
}

std::int64_t MemoryTiming::fetch_cost_ps(std::uint64_t linear, unsigned size) {
    const auto found = unit_.look_up(linear, {mmu::Access::execute, user_, false});
    std::int64_t ps = translation_cost(found);
    if (!found.ok()) return ps;
    // A block lies in one page, but for its last instruction.
    const std::uint64_t first = found.spa >> cache_line_shift;
    const std::uint64_t last = (found.spa + size - 1) >> cache_line_shift;
    for (std::uint64_t line = first; line <= last; ++line) {
        const CacheLevel level = caches_.instruction(line);
        ++counts_.instruction[static_cast<std::size_t>(level)];
        ps += cost(level, line);
    }
    return ps;
}

}  // namespace cpu
