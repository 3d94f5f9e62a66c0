#include "models/disk/written_blocks.h"

#include <algorithm>
#include <cstring>
#include <iterator>

namespace models {
bool WrittenBlocks::is_zeroed(std::uint64_t block) const {
    const auto after = zeroed_.upper_bound(block);
    return after != zeroed_.begin() && std::prev(after)->second > block;
}

IoStatus WrittenBlocks::fetch(std::uint64_t block, Block& out, Beneath& beneath) const {
    if (const auto found = blocks_.find(block); found != blocks_.end()) {
        out = found->second;
        return IoStatus::ok;
    }
    if (is_zeroed(block)) {
        out.fill(std::byte{0});
        return IoStatus::ok;
    }
    return beneath.read_beneath(block * block_bytes, out);
}

IoStatus WrittenBlocks::read(std::uint64_t offset, std::span<std::byte> out, Beneath& beneath) const {
    while (!out.empty()) {
        const std::uint64_t block = offset / block_bytes;
        const auto upper = blocks_.lower_bound(block);
        std::size_t part = 0;
        if (upper != blocks_.end() && upper->first == block) {
            const std::uint64_t within = offset % block_bytes;
            part = static_cast<std::size_t>(std::min<std::uint64_t>(out.size(), block_bytes - within));
            std::memcpy(out.data(), upper->second.data() + within, part);
        } else {
            // As far as the next written block, or to where zeros begin or end: one read instead of many.
            std::uint64_t end = upper == blocks_.end() ? ~std::uint64_t{0} : upper->first;
            const bool zeros = is_zeroed(block);
            const auto next = zeroed_.upper_bound(block);
            if (zeros) {
                end = std::min(end, std::prev(next)->second);
            } else if (next != zeroed_.end()) {
                end = std::min(end, next->first);
            }
            const std::uint64_t blocks = end - block;
            const std::uint64_t until = offset % block_bytes + out.size();
            part = blocks > until / block_bytes ? out.size()
                                                : static_cast<std::size_t>(std::min<std::uint64_t>(
                                                      out.size(), blocks * block_bytes - offset % block_bytes));
            if (zeros) {
                std::memset(out.data(), 0, part);
            } else if (const auto status = beneath.read_beneath(offset, out.first(part)); status != IoStatus::ok) {
                return status;
            }
        }
        out = out.subspan(part);
        offset += part;
    }
    return IoStatus::ok;
}

IoStatus WrittenBlocks::write(std::uint64_t offset, std::span<const std::byte> data, Beneath& beneath) {
    while (!data.empty()) {
        const std::uint64_t block = offset / block_bytes, within = offset % block_bytes;
        const auto part = static_cast<std::size_t>(std::min<std::uint64_t>(data.size(), block_bytes - within));
        auto found = blocks_.find(block);
        if (found == blocks_.end()) {
            Block former{};
            if (part < block_bytes) {
                if (const auto status = fetch(block, former, beneath); status != IoStatus::ok) return status;
            }
            found = blocks_.emplace(block, former).first;
        }
        std::memcpy(found->second.data() + within, data.data(), part);
        data = data.subspan(part);
        offset += part;
    }
    return IoStatus::ok;
}

IoStatus WrittenBlocks::zero(std::uint64_t offset, std::uint64_t length, Beneath& beneath) {
    static constexpr Block zeros{};
    const auto head = std::min(length, (block_bytes - offset % block_bytes) % block_bytes);
    if (const auto status = write(offset, std::span{zeros}.first(head), beneath); status != IoStatus::ok) return status;
    offset += head;
    length -= head;
    const std::uint64_t begin = offset / block_bytes, end = begin + length / block_bytes;
    if (end > begin) {
        blocks_.erase(blocks_.lower_bound(begin), blocks_.lower_bound(end));
        add_zeroed(begin, end);
    }
    return write(end * block_bytes, std::span{zeros}.first(length % block_bytes), beneath);
}

void WrittenBlocks::add_zeroed(std::uint64_t begin, std::uint64_t end) {
    auto at = zeroed_.upper_bound(begin);
    if (at != zeroed_.begin() && std::prev(at)->second >= begin) --at;
    while (at != zeroed_.end() && at->first <= end) {
        begin = std::min(begin, at->first);
        end = std::max(end, at->second);
        at = zeroed_.erase(at);
    }
    zeroed_.emplace(begin, end);
}

std::uint64_t WrittenBlocks::bytes_missing(std::uint64_t offset, std::uint64_t length) const {
    if (length == 0) return 0;
    const std::uint64_t begin = offset / block_bytes, end = (offset + length - 1) / block_bytes + 1;
    const auto held = std::distance(blocks_.lower_bound(begin), blocks_.lower_bound(end));
    return (end - begin - static_cast<std::uint64_t>(held)) * block_bytes;
}

bool WrittenBlocks::consistent(std::uint64_t size_bytes) const {
    const std::uint64_t blocks = size_bytes / block_bytes + (size_bytes % block_bytes != 0 ? 1 : 0);
    if (!blocks_.empty() && blocks_.rbegin()->first >= blocks) return false;
    std::uint64_t former = 0;
    bool first = true;
    for (const auto& [begin, end] : zeroed_) {
        if (begin >= end || end > blocks || (!first && begin <= former)) return false;
        former = end;
        first = false;
    }
    return true;
}

}  // namespace models
