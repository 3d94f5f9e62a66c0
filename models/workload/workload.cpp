#include "models/workload/workload.h"

#include "sim/bits.h"

namespace models {

std::uint64_t Workload::Throughput::rate(std::uint64_t n) const {
    if (window <= sim::Time::zero()) return 0;
    const sim::u128 scaled = static_cast<sim::u128>(n) * sim::picoseconds_per_second;
    return static_cast<std::uint64_t>(scaled / static_cast<std::uint64_t>(window.ps()));
}

void Workload::reset() {
    state_.latency.clear();
    state_.count = state_.bytes = state_.failures = 0;
    state_.since = scope_.now();
    scope_.journeys().reset(group_);
}

Workload::Throughput Workload::throughput() const {
    return {state_.count, state_.bytes, scope_.now() - state_.since};
}

void Workload::ended(sim::Time begun, std::uint64_t bytes) {
    state_.latency.add(static_cast<std::uint64_t>((scope_.now() - begun).ps()));
    ++state_.count;
    state_.bytes += bytes;
    if (observer_ != nullptr) observer_->operation_ended(*this);
}

}  // namespace models
