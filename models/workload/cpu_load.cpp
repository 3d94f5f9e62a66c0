#include "models/workload/cpu_load.h"

#include <algorithm>

namespace models {

CpuLoad::CpuLoad(const sim::Scope& scope, sim::Processor& processor, const Settings& settings)
    : Workload(scope),
      settings_(settings),
      timer_(scope.agenda(), scope.path() + ".period", [this] { period_begins(); }),
      slot_(processor, *this),
      registration_(scope.register_state(*this)) {
    if (settings.share_permille == 0 || settings.share_permille > 1000) {
        throw sim::UserError(scope.path() + ": the share is more than nothing, and at most all");
    }
    if (settings.period < sim::Time::us(10) || settings.slice < sim::Time::us(1)) {
        throw sim::UserError(scope.path() + ": the period is at least 10 us, the slice at least 1 us");
    }
}

void CpuLoad::start() {
    if (load_.running) return;
    load_.running = true;
    state_.since = scope().now();
    timer_.arm(scope().now());
}

void CpuLoad::stop() {
    load_.running = false;
    load_.left = sim::Time::zero();
    timer_.disarm();
}

void CpuLoad::reset() {
    Workload::reset();
    load_.computed = sim::Time::zero();
}

bool CpuLoad::burst() {
    if (load_.left > sim::Time::zero()) return false;
    load_.left = settings_.period * settings_.share_permille / 1000;
    load_.begun = scope().now();
    slot_.wake();
    return true;
}

bool CpuLoad::issue() {
    return burst();
}

void CpuLoad::period_begins() {
    if (!burst()) {
        ++state_.failures;
        load_.left = settings_.period * settings_.share_permille / 1000;
        load_.begun = scope().now();
    }
    timer_.arm_after(settings_.period);
}

std::optional<sim::Time> CpuLoad::begin() {
    if (load_.left <= sim::Time::zero()) return std::nullopt;
    load_.piece = std::min(load_.left, settings_.slice);
    return load_.piece;
}

void CpuLoad::finish() {
    load_.computed += load_.piece;
    if (load_.left <= sim::Time::zero()) return;  // stopped meanwhile
    load_.left -= std::min(load_.left, load_.piece);
    if (load_.left <= sim::Time::zero()) ended(load_.begun, 0);
}

}  // namespace models
