#include "models/guest_ram.h"

#include <algorithm>

#include "sim/bits.h"
#include "sim/check.h"

namespace models {

namespace h = hypervisor;

namespace {

constexpr std::uint32_t all_rights = h::map_gpa_flag::readable | h::map_gpa_flag::writable |
                                     h::map_gpa_flag::kernel_executable | h::map_gpa_flag::user_executable;

constexpr std::uint64_t screen_first = Screen::memory.first / page_bytes;
constexpr std::uint64_t screen_end = Screen::memory.end() / page_bytes;

bool is_screen(const MemoryRun& run) {
    return run.gpa / page_bytes >= screen_first && run.gpa / page_bytes < screen_end;
}

bool follows(const MemoryRun& before, const MemoryRun& after) {
    const std::uint64_t length = before.pages * page_bytes;
    return before.gpa + length == after.gpa && before.spa + length == after.spa &&
           is_screen(before) == is_screen(after);
}

}  // namespace

std::uint64_t GuestRam::assigned_pages() const {
    std::uint64_t pages = 0;
    for (const MemoryRun& run : runs_) pages += is_screen(run) ? 0 : run.pages;
    return pages;
}

std::uint64_t GuestRam::next_free_page(std::uint64_t align_pages) const {
    const std::uint64_t end = runs_.empty() ? 0 : runs_.back().gpa / page_bytes + runs_.back().pages;
    return sim::align_up(std::max(end, MemoryLayout::four_gib / page_bytes), align_pages);
}

bool GuestRam::has_memory(const vmbus::PageRange& range) const {
    if (range.count == 0 || range.end() < range.first) return false;
    if (range.first < screen_end && range.end() > screen_first) return false;
    for (std::uint64_t page = range.first; page < range.end();) {
        const MemoryRun* run = find_run(runs_, page * page_bytes);
        if (run == nullptr) return false;
        page = run->gpa / page_bytes + run->pages;
    }
    return true;
}

void GuestRam::pages_taken(std::span<const vmbus::PageRange> ranges) {
    for (const vmbus::PageRange& range : ranges) {
        VG_CHECK(client_.unmap_range(partition_, range.first, range.count) == h::HvStatus::success);
    }
    remove({ranges.begin(), ranges.end()});
}

bool GuestRam::give_pages(std::span<const vmbus::PageRange> ranges) {
    if (closing_) return false;
    std::vector<AddressRange> wanted;
    for (const vmbus::PageRange& range : ranges) wanted.push_back({range.first * page_bytes, range.count * page_bytes});
    const std::vector<MemoryRun> fresh = pages_.allocate(wanted);
    if (fresh.empty()) return false;
    for (std::size_t done = 0; done < fresh.size(); ++done) {
        const MemoryRun& run = fresh[done];
        if (client_.map_range(partition_, run.gpa / page_bytes, run.spa / page_bytes, run.pages, all_rights) ==
            h::HvStatus::success) {
            continue;
        }
        // No memory for tables: what was mapped goes again, and of the last as much as was.
        for (std::size_t n = 0; n <= done; ++n) {
            VG_CHECK(client_.unmap_range(partition_, fresh[n].gpa / page_bytes, fresh[n].pages) ==
                     h::HvStatus::success);
        }
        pages_.free(fresh);
        return false;
    }
    insert(fresh);
    return true;
}

bool GuestRam::add_memory(const vmbus::PageRange& range) {
    if (range.end() < range.first || range.end() > end_ || range.first < next_free_page(1) || closing_) return false;
    // Tables if every page were mapped singly, so that taking pages away can never fail for want of one.
    constexpr std::uint64_t entries = 512, upper_tables = 4;
    if (client_.deposit(partition_, range.count / entries + upper_tables) != h::HvStatus::success) return false;
    return give_pages(std::span{&range, 1});
}

void GuestRam::memory_refused(const vmbus::PageRange& range) {
    if (!closing_ && has_memory(range)) pages_taken(std::span{&range, 1});
}

// Takes ranges out of the runs, which may cut one into several, and gives their pages back.
void GuestRam::remove(std::vector<vmbus::PageRange> ranges) {
    std::ranges::sort(ranges, {}, &vmbus::PageRange::first);
    std::vector<MemoryRun> rest;
    rest.reserve(runs_.size() + ranges.size());
    auto range = ranges.begin();
    for (MemoryRun run : runs_) {
        std::uint64_t first = run.gpa / page_bytes;
        const std::uint64_t end = first + run.pages;
        while (range != ranges.end() && range->first < end) {
            const std::uint64_t from = std::max(first, range->first);
            const std::uint64_t to = std::min(end, range->end());
            const auto spa_of = [&run](std::uint64_t page) { return run.spa + page * page_bytes - run.gpa; };
            if (from > first) rest.push_back({first * page_bytes, spa_of(first), from - first});
            pages_.free(std::vector{MemoryRun{from * page_bytes, spa_of(from), to - from}});
            first = to;
            if (range->end() > end) break;  // it goes on in the next run
            ++range;
        }
        if (first < end) rest.push_back({first * page_bytes, run.spa + first * page_bytes - run.gpa, end - first});
    }
    runs_ = std::move(rest);
}

void GuestRam::insert(std::span<const MemoryRun> fresh) {
    std::vector<MemoryRun> all = runs_;
    all.insert(all.end(), fresh.begin(), fresh.end());
    std::ranges::sort(all, {}, &MemoryRun::gpa);
    runs_.clear();
    for (const MemoryRun& run : all) {
        if (!runs_.empty() && follows(runs_.back(), run)) {
            runs_.back().pages += run.pages;
        } else {
            runs_.push_back(run);
        }
    }
}

}  // namespace models
