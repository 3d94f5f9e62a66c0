// An on-chip packet buffer: frames lie in it one behind the other and leave in order. Storage is twice the capacity, so
// that a frame never has to be split at the end; only the capacity is given out.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace sriov_nic {

class PacketMemory {
public:
    static constexpr std::uint32_t least_bytes = 64;  // what the shortest frame takes

    explicit PacketMemory(std::uint32_t capacity) : capacity_(capacity), storage_(std::size_t{capacity} * 2) {}

    bool fits(std::uint32_t bytes) const { return used_ + std::max(bytes, least_bytes) <= capacity_; }
    // `bytes` fit. Gives the place.
    std::uint32_t allocate(std::uint32_t bytes) {
        if (next_ + bytes > storage_.size()) next_ = 0;
        const std::uint32_t at = next_;
        next_ += bytes;
        used_ += std::max(bytes, least_bytes);
        return at;
    }
    void release(std::uint32_t bytes) {
        used_ -= std::max(bytes, least_bytes);
        if (used_ == 0) next_ = 0;  // what was used last is in the simulating computer's caches
    }
    std::byte* at(std::uint32_t place) { return &storage_[place]; }
    std::span<std::byte> span(std::uint32_t place, std::uint32_t bytes) { return {&storage_[place], bytes}; }

    std::uint32_t used() const { return used_; }
    std::uint32_t capacity() const { return capacity_; }
    void set_capacity(std::uint32_t bytes) { capacity_ = std::min<std::uint32_t>(bytes, storage_.size() / 2); }
    void clear() { next_ = used_ = 0; }

    template <class Archive>
    void fields(Archive& archive) {
        archive(capacity_, next_, used_);
        archive.bytes(storage_);
    }

private:
    std::uint32_t capacity_;
    std::uint32_t next_ = 0;
    std::uint32_t used_ = 0;
    std::vector<std::byte> storage_;
};

// A queue of fixed size without allocation. Positions count up for ever.
template <class T>
class Fifo {
public:
    explicit Fifo(std::size_t power_of_two) : items_(power_of_two) {}
    bool empty() const { return first_ == end_; }
    bool full() const { return end_ - first_ == items_.size(); }
    std::uint32_t first() const { return first_; }
    std::uint32_t end() const { return end_; }
    std::uint32_t size() const { return end_ - first_; }
    T& operator[](std::uint32_t position) { return items_[position & (items_.size() - 1)]; }
    T& push() { return items_[end_++ & (items_.size() - 1)] = T{}; }
    T& front() { return (*this)[first_]; }
    void pop() { ++first_; }
    void clear() { first_ = end_; }
    // Of an empty one, whose positions nobody knows any more.
    void rewind() { first_ = end_ = 0; }

    template <class Archive>
    void fields(Archive& archive) {
        archive(first_, end_);
        for (std::uint32_t p = first_; p != end_; ++p) archive((*this)[p]);
    }

private:
    std::uint32_t first_ = 0;
    std::uint32_t end_ = 0;
    std::vector<T> items_;
};

}  // namespace sriov_nic
