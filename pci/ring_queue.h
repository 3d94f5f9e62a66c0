// A queue of fixed room: what is in flight on a link, without an allocation per operation. It has memory for as many as
// were ever in it at once, so that one that is seldom full stays in few of the simulating computer's cache lines.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "sim/check.h"

namespace pci {

template <class T>
class RingQueue final {
public:
    explicit RingQueue(std::size_t room)
        : room_(std::bit_ceil(room)), slots_(std::min<std::size_t>(room_, 16)), mask_(slots_.size() - 1) {}

    bool empty() const { return head_ == tail_; }
    bool full() const { return size() == room_; }
    std::size_t size() const { return tail_ - head_; }
    std::size_t room() const { return room_ - size(); }

    // From the oldest on.
    T& operator[](std::size_t i) { return slots_[(head_ + i) & mask_]; }
    const T& operator[](std::size_t i) const { return slots_[(head_ + i) & mask_]; }
    T& front() { return slots_[head_ & mask_]; }
    const T& front() const { return slots_[head_ & mask_]; }

    // One more at the end, whose content is left of another: the caller writes all its fields, one by one. One that is
    // made somewhere else and copied from there by more than a field at a time waits until all that the simulating
    // computer stored before is in its cache.
    T& add() {
        if (size() > mask_) grow(size() + 1);
        return slots_[tail_++ & mask_];
    }
    // The same, or null: there is no room.
    T* try_add() {
        if (size() > mask_) {
            if (full()) return nullptr;
            grow(size() + 1);
        }
        return &slots_[tail_++ & mask_];
    }
    // `item` is not one of its own.
    void push(const T& item) { add() = item; }
    void pop() { ++head_; }
    void clear() { head_ = tail_; }
    // One that is empty goes on in the lines in which it began.
    void begin_anew() {
        if (empty()) head_ = tail_ = 0;
    }

    // Keeps the queue in the order of `before`; items that are equal stay in the order they came.
    template <class Before>
    void insert(const T& item, Before&& before) {
        push(item);
        for (std::size_t i = size() - 1; i > 0 && before(item, (*this)[i - 1]); --i) {
            (*this)[i] = (*this)[i - 1];
            (*this)[i - 1] = item;
        }
    }
    // Removes what the predicate names.
    template <class Predicate>
    void erase_if(Predicate&& matches) {
        std::size_t kept = 0;
        const std::size_t count = size();
        for (std::size_t i = 0; i < count; ++i) {
            if (matches((*this)[i])) continue;
            if (kept != i) (*this)[kept] = (*this)[i];
            ++kept;
        }
        tail_ = head_ + kept;
    }

    template <class Archive>
    void fields(Archive& archive) {
        std::uint64_t count = size();
        archive(count);
        if constexpr (Archive::reading) {
            if (count > room_) throw sim::UserError("checkpoint: more in flight than the link has room for");
            clear();
            if (count > slots_.size()) grow(static_cast<std::size_t>(count));
            head_ = 0;
            tail_ = static_cast<std::size_t>(count);
        }
        for (std::size_t i = 0; i < size(); ++i) archive((*this)[i]);
    }

private:
    [[gnu::noinline]] void grow(std::size_t least) {
        VG_CHECK(least <= room_);
        std::vector<T> more(std::bit_ceil(least));
        const std::size_t count = size();
        for (std::size_t i = 0; i < count; ++i) more[i] = (*this)[i];
        slots_ = std::move(more);
        mask_ = slots_.size() - 1;
        head_ = 0;
        tail_ = count;
    }

    std::size_t room_;
    std::vector<T> slots_;
    std::size_t mask_;
    std::size_t head_ = 0;
    std::size_t tail_ = 0;
};

}  // namespace pci
