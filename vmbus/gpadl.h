// A GPADL as it arrives: a header message and bodies, with one or more ranges of guest memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "vmbus/page_list.h"

namespace vmbus {

class Gpadl {
public:
    enum class Progress : std::uint8_t { more, complete, bad_range, over_limit };

    Gpadl() = default;
    // `range_bytes` of ranges are to come, modulo 65536; `range_count` ranges.
    Gpadl(std::uint16_t range_bytes, std::uint16_t range_count)
        : announced_words_(range_bytes / 8), ranges_left_(range_count), range_count_(range_count) {}

    // The next piece, of which whole words count. No more than `limit` words are ever kept.
    Progress append(std::span<const std::byte> data, std::uint64_t limit);

    bool complete() const { return complete_; }
    std::uint32_t range_count() const { return range_count_; }
    // Words that it takes or will take, as far as is known.
    std::uint64_t words() const;
    // A ring's form: one range of whole pages.
    bool is_page_run() const;
    // Every page is memory of the guest's.
    bool is_memory(GuestMemory& memory) const;
    const PageList& pages() const { return pages_; }

    template <class Archive>
    void fields(Archive& archive) {
        archive(announced_words_, ranges_left_, range_count_, next_header_, words_, complete_);
        if constexpr (Archive::reading) {
            if (complete_) build();
        }
    }

private:
    // Calls take(offset, length, pages) for each range.
    template <class Take>
    void for_each_range(const Take& take) const;
    void build();

    std::uint32_t announced_words_ = 0;
    std::uint32_t ranges_left_ = 0;  // whose headers have not come
    std::uint32_t range_count_ = 0;
    std::uint64_t next_header_ = 0;  // where the next one is
    std::vector<std::uint64_t> words_;
    bool complete_ = false;
    PageList pages_;  // of the words, once complete
};

}  // namespace vmbus
