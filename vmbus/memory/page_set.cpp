#include "vmbus/memory/page_set.h"

#include <algorithm>
#include <iterator>

namespace vmbus {

bool PageSet::overlaps(const PageRange& range) const {
    const auto after = ranges_.lower_bound(range.first);
    if (after != ranges_.end() && after->first < range.end()) return true;
    if (after == ranges_.begin()) return false;
    const auto before = std::prev(after);
    return before->first + before->second > range.first;
}

bool PageSet::add(const PageRange& range) {
    if (range.count == 0 || range.end() < range.first || overlaps(range)) return false;
    pages_ += range.count;
    std::uint64_t first = range.first;
    std::uint64_t count = range.count;
    auto after = ranges_.lower_bound(first);
    if (after != ranges_.end() && after->first == range.end()) {
        count += after->second;
        after = ranges_.erase(after);
    }
    if (after != ranges_.begin()) {
        const auto before = std::prev(after);
        if (before->first + before->second == first) {
            before->second += count;
            return true;
        }
    }
    ranges_.emplace(first, count);
    return true;
}

std::vector<PageRange> PageSet::take(std::uint64_t pages) {
    std::vector<PageRange> taken;
    while (pages != 0 && !ranges_.empty()) {
        const auto [first, count] = *ranges_.begin();
        const std::uint64_t part = std::min(pages, count);
        ranges_.erase(ranges_.begin());
        if (part < count) ranges_.emplace(first + part, count - part);
        taken.push_back({first, part});
        pages -= part;
        pages_ -= part;
    }
    return taken;
}

std::vector<PageRange> PageSet::ranges() const {
    std::vector<PageRange> all;
    for (const auto& [first, count] : ranges_) all.push_back({first, count});
    return all;
}

}  // namespace vmbus
