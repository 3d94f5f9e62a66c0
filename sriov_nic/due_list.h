// Numbered things and when they are due: at equal times the one that was put in first is first. Few are in it at once,
// and most are due last.
#pragma once

#include <algorithm>
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

    sim::Time first() const { return count_ == 0 ? sim::Time::never() : at_[order_[0]]; }
    unsigned front() const { return order_[0]; }
    std::size_t size() const { return count_; }
    unsigned operator[](std::size_t place) const { return order_[place]; }
    bool has(unsigned thing) const { return !at_[thing].is_never(); }
    // Never: it is not in the list.
    sim::Time at(unsigned thing) const { return at_[thing]; }

    // `at` is not never.
    void put(unsigned thing, sim::Time at) {
        remove(thing);
        at_[thing] = at;
        std::size_t place = count_++;
        for (; place > 0 && at_[order_[place - 1]] > at; --place) order_[place] = order_[place - 1];
        order_[place] = static_cast<std::uint8_t>(thing);
    }
    void remove(unsigned thing) {
        if (!has(thing)) return;
        at_[thing] = sim::Time::never();
        const auto end = order_.begin() + count_;
        const auto place = std::find(order_.begin(), end, thing);
        std::move(place + 1, end, place);
        --count_;
    }
    void clear() {
        at_.fill(sim::Time::never());
        count_ = 0;
    }

    template <class Archive>
    void fields(Archive& archive) {
        archive(at_, order_, count_);
    }

private:
    std::array<sim::Time, things> at_;
    std::array<std::uint8_t, things> order_{};
    std::uint32_t count_ = 0;
};

}  // namespace sriov_nic
