// Virtual processors on logical processors (LPs): who runs next, where, and for how long. Pure and deterministic: time
// is an argument, every choice is a function of the state, and ties have a fixed order.
//
// The policy is the classic Hyper-V one: a time slice, a relative weight per virtual processor, a reserve and a cap as
// a share of one LP, an affinity mask. Fairness is virtual run time: time run, divided by weight, in exact integers;
// the runnable virtual processor that is furthest behind goes first, on whichever LP asks.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "hypervisor/ready_queue.h"
#include "hypervisor/vp_table.h"
#include "sim/time.h"
#include "sim/working_set.h"

namespace hypervisor {

// Shares of an LP are counted in 1/65536, as HvPartitionPropertyCpuReserve and HvPartitionPropertyCpuCap are.
inline constexpr std::uint32_t full_share = 1u << 16;
inline constexpr std::uint32_t min_weight = 1;
inline constexpr std::uint32_t max_weight = 10'000;
inline constexpr std::uint32_t default_weight = 100;
inline constexpr std::uint32_t max_logical_processors = 64;

struct VpPolicy {
    std::uint32_t weight = default_weight;
    std::uint32_t reserve = 0;  // share of an LP that is served before anybody's weight
    std::uint32_t cap = 0;      // share of an LP that is never exceeded; 0 and full_share: no cap
    std::uint64_t affinity = ~0ull;

    friend bool operator==(const VpPolicy&, const VpPolicy&) = default;
    template <class Archive>
    void fields(Archive& archive) {
        archive(weight, reserve, cap, affinity);
    }
};

struct SchedulerOptions {
    sim::Time time_slice = sim::Time::ms(10);
    // Reserves and caps are accounted in periods [n * period, (n + 1) * period).
    sim::Time period = sim::Time::ms(100);
    // A virtual processor that wakes is at most so far behind the others: sleep is not saved up.
    sim::Time wake_credit = sim::Time::ms(10);
    // It takes an LP from a running one only if it is at least so far behind it.
    sim::Time wake_preempt_lead = sim::Time::ms(1);
    // One that could move to an idle LP leaves its own to one that could not when it has run on for so long: to move
    // costs about as much, and most rest sooner.
    sim::Time move_after = sim::Time::us(20);
};

// Where a woken virtual processor will run: the caller lets that LP call next() at once.
struct WakeDecision {
    // Not an optional: that would be put together in memory from pieces, and the computer waits for those.
    static constexpr std::uint32_t nowhere = ~std::uint32_t{0};
    std::uint32_t lp = nowhere;
    bool preempts = false;
    bool held = false;  // its cap does not let it run yet

    friend bool operator==(const WakeDecision&, const WakeDecision&) = default;
};

class Scheduler final {
public:
    explicit Scheduler(std::uint32_t lp_count, SchedulerOptions options = {});
    Scheduler(const Scheduler&) = delete;
    Scheduler& operator=(const Scheduler&) = delete;

    // A new virtual processor is blocked. False: it exists, a policy value is out of range, no LP of the mask exists,
    // or the reserves would exceed the machine.
    [[nodiscard]] bool add(VpRef ref, VpPolicy policy);
    [[nodiscard]] bool set_policy(VpRef ref, VpPolicy policy);
    void remove(VpRef ref);
    bool contains(VpRef ref) const { return table_.find(ref) != nullptr; }
    const VpPolicy& policy(VpRef ref) const { return vp(ref).policy; }

    // Who runs on this LP now. The one that runs there goes on while its slice lasts. None: the LP idles until a
    // wake-up names it, or until next_release().
    std::optional<VpRef> next(std::uint32_t lp, sim::Time now);
    // Charges time that this virtual processor really ran, from start on.
    void ran(VpRef ref, sim::Time start, sim::Time duration);
    // For how long the running one may run without asking again.
    sim::Time time_slice_left(VpRef ref, sim::Time now) const;

    void block(VpRef ref);
    // Runnable again; no effect on one that is. The mask: LPs that idle, but are on their way to somebody already.
    WakeDecision wake(VpRef ref, sim::Time now, std::uint64_t waking = 0);
    // The rest of the slice is given up (HvNotifyLongSpinWait); it stays runnable.
    void yield(VpRef ref);

    // An idle LP on which somebody could run now: the caller lets it call next(). To be asked after next() (which may
    // have displaced somebody whose mask allows another LP), after set_policy(), and at next_release().
    std::optional<std::uint32_t> idle_lp_with_work(sim::Time now);
    // Where somebody waits who may use none of the idle LPs, while who runs there may: the running one's slice becomes
    // short, and next() gives the LP to the other. To be called when idle_lp_with_work() is asked.
    void make_room(sim::Time now, std::uint64_t waking);
    // When a virtual processor that its cap holds back may run again; never() if none is held back.
    sim::Time next_release(sim::Time now);
    // Compares what the order says with a look at every virtual processor: for tests.
    [[nodiscard]] bool consistent(sim::Time now);

    // What it needs of a virtual processor (sim/working_set.h).
    void add_needs(VpRef ref, sim::WorkingSet& set) const { set.add(vp(ref)); }

    bool nobody_waits() const { return ready_.entries().empty(); }
    std::uint32_t lp_count() const { return static_cast<std::uint32_t>(state_.lps.size()); }
    std::optional<VpRef> running_on(std::uint32_t lp) const;
    // Where it runs or last ran.
    std::uint32_t last_lp(VpRef ref) const { return vp(ref).lp; }
    bool is_runnable(VpRef ref) const { return vp(ref).phase != Phase::blocked; }
    bool is_running(VpRef ref) const { return vp(ref).phase == Phase::running; }
    // Total time charged.
    sim::Time run_time(VpRef ref) const { return vp(ref).total; }
    const SchedulerOptions& options() const { return options_; }

    template <class Archive>
    void fields(Archive& archive) {
        archive(state_);
        if constexpr (Archive::reading) {
            refuse_strangers();
            order_anew();
        }
    }
    friend bool operator==(const Scheduler& a, const Scheduler& b) { return a.state_ == b.state_; }

private:
    enum class Phase : std::uint8_t { blocked, ready, running };

    struct Vp {
        VpPolicy policy;
        Phase phase = Phase::blocked;
        std::uint32_t lp = 0;              // where it runs or last ran
        std::uint64_t virtual_time = 0;    // ps at the default weight
        std::uint64_t remainder = 0;       // of the division by weight, so that no picosecond is lost
        std::uint64_t ready_sequence = 0;  // first come, first served among equals
        sim::Time slice_used;
        sim::Time slice_limit;    // granted when it was picked
        std::int64_t period = 0;  // the accounting period that used belongs to
        sim::Time used;           // in that period; debts of earlier periods included
        sim::Time total;

        friend bool operator==(const Vp&, const Vp&) = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(policy, phase, lp, virtual_time, remainder, ready_sequence, slice_used, slice_limit, period, used,
                    total);
        }
    };
    struct Lp {
        std::optional<VpRef> running;
        bool preempt = false;
        std::optional<VpRef> promised;  // whom the running one will make room for: it can move, that one can not

        friend bool operator==(const Lp&, const Lp&) = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(running, preempt, promised);
        }
    };
    struct State {
        std::map<VpRef, Vp> vps;
        std::vector<Lp> lps;
        std::uint64_t sequence = 0;
        std::uint64_t reserved = 0;

        friend bool operator==(const State&, const State&) = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(vps, lps, sequence, reserved);
        }
    };

    const Vp& vp(VpRef ref) const;
    Vp& vp(VpRef ref);
    const Vp& running_vp(std::uint32_t lp) const { return *shadow_.running[lp]; }
    void occupy(std::uint32_t lp, VpRef ref, Vp& v);
    void vacate(std::uint32_t lp);
    void promise(std::uint32_t lp, VpRef ref);
    bool valid(const VpPolicy& policy) const;
    void roll_period(Vp& v, std::int64_t period) const;
    void charge(Vp& v, sim::Time start, sim::Time duration) const;
    sim::Time budget_left(const Vp& v, std::uint32_t share, sim::Time now) const;
    bool capped(const Vp& v) const { return v.policy.cap != 0 && v.policy.cap < full_share; }
    bool throttled(const Vp& v, sim::Time now) const {
        return capped(v) && budget_left(v, v.policy.cap, now) <= sim::Time::zero();
    }
    bool owed_reserve(const Vp& v, sim::Time now) const {
        return v.policy.reserve != 0 && budget_left(v, v.policy.reserve, now) > sim::Time::zero();
    }
    void limit_lag(Vp& v, std::uint32_t lp) const;
    void make_ready(VpRef ref, Vp& v);
    std::uint64_t idle_lps() const { return shadow_.all & ~shadow_.busy; }
    std::uint64_t free_lps(std::uint64_t waking) const;
    bool make_room(VpRef ref, std::uint64_t free);
    bool can_take(VpRef ref, std::uint32_t lp, sim::Time now) const;
    ReadyQueue::Entry entry_of(const Vp& v) const;
    std::uint64_t lag_floor(const Vp& v) const;
    sim::Time release_of(const Vp& v) const;
    void refuse_strangers() const;
    void order_anew();

    // What the state says of the LPs, as masks: most questions are about few of them.
    struct Shadow {
        std::uint64_t all = 0;
        std::uint64_t busy = 0;      // somebody runs there
        std::uint64_t promised = 0;  // and will make room
        std::vector<Vp*> running;    // whoever does, where busy
    };

    SchedulerOptions options_;
    State state_;
    Shadow shadow_;
    VpTable<Vp> table_;  // of the state's virtual processors
    ReadyQueue ready_;   // of the state's virtual processors, those that are ready
};

}  // namespace hypervisor
