// Pages of a behavioural guest's memory, for rings and buffers. Always gives the lowest free ones, so that a guest
// built alike has the same addresses.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <span>
#include <vector>

namespace vmbus {

class PageAllocator {
public:
    PageAllocator(std::uint64_t first_page, std::uint64_t count) : next_(first_page), end_(first_page + count) {}

    // Nothing: not so many are free.
    std::optional<std::vector<std::uint64_t>> allocate(std::uint64_t count) {
        if (count > available()) return std::nullopt;
        std::vector<std::uint64_t> pages;
        pages.reserve(static_cast<std::size_t>(count));
        while (pages.size() < count) {
            if (released_.empty()) {
                pages.push_back(next_++);
            } else {
                pages.push_back(*released_.begin());
                released_.erase(released_.begin());
            }
        }
        return pages;
    }
    void release(std::span<const std::uint64_t> pages) { released_.insert(pages.begin(), pages.end()); }
    std::uint64_t available() const { return end_ - next_ + released_.size(); }

    template <class Archive>
    void fields(Archive& archive) {
        archive(next_, end_, released_);
    }

private:
    std::uint64_t next_;  // not given yet, to the end
    std::uint64_t end_;
    std::set<std::uint64_t> released_;
};

}  // namespace vmbus
