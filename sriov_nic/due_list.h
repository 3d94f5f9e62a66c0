// Numbered things and when they are due: at equal times the one whose place is older is first. Few are in it at once,
// and most are due last. Of those that would not be, it is mostly known long before when they will be due: a place is
// kept for them then.
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
    // Places, among them those that are kept; the first is none of these.
    std::size_t size() const { return count_; }
    unsigned operator[](std::size_t place) const { return order_[slot(place)]; }
    sim::Time time(std::size_t place) const { return at_[(*this)[place]]; }
    bool has(unsigned thing) const { return (wanted_[thing / 64] >> thing % 64 & 1) != 0; }
    // Never: it is not in the list.
    sim::Time at(unsigned thing) const { return has(thing) ? at_[thing] : sim::Time::never(); }

    // `at` is not never.
    void put(unsigned thing, sim::Time at) {
        move(thing, at);
        wanted_[thing / 64] |= std::uint64_t{1} << thing % 64;
        drop_kept();
    }
    // Takes it out of the list, where it will mostly be put again for `at`.
    void keep_place(unsigned thing, sim::Time at) {
        move(thing, at);
        wanted_[thing / 64] &= ~(std::uint64_t{1} << thing % 64);
        drop_kept();
    }
    void remove(unsigned thing) {
        take_out(thing);
        drop_kept();
    }
    void clear() {
        at_.fill(sim::Time::never());
        wanted_ = {};
        first_ = 0;
        count_ = 0;
    }

    template <class Archive>
    void fields(Archive& archive) {
        archive(at_, wanted_, order_, first_, count_);
    }

private:
    // Around the ring, whose size is that of what `first_` counts.
    std::uint8_t slot(std::size_t place) const { return static_cast<std::uint8_t>(first_ + place); }

    void move(unsigned thing, sim::Time at) {
        if (at_[thing] == at) return;
        take_out(thing);
        at_[thing] = at;
        std::size_t place = count_++;
        for (; place > 0 && time(place - 1) > at; --place) order_[slot(place)] = order_[slot(place - 1)];
        order_[slot(place)] = static_cast<std::uint8_t>(thing);
    }
    void take_out(unsigned thing) {
        if (at_[thing].is_never()) return;
        at_[thing] = sim::Time::never();
        wanted_[thing / 64] &= ~(std::uint64_t{1} << thing % 64);
        --count_;
        if (front() == thing) {
            ++first_;
            return;
        }
        std::size_t place = 1;
        while ((*this)[place] != thing) ++place;
        for (; place < count_; ++place) order_[slot(place)] = order_[slot(place + 1)];
    }
    // Nobody has put there what the first places were kept for.
    void drop_kept() {
        for (; count_ != 0 && !has(front()); --count_) at_[order_[first_++]] = sim::Time::never();
    }

    std::array<sim::Time, things> at_;                        // of the places; never: none
    std::array<std::uint64_t, (things + 63) / 64> wanted_{};  // one bit each: it is in the list
    std::array<std::uint8_t, 256> order_{};
    std::uint8_t first_ = 0;
    std::uint32_t count_ = 0;
};

}  // namespace sriov_nic
