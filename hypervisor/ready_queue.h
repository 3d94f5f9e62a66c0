// The virtual processors that are ready to run, ordered for the scheduler's questions, so that none of them looks at
// all. The scheduler keeps it as a shadow of its state; it is no state itself.
//
// While one is ready, nothing of it changes but by the passing of accounting periods, and that is known in advance:
// when its cap no longer holds it back, and from when on its reserve is owed. So each is in one place until one of
// those times comes. Processors ask at their own times, which differ a little: an answer that the order gives is
// checked against the time of the question, and where it does not hold, all are looked at.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "sim/time.h"

namespace hypervisor {

// A virtual processor's name in the whole machine.
struct VpRef {
    std::uint64_t partition = 0;
    std::uint32_t vp = 0;

    friend constexpr auto operator<=>(const VpRef&, const VpRef&) = default;
    template <class Archive>
    void fields(Archive& archive) {
        archive(partition, vp);
    }
};

class ReadyQueue final {
public:
    struct Entry {
        std::uint64_t affinity = 0;
        std::uint64_t virtual_time = 0;
        std::uint32_t lp = 0;                      // where it ran last
        std::uint64_t sequence = 0;                // who waits longest
        std::uint64_t lag_floor = 0;               // its virtual time less a slice of its own
        sim::Time release;                         // before it its cap holds it back; 0: it does not
        sim::Time owed_from = sim::Time::never();  // from then on it is owed its reserve

        bool throttled(sim::Time now) const { return now < release; }
        bool owed(sim::Time now) const { return now >= owed_from; }
        friend bool operator==(const Entry&, const Entry&) = default;
    };

    void insert(VpRef ref, const Entry& entry);
    void erase(VpRef ref);
    void clear() { *this = {}; }
    bool contains(VpRef ref) const { return entries_.contains(ref); }
    const std::map<VpRef, Entry>& entries() const { return entries_; }

    // Who should run on that processor: reserves first, then the furthest behind, then the one whose caches are warm
    // there, then the one that waits longest.
    std::optional<VpRef> best(std::uint32_t lp, sim::Time now);
    std::optional<VpRef> best_by_scan(std::uint32_t lp, sim::Time now) const;
    // Processors on which somebody may be able to run; on none of the others anybody can.
    std::uint64_t processors(sim::Time now);
    // The furthest behind of those that share a processor with this mask, throttled or not.
    std::optional<std::uint64_t> furthest_behind(std::uint64_t affinity) const;
    // The lowest floor of those that may run on that processor, throttled or not.
    std::optional<std::uint64_t> lowest_floor(std::uint32_t lp) const;
    // When the next one is let go that its cap holds back.
    sim::Time next_release(sim::Time now) const;

private:
    // By virtual time, last processor, and sequence, which is unique.
    using Key = std::pair<std::pair<std::uint64_t, std::uint32_t>, std::pair<std::uint64_t, VpRef>>;
    using Order = std::set<Key>;
    struct Group {  // of those with the same mask
        Order plain;
        Order owed;
        std::multiset<std::uint64_t> times;
        std::multiset<std::uint64_t> floors;
    };
    using Instants = std::set<std::pair<sim::Time, VpRef>>;

    static Key key_of(VpRef ref, const Entry& entry) { return {{entry.virtual_time, entry.lp}, {entry.sequence, ref}}; }
    static std::optional<Key> first_of(const Order& order, std::uint32_t lp);
    static bool before(const Key& a, const Key& b, std::uint32_t lp);
    void come_to(sim::Time now);

    std::map<VpRef, Entry> entries_;
    std::map<std::uint64_t, Group> groups_;
    Instants releases_;  // of all that have one
    Instants held_;      // of those that are not in an order yet
    Instants dues_;      // of those in `plain` that will be owed their reserve
};

}  // namespace hypervisor
