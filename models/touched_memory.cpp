#include "models/touched_memory.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <optional>
#include <span>
#include <utility>

namespace models {

namespace {

constexpr std::uint64_t pagemap_page = 4096;

class PageMap final {
public:
    PageMap() : file_(open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC)) {}
    ~PageMap() {
        if (file_ >= 0) close(file_);
    }
    PageMap(const PageMap&) = delete;
    PageMap& operator=(const PageMap&) = delete;

    std::optional<std::vector<TouchedRun>> scan(std::uint64_t base, std::uint64_t bytes) const;
    std::optional<std::vector<TouchedRun>> entries(std::uint64_t base, std::uint64_t bytes) const;

private:
    int file_;
};

// Linux' admin-guide/mm/pagemap: the ioctl's argument and what it fills in. (Headers older than 6.7 lack it.)
struct Region {
    std::uint64_t start;
    std::uint64_t end;
    std::uint64_t categories;
};
struct Scan {
    std::uint64_t size;
    std::uint64_t flags;
    std::uint64_t start;
    std::uint64_t end;
    std::uint64_t walk_end;
    std::uint64_t regions;
    std::uint64_t regions_length;
    std::uint64_t max_pages;
    std::uint64_t category_inverted;
    std::uint64_t category_mask;
    std::uint64_t category_any_of;
    std::uint64_t categories_returned;
};
static_assert(sizeof(Region) == 24 && sizeof(Scan) == 96);
constexpr unsigned long scan_request = _IOWR('f', 16, Scan);
constexpr std::uint64_t category_present = 1 << 3, category_swapped = 1 << 4;

void add(std::vector<TouchedRun>& runs, std::uint64_t first, std::uint64_t end) {
    if (!runs.empty() && runs.back().end_byte == first) {
        runs.back().end_byte = end;
    } else {
        runs.push_back({first, end});
    }
}

std::optional<std::vector<TouchedRun>> PageMap::scan(std::uint64_t base, std::uint64_t bytes) const {
    std::vector<TouchedRun> runs;
    std::array<Region, 512> regions{};
    for (std::uint64_t at = base; at < base + bytes;) {
        Scan request{};
        request.size = sizeof request;
        request.start = at;
        request.end = base + bytes;
        request.regions = std::bit_cast<std::uint64_t>(regions.data());
        request.regions_length = regions.size();
        request.category_any_of = request.categories_returned = category_present | category_swapped;
        const int found = ioctl(file_, scan_request, &request);
        if (found < 0 || request.walk_end <= at) return std::nullopt;
        for (const Region& region : std::span{regions}.first(static_cast<std::size_t>(found))) {
            add(runs, region.start - base, region.end - base);
        }
        at = request.walk_end;
    }
    return runs;
}

std::optional<std::vector<TouchedRun>> PageMap::entries(std::uint64_t base, std::uint64_t bytes) const {
    constexpr std::uint64_t present_or_swapped = std::uint64_t{3} << 62;
    std::vector<TouchedRun> runs;
    std::vector<std::uint64_t> entries(64 * 1024);
    for (std::uint64_t at = 0; at < bytes / pagemap_page;) {
        const std::uint64_t wanted =
            std::min<std::uint64_t>(entries.size(), bytes / pagemap_page - at) * sizeof(std::uint64_t);
        const ssize_t got = pread(file_, entries.data(), wanted,
                                  static_cast<off_t>((base / pagemap_page + at) * sizeof(std::uint64_t)));
        if (got < static_cast<ssize_t>(sizeof(std::uint64_t))) return std::nullopt;
        const std::uint64_t count = static_cast<std::uint64_t>(got) / sizeof(std::uint64_t);
        for (std::uint64_t n = 0; n < count; ++n) {
            if ((entries[n] & present_or_swapped) != 0) add(runs, (at + n) * pagemap_page, (at + n + 1) * pagemap_page);
        }
        at += count;
    }
    return runs;
}

}  // namespace

std::vector<TouchedRun> touched_memory(const std::byte* base, std::uint64_t bytes, TouchedSource first_asked) {
    const auto address = std::bit_cast<std::uint64_t>(base);
    const PageMap map;
    if (first_asked == TouchedSource::scan) {
        if (auto runs = map.scan(address, bytes)) return std::move(*runs);
    }
    if (first_asked != TouchedSource::nobody) {
        if (auto runs = map.entries(address, bytes)) return std::move(*runs);
    }
    return {{0, bytes}};
}

}  // namespace models
