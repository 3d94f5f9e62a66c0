// Guest memory that a GPA-direct packet names.
#include <algorithm>

#include "vmbus/channel.h"
#include "vmbus/page_list.h"

namespace vmbus {
namespace {

// Calls move(gpa, offset, length) for each piece, neighbouring pages as one.
template <class Move>
bool for_each_piece(const GpaRange& range, std::uint64_t at, std::uint64_t length, const Move& move) {
    if (at > range.length || length > range.length - at) return false;
    std::uint64_t done = 0;
    while (done < length) {
        const std::uint64_t place = range.offset + at + done;
        const std::uint64_t first = place / page_bytes;
        if (first >= range.pages.size()) return false;
        std::uint64_t end = first + 1;
        while (end < range.pages.size() && range.pages[end] == range.pages[end - 1] + 1) ++end;
        const std::uint64_t part = std::min(length - done, end * page_bytes - place);
        if (range.pages[first] > ~std::uint64_t{0} / page_bytes) return false;
        if (!move(range.pages[first] * page_bytes + place % page_bytes, static_cast<std::size_t>(done),
                  static_cast<std::size_t>(part))) {
            return false;
        }
        done += part;
    }
    return true;
}

}  // namespace

bool read_range(GuestMemory& memory, const GpaRange& range, std::uint64_t at, std::span<std::byte> out) {
    return for_each_piece(range, at, out.size(), [&](std::uint64_t gpa, std::size_t offset, std::size_t length) {
        return memory.read(gpa, out.subspan(offset, length));
    });
}

bool write_range(GuestMemory& memory, const GpaRange& range, std::uint64_t at, std::span<const std::byte> data) {
    return for_each_piece(range, at, data.size(), [&](std::uint64_t gpa, std::size_t offset, std::size_t length) {
        return memory.write(gpa, data.subspan(offset, length));
    });
}

}  // namespace vmbus
