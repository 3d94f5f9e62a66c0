// How a virtual function's driver sets the least time between interrupts: Linux' ixgbevf (ixgbevf_main.c,
// ixgbevf_update_itr() and ixgbevf_set_itr(), Linux 6.1). Values are EITR's: quarters of a microsecond, bits 11:3.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>

#include "sim/time.h"

namespace models {

enum class Moderation : std::uint8_t {
    adaptive,     // by what came: ethtool's rx-usecs 1, the default
    fixed,        // always the same interval
    low_latency,  // none: rx-usecs 0
};

namespace eitr_value {
inline constexpr std::uint32_t per_second_100k = 40, per_second_20k = 200, per_second_12k = 336, largest = 0xff8;
// The value of an interval, rounded down; 0 if there is none that short or long.
constexpr std::uint32_t of(sim::Time interval) {
    const std::int64_t quarters = interval / sim::Time::ns(250);
    return quarters >= 0 && quarters <= largest ? static_cast<std::uint32_t>(quarters) & largest : 0;
}
}  // namespace eitr_value

// What a vector's rings have moved since it looked last.
struct ModeratedTraffic {
    std::uint64_t frames = 0;
    std::uint64_t bytes = 0;

    template <class Archive>
    void fields(Archive& archive) {
        archive(frames, bytes);
    }
};

class AdaptiveInterval {
public:
    std::uint32_t value() const { return interval_; }
    // At the end of a poll. The register's new value, if it is to be written. Counts start anew where they were used.
    std::optional<std::uint32_t> update(ModeratedTraffic& sent, ModeratedTraffic& received) {
        step(sent_class_, sent);
        step(received_class_, received);
        std::uint32_t wanted = interval_;
        switch (std::max(sent_class_, received_class_)) {
            case Class::lowest:
                wanted = eitr_value::per_second_100k;
                break;
            case Class::low:
                wanted = eitr_value::per_second_20k;
                break;
            case Class::bulk:
                wanted = eitr_value::per_second_12k;
                break;
        }
        if (wanted == interval_) return std::nullopt;
        // Approaches the wanted value by tenths.
        interval_ = 10 * wanted * interval_ / (9 * wanted + interval_);
        return interval_ & eitr_value::largest;
    }

    template <class Archive>
    void fields(Archive& archive) {
        archive(interval_, sent_class_, received_class_);
    }

private:
    enum class Class : std::uint8_t { lowest, low, bulk };

    void step(Class& current, ModeratedTraffic& traffic) const {
        if (traffic.frames == 0) return;
        const std::uint32_t microseconds = interval_ / 4;
        if (microseconds == 0) return;
        const std::uint64_t rate = traffic.bytes / microseconds;
        switch (current) {
            case Class::lowest:
                if (rate > 10) current = Class::low;
                break;
            case Class::low:
                if (rate > 20) {
                    current = Class::bulk;
                } else if (rate <= 10) {
                    current = Class::lowest;
                }
                break;
            case Class::bulk:
                if (rate <= 20) current = Class::low;
                break;
        }
        traffic = {};
    }

    std::uint32_t interval_ = eitr_value::per_second_20k;
    Class sent_class_ = Class::lowest;
    Class received_class_ = Class::lowest;
};

}  // namespace models
