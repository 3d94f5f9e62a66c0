// Numbered things and when they are due: at equal times the one that was put in first is first. Few are in it at once,
// and most are due last.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "sim/time.h"

namespace sriov_nic {

template <std::size_t things>
class DueList final {
public:
    static_assert(things <= 256);
    DueList() { clear(); }

    sim::Time first() const { return count_ == 0 ? sim::Time::never() : at_[front()]; }
    unsigned front() const { return order_[first_]; }
    std::size_t size() const { return count_; }
    unsigned operator[](std::size_t place) const { return order_[slot(place)]; }
    bool has(unsigned thing) const { return !at_[thing].is_never(); }
    // Never: it is not in the list.
    sim::Time at(unsigned thing) const { return at_[thing]; }

    // `at` is not never.
    void put(unsigned thing, sim::Time at) {
        remove(thing);
        at_[thing] = at;
        std::size_t place = count_++;
        for (; place > 0 && at_[(*this)[place - 1]] > at; --place) order_[slot(place)] = order_[slot(place - 1)];
        order_[slot(place)] = static_cast<std::uint8_t>(thing);
    }
    void remove(unsigned thing) {
        if (!has(thing)) return;
        at_[thing] = sim::Time::never();
        --count_;
        if (front() == thing) {
            ++first_;
            return;
        }
        std::size_t place = 1;
        while ((*this)[place] != thing) ++place;
        for (; place < count_; ++place) order_[slot(place)] = order_[slot(place + 1)];
    }
    void clear() {
        at_.fill(sim::Time::never());
        first_ = 0;
        count_ = 0;
    }

    template <class Archive>
    void fields(Archive& archive) {
        archive(at_, order_, first_, count_);
    }

private:
    // Around the ring, whose size is that of what `first_` counts.
    std::uint8_t slot(std::size_t place) const { return static_cast<std::uint8_t>(first_ + place); }

    std::array<sim::Time, things> at_;
    std::array<std::uint8_t, 256> order_{};
    std::uint8_t first_ = 0;
    std::uint32_t count_ = 0;
};

}  // namespace sriov_nic
