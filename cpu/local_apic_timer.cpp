// The local APIC's timer (SDM volume 3A, 11.5.4): exact, and an event only where one shows. A period that ends while
// the timer's interrupt is masked or still requested changes nothing that anybody can see; so a guest that asks for a
// period of a few nanoseconds gets as many interrupts as it can take, and no event besides.
#include <algorithm>

#include "cpu/local_apic.h"
#include "sim/bits.h"

namespace cpu {

// Figure 11-10: the encoding skips bit 2.
std::uint64_t LocalApic::divider() const {
    const std::uint32_t code = (state_.timer_divide & 3) | (state_.timer_divide >> 1 & 4);
    return code == 7 ? 1 : std::uint64_t{2} << code;
}

sim::Time LocalApic::ticks_to_time(std::uint64_t ticks) const {
    return sim::first_time_of_cycle(ticks * divider(), timer_hz_);
}

// Since the start of the count.
std::uint64_t LocalApic::timer_ticks() const {
    const sim::Time elapsed = std::max(scope_.now() - state_.timer_start, sim::Time::zero());
    return sim::time_to_cycles(elapsed, timer_hz_) / divider();
}

void LocalApic::start_timer(std::uint32_t count) {
    state_.timer_start = scope_.now();
    state_.timer_count = count;
    state_.timer_running = count != 0;
    update_timer();
}

// The tick at which the running count ends. Periods are counted from the start, so that rounding to picoseconds doesn't
// add up.
std::uint64_t LocalApic::next_expiry() const {
    const std::uint64_t gone = timer_ticks();
    if (timer_mode() != 1 || state_.timer_initial == 0 || gone < state_.timer_count) return state_.timer_count;
    const std::uint64_t periods = (gone - state_.timer_count) / state_.timer_initial + 1;
    return state_.timer_count + periods * state_.timer_initial;
}

// So that the count goes on, whatever the mode becomes.
void LocalApic::leave_past_periods() {
    if (state_.timer_running && timer_mode() == 1) state_.timer_count = next_expiry();
}

std::uint32_t LocalApic::timer_current() const {
    if (!state_.timer_running || timer_mode() == 2) return 0;
    const std::uint64_t end = next_expiry();
    return static_cast<std::uint32_t>(end - std::min(timer_ticks(), end));
}

// Whether a period's end would change anything.
bool LocalApic::expiry_shows() const {
    const std::uint32_t entry = state_.lvt[lvt_timer];
    if ((entry & apic::lvt::masked) != 0 || mode() == ApicMode::disabled || !software_enabled()) return false;
    const auto vector = static_cast<std::uint8_t>(entry);
    if (vector < 16) return (state_.esr_pending & apic::esr::receive_illegal_vector) == 0;
    return !get(state_.irr, vector);
}

void LocalApic::update_timer() {
    if (timer_mode() == 2 && state_.deadline != 0) return;
    if (!state_.timer_running || (timer_mode() == 1 && !expiry_shows())) return timer_.disarm();
    const sim::Time at = state_.timer_start + ticks_to_time(next_expiry());
    if (timer_.deadline() != at) timer_.arm(at);
}

void LocalApic::write_deadline(std::uint64_t deadline, std::uint64_t tsc_now) {
    if (timer_mode() != 2) return;
    state_.deadline = deadline;
    if (deadline == 0) {
        timer_.disarm();
    } else if (deadline <= tsc_now) {
        timer_.arm(scope_.now());
    } else {
        // At the tick of the clock itself, which need not be a whole number of them from now.
        const std::uint64_t ticks = sim::time_to_cycles(scope_.now(), tsc_hz_) + (deadline - tsc_now);
        timer_.arm(ticks < deadline - tsc_now ? sim::Time::never() : sim::first_time_of_cycle(ticks, tsc_hz_));
    }
}

void LocalApic::timer_expired() {
    const std::uint32_t entry = state_.lvt[lvt_timer];
    if (timer_mode() == 2) {
        state_.deadline = 0;
    } else if (timer_mode() != 1 || state_.timer_initial == 0) {
        state_.timer_running = false;
    }
    if ((entry & apic::lvt::masked) == 0) accept(static_cast<std::uint8_t>(entry), false);
    update_timer();
}

}  // namespace cpu
