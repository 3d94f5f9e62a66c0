// The receiving half of a connection: what came out of order, what is not read yet, and which blocks to report (RFC
// 2018). Never holds more than its capacity.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <span>
#include <utility>
#include <vector>

namespace models {

class TcpReassembly final {
public:
    // Pieces apart from one another that are kept; a sender of crumbs has to send them again.
    static constexpr std::size_t maximum_pieces = 1024;

    TcpReassembly() = default;
    explicit TcpReassembly(std::uint32_t capacity) : capacity_(capacity) {}

    // Offsets count the stream's bytes from 0. What lies outside the window is cut off.
    void add(std::uint64_t offset, std::span<const std::byte> data);
    // So many bytes from next() on went past here, straight to their reader. Nothing may be early or unread.
    void pass(std::uint64_t bytes) { next_ += bytes; }
    // The first byte that is missing.
    std::uint64_t next() const { return next_; }
    bool has_early() const { return !early_.empty(); }

    std::size_t unread() const { return unread_.size(); }
    std::vector<std::byte> read(std::uint64_t most);
    // From next() on.
    std::uint32_t window() const { return capacity_ - static_cast<std::uint32_t>(unread_.size()); }

    // Beginning and end of what came early, the latest first, at most `most`.
    std::vector<std::pair<std::uint64_t, std::uint64_t>> blocks(std::size_t most) const;

    template <class Archive>
    void fields(Archive& archive) {
        archive(capacity_, next_, unread_, early_, recent_);
    }

private:
    void store_early(std::uint64_t offset, std::span<const std::byte> data);
    void store_piece(std::uint64_t offset, std::span<const std::byte> data);

    std::uint32_t capacity_ = 0;
    std::uint64_t next_ = 0;
    std::deque<std::byte> unread_;
    std::map<std::uint64_t, std::vector<std::byte>> early_;  // without overlaps
    std::vector<std::uint64_t> recent_;                      // a byte of each block that came last, the latest first
};

}  // namespace models
