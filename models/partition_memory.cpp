#include "models/partition_memory.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "sim/check.h"

namespace models {

std::vector<MemoryRun> RootPages::allocate(const MemoryLayout& layout) {
    return allocate(std::array{layout.low_ram, layout.high_ram});
}

std::vector<MemoryRun> RootPages::allocate(std::span<const AddressRange> ranges, std::span<const AddressRange> from) {
    std::vector<MemoryRun> runs;
    for (const AddressRange& range : ranges) {
        // Parts of whole large pages, the last one has the rest.
        const std::uint64_t pages = range.length / page_bytes;
        constexpr std::uint64_t large = large_page_bytes / page_bytes;
        const std::uint64_t part = from.empty() ? pages : pages / from.size() / large * large;
        std::uint64_t done = 0;
        for (std::size_t n = 0; n < std::max<std::size_t>(from.size(), 1); ++n) {
            const std::uint64_t count = n + 1 < from.size() ? part : pages - done;
            const AddressRange piece{range.first + done * page_bytes, count * page_bytes};
            if (!take(piece, count, from.empty() ? nullptr : &from[n], runs)) {
                free(runs);
                return {};
            }
            done += count;
        }
    }
    return runs;
}

bool RootPages::take(AddressRange range, std::uint64_t pages, const AddressRange* of, std::vector<MemoryRun>& runs) {
    if (pages == 0) return true;
    const auto parts = of == nullptr ? pages_.allocate_many(pages) : pages_.allocate_many(pages, of->first, of->end());
    std::uint64_t gpa = range.first;
    for (const PageAllocator::Run& part : parts) {
        clean(part.spa, part.pages);
        runs.push_back({gpa, part.spa, part.pages});
        gpa += part.pages * page_bytes;
    }
    return !parts.empty();
}

void RootPages::free(std::span<const MemoryRun> runs) {
    for (const MemoryRun& run : runs) pages_.free(run.spa, run.pages);
}

std::optional<std::uint64_t> RootPages::allocate_page() {
    const auto spa = pages_.allocate();
    if (spa) used_end(*spa) = std::max(used_end(*spa), *spa + page_bytes);
    return spa;
}

std::uint64_t& RootPages::used_end(std::uint64_t spa) {
    const std::size_t node = pages_.node_of(spa);
    if (used_ends_.size() <= node) used_ends_.resize(node + 1);
    return used_ends_[node];
}

// Pages that are zero already stay untouched, so that they go on costing the computer nothing.
void RootPages::clean(std::uint64_t spa, std::uint64_t pages) {
    static constexpr std::array<std::byte, page_bytes> zeros{};
    const std::uint64_t end = spa + pages * page_bytes;
    for (std::uint64_t at = spa; at < end;) {
        std::uint64_t& used = used_end(at);
        const std::uint64_t last = pages_.same_node_until(at, end);
        for (; at < std::min(last, used); at += page_bytes) {
            const std::byte* page = memory_.view().at(at, page_bytes);
            VG_CHECK(page != nullptr);
            if (std::memcmp(page, zeros.data(), page_bytes) != 0) VG_CHECK(memory_.view().write(at, zeros));
        }
        at = last;
        used = std::max(used, last);
    }
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
