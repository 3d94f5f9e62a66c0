// When operations begin. In a closed loop the end of one begins the next; all other kinds come whether or not the
// earlier ones have ended.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "sim/random.h"
#include "sim/time.h"

namespace models {

enum class ArrivalKind : std::uint8_t {
    closed,
    constant,  // at a rate
    poisson,   // at a mean rate, independently
    on_off,    // at a rate for a while, then not for a while
    trace,     // at given times
    external,  // when somebody says so (mixture.h)
};

struct TraceEntry {
    sim::Time at;             // from the beginning
    std::uint64_t bytes = 0;  // 0: as the workload's own sizes say
};

struct ArrivalSettings {
    ArrivalKind kind = ArrivalKind::closed;
    // Thousandths of an operation in a second.
    std::uint64_t per_kilosecond = 0;
    sim::Time on;
    sim::Time off;
    bool random_periods = false;  // on and off are means of exponential distributions
    std::vector<TraceEntry> trace;

    // Throws sim::UserError, beginning with `what`.
    void check(std::string_view what) const;
};

class Arrivals {
public:
    struct Arrival {
        sim::Time at;
        std::uint64_t bytes = 0;
        template <class Archive>
        void fields(Archive& archive) {
            archive(at, bytes);
        }
    };

    Arrivals(const ArrivalSettings& settings, const sim::Random& random) : settings_(settings), random_(random) {}

    void start(sim::Time now);
    // The next one; nothing if there is none.
    std::optional<Arrival> next();

    template <class Archive>
    void fields(Archive& archive) {
        archive(random_, begun_, count_, last_, period_end_, in_period_);
    }

private:
    sim::Time spread(sim::Time time);
    sim::Time interval(std::uint64_t count) const;

    sim::Time begun_;  // of all, or of the period
    std::uint64_t count_ = 0;
    ArrivalSettings settings_;
    sim::Random random_;
    sim::Time last_;
    sim::Time period_end_;
    std::uint64_t in_period_ = 0;
};

}  // namespace models
