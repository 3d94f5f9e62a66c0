#include "models/partition_memory.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "sim/check.h"

namespace models {

std::vector<MemoryRun> RootPages::allocate(const MemoryLayout& layout) {
    return allocate(std::array{layout.low_ram, layout.high_ram});
}

std::vector<MemoryRun> RootPages::allocate(std::span<const AddressRange> ranges) {
    std::vector<MemoryRun> runs;
    for (const AddressRange& range : ranges) {
        if (range.length == 0) continue;
        const auto parts = pages_.allocate_many(range.length / page_bytes);
        if (parts.empty()) {
            free(runs);
            return {};
        }
        std::uint64_t gpa = range.first;
        for (const PageAllocator::Run& part : parts) {
            clean(part.spa, part.pages);
            runs.push_back({gpa, part.spa, part.pages});
            gpa += part.pages * page_bytes;
        }
    }
    return runs;
}

void RootPages::free(std::span<const MemoryRun> runs) {
    for (const MemoryRun& run : runs) pages_.free(run.spa, run.pages);
}

std::optional<std::uint64_t> RootPages::allocate_page() {
    const auto spa = pages_.allocate();
    if (spa) used_end_ = std::max(used_end_, *spa + page_bytes);
    return spa;
}

// Pages that are zero already stay untouched, so that they go on costing the computer nothing.
void RootPages::clean(std::uint64_t spa, std::uint64_t pages) {
    static constexpr std::array<std::byte, page_bytes> zeros{};
    const std::uint64_t end = spa + pages * page_bytes;
    for (std::uint64_t at = spa; at < std::min(end, used_end_); at += page_bytes) {
        const std::byte* page = memory_.view().at(at, page_bytes);
        VG_CHECK(page != nullptr);
        if (std::memcmp(page, zeros.data(), page_bytes) != 0) VG_CHECK(memory_.view().write(at, zeros));
    }
    used_end_ = std::max(used_end_, end);
}

const MemoryRun* find_run(std::span<const MemoryRun> runs, std::uint64_t gpa) {
    const auto after = std::ranges::upper_bound(runs, gpa, {}, &MemoryRun::gpa);
    if (after == runs.begin()) return nullptr;
    const MemoryRun& run = *std::prev(after);
    return gpa - run.gpa < run.pages * page_bytes ? &run : nullptr;
}

bool write_guest(const HostMemory& memory, std::span<const MemoryRun> runs, std::uint64_t gpa,
                 std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
        const MemoryRun* run = find_run(runs, gpa);
        if (run == nullptr) return false;
        const std::uint64_t offset = gpa - run->gpa;
        const auto part = std::min<std::uint64_t>(bytes.size(), run->pages * page_bytes - offset);
        if (!memory.view().write(run->spa + offset, bytes.first(part))) return false;
        bytes = bytes.subspan(part);
        gpa += part;
    }
    return true;
}

}  // namespace models
