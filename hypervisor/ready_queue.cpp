#include "hypervisor/ready_queue.h"

#include <algorithm>
#include <tuple>

#include "sim/check.h"

namespace hypervisor {

namespace {

constexpr bool allows(std::uint64_t affinity, std::uint32_t lp) {
    return (affinity >> lp & 1) != 0;
}

template <class T>
void erase_one(std::multiset<T>& set, const T& value) {
    const auto found = set.find(value);
    VG_CHECK(found != set.end());
    set.erase(found);
}

template <class T>
void keep_least(std::optional<T>& least, const T& value) {
    if (!least || value < *least) least = value;
}

}  // namespace

void ReadyQueue::insert(VpRef ref, const Entry& entry) {
    VG_CHECK(entries_.emplace(ref, entry).second, "a ready virtual processor is made ready");
    Group& group = groups_[entry.affinity];
    group.times.insert(entry.virtual_time);
    group.floors.insert(entry.lag_floor);
    if (entry.release > sim::Time::zero()) {
        releases_.emplace(entry.release, ref);
        held_.emplace(entry.release, ref);
        return;
    }
    group.plain.insert(key_of(ref, entry));
    if (!entry.owed_from.is_never()) dues_.emplace(entry.owed_from, ref);
}

void ReadyQueue::erase(VpRef ref) {
    const auto found = entries_.find(ref);
    VG_CHECK(found != entries_.end());
    const Entry& entry = found->second;
    const auto group = groups_.find(entry.affinity);
    erase_one(group->second.times, entry.virtual_time);
    erase_one(group->second.floors, entry.lag_floor);
    releases_.erase({entry.release, ref});
    if (held_.erase({entry.release, ref}) == 0) {
        const Key key = key_of(ref, entry);
        dues_.erase({entry.owed_from, ref});
        VG_CHECK(group->second.plain.erase(key) + group->second.owed.erase(key) == 1);
    }
    if (group->second.times.empty()) groups_.erase(group);
    entries_.erase(found);
}

// What was to come by now has come.
void ReadyQueue::come_to(sim::Time now) {
    while (!held_.empty() && held_.begin()->first <= now) {
        const VpRef ref = held_.begin()->second;
        held_.erase(held_.begin());
        const Entry& entry = entries_.at(ref);
        groups_.at(entry.affinity).plain.insert(key_of(ref, entry));
        if (!entry.owed_from.is_never()) dues_.emplace(entry.owed_from, ref);
    }
    while (!dues_.empty() && dues_.begin()->first <= now) {
        const VpRef ref = dues_.begin()->second;
        dues_.erase(dues_.begin());
        const Entry& entry = entries_.at(ref);
        Group& group = groups_.at(entry.affinity);
        const auto node = group.plain.extract(key_of(ref, entry));
        VG_CHECK(!node.empty());
        group.owed.insert(node.value());
    }
}

bool ReadyQueue::before(const Key& a, const Key& b, std::uint32_t lp) {
    const auto rank = [lp](const Key& key) {
        return std::tuple{key.first.first, key.first.second != lp, key.second.first};
    };
    return rank(a) < rank(b);
}

// Of those with the least virtual time: one that ran there last, or else the one that waits longest, which is the
// first of one of the processors.
std::optional<ReadyQueue::Key> ReadyQueue::first_of(const Order& order, std::uint32_t lp) {
    if (order.empty()) return std::nullopt;
    const std::uint64_t least = order.begin()->first.first;
    const auto from = [&](std::uint32_t processor) { return order.lower_bound(Key{{least, processor}, {0, VpRef{}}}); };
    if (const auto warm = from(lp); warm != order.end() && warm->first == std::pair{least, lp}) return *warm;
    std::optional<Key> found;
    for (auto at = order.begin(); at != order.end() && at->first.first == least; at = from(at->first.second + 1)) {
        if (!found || before(*at, *found, lp)) found = *at;
    }
    return found;
}

std::optional<VpRef> ReadyQueue::best(std::uint32_t lp, sim::Time now) {
    come_to(now);
    std::optional<Key> owed, plain;
    const auto better = [lp](std::optional<Key>& best, const std::optional<Key>& other) {
        if (other && (!best || before(*other, *best, lp))) best = other;
    };
    for (const auto& [affinity, group] : groups_) {
        if (!allows(affinity, lp)) continue;
        better(owed, first_of(group.owed, lp));
        if (!owed) better(plain, first_of(group.plain, lp));
    }
    const std::optional<Key>& chosen = owed ? owed : plain;
    if (!chosen) return std::nullopt;
    const VpRef ref = chosen->second.second;
    const Entry& entry = entries_.at(ref);
    // Somebody else has asked for a later time before.
    if (entry.throttled(now) || (owed && !entry.owed(now))) return best_by_scan(lp, now);
    return ref;
}

std::optional<VpRef> ReadyQueue::best_by_scan(std::uint32_t lp, sim::Time now) const {
    std::optional<VpRef> chosen;
    std::tuple<bool, std::uint64_t, bool, std::uint64_t> chosen_rank;
    for (const auto& [ref, entry] : entries_) {
        if (!allows(entry.affinity, lp) || entry.throttled(now)) continue;
        const std::tuple rank{!entry.owed(now), entry.virtual_time, entry.lp != lp, entry.sequence};
        if (!chosen || rank < chosen_rank) {
            chosen = ref;
            chosen_rank = rank;
        }
    }
    return chosen;
}

std::uint64_t ReadyQueue::processors(sim::Time now) {
    come_to(now);
    std::uint64_t mask = 0;
    for (const auto& [affinity, group] : groups_) {
        if (!group.plain.empty() || !group.owed.empty()) mask |= affinity;
    }
    return mask;
}

std::optional<std::uint64_t> ReadyQueue::furthest_behind(std::uint64_t affinity) const {
    std::optional<std::uint64_t> least;
    for (const auto& [mask, group] : groups_) {
        if ((mask & affinity) != 0) keep_least(least, *group.times.begin());
    }
    return least;
}

std::optional<std::uint64_t> ReadyQueue::lowest_floor(std::uint32_t lp) const {
    std::optional<std::uint64_t> least;
    for (const auto& [mask, group] : groups_) {
        if (allows(mask, lp)) keep_least(least, *group.floors.begin());
    }
    return least;
}

sim::Time ReadyQueue::next_release(sim::Time now) const {
    const auto next = releases_.lower_bound({now + sim::Time::ps(1), VpRef{}});
    return next != releases_.end() ? next->first : sim::Time::never();
}

}  // namespace hypervisor
