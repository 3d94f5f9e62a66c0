#include "models/host_memory.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "models/touched_memory.h"
#include "sim/bits.h"
#include "sim/check.h"

namespace models {

HostMemory::HostMemory(std::uint64_t size_bytes) : size_bytes_(size_bytes) {
    if (size_bytes == 0 || size_bytes % page_bytes != 0) {
        throw sim::UserError(
            fmt::format("host memory of {} bytes: give a size above 0 that is a multiple of 4 KiB", size_bytes));
    }
    if (size_bytes > largest_bytes) {
        throw sim::UserError(fmt::format("host memory of {} bytes does not fit: a host has at most {} GiB", size_bytes,
                                         largest_bytes >> 30));
    }
    // From a large page on: what the computer provides too much is given back.
    void* mapped = mmap(nullptr, size_bytes + large_page_bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapped == MAP_FAILED) {
        throw sim::UserError(fmt::format(
            "host memory of {} MiB does not fit into this computer's address space: choose less, or raise its limit "
            "(ulimit -v)",
            size_bytes >> 20));
    }
    const std::uint64_t before = -reinterpret_cast<std::uintptr_t>(mapped) % large_page_bytes;
    base_ = static_cast<std::byte*>(mapped) + before;
    if (before != 0) munmap(mapped, before);
    munmap(base_ + size_bytes, large_page_bytes - before);
    watch_ = std::make_unique<mmu::WriteWatch>(size_bytes);
}

HostMemory::~HostMemory() {
    munmap(base_, size_bytes_);
}

void HostMemory::will_fill(std::uint64_t spa, std::uint64_t bytes) const {
    const std::uint64_t whole = size_bytes_ / large_page_bytes * large_page_bytes;
    const std::uint64_t end = std::min(spa + bytes, whole);
    for (std::uint64_t page = spa / large_page_bytes * large_page_bytes; page < end; page += large_page_bytes) {
        const std::uint64_t filled = std::min(end, page + large_page_bytes) - std::max(spa, page);
        if (filled >= large_page_bytes / 2) make_large(base_ + page);
    }
}

// The computer gives a large page only for what has none yet: what there is goes out of the way and back.
void HostMemory::make_large(std::byte* page) const {
    std::vector<std::byte> kept;
    const std::vector<TouchedRun> runs = touched_memory(page, large_page_bytes);
    for (const TouchedRun& run : runs) kept.insert(kept.end(), page + run.first_byte, page + run.end_byte);
    if (madvise(page, large_page_bytes, MADV_HUGEPAGE) != 0 || kept.empty()) return;
    VG_CHECK(madvise(page, large_page_bytes, MADV_DONTNEED) == 0);
    const std::byte* from = kept.data();
    for (const TouchedRun& run : runs) {
        std::copy_n(from, run.end_byte - run.first_byte, page + run.first_byte);
        from += run.end_byte - run.first_byte;
    }
}

void HostMemory::clear() {
    // Anonymous private pages that are given up read as zeros again.
    VG_CHECK(madvise(base_, size_bytes_, MADV_DONTNEED) == 0);
}

void HostMemory::save(sim::Writer& writer) const {
    static const std::array<std::byte, page_bytes> zeros{};
    writer(size_bytes_);
    for (const TouchedRun& run : touched_memory(base_, size_bytes_)) {
        for (std::uint64_t spa = run.first_byte; spa < run.end_byte; spa += page_bytes) {
            if (std::memcmp(base_ + spa, zeros.data(), page_bytes) == 0) continue;
            writer(spa);
            writer.bytes({base_ + spa, page_bytes});
        }
    }
    writer(size_bytes_);  // an address past the end ends the list
}

void HostMemory::restore(sim::Reader& reader) {
    std::uint64_t size = 0;
    reader(size);
    if (size != size_bytes_) {
        throw sim::UserError(fmt::format("checkpoint: it is of a host with {} MiB of memory, this one has {} MiB",
                                         size >> 20, size_bytes_ >> 20));
    }
    clear();
    for (;;) {
        std::uint64_t spa = 0;
        reader(spa);
        if (spa == size_bytes_) return;
        if (spa > size_bytes_ || spa % page_bytes != 0) {
            throw sim::UserError("checkpoint: a page lies outside the memory; it is damaged or of another version");
        }
        reader.bytes({base_ + spa, page_bytes});
    }
}

PageAllocator::PageAllocator(std::uint64_t first, std::uint64_t end, std::uint64_t node_bytes)
    : first_(first), end_(end), node_bytes_(node_bytes) {
    VG_CHECK(first % page_bytes == 0 && end % page_bytes == 0 && first <= end);
    reset();
}

void PageAllocator::reset() {
    state_ = {};
    if (first_ == end_) return;
    state_.free_pages = total_pages();
    state_.free_runs[first_] = state_.free_pages;
}

void PageAllocator::take(Place run, std::uint64_t spa, std::uint64_t pages) {
    const std::uint64_t start = run->first;
    const std::uint64_t run_end = start + run->second * page_bytes;
    const std::uint64_t end = spa + pages * page_bytes;
    state_.free_pages -= pages;
    if (spa == start) {
        // The common case moves the run's key and allocates nothing.
        auto node = state_.free_runs.extract(run);
        if (end == run_end) return;
        node.key() = end;
        node.mapped() = (run_end - end) / page_bytes;
        state_.free_runs.insert(std::move(node));
        return;
    }
    run->second = (spa - start) / page_bytes;
    if (end != run_end) state_.free_runs[end] = (run_end - end) / page_bytes;
}

std::optional<std::uint64_t> PageAllocator::allocate() {
    if (state_.free_runs.empty()) return std::nullopt;
    const std::uint64_t spa = state_.free_runs.begin()->first;
    take(state_.free_runs.begin(), spa, 1);
    return spa;
}

std::optional<std::uint64_t> PageAllocator::allocate_contiguous(std::uint64_t pages, std::uint64_t align_bytes) {
    VG_CHECK(pages != 0 && (align_bytes & (align_bytes - 1)) == 0);
    const std::uint64_t align = std::max(align_bytes, page_bytes);
    if (pages > state_.free_pages) return std::nullopt;
    for (auto run = state_.free_runs.begin(); run != state_.free_runs.end(); ++run) {
        const std::uint64_t spa = sim::align_up(run->first, align);
        const std::uint64_t skipped = (spa - run->first) / page_bytes;
        if (skipped > run->second || run->second - skipped < pages) continue;
        take(run, spa, pages);
        return spa;
    }
    return std::nullopt;
}

namespace {

// What of a free run lies in [first, end).
std::pair<std::uint64_t, std::uint64_t> part_of_run(const std::pair<const std::uint64_t, std::uint64_t>& run,
                                                    std::uint64_t first, std::uint64_t end) {
    const std::uint64_t from = std::max(run.first, first);
    return {from, std::max(from, std::min(run.first + run.second * page_bytes, end))};
}

}  // namespace

std::uint64_t PageAllocator::free_pages(std::uint64_t first, std::uint64_t end) const {
    std::uint64_t pages = 0;
    for (const auto& run : state_.free_runs) {
        const auto [from, to] = part_of_run(run, first, end);
        pages += (to - from) / page_bytes;
    }
    return pages;
}

std::vector<PageAllocator::Run> PageAllocator::allocate_many(std::uint64_t pages, std::uint64_t first,
                                                             std::uint64_t end) {
    std::vector<Run> runs;
    const bool all = first <= first_ && end >= end_;
    if (pages > (all ? state_.free_pages : free_pages(first, end))) return runs;
    const auto add = [&runs](std::uint64_t spa, std::uint64_t n) {
        if (!runs.empty() && runs.back().spa + runs.back().pages * page_bytes == spa) {
            runs.back().pages += n;
        } else {
            runs.push_back({spa, n});
        }
    };
    constexpr std::uint64_t large = large_page_bytes / page_bytes;
    // Of each free run, the lowest first, as many as there is room for.
    while (pages >= large) {
        const auto fits = [&](const auto& run) {
            const auto [from, to] = part_of_run(run, first, end);
            const std::uint64_t start = sim::align_up(from, large_page_bytes);
            return to > start ? (to - start) / large_page_bytes : 0;
        };
        const auto run = std::ranges::find_if(state_.free_runs, [&](const auto& r) { return fits(r) != 0; });
        if (run == state_.free_runs.end()) break;
        const std::uint64_t blocks = std::min(fits(*run), pages / large);
        const std::uint64_t spa = sim::align_up(part_of_run(*run, first, end).first, large_page_bytes);
        take(run, spa, blocks * large);
        add(spa, blocks * large);
        pages -= blocks * large;
    }
    while (pages > 0) {
        const auto run = std::ranges::find_if(state_.free_runs, [&](const auto& r) {
            const auto [from, to] = part_of_run(r, first, end);
            return from < to;
        });
        const std::uint64_t spa = part_of_run(*run, first, end).first;
        take(run, spa, 1);
        add(spa, 1);
        --pages;
    }
    return runs;
}

void PageAllocator::free(std::uint64_t spa, std::uint64_t pages) {
    VG_CHECK(spa % page_bytes == 0 && spa >= first_ && spa <= end_ && pages != 0 && pages <= (end_ - spa) / page_bytes);
    const std::uint64_t end = spa + pages * page_bytes;
    auto next = state_.free_runs.lower_bound(spa);
    VG_CHECK(next == state_.free_runs.end() || next->first >= end, "page freed twice");
    state_.free_pages += pages;
    if (next != state_.free_runs.end() && next->first == end) {
        pages += next->second;
        next = state_.free_runs.erase(next);
    }
    if (next != state_.free_runs.begin()) {
        const auto previous = std::prev(next);
        const std::uint64_t previous_end = previous->first + previous->second * page_bytes;
        VG_CHECK(previous_end <= spa, "page freed twice");
        if (previous_end == spa) {
            previous->second += pages;
            return;
        }
    }
    state_.free_runs[spa] = pages;
}

}  // namespace models
