#include "sriov_nic/interrupts.h"

#include <bit>

namespace sriov_nic {

Interrupts::Interrupts(const sim::Scope& scope, BusPort& bus, ThrottleClock& clock, unsigned function)
    : bus_(bus), clock_(clock), function_(function), scope_(scope) {
    clock_.connect(function, *this);
}

void Interrupts::reset() {
    state_ = {};
    fired_ = 0;
    followed_.clear();
    following_ = false;
    clock_.forget(function_);
}

void Interrupts::set_causes(std::uint64_t vectors) {
    state_.cause |= vectors;
    state_.pending |= vectors;
    if ((vectors & state_.mask) != 0) update();
}

sim::Time Interrupts::set_cause(unsigned vector) {
    const std::uint64_t bit = std::uint64_t{1} << vector;
    const bool masked = (state_.mask & bit) == 0;
    set_causes(bit);
    if (masked) return {};
    return (state_.pending & bit) != 0 ? state_.throttles[vector].quiet_until : scope_.now();
}

void Interrupts::set_other(std::uint32_t causes) {
    state_.other_cause |= causes;
    state_.other_pending = true;
    update();
}

void Interrupts::clear_cause(std::uint64_t vectors, std::uint32_t other) {
    state_.cause &= ~vectors;
    state_.pending &= ~vectors;
    state_.other_cause &= ~other;
    if (state_.other_cause == 0) state_.other_pending = false;
}

void Interrupts::enable(std::uint64_t vectors, std::uint32_t other) {
    state_.mask |= vectors;
    state_.pending |= state_.cause & vectors;
    if (other != 0) {
        state_.other_mask |= other;
        if ((state_.other_cause & other) != 0) state_.other_pending = true;
    }
    update();
}

void Interrupts::disable(std::uint64_t vectors, std::uint32_t other) {
    state_.mask &= ~vectors;
    state_.other_mask &= ~other;
}

// Without "counter write disable" the running counter is replaced too: by its field, bits 27:21, in units of the
// quantum.
void Interrupts::write_throttle(unsigned vector, std::uint32_t value) {
    Throttle& throttle = state_.throttles[vector];
    throttle.interval = static_cast<std::uint16_t>(value & eitr::interval);
    if ((value & eitr::counter_write_disable) != 0) return;
    throttle.quiet_until = scope_.now() + clock_.quantum() * (value >> 21 & 0x7f);
    update();
}

inline bool Interrupts::fire(unsigned vector) {
    Throttle& throttle = state_.throttles[vector];
    if (scope_.now() < throttle.quiet_until) {
        clock_.wake_at(function_, throttle.quiet_until);
        return false;
    }
    throttle.quiet_until = scope_.now() + clock_.quantum() * (throttle.interval >> 3);
    ++fired_;
    scope_.trace("msix", vector, state_.cause);
    if (following_) mark_followed();
    bus_.interrupt(function_, vector);
    return true;
}

void Interrupts::mark_followed() {
    for (const sim::RequestId id : followed_) scope_.journeys().mark(id, "interrupt.moderation", scope_.now());
    followed_.clear();
    following_ = false;
}

void Interrupts::fire_due() {
    for (std::uint64_t due = state_.pending & state_.mask; due != 0; due &= due - 1) {
        const auto vector = static_cast<unsigned>(std::countr_zero(due));
        if (!fire(vector)) continue;
        const std::uint64_t bit = std::uint64_t{1} << vector;
        state_.pending &= ~bit;
        state_.cause &= ~(bit & state_.auto_clear);
        state_.mask &= ~(bit & state_.auto_mask);
    }
    if (state_.other_pending) fire_other();
}

void Interrupts::fire_other() {
    if ((state_.other_cause & state_.other_mask) != 0 && fire(state_.other_vector)) state_.other_pending = false;
}

}  // namespace sriov_nic
