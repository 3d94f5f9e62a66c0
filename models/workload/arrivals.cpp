#include "models/workload/arrivals.h"

#include <string>

#include "sim/bits.h"
#include "sim/check.h"
#include "sim/exponential.h"

namespace models {

void ArrivalSettings::check(std::string_view what) const {
    const std::string begin = std::string{what} + ": ";
    const bool has_rate = kind == ArrivalKind::constant || kind == ArrivalKind::poisson || kind == ArrivalKind::on_off;
    if (has_rate && (per_kilosecond == 0 || per_kilosecond > 1'000'000'000'000)) {
        throw sim::UserError(begin + "the rate must be more than 0 and at most 1,000,000,000 a second");
    }
    if (kind == ArrivalKind::on_off && (on <= sim::Time::zero() || off < sim::Time::zero())) {
        throw sim::UserError(begin + "on-off arrivals need how long they are on, and how long off");
    }
    if (kind == ArrivalKind::trace && trace.empty()) throw sim::UserError(begin + "the trace is empty");
    for (std::size_t n = 1; n < trace.size(); ++n) {
        if (trace[n].at < trace[n - 1].at) {
            throw sim::UserError(begin + "the times of a trace must rise; entry " + std::to_string(n) + " does not");
        }
    }
}

void Arrivals::start(sim::Time now) {
    begun_ = last_ = now;
    count_ = 0;
    in_period_ = 0;
    period_end_ = settings_.kind == ArrivalKind::on_off ? now + spread(settings_.on) : sim::Time::never();
}

sim::Time Arrivals::spread(sim::Time time) {
    return settings_.random_periods ? sim::exponential(random_, time) : time;
}

// So many intervals of a constant rate, without the rounding of one.
sim::Time Arrivals::interval(std::uint64_t count) const {
    const sim::u128 ps = static_cast<sim::u128>(count) * sim::picoseconds_per_second * 1000 / settings_.per_kilosecond;
    return sim::Time::ps(static_cast<std::int64_t>(ps));
}

std::optional<Arrivals::Arrival> Arrivals::next() {
    switch (settings_.kind) {
        case ArrivalKind::constant:
            return Arrival{begun_ + interval(count_++)};
        case ArrivalKind::poisson:
            last_ += sim::exponential(random_, interval(1));
            return Arrival{last_};
        case ArrivalKind::on_off: {
            sim::Time at = begun_ + interval(in_period_);
            while (at >= period_end_) {
                begun_ = period_end_ + spread(settings_.off);
                period_end_ = begun_ + spread(settings_.on);
                in_period_ = 0;
                at = begun_;
            }
            ++in_period_;
            return Arrival{at};
        }
        case ArrivalKind::trace: {
            if (count_ >= settings_.trace.size()) return std::nullopt;
            const TraceEntry& entry = settings_.trace[count_++];
            return Arrival{begun_ + entry.at, entry.bytes};
        }
        default:
            return std::nullopt;
    }
}

}  // namespace models
