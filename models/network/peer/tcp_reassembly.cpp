#include "models/network/peer/tcp_reassembly.h"

#include <algorithm>

namespace models {

namespace {
constexpr std::size_t remembered_blocks = 4;
}

void TcpReassembly::add(std::uint64_t offset, std::span<const std::byte> data) {
    const std::uint64_t window_end = next_ + window();
    if (offset < next_) {
        const std::uint64_t old = std::min<std::uint64_t>(next_ - offset, data.size());
        data = data.subspan(old);
        offset += old;
    }
    if (offset >= window_end) return;
    data = data.first(std::min<std::uint64_t>(data.size(), window_end - offset));
    if (data.empty()) return;
    if (offset > next_) return store_early(offset, data);

    unread_.insert(unread_.end(), data.begin(), data.end());
    next_ += data.size();
    while (!early_.empty() && early_.begin()->first <= next_) {
        const auto& [at, bytes] = *early_.begin();
        const std::uint64_t old = std::min<std::uint64_t>(next_ - at, bytes.size());
        unread_.insert(unread_.end(), bytes.begin() + static_cast<std::ptrdiff_t>(old), bytes.end());
        next_ += bytes.size() - old;
        early_.erase(early_.begin());
    }
    std::erase_if(recent_, [this](std::uint64_t at) { return at < next_; });
}

void TcpReassembly::store_early(std::uint64_t offset, std::span<const std::byte> data) {
    recent_.insert(recent_.begin(), offset);
    if (recent_.size() > remembered_blocks) recent_.pop_back();
    // What is there already stays; the rest is stored between.
    auto place = early_.upper_bound(offset);
    if (place != early_.begin()) {
        const auto before = std::prev(place);
        const std::uint64_t end = before->first + before->second.size();
        if (end > offset) {
            const std::uint64_t known = std::min<std::uint64_t>(end - offset, data.size());
            data = data.subspan(known);
            offset += known;
        }
    }
    while (!data.empty()) {
        const std::uint64_t room = place == early_.end() ? data.size() : place->first - offset;
        const auto part = data.first(std::min<std::uint64_t>(room, data.size()));
        store_piece(offset, part);
        data = data.subspan(part.size());
        offset += part.size();
        if (data.empty() || place == early_.end()) break;
        const std::uint64_t known = std::min<std::uint64_t>(place->second.size(), data.size());
        data = data.subspan(known);
        offset += known;
        ++place;
    }
}

void TcpReassembly::store_piece(std::uint64_t offset, std::span<const std::byte> data) {
    if (data.empty()) return;
    auto after = early_.lower_bound(offset);
    if (after != early_.begin()) {
        auto& [at, bytes] = *std::prev(after);
        if (at + bytes.size() == offset) {
            bytes.insert(bytes.end(), data.begin(), data.end());
            return;
        }
    }
    if (early_.size() < maximum_pieces) early_.emplace(offset, std::vector<std::byte>(data.begin(), data.end()));
}

std::vector<std::byte> TcpReassembly::read(std::uint64_t most) {
    const auto n = static_cast<std::ptrdiff_t>(std::min<std::uint64_t>(most, unread_.size()));
    std::vector<std::byte> data(unread_.begin(), unread_.begin() + n);
    unread_.erase(unread_.begin(), unread_.begin() + n);
    return data;
}

std::vector<std::pair<std::uint64_t, std::uint64_t>> TcpReassembly::blocks(std::size_t most) const {
    std::vector<std::pair<std::uint64_t, std::uint64_t>> found;
    for (const std::uint64_t at : recent_) {
        if (found.size() == most) break;
        auto place = early_.upper_bound(at);
        if (place == early_.begin()) continue;
        --place;
        // Grows over the neighbours on both sides.
        while (place != early_.begin()) {
            const auto before = std::prev(place);
            if (before->first + before->second.size() != place->first) break;
            place = before;
        }
        std::pair<std::uint64_t, std::uint64_t> block{place->first, place->first};
        for (; place != early_.end() && place->first == block.second; ++place) block.second += place->second.size();
        if (std::find(found.begin(), found.end(), block) == found.end()) found.push_back(block);
    }
    return found;
}

}  // namespace models
