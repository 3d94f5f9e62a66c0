#include "models/network/wire.h"

#include <algorithm>
#include <utility>

#include "models/network/headers.h"
#include "models/network/segmentation.h"
#include "sim/check.h"

namespace models {

Wire::Side::Side(Wire& wire, const sim::Scope& parent, unsigned index)
    : scope(parent.child(index == 0 ? "end0" : "end1")),
      frames(scope.counter("frames", "frames", "frames that this end sent")),
      bytes(scope.counter("bytes", "bytes", "bytes of those frames")),
      dropped_full(scope.counter("dropped.full", "frames", "frames for which this end's queue had no room")),
      dropped_down(scope.counter("dropped.down", "frames", "frames of this end lost because the link was down")),
      dropped_length(
          scope.counter("dropped.length", "frames", "frames of this end too short or too long for the link")),
      timer(scope.agenda(), scope.path() + ".arrival", [&wire, index] { wire.arrived(index); }) {}

Wire::Wire(const sim::Scope& scope, const WireSettings& settings)
    : settings_(settings),
      sides_{Side{*this, scope, 0}, Side{*this, scope, 1}},
      ends_{End{*this, 0}, End{*this, 1}},
      registration_(scope.register_state(*this)) {
    if (settings.bits_per_second == 0) throw sim::UserError("wire: a rate of 0; give bits per second");
}

sim::Time Wire::bits_time(std::uint64_t bytes) const {
    return sim::first_time_of_cycle(bytes * 8, settings_.bits_per_second);
}

sim::Time Wire::frame_time(std::size_t frame_bytes) const {
    return bits_time(preamble_bytes + std::max(frame_bytes, minimum_frame_bytes) + check_sequence_bytes);
}

void Wire::transmit(unsigned from, Frame&& frame) {
    Side& side = sides_[from];
    std::vector<Frame> frames;
    finish_for_wire(std::move(frame), frames);
    for (Frame& one : frames) {
        if (one.size() < ethernet_header_bytes || one.size() > settings_.maximum_frame_bytes) {
            ++side.dropped_length;
            continue;
        }
        if (one.size() < minimum_frame_bytes) one.bytes.resize(minimum_frame_bytes);
        if (!up_) {
            ++side.dropped_down;
            continue;
        }
        start(side, std::move(one));
    }
}

void Wire::start(Side& side, Frame&& frame) {
    const sim::Time now = side.scope.now();
    while (side.left < side.in_flight.size() && side.in_flight[side.left].sent <= now) {
        side.queued_bytes -= side.in_flight[side.left++].frame.size();
    }
    // The first one that has not left is on the link and not in the queue.
    const std::size_t on_link = side.left < side.in_flight.size() ? side.in_flight[side.left].frame.size() : 0;
    if (side.queued_bytes - on_link + frame.size() > settings_.queue_bytes) {
        ++side.dropped_full;
        return;
    }
    // Counted from the burst's start, so that roundings do not add up.
    if (side.burst_start + bits_time(side.burst_bytes) <= now) {
        side.burst_start = now;
        side.burst_bytes = 0;
    }
    for (FrameObserver* observer : side.observers) observer->observed(FrameDirection::out, frame);
    side.scope.trace("wire_frame", frame.size());
    ++side.frames;
    side.bytes.add(frame.size());
    const std::uint64_t through_check_sequence =
        side.burst_bytes + preamble_bytes + frame.size() + check_sequence_bytes;
    const sim::Time sent = side.burst_start + bits_time(through_check_sequence);
    side.burst_bytes = through_check_sequence + gap_bytes;
    side.queued_bytes += frame.size();
    side.in_flight.push_back({sent, sent + settings_.delay, std::move(frame)});
    if (!side.timer.armed()) side.timer.arm(side.in_flight.front().arrives);
}

void Wire::arrived(unsigned from) {
    Side& side = sides_[from];
    Side& other = sides_[1 - from];
    InFlight one = std::move(side.in_flight.front());
    side.in_flight.pop_front();
    if (side.left > 0) {
        --side.left;
    } else {
        side.queued_bytes -= one.frame.size();
    }
    if (!side.in_flight.empty()) side.timer.arm(side.in_flight.front().arrives);
    sim::Journeys& journeys = side.scope.journeys();
    if (journeys.on()) journeys.mark_frame(one.frame.bytes, "wire", side.scope.now());
    for (FrameObserver* observer : other.observers) observer->observed(FrameDirection::in, one.frame);
    if (other.receiver != nullptr) other.receiver->receive(std::move(one.frame));
}

void Wire::set_link(bool up) {
    if (up == up_) return;
    up_ = up;
    for (Side& side : sides_) {
        side.dropped_down.add(side.in_flight.size());
        side.in_flight.clear();
        side.queued_bytes = 0;
        side.left = 0;
        side.burst_start = side.scope.now();
        side.burst_bytes = 0;
        side.timer.disarm();
    }
    for (Side& side : sides_) {
        if (side.owner != nullptr) side.owner->link_changed(up);
    }
}

}  // namespace models
