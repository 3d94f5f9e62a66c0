#include "vmbus/gpadl.h"

#include <algorithm>
#include <cstring>

namespace vmbus {
namespace {

constexpr std::uint64_t page_number_limit = std::uint64_t{1} << 40;  // 52-bit addresses
constexpr std::uint64_t announced_limit = 0xffff / 8;                // range_bytes is 16 bits wide

struct RangeHead {
    std::uint32_t length;
    std::uint32_t offset;
    std::uint64_t pages() const { return (std::uint64_t{offset} + length + page_bytes - 1) / page_bytes; }
    bool valid() const { return length != 0 && offset < page_bytes; }
};
RangeHead head_of(std::uint64_t word) {
    return {static_cast<std::uint32_t>(word), static_cast<std::uint32_t>(word >> 32)};
}

}  // namespace

std::uint64_t Gpadl::words() const {
    // A range takes its header and a page at least.
    return std::max<std::uint64_t>({next_header_ + 2 * std::uint64_t{ranges_left_}, announced_words_, words_.size()});
}

Gpadl::Progress Gpadl::append(std::span<const std::byte> data, std::uint64_t limit) {
    if (range_count_ == 0) return Progress::bad_range;
    if (words() > limit) return Progress::over_limit;
    const std::size_t count = std::min<std::size_t>(data.size() / 8, static_cast<std::size_t>(limit - words_.size()));
    const std::size_t old = words_.size();
    words_.resize(old + count);
    if (count != 0) std::memcpy(words_.data() + old, data.data(), count * 8);
    while (ranges_left_ != 0 && next_header_ < words_.size()) {
        const RangeHead head = head_of(words_[static_cast<std::size_t>(next_header_)]);
        if (!head.valid()) return Progress::bad_range;
        next_header_ += 1 + head.pages();
        --ranges_left_;
    }
    const std::uint64_t least = next_header_ + 2 * std::uint64_t{ranges_left_};
    if (least > limit) return Progress::over_limit;
    // Until the last range's length is known the count may be that of a long list, which wraps.
    if (ranges_left_ != 0) return Progress::more;
    const bool wraps = least > announced_limit;
    if (!wraps && announced_words_ < least) return Progress::bad_range;
    // A count that is not what is left of it is none at all.
    if (wraps && (next_header_ & announced_limit) != announced_words_) return Progress::bad_range;
    if (words_.size() < (wraps ? next_header_ : std::uint64_t{announced_words_})) return Progress::more;
    words_.resize(static_cast<std::size_t>(next_header_));
    words_.shrink_to_fit();
    bool in_reach = true;
    for_each_range([&](RangeHead, std::span<const std::uint64_t> pages) {
        for (const std::uint64_t page : pages) in_reach = in_reach && page < page_number_limit;
    });
    if (!in_reach) return Progress::bad_range;
    complete_ = true;
    build();
    return Progress::complete;
}

template <class Take>
void Gpadl::for_each_range(const Take& take) const {
    for (std::size_t at = 0; at < words_.size();) {
        const RangeHead head = head_of(words_[at]);
        const auto pages = static_cast<std::size_t>(head.pages());
        if (pages > words_.size() - at - 1) return;  // of a damaged checkpoint
        take(head, std::span{words_}.subspan(at + 1, pages));
        at += 1 + pages;
    }
}

void Gpadl::build() {
    pages_ = {};
    for_each_range([this](RangeHead head, std::span<const std::uint64_t> pages) {
        pages_.append(head.offset, head.length, pages);
    });
}

bool Gpadl::is_page_run() const {
    if (range_count_ != 1 || words_.empty()) return false;
    const RangeHead head = head_of(words_[0]);
    return head.offset == 0 && head.length % page_bytes == 0;
}

bool Gpadl::is_memory(GuestMemory& memory) const {
    bool all = true;
    for_each_range([&](RangeHead, std::span<const std::uint64_t> pages) {
        for (const std::uint64_t page : pages) all = all && memory.is_memory(page * page_bytes);
    });
    return all;
}

}  // namespace vmbus
