#include "hypervisor/scheduler.h"

#include <algorithm>
#include <utility>

#include "hypervisor/partition.h"
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
    order_anew();
}

const Scheduler::Vp& Scheduler::vp(VpRef ref) const {
    const Vp* found = table_.find(ref);
    VG_CHECK(found != nullptr, "unknown virtual processor");
    return *found;
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
    table_.set(ref, &added);
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
    if (v.phase == Phase::ready) {
        ready_.erase(ref);
        ready_.insert(ref, entry_of(v));
    }
    if (v.phase == Phase::running) state_.lps[v.lp].preempt = true;
    return true;
}

void Scheduler::remove(VpRef ref) {
    Vp& v = vp(ref);
    if (v.phase == Phase::running) vacate(v.lp);
    if (v.phase == Phase::ready) ready_.erase(ref);
    state_.reserved -= v.policy.reserve;
    table_.set(ref, nullptr);
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

std::uint64_t Scheduler::lag_floor(const Vp& v) const {
    return subtract_saturating(v.virtual_time, as_u64(options_.time_slice) * default_weight / v.policy.weight);
}

void Scheduler::limit_lag(Vp& v, std::uint32_t lp) const {
    if (const auto floor = ready_.lowest_floor(lp)) {
        const std::uint64_t own_slice = as_u64(options_.time_slice) * default_weight / v.policy.weight;
        const std::uint64_t allowed = allowed_lag_slices * std::max(as_u64(options_.time_slice), own_slice);
        v.virtual_time = std::max(v.virtual_time, subtract_saturating(*floor, allowed));
    }
}

// The period in which a cap's budget covers the debt that has been run up; 0: there is none. The debt shrinks by one
// budget with each period, so this time does not depend on when one asks.
sim::Time Scheduler::release_of(const Vp& v) const {
    const sim::Time from = options_.period * v.period;
    if (!throttled(v, from)) return sim::Time::zero();
    const auto budget = static_cast<sim::u128>(as_u64(options_.period)) * v.policy.cap / full_share;
    const sim::Time debt = sim::Time::zero() - budget_left(v, v.policy.cap, from);
    const std::int64_t periods = debt / sim::Time::ps(static_cast<std::int64_t>(budget)) + 1;
    return options_.period * (v.period + periods);
}

ReadyQueue::Entry Scheduler::entry_of(const Vp& v) const {
    ReadyQueue::Entry entry{.affinity = v.policy.affinity,
                            .virtual_time = v.virtual_time,
                            .lp = v.lp,
                            .sequence = v.ready_sequence,
                            .lag_floor = lag_floor(v),
                            .release = release_of(v)};
    if (v.policy.reserve == 0) return entry;
    // Likewise: from which period on less than the reserve has been used.
    const sim::Time from = options_.period * v.period;
    const sim::Time used_beyond = sim::Time::zero() - budget_left(v, v.policy.reserve, from);
    if (used_beyond < sim::Time::zero()) {
        entry.owed_from = sim::Time::zero();
    } else {
        const std::uint32_t share = capped(v) ? v.policy.cap : full_share;
        const auto budget = static_cast<sim::u128>(as_u64(options_.period)) * share / full_share;
        const std::int64_t periods = used_beyond / sim::Time::ps(static_cast<std::int64_t>(budget)) + 1;
        entry.owed_from = options_.period * (v.period + periods);
    }
    return entry;
}

// Of a checkpoint: the table is as large as the largest name, and who runs is looked up in it.
void Scheduler::refuse_strangers() const {
    constexpr std::uint64_t most_partitions = 1 << 20;
    const auto known = [this](const std::optional<VpRef>& ref) { return !ref || state_.vps.contains(*ref); };
    const bool small = std::ranges::all_of(state_.vps, [](const auto& entry) {
        return entry.first.partition < most_partitions && entry.first.vp < max_vps_per_partition;
    });
    if (!small ||
        !std::ranges::all_of(state_.lps, [&](const Lp& lp) { return known(lp.running) && known(lp.promised); }))
        throw sim::UserError("checkpoint: it has virtual processors that cannot be");
}

void Scheduler::order_anew() {
    ready_.clear();
    table_.clear();
    for (auto& [ref, v] : state_.vps) {
        table_.set(ref, &v);
        if (v.phase == Phase::ready) ready_.insert(ref, entry_of(v));
    }
    shadow_ = {.all = sim::mask_of(lp_count() - 1, 0), .running = std::vector<Vp*>(lp_count())};
    for (std::uint32_t lp = 0; lp < lp_count(); ++lp) {
        const Lp& place = state_.lps[lp];
        if (!place.running) continue;
        shadow_.busy |= std::uint64_t{1} << lp;
        shadow_.running[lp] = &vp(*place.running);
        if (place.promised) shadow_.promised |= std::uint64_t{1} << lp;
    }
}

void Scheduler::occupy(std::uint32_t lp, VpRef ref, Vp& v) {
    state_.lps[lp].running = ref;
    shadow_.busy |= std::uint64_t{1} << lp;
    shadow_.running[lp] = &v;
}

void Scheduler::vacate(std::uint32_t lp) {
    state_.lps[lp] = {};
    shadow_.busy &= ~(std::uint64_t{1} << lp);
    shadow_.promised &= ~(std::uint64_t{1} << lp);
}

// The one that runs there makes room for that one when it has run so long.
void Scheduler::promise(std::uint32_t lp, VpRef ref) {
    state_.lps[lp].promised = ref;
    shadow_.promised |= std::uint64_t{1} << lp;
    Vp& current = *shadow_.running[lp];
    current.slice_limit = std::min(current.slice_limit, current.slice_used + options_.move_after);
}

void Scheduler::ran(VpRef ref, sim::Time start, sim::Time duration) {
    VG_CHECK(duration >= sim::Time::zero() && start >= sim::Time::zero());
    Vp& v = vp(ref);
    const auto order_again = [&] {
        if (v.phase != Phase::ready) return;
        ready_.erase(ref);
        ready_.insert(ref, entry_of(v));
    };
    charge(v, start, duration);
    order_again();
    limit_lag(v, v.lp);
    order_again();
}

sim::Time Scheduler::time_slice_left(VpRef ref, sim::Time now) const {
    const Vp& v = vp(ref);
    sim::Time left = v.slice_limit - v.slice_used;
    if (capped(v)) left = std::min(left, budget_left(v, v.policy.cap, now));
    return std::max(left, sim::Time::zero());
}

// Choice
// -----------------------------------------------------------------------------------------------------------------

void Scheduler::make_ready(VpRef ref, Vp& v) {
    v.phase = Phase::ready;
    v.ready_sequence = state_.sequence++;
    ready_.insert(ref, entry_of(v));
}

bool Scheduler::can_take(VpRef ref, std::uint32_t lp, sim::Time now) const {
    const Vp* const v = table_.find(ref);
    return v != nullptr && v->phase == Phase::ready && ((v->policy.affinity >> lp) & 1) != 0 && !throttled(*v, now);
}

std::optional<VpRef> Scheduler::next(std::uint32_t lp, sim::Time now) {
    VG_CHECK(lp < lp_count());
    Lp& place = state_.lps[lp];
    std::optional<VpRef> chosen;
    if (place.running) {
        Vp& current = *shadow_.running[lp];
        const bool may_stay = ((current.policy.affinity >> lp) & 1) != 0;
        if (!place.preempt && may_stay && time_slice_left(*place.running, now) > sim::Time::zero())
            return place.running;
        const bool can_move = (current.policy.affinity & idle_lps()) != 0;
        make_ready(*place.running, current);
        if (can_move && place.promised && can_take(*place.promised, lp, now)) chosen = place.promised;
        vacate(lp);
    }
    if (!chosen) chosen = ready_.best(lp, now);
    if (!chosen) return std::nullopt;
    ready_.erase(*chosen);
    Vp& v = vp(*chosen);
    v.phase = Phase::running;
    v.lp = lp;
    v.slice_used = sim::Time::zero();
    v.slice_limit = options_.time_slice;
    if (owed_reserve(v, now)) v.slice_limit = std::min(v.slice_limit, budget_left(v, v.policy.reserve, now));
    occupy(lp, *chosen, v);
    return chosen;
}

void Scheduler::block(VpRef ref) {
    Vp& v = vp(ref);
    if (v.phase == Phase::running) vacate(v.lp);
    if (v.phase == Phase::ready) ready_.erase(ref);
    v.phase = Phase::blocked;
}

void Scheduler::yield(VpRef ref) {
    Vp& v = vp(ref);
    if (v.phase == Phase::running) state_.lps[v.lp].preempt = true;
}

WakeDecision Scheduler::wake(VpRef ref, sim::Time now, std::uint64_t waking) {
    Vp& v = vp(ref);
    if (v.phase != Phase::blocked) return {};
    std::optional<std::uint64_t> furthest_behind = ready_.furthest_behind(v.policy.affinity);
    for (const unsigned lp : sim::Ones{shadow_.busy}) {
        const Vp& other = running_vp(lp);
        if ((other.policy.affinity & v.policy.affinity) == 0) continue;
        if (!furthest_behind || other.virtual_time < *furthest_behind) furthest_behind = other.virtual_time;
    }
    if (furthest_behind) {
        v.virtual_time = std::max(v.virtual_time, subtract_saturating(*furthest_behind, as_u64(options_.wake_credit)));
    }
    make_ready(ref, v);
    if (throttled(v, now)) return {.held = true};

    const std::uint64_t idle = v.policy.affinity & idle_lps() & ~waking;
    if (sim::bit(idle, v.lp)) return {.lp = v.lp};
    for (const unsigned lp : sim::Ones{idle}) return {.lp = lp};
    // No idle LP: the running one that is furthest ahead gives way if it is far enough ahead; before it, to one that is
    // owed its reserve, one that is not.
    const bool owed = owed_reserve(v, now);
    std::optional<std::uint32_t> victim;
    std::pair victim_rank{false, v.virtual_time + as_u64(options_.wake_preempt_lead)};
    for (const unsigned lp : sim::Ones{v.policy.affinity & shadow_.busy}) {
        if (state_.lps[lp].preempt) continue;
        const Vp& current = running_vp(lp);
        const bool current_owed = owed_reserve(current, now);
        if (current_owed && !owed) continue;
        const std::pair rank{owed && !current_owed, current.virtual_time};
        if (victim ? rank > victim_rank : rank >= victim_rank) {
            victim = lp;
            victim_rank = rank;
        }
    }
    if (!victim) {
        make_room(ref, free_lps(waking));
        return {};
    }
    state_.lps[*victim].preempt = true;
    return {.lp = *victim, .preempts = true};
}

std::optional<std::uint32_t> Scheduler::idle_lp_with_work(sim::Time now) {
    for (const unsigned lp : sim::Ones{ready_.processors(now) & idle_lps()}) {
        if (ready_.best(lp, now)) return lp;
    }
    return std::nullopt;
}

// LPs that idle and that nobody is on his way to, nor will be.
std::uint64_t Scheduler::free_lps(std::uint64_t waking) const {
    std::uint64_t free = idle_lps() & ~waking;
    for (const unsigned lp : sim::Ones{shadow_.promised}) {
        const std::uint64_t goals = free & running_vp(lp).policy.affinity;
        free ^= goals & (~goals + 1);
    }
    return free;
}

bool Scheduler::make_room(VpRef ref, std::uint64_t free) {
    const Vp& v = vp(ref);
    const std::uint64_t places = v.policy.affinity & shadow_.busy & ~shadow_.promised;
    const auto can_move = [&](std::uint32_t lp) {
        return !state_.lps[lp].preempt && (running_vp(lp).policy.affinity & free) != 0;
    };
    if (sim::bit(places, v.lp) && can_move(v.lp)) {
        promise(v.lp, ref);
        return true;
    }
    for (const unsigned lp : sim::Ones{places}) {
        if (!can_move(lp)) continue;
        promise(lp, ref);
        return true;
    }
    return false;
}

void Scheduler::make_room(sim::Time now, std::uint64_t waking) {
    const std::uint64_t free = free_lps(waking);
    if (free == 0) return;
    const std::uint64_t places = ready_.processors(now) & shadow_.busy & ~shadow_.promised;
    for (const unsigned lp : sim::Ones{places}) {
        if (state_.lps[lp].preempt) continue;
        const auto waits = ready_.best(lp, now);
        if (!waits || (vp(*waits).policy.affinity & free) != 0) continue;
        const auto is_promised = [&](unsigned other) { return state_.lps[other].promised == waits; };
        if (std::ranges::any_of(sim::Ones{shadow_.promised}, is_promised)) continue;
        if (make_room(*waits, free)) return;
    }
}

sim::Time Scheduler::next_release(sim::Time now) {
    sim::Time earliest = ready_.next_release(now);
    for (const unsigned lp : sim::Ones{shadow_.busy}) {
        const sim::Time release = release_of(running_vp(lp));
        if (now < release) earliest = std::min(earliest, release);
    }
    return earliest;
}

bool Scheduler::consistent(sim::Time now) {
    std::size_t ready = 0;
    sim::Time earliest = sim::Time::never();
    for (const auto& [ref, v] : state_.vps) {
        if (v.phase != Phase::blocked && throttled(v, now)) earliest = std::min(earliest, release_of(v));
        if (v.phase != Phase::ready) continue;
        ++ready;
        if (!ready_.contains(ref) || !(ready_.entries().at(ref) == entry_of(v))) return false;
        const ReadyQueue::Entry& entry = ready_.entries().at(ref);
        if (entry.throttled(now) != throttled(v, now) || entry.owed(now) != owed_reserve(v, now)) return false;
    }
    if (ready != ready_.entries().size() || earliest != next_release(now)) return false;
    for (std::uint32_t lp = 0; lp < lp_count(); ++lp) {
        const Lp& place = state_.lps[lp];
        if (sim::bit(shadow_.busy, lp) != place.running.has_value()) return false;
        if (place.running && &running_vp(lp) != &vp(*place.running)) return false;
        if (sim::bit(shadow_.promised, lp) != place.promised.has_value()) return false;
        if (ready_.best(lp, now) != ready_.best_by_scan(lp, now)) return false;
        std::optional<std::uint64_t> floor, behind;
        for (const auto& [ref, v] : state_.vps) {
            if (v.phase != Phase::ready || (v.policy.affinity >> lp & 1) == 0) continue;
            floor = std::min(floor.value_or(~0ull), lag_floor(v));
            behind = std::min(behind.value_or(~0ull), v.virtual_time);
        }
        if (floor != ready_.lowest_floor(lp) || behind != ready_.furthest_behind(1ull << lp)) return false;
    }
    return true;
}

std::optional<VpRef> Scheduler::running_on(std::uint32_t lp) const {
    VG_CHECK(lp < lp_count());
    return state_.lps[lp].running;
}

}  // namespace hypervisor
