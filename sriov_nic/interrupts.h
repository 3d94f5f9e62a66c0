// The interrupts of one function: causes, masks, and per vector the throttle (82599 datasheet, 7.3; VF: 8.3.5.2).
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "sim/scope.h"
#include "sim/working_set.h"
#include "sriov_nic/ports.h"
#include "sriov_nic/registers.h"
#include "sriov_nic/throttle_clock.h"

namespace sriov_nic {

class Interrupts final : private ThrottleClock::Sleeper {
public:
    Interrupts(const sim::Scope& scope, BusPort& bus, ThrottleClock& clock, unsigned function);
    Interrupts(const Interrupts&) = delete;

    // Bit n of a cause is vector n. The others (mailbox, link) share the vector that IVAR_MISC names.
    void set_causes(std::uint64_t vectors);
    // Of one vector: when it fires, now or at the end of its throttle. Zero: it is masked.
    sim::Time set_cause(unsigned vector);
    void set_other(std::uint32_t causes);

    std::uint64_t cause() const { return state_.cause; }
    std::uint32_t other_cause() const { return state_.other_cause; }
    // Reading EICR clears it (7.3.1.4.1), except for what clears itself.
    void clear_cause(std::uint64_t vectors, std::uint32_t other);
    std::uint64_t mask() const { return state_.mask; }
    std::uint32_t other_mask() const { return state_.other_mask; }
    void enable(std::uint64_t vectors, std::uint32_t other);
    void disable(std::uint64_t vectors, std::uint32_t other);
    void set_auto_clear(std::uint64_t vectors) { state_.auto_clear = vectors; }
    std::uint64_t auto_clear() const { return state_.auto_clear; }
    void set_auto_mask(std::uint64_t vectors) { state_.auto_mask = vectors; }
    std::uint64_t auto_mask() const { return state_.auto_mask; }
    void set_other_vector(unsigned vector) { state_.other_vector = static_cast<std::uint8_t>(vector); }

    // A request whose frame is in memory now: what passes until the next message is the moderation's (sim/journey.h).
    void follow(sim::RequestId id) {
        if (id == 0 || followed_.size() == most_followed) return;
        followed_.push_back(id);
        following_ = true;
    }

    void write_throttle(unsigned vector, std::uint32_t value);
    std::uint32_t read_throttle(unsigned vector) const { return state_.throttles[vector].interval; }
    // When the vector may fire at the earliest, and whether it is throttled at all.
    sim::Time quiet_until(unsigned vector) const { return state_.throttles[vector].quiet_until; }
    bool throttled(unsigned vector) const { return state_.throttles[vector].interval != 0; }
    std::uint64_t fired() const { return fired_; }

    struct Throttle {
        sim::Time quiet_until;
        std::uint16_t interval = 0;  // as in EITR, bits 11:3
        bool operator==(const Throttle&) const = default;
        template <class Archive>
        void fields(Archive& a) {
            a(quiet_until, interval);
        }
    };
    // What the first vector needs lies in one of the simulating computer's cache lines.
    struct alignas(64) State {
        // Cause and mask are not side by side: written one by one, they would be read as one, and the simulating
        // computer would wait until all that it stored before is in its cache.
        std::uint64_t cause = 0;
        std::uint64_t auto_clear = 0;
        std::uint64_t mask = 0;
        std::uint64_t auto_mask = 0;
        std::uint64_t pending = 0;  // causes that have not fired
        bool other_pending = false;
        std::uint8_t other_vector = 0;
        std::array<Throttle, physical_vectors> throttles{};
        std::uint32_t other_cause = 0;
        std::uint32_t other_mask = 0;
        bool operator==(const State&) const = default;
        template <class Archive>
        void fields(Archive& a) {
            a(cause, mask, auto_clear, auto_mask, pending, other_cause, other_mask, other_pending, other_vector,
              throttles);
        }
    };
    const State& state() const { return state_; }
    // As far as a virtual function's first vector goes.
    void add_needs(sim::WorkingSet& set) const {
        set.add(this, sim::WorkingSet::line_bytes);
        set.add(&state_, sim::WorkingSet::line_bytes);
    }
    void reset();
    template <class Archive>
    void fields(Archive& archive) {
        archive(state_, fired_, followed_);
        following_ = !followed_.empty();
    }

private:
    void wake() override { update(); }
    void update() {
        if ((state_.pending & state_.mask) != 0 || state_.other_pending) fire_due();
    }
    [[gnu::noinline]] void fire_due();
    [[gnu::always_inline]] bool fire(unsigned vector);
    [[gnu::noinline]] void fire_other();
    [[gnu::noinline]] void mark_followed();

    // What a vector that fires needs comes first, as the scope's own does.
    BusPort& bus_;
    ThrottleClock& clock_;
    unsigned function_;
    bool following_ = false;  // any of followed_, whose line is not looked at for it
    std::uint64_t fired_ = 0;
    sim::Scope scope_;
    static constexpr std::size_t most_followed = 64;
    std::vector<sim::RequestId> followed_;  // what journeys say is told again after a restore
    State state_;
};

}  // namespace sriov_nic
