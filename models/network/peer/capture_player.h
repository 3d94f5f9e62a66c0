// Plays a capture into a network, with its spacing.
#pragma once

#include <cstdint>
#include <vector>

#include "models/network/capture_file.h"
#include "models/network/frame.h"
#include "sim/agenda.h"
#include "sim/scope.h"

namespace models {

struct PlayerSettings {
    std::uint32_t speed_percent = 100;  // 200: twice as fast
    std::uint32_t repetitions = 1;
    sim::Time pause;  // between the last frame and the first of the next repetition
};

class CapturePlayer final {
public:
    CapturePlayer(const sim::Scope& scope, std::vector<CapturedFrame> frames, FrameReceiver& network,
                  const PlayerSettings& settings = {});

    // The first frame goes at that time.
    void start(sim::Time at);
    bool finished() const { return !timer_.armed(); }

    template <class Archive>
    void fields(Archive& archive) {
        archive(begin_, next_, repetition_, timer_);
    }

private:
    void play();
    sim::Time due(std::uint64_t frame) const;

    std::vector<CapturedFrame> frames_;
    FrameReceiver& network_;
    PlayerSettings settings_;
    sim::Agenda& agenda_;
    sim::Counter& played_;
    sim::Time begin_;  // of this repetition
    std::uint64_t next_ = 0;
    std::uint32_t repetition_ = 0;
    sim::Timer timer_;
    sim::StateRegistration registration_;
};

}  // namespace models
