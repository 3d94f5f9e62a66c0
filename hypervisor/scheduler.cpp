#include "hypervisor/scheduler.h"

#include <algorithm>
#include <tuple>

#include "sim/bits.h"
#include "sim/check.h"

namespace hypervisor {

namespace {

std::uint64_t as_u64(sim::Time t) {
    return static_cast<std::uint64_t>(t.ps());
}

// A virtual processor may lag by this many slices for a good reason (the others' slices are not its fault). More comes
// from an affinity mask that kept it on a crowded LP; it does not get that back at the cost of the less crowded ones.
constexpr std::uint64_t allowed_lag_slices = 10;

std::uint64_t subtract_saturating(std::uint64_t a, std::uint64_t b) {
    return a > b ? a - b : 0;
}

}  // namespace

Scheduler::Scheduler(std::uint32_t lp_count, SchedulerOptions options) : options_(options) {
    VG_CHECK(lp_count >= 1 && lp_count <= max_logical_processors);
    VG_CHECK(options_.time_slice > sim::Time::zero());
    VG_CHECK(options_.period >= sim::Time::ps(full_share), "the smallest cap must be worth a picosecond");
    state_.lps.resize(lp_count);
}

const Scheduler::Vp& Scheduler::vp(VpRef ref) const {
    const auto found = state_.vps.find(ref);
    VG_CHECK(found != state_.vps.end(), "unknown virtual processor");
    return found->second;
}

Scheduler::Vp& Scheduler::vp(VpRef ref) {
    return const_cast<Vp&>(static_cast<const Scheduler&>(*this).vp(ref));
}

bool Scheduler::valid(const VpPolicy& policy) const {
    const std::uint64_t existing = lp_count() == 64 ? ~0ull : (1ull << lp_count()) - 1;
    const bool cap_below_reserve = policy.cap != 0 && policy.cap < policy.reserve;
    return policy.weight >= min_weight && policy.weight <= max_weight && policy.reserve <= full_share &&
           policy.cap <= full_share && !cap_below_reserve && (policy.affinity & existing) != 0;
}

bool Scheduler::add(VpRef ref, VpPolicy policy) {
    const std::uint64_t capacity = std::uint64_t{lp_count()} * full_share;
    if (!valid(policy) || contains(ref) || state_.reserved + policy.reserve > capacity) return false;
    state_.reserved += policy.reserve;
    Vp& added = state_.vps[ref];
    added.policy = policy;
    for (std::uint32_t lp = 0; lp < lp_count(); ++lp) {
        if ((policy.affinity >> lp) & 1) {
            added.lp = lp;
            break;
        }
    }
    return true;
}

bool Scheduler::set_policy(VpRef ref, VpPolicy policy) {
    Vp& v = vp(ref);
    const std::uint64_t capacity = std::uint64_t{lp_count()} * full_share;
    if (!valid(policy) || state_.reserved - v.policy.reserve + policy.reserve > capacity) return false;
    state_.reserved += policy.reserve - std::uint64_t{v.policy.reserve};
    if (policy.weight != v.policy.weight) v.remainder = 0;
    v.policy = policy;
    if (v.phase == Phase::running) state_.lps[v.lp].preempt = true;
    return true;
}

void Scheduler::remove(VpRef ref) {
    Vp& v = vp(ref);
    if (v.phase == Phase::running) state_.lps[v.lp] = {};
    state_.reserved -= v.policy.reserve;
    state_.vps.erase(ref);
}

// Time
// -------------------------------------------------------------------------------------------------------------------

// A debt (a run that overshot its budget) is carried on and paid off by the budgets of the following periods.
void Scheduler::roll_period(Vp& v, std::int64_t period) const {
    if (period <= v.period) return;
    const sim::Time budget = sim::Time::ps(static_cast<std::int64_t>(
        static_cast<sim::u128>(as_u64(options_.period)) * (capped(v) ? v.policy.cap : full_share) / full_share));
    const auto paid = static_cast<sim::u128>(period - v.period) * as_u64(budget);
    v.used = paid >= as_u64(v.used) ? sim::Time::zero() : v.used - sim::Time::ps(static_cast<std::int64_t>(paid));
    v.period = period;
}

void Scheduler::charge(Vp& v, sim::Time start, sim::Time duration) const {
    v.total += duration;
    v.slice_used += duration;
    const auto scaled = static_cast<sim::u128>(as_u64(duration)) * default_weight + v.remainder;
    v.virtual_time += static_cast<std::uint64_t>(scaled / v.policy.weight);
    v.remainder = static_cast<std::uint64_t>(scaled % v.policy.weight);
    while (duration > sim::Time::zero()) {
        roll_period(v, start / options_.period);
        const sim::Time to_boundary = options_.period * (start / options_.period + 1) - start;
        const sim::Time part = std::min(duration, to_boundary);
        v.used += part;
        start += part;
        duration -= part;
    }
}

sim::Time Scheduler::budget_left(const Vp& v, std::uint32_t share, sim::Time now) const {
    Vp rolled = v;
    roll_period(rolled, now / options_.period);
    const auto budget = static_cast<sim::u128>(as_u64(options_.period)) * share / full_share;
    return sim::Time::ps(static_cast<std::int64_t>(budget)) - rolled.used;
}

void Scheduler::limit_lag(Vp& v, std::uint32_t lp) const {
    std::optional<std::uint64_t> floor;
    for (const auto& [ref, other] : state_.vps) {
        if (other.phase != Phase::ready || ((other.policy.affinity >> lp) & 1) == 0) continue;
        const std::uint64_t slice = as_u64(options_.time_slice) * default_weight / other.policy.weight;
        const std::uint64_t lowest = subtract_saturating(other.virtual_time, slice);
        if (!floor || lowest < *floor) floor = lowest;
    }
    if (floor) {
        const std::uint64_t own_slice = as_u64(options_.time_slice) * default_weight / v.policy.weight;
        const std::uint64_t allowed = allowed_lag_slices * std::max(as_u64(options_.time_slice), own_slice);
        v.virtual_time = std::max(v.virtual_time, subtract_saturating(*floor, allowed));
    }
}

void Scheduler::ran(VpRef ref, sim::Time start, sim::Time duration) {
    VG_CHECK(duration >= sim::Time::zero() && start >= sim::Time::zero());
    Vp& v = vp(ref);
    charge(v, start, duration);
    limit_lag(v, v.lp);
}

sim::Time Scheduler::time_slice_left(VpRef ref, sim::Time now) const {
    const Vp& v = vp(ref);
    sim::Time left = v.slice_limit - v.slice_used;
    if (capped(v)) left = std::min(left, budget_left(v, v.policy.cap, now));
    return std::max(left, sim::Time::zero());
}

// Choice
// -----------------------------------------------------------------------------------------------------------------

void Scheduler::make_ready(Vp& v) {
    v.phase = Phase::ready;
    v.ready_sequence = state_.sequence++;
}

// Reserves first, then the furthest behind, then the one whose caches are warm here, then the one that waits longest.
std::optional<VpRef> Scheduler::best(std::uint32_t lp, sim::Time now) const {
    std::optional<VpRef> chosen;
    std::tuple<bool, std::uint64_t, bool, std::uint64_t> chosen_rank;
    for (const auto& [ref, v] : state_.vps) {
        if (v.phase != Phase::ready || ((v.policy.affinity >> lp) & 1) == 0 || throttled(v, now)) continue;
        const std::tuple rank{!owed_reserve(v, now), v.virtual_time, v.lp != lp, v.ready_sequence};
        if (!chosen || rank < chosen_rank) {
            chosen = ref;
            chosen_rank = rank;
        }
    }
    return chosen;
}

std::optional<VpRef> Scheduler::next(std::uint32_t lp, sim::Time now) {
    VG_CHECK(lp < lp_count());
    Lp& place = state_.lps[lp];
    if (place.running) {
        Vp& current = vp(*place.running);
        const bool may_stay = ((current.policy.affinity >> lp) & 1) != 0;
        if (!place.preempt && may_stay && time_slice_left(*place.running, now) > sim::Time::zero())
            return place.running;
        make_ready(current);
        place = {};
    }
    const std::optional<VpRef> chosen = best(lp, now);
    if (!chosen) return std::nullopt;
    Vp& v = vp(*chosen);
    v.phase = Phase::running;
    v.lp = lp;
    v.slice_used = sim::Time::zero();
    v.slice_limit = options_.time_slice;
    if (owed_reserve(v, now)) v.slice_limit = std::min(v.slice_limit, budget_left(v, v.policy.reserve, now));
    place.running = chosen;
    return chosen;
}

void Scheduler::block(VpRef ref) {
    Vp& v = vp(ref);
    if (v.phase == Phase::running) state_.lps[v.lp] = {};
    v.phase = Phase::blocked;
}

void Scheduler::yield(VpRef ref) {
    Vp& v = vp(ref);
    if (v.phase == Phase::running) state_.lps[v.lp].preempt = true;
}

WakeDecision Scheduler::wake(VpRef ref, sim::Time now) {
    Vp& v = vp(ref);
    if (v.phase != Phase::blocked) return {};
    std::optional<std::uint64_t> furthest_behind;
    for (const auto& [other_ref, other] : state_.vps) {
        if (other.phase == Phase::blocked || (other.policy.affinity & v.policy.affinity) == 0) continue;
        if (!furthest_behind || other.virtual_time < *furthest_behind) furthest_behind = other.virtual_time;
    }
    if (furthest_behind) {
        v.virtual_time = std::max(v.virtual_time, subtract_saturating(*furthest_behind, as_u64(options_.wake_credit)));
    }
    make_ready(v);
    if (throttled(v, now)) return {};

    const auto allowed = [&](std::uint32_t lp) { return ((v.policy.affinity >> lp) & 1) != 0; };
    const auto idle = [&](std::uint32_t lp) { return allowed(lp) && !state_.lps[lp].running; };
    if (idle(v.lp)) return {.lp = v.lp};
    for (std::uint32_t lp = 0; lp < lp_count(); ++lp) {
        if (idle(lp)) return {.lp = lp};
    }
    // No idle LP: the running one that is furthest ahead gives way if it is far enough ahead.
    std::optional<std::uint32_t> victim;
    std::uint64_t victim_time = v.virtual_time + as_u64(options_.wake_preempt_lead);
    for (std::uint32_t lp = 0; lp < lp_count(); ++lp) {
        if (!allowed(lp) || state_.lps[lp].preempt) continue;
        const Vp& current = vp(*state_.lps[lp].running);
        if (owed_reserve(current, now) && !owed_reserve(v, now)) continue;
        if (current.virtual_time >= victim_time && (!victim || current.virtual_time > victim_time)) {
            victim = lp;
            victim_time = current.virtual_time;
        }
    }
    if (!victim) return {};
    state_.lps[*victim].preempt = true;
    return {.lp = victim, .preempts = true};
}

std::optional<std::uint32_t> Scheduler::idle_lp_with_work(sim::Time now) const {
    for (std::uint32_t lp = 0; lp < lp_count(); ++lp) {
        if (!state_.lps[lp].running && best(lp, now)) return lp;
    }
    return std::nullopt;
}

sim::Time Scheduler::next_release(sim::Time now) const {
    sim::Time earliest = sim::Time::never();
    for (const auto& [ref, v] : state_.vps) {
        if (v.phase == Phase::blocked || !throttled(v, now)) continue;
        const auto budget = static_cast<sim::u128>(as_u64(options_.period)) * v.policy.cap / full_share;
        const sim::Time debt = sim::Time::zero() - budget_left(v, v.policy.cap, now);
        const std::int64_t periods = debt / sim::Time::ps(static_cast<std::int64_t>(budget)) + 1;
        earliest = std::min(earliest, options_.period * (now / options_.period + periods));
    }
    return earliest;
}

std::optional<VpRef> Scheduler::running_on(std::uint32_t lp) const {
    VG_CHECK(lp < lp_count());
    return state_.lps[lp].running;
}

}  // namespace hypervisor
