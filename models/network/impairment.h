// A stretch of network that treats frames badly, by seeded chance: it loses, duplicates, damages, and delays some so
// that later ones overtake them. One direction; two of them make a path.
#pragma once

#include <cstdint>
#include <map>

#include "models/network/frame.h"
#include "sim/agenda.h"
#include "sim/random.h"
#include "sim/scope.h"

namespace models {

// Each is a chance of one in so many frames; 0: never.
struct ImpairmentSettings {
    std::uint64_t lose_one_in = 0;
    std::uint64_t duplicate_one_in = 0;
    std::uint64_t damage_one_in = 0;  // one bit
    std::uint64_t reorder_one_in = 0;
    sim::Time delay;          // of every frame
    sim::Time reorder_delay;  // of a reordered one, up to so much more
};

class Impairment final : public FrameReceiver {
public:
    Impairment(const sim::Scope& scope, const ImpairmentSettings& settings, FrameReceiver& next);

    void receive(Frame&& frame) override;
    // From now on.
    void set(const ImpairmentSettings& settings) { settings_ = settings; }

    template <class Archive>
    void fields(Archive& archive) {
        archive(random_, delayed_, next_number_, timer_);
    }

private:
    void impair(Frame&& frame);
    void pass(Frame&& frame, sim::Time delay);
    void expired();

    sim::Scope scope_;
    ImpairmentSettings settings_;
    FrameReceiver& next_;
    sim::Random random_;
    std::map<std::pair<sim::Time, std::uint64_t>, Frame> delayed_;
    std::uint64_t next_number_ = 0;
    sim::Timer timer_;
    sim::Counter& lost_;
    sim::Counter& duplicated_;
    sim::Counter& damaged_;
    sim::Counter& reordered_;
    sim::StateRegistration registration_;
};

}  // namespace models
