// A number drawn by integer weights: sizes of packets and requests, kinds of operations.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "sim/check.h"
#include "sim/random.h"

namespace models {

class Choice {
public:
    // Each of low..high is as probable as another.
    struct Item {
        std::uint64_t low = 0;
        std::uint64_t high = 0;
        std::uint64_t weight = 1;
        friend bool operator==(const Item&, const Item&) = default;
    };

    Choice() = default;
    explicit Choice(std::uint64_t value) : constant_(true), only_(value), items_{{value, value, 1}}, total_(1) {}
    // Throws sim::UserError, beginning with `what`, for an empty one, one without weight, or a range upside down.
    Choice(std::vector<Item> items, std::string_view what) : items_(std::move(items)) {
        for (const Item& item : items_) {
            if (item.low > item.high || item.weight > max_weight) {
                throw sim::UserError(std::string{what} +
                                     ": a range runs from its lesser to its greater end, and a "
                                     "weight is at most 2^32");
            }
            total_ += item.weight;
        }
        if (total_ == 0) throw sim::UserError(std::string{what} + ": no value has any weight");
        constant_ = items_.size() == 1 && items_.front().low == items_.front().high;
        only_ = items_.front().low;
    }

    // A choice without an alternative takes no random number.
    std::uint64_t draw(sim::Random& random) const {
        if (constant_) return only_;
        std::uint64_t at = items_.size() == 1 ? 0 : random.below(total_);
        for (const Item& item : items_) {
            if (at < item.weight) return item.low == item.high ? item.low : random.between(item.low, item.high);
            at -= item.weight;
        }
        return 0;
    }
    std::uint64_t least() const {
        std::uint64_t value = ~std::uint64_t{0};
        for (const Item& item : items_) value = std::min(value, item.low);
        return value;
    }
    std::uint64_t greatest() const {
        std::uint64_t value = 0;
        for (const Item& item : items_) value = std::max(value, item.high);
        return value;
    }
    const std::vector<Item>& items() const { return items_; }

private:
    static constexpr std::uint64_t max_weight = std::uint64_t{1} << 32;
    bool constant_ = false;
    std::uint64_t only_ = 0;
    std::vector<Item> items_;
    std::uint64_t total_ = 0;
};

// The "simple IMIX" of frames on a wire, with check sequence: 7 of 64 bytes, 4 of 594, 1 of 1518 (Agilent, "The Journal
// of Internet Test Methodologies", 2007; 340 1/3 bytes on average).
inline Choice internet_mix() {
    return Choice({{64, 64, 7}, {594, 594, 4}, {1518, 1518, 1}}, "imix");
}

}  // namespace models
