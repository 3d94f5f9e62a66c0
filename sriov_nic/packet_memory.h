// An on-chip packet buffer: how much of it is taken, and the frames' bytes.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "sim/pieces.h"

namespace sriov_nic {

class PacketMemory {
public:
    static constexpr std::uint32_t least_bytes = 64;  // what the shortest frame takes

    explicit PacketMemory(std::uint32_t capacity) : capacity_(capacity) {}

    bool fits(std::uint32_t bytes) const { return used_ + std::max(bytes, least_bytes) <= capacity_; }
    // `bytes` fit. Gives the place.
    std::uint32_t allocate(std::uint32_t bytes) {
        used_ += std::max(bytes, least_bytes);
        return pieces_.take(bytes);
    }
    // `place` is anywhere in what was allocated with as many bytes.
    void release(std::uint32_t place, std::uint32_t bytes) {
        used_ -= std::max(bytes, least_bytes);
        pieces_.give_back(place, bytes);
    }
    std::byte* at(std::uint32_t place) { return pieces_.at(place); }
    std::span<std::byte> span(std::uint32_t place, std::uint32_t bytes) { return pieces_.span(place, bytes); }

    std::uint32_t used() const { return used_; }
    std::uint32_t capacity() const { return capacity_; }
    void set_capacity(std::uint32_t bytes) { capacity_ = bytes; }
    void clear() {
        used_ = 0;
        pieces_.clear();
    }

    template <class Archive>
    void fields(Archive& archive) {
        archive(capacity_, used_, pieces_);
    }

private:
    std::uint32_t capacity_;
    std::uint32_t used_ = 0;
    sim::Pieces pieces_;
};

// A queue of fixed room. Positions count up for ever. It has memory for as many as were ever in it at once: one that is
// seldom full stays in few of the simulating computer's cache lines.
template <class T>
class Fifo {
public:
    explicit Fifo(std::size_t power_of_two) : room_(power_of_two), items_(std::min<std::size_t>(power_of_two, 16)) {}
    bool empty() const { return first_ == end_; }
    bool full() const { return size() == room_; }
    std::uint32_t first() const { return first_; }
    std::uint32_t end() const { return end_; }
    std::uint32_t size() const { return end_ - first_; }
    T& operator[](std::uint32_t position) { return items_[position & (items_.size() - 1)]; }
    // References to others may end.
    T& push() {
        if (size() == items_.size()) grow();
        return items_[end_++ & (items_.size() - 1)] = T{};
    }
    T& front() { return (*this)[first_]; }
    void pop() { ++first_; }
    void clear() { first_ = end_; }
    // Of an empty one, whose positions nobody knows any more.
    void rewind() { first_ = end_ = 0; }

    template <class Archive>
    void fields(Archive& archive) {
        archive(first_, end_);
        if constexpr (Archive::reading) {
            if (size() > room_) throw sim::UserError("checkpoint: more frames than the adapter has room for");
            while (items_.size() < size()) items_.resize(items_.size() * 2);
        }
        for (std::uint32_t p = first_; p != end_; ++p) archive((*this)[p]);
    }

private:
    [[gnu::noinline]] void grow() {
        std::vector<T> more(items_.size() * 2);
        for (std::uint32_t p = first_; p != end_; ++p) more[p & (more.size() - 1)] = (*this)[p];
        items_ = std::move(more);
    }

    std::size_t room_;
    std::uint32_t first_ = 0;
    std::uint32_t end_ = 0;
    std::vector<T> items_;
};

}  // namespace sriov_nic
