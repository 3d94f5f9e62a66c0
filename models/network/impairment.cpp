#include "models/network/impairment.h"

#include <utility>
#include <vector>

#include "models/network/segmentation.h"

namespace models {

Impairment::Impairment(const sim::Scope& scope, const ImpairmentSettings& settings, FrameReceiver& next)
    : scope_(scope),
      settings_(settings),
      next_(next),
      random_(scope.random()),
      timer_(scope.agenda(), scope.path() + ".delayed", [this] { expired(); }),
      lost_(scope.counter("lost", "frames", "frames lost by chance")),
      duplicated_(scope.counter("duplicated", "frames", "frames that arrive twice by chance")),
      damaged_(scope.counter("damaged", "frames", "frames with one bit changed by chance")),
      reordered_(scope.counter("reordered", "frames", "frames held back by chance")),
      registration_(scope.register_state(*this)) {}

void Impairment::receive(Frame&& frame) {
    // As on a wire: what is damaged here is not made good by a checksum that is filled in later.
    std::vector<Frame> finished;
    finish_for_wire(std::move(frame), finished);
    for (Frame& one : finished) impair(std::move(one));
}

void Impairment::impair(Frame&& frame) {
    // A chance that is 0 draws nothing.
    const auto chance = [this](std::uint64_t one_in) { return one_in != 0 && random_.one_in(one_in); };
    if (chance(settings_.lose_one_in)) {
        ++lost_;
        return;
    }
    if (chance(settings_.damage_one_in) && !frame.bytes.empty()) {
        ++damaged_;
        frame.bytes[random_.below(frame.size())] ^= static_cast<std::byte>(1u << random_.below(8));
    }
    sim::Time delay = settings_.delay;
    if (chance(settings_.reorder_one_in)) {
        ++reordered_;
        delay += sim::Time::ps(
            static_cast<std::int64_t>(random_.below(static_cast<std::uint64_t>(settings_.reorder_delay.ps()) + 1)));
    }
    if (chance(settings_.duplicate_one_in)) {
        ++duplicated_;
        pass(Frame{frame}, delay);
    }
    pass(std::move(frame), delay);
}

void Impairment::pass(Frame&& frame, sim::Time delay) {
    delayed_.emplace(std::pair{scope_.now() + delay, next_number_++}, std::move(frame));
    const sim::Time first = delayed_.begin()->first.first;
    if (timer_.deadline() != first) timer_.arm(first);
}

void Impairment::expired() {
    std::vector<Frame> due;
    while (!delayed_.empty() && delayed_.begin()->first.first <= scope_.now()) {
        due.push_back(std::move(delayed_.begin()->second));
        delayed_.erase(delayed_.begin());
    }
    if (!delayed_.empty()) timer_.arm(delayed_.begin()->first.first);
    for (Frame& frame : due) next_.receive(std::move(frame));
}

}  // namespace models
