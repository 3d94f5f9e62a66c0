#include "vmbus/page_list.h"

#include <algorithm>

namespace vmbus {

void PageList::add_run(std::uint64_t gpa, std::uint64_t length) {
    if (!runs_.empty() && runs_.back().gpa + runs_.back().length == gpa) {
        runs_.back().length += length;
    } else {
        runs_.push_back({size_, gpa, length});
    }
    size_ += length;
}

void PageList::append(std::uint32_t offset, std::uint32_t length, std::span<const std::uint64_t> pages) {
    std::uint64_t left = length;
    std::uint64_t in_page = offset;
    for (const std::uint64_t page : pages) {
        const std::uint64_t part = std::min(left, page_bytes - in_page);
        if (part == 0) break;
        add_run(page * page_bytes + in_page, part);
        left -= part;
        in_page = 0;
    }
}

PageList PageList::slice(std::uint64_t at, std::uint64_t length) const {
    PageList part;
    for (const Run& run : runs_) {
        const std::uint64_t begin = std::max(at, run.start);
        const std::uint64_t end = std::min(at + length, run.start + run.length);
        if (begin < end) part.add_run(run.gpa + (begin - run.start), end - begin);
    }
    return part;
}

bool PageList::read_runs(GuestMemory& memory, std::uint64_t at, std::span<std::byte> out, const Run* run) const {
    if (out.empty()) return at <= size_;
    if (run == nullptr) return false;
    for (; !out.empty(); ++run) {
        const std::uint64_t skip = at - run->start;
        const auto part = static_cast<std::size_t>(std::min<std::uint64_t>(out.size(), run->length - skip));
        if (!memory.read(run->gpa + skip, out.first(part))) return false;
        out = out.subspan(part);
        at += part;
    }
    return true;
}

bool PageList::write_runs(GuestMemory& memory, std::uint64_t at, std::span<const std::byte> data,
                          const Run* run) const {
    if (data.empty()) return at <= size_;
    if (run == nullptr) return false;
    for (; !data.empty(); ++run) {
        const std::uint64_t skip = at - run->start;
        const auto part = static_cast<std::size_t>(std::min<std::uint64_t>(data.size(), run->length - skip));
        if (!memory.write(run->gpa + skip, data.first(part))) return false;
        data = data.subspan(part);
        at += part;
    }
    return true;
}

}  // namespace vmbus
