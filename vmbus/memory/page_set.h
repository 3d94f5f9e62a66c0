// Sets of guest pages, as ranges.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

namespace vmbus {

struct PageRange {
    std::uint64_t first = 0;  // page number: address / 4096
    std::uint64_t count = 0;

    std::uint64_t end() const { return first + count; }
    bool operator==(const PageRange&) const = default;
    template <class Archive>
    void fields(Archive& archive) {
        archive(first, count);
    }
};

class PageSet {
public:
    // False, and nothing is added, if the range is empty, wraps around or overlaps what is in the set.
    bool add(const PageRange& range);
    // The lowest `pages` pages, or all there are, as ranges; they leave the set.
    std::vector<PageRange> take(std::uint64_t pages);

    std::uint64_t pages() const { return pages_; }
    bool overlaps(const PageRange& range) const;
    std::vector<PageRange> ranges() const;

    bool operator==(const PageSet&) const = default;
    template <class Archive>
    void fields(Archive& archive) {
        archive(ranges_, pages_);
    }

private:
    std::map<std::uint64_t, std::uint64_t> ranges_;  // first to count; neighbours are one range
    std::uint64_t pages_ = 0;
};

}  // namespace vmbus
