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
    // When the first of those is due that are due later than `now`.
    sim::Time first_after(sim::Time now) const {
        for (std::size_t place = 0; place < count_; ++place) {
            const unsigned thing = (*this)[place];
            if (at_[thing] > now && has(thing)) return at_[thing];
        }
        return sim::Time::never();
    }
    bool has(unsigned thing) const { return (wanted_[thing / 64] >> thing % 64 & 1) != 0; }
    // Never: it is not in the list.
    sim::Time at(unsigned thing) const { return has(thing) ? at_[thing] : sim::Time::never(); }

    // `at` is not never.
    void put(unsigned thing, sim::Time at) {
        const bool kept = at_[thing] == at;
        if (!kept) move(thing, at);
        wanted_[thing / 64] |= std::uint64_t{1} << thing % 64;
        if (!kept) drop_kept();
    }
    // Takes it out of the list, where it will mostly be put again for `at`.
    void keep_place(unsigned thing, sim::Time at) {
        if (at_[thing] != at) move(thing, at);
        unwant(thing);
        drop_kept();
    }
    void remove(unsigned thing) {
        if (at_[thing].is_never()) return;
        take_out(thing);
        at_[thing] = sim::Time::never();
        unwant(thing);
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

    void unwant(unsigned thing) { wanted_[thing / 64] &= ~(std::uint64_t{1} << thing % 64); }
    void move(unsigned thing, sim::Time at) {
        if (!at_[thing].is_never()) take_out(thing);
        at_[thing] = at;
        std::size_t place = count_++;
        for (; place > 0 && time(place - 1) > at; --place) order_[slot(place)] = order_[slot(place - 1)];
        order_[slot(place)] = static_cast<std::uint8_t>(thing);
    }
    void take_out(unsigned thing) {
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
