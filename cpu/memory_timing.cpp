#include "cpu/memory_timing.h"

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

}  // namespace

MemoryTiming::MemoryTiming(const MemoryTimingConfig& config, mmu::SystemMemory memory, CacheArray& last_level)
    : unit_(measuring(config.translation), memory),
      caches_(config.caches, last_level),
      extra_ps_(config.caches.extra_ps),
      l2_tlb_ps_(config.l2_tlb_ps) {}

void MemoryTiming::set_context(const mmu::PagingState& state, const slat::SecondLevel& second, std::uint16_t partition,
                               std::uint16_t vp) {
    partition_ = partition;
    vp_ = vp;
    unit_.set_context(permissive(state), second, partition, static_cast<std::uint16_t>(vp + 1));
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

void MemoryTiming::flush_processor() {
    unit_.flush(mmu::flush::processor(unit_.context(), false));
}

std::int64_t MemoryTiming::translation_cost(const slat::TranslationUnit::Result& result) {
    if (result.level == slat::LookUp::l1) [[likely]]
        return 0;
    if (result.level == slat::LookUp::l2) return l2_tlb_ps_;
    // Page walks read their entries through the data caches.
    std::int64_t ps = l2_tlb_ps_;
    for (const slat::Reference& reference : unit_.references()) {
        ps += cost(CacheLevel::l1) + cost(caches_.data(reference.spa >> cache_line_shift));
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
        ps += cost(level);
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
        ps += cost(level);
    }
    return ps;
}

}  // namespace cpu
