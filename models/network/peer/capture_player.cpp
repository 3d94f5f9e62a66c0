#include "models/network/peer/capture_player.h"

#include <utility>

#include "sim/bits.h"
#include "sim/check.h"

namespace models {

CapturePlayer::CapturePlayer(const sim::Scope& scope, std::vector<CapturedFrame> frames, FrameReceiver& network,
                             const PlayerSettings& settings)
    : frames_(std::move(frames)),
      network_(network),
      settings_(settings),
      agenda_(scope.agenda()),
      played_(scope.counter("played", "frames", "frames played from the capture")),
      timer_(scope.agenda(), scope.path() + ".next", [this] { play(); }),
      registration_(scope.register_state(*this)) {
    if (settings.speed_percent == 0) throw sim::UserError("capture player: a speed of 0; 100 is the original speed");
}

void CapturePlayer::start(sim::Time at) {
    begin_ = at;
    next_ = 0;
    repetition_ = 0;
    if (frames_.empty() || settings_.repetitions == 0) return timer_.disarm();
    timer_.arm(at);
}

sim::Time CapturePlayer::due(std::uint64_t frame) const {
    const auto ps = static_cast<sim::u128>(frames_[frame].at.ps()) * 100 / settings_.speed_percent;
    return begin_ + sim::Time::ps(static_cast<std::int64_t>(ps));
}

void CapturePlayer::play() {
    Frame frame{frames_[next_].bytes};
    ++played_;
    if (++next_ == frames_.size()) {
        begin_ = agenda_.now() + settings_.pause;
        next_ = 0;
        ++repetition_;
    }
    if (repetition_ < settings_.repetitions) timer_.arm(next_ == 0 ? begin_ : due(next_));
    network_.receive(std::move(frame));
}

}  // namespace models
