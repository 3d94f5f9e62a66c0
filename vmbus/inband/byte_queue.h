// Bytes that come at the end and go at the front, in pieces.
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <vector>

namespace vmbus {

class ByteQueue {
public:
    void push(std::span<const std::byte> bytes) { data_.insert(data_.end(), bytes.begin(), bytes.end()); }
    // The first bytes, at most so many.
    std::span<const std::byte> front(std::size_t most) const {
        return std::span{data_}.subspan(first_, std::min(most, size()));
    }
    void pop(std::size_t count) {
        first_ += std::min(count, size());
        // What is gone is cleared away once it is more than what is left.
        if (first_ > data_.size() / 2) compact();
    }
    void clear() {
        data_.clear();
        first_ = 0;
    }
    std::size_t size() const { return data_.size() - first_; }
    bool empty() const { return size() == 0; }

    bool operator==(const ByteQueue& other) const {
        return std::ranges::equal(front(size()), other.front(other.size()));
    }
    template <class Archive>
    void fields(Archive& archive) {
        compact();
        archive(data_);
    }

private:
    void compact() {
        data_.erase(data_.begin(), data_.begin() + static_cast<std::ptrdiff_t>(first_));
        first_ = 0;
    }

    std::vector<std::byte> data_;
    std::size_t first_ = 0;
};

}  // namespace vmbus
