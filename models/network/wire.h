// A full-duplex Ethernet link between two ends. Each frame takes its time on the link, with preamble, check sequence
// and gap (IEEE 802.3, 4.2 and 4.4), and arrives when its last bit does; sums of frames back to back are exact to the
// picosecond at every rate. Frames that do not fit the bounded queue are dropped and counted.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "models/network/frame.h"
#include "sim/agenda.h"
#include "sim/queue.h"
#include "sim/scope.h"

namespace models {

struct WireSettings {
    std::uint64_t bits_per_second = 10'000'000'000;
    sim::Time delay = sim::Time::ns(25);     // 5 m of cable at 5 ns/m
    std::size_t queue_bytes = 512 * 1024;    // that wait at one end for their turn
    std::size_t maximum_frame_bytes = 9216;  // without the check sequence
};

// What an end is connected to.
class WireOwner : public FrameReceiver {
public:
    virtual void link_changed(bool /*up*/) {}

protected:
    ~WireOwner() = default;
};

class Wire final {
public:
    static constexpr std::size_t preamble_bytes = 8;  // with the start delimiter
    static constexpr std::size_t check_sequence_bytes = 4;
    static constexpr std::size_t gap_bytes = 12;

    Wire(const sim::Scope& scope, const WireSettings& settings = {});

    // One end: what its owner sends goes in here and comes out at the other end's owner. It takes frames with offloads
    // still to be done, and does them.
    class End final : public FrameReceiver {
    public:
        void receive(Frame&& frame) override { wire_.transmit(index_, std::move(frame)); }
        void connect(FrameReceiver& owner) { wire_.sides_[index_].receiver = &owner; }
        void connect(WireOwner& owner) {
            wire_.sides_[index_].receiver = &owner;
            wire_.sides_[index_].owner = &owner;
        }
        // Sees what this end sends (`out`) and gets (`in`).
        void observe(FrameObserver& observer) { wire_.sides_[index_].observers.push_back(&observer); }

    private:
        friend class Wire;
        End(Wire& wire, unsigned index) : wire_(wire), index_(index) {}
        Wire& wire_;
        unsigned index_;
    };
    End& end(unsigned index) { return ends_[index]; }

    // A link that goes down loses what is under way.
    void set_link(bool up);
    bool link_up() const { return up_; }
    std::uint64_t bits_per_second() const { return settings_.bits_per_second; }

    // From the first bit of the preamble to the last of the check sequence.
    sim::Time frame_time(std::size_t frame_bytes) const;

    template <class Archive>
    void fields(Archive& archive) {
        archive(up_);
        for (Side& side : sides_) archive(side);
    }

private:
    struct InFlight {
        sim::Time sent;     // the last bit has left
        sim::Time arrives;  // and arrived
        Frame frame;
        template <class Archive>
        void fields(Archive& archive) {
            archive(sent, arrives, frame);
        }
    };
    // One direction: what that end sends.
    struct Side {
        Side(Wire& wire, const sim::Scope& scope, unsigned index);
        sim::Scope scope;
        FrameReceiver* receiver = nullptr;  // that of this end
        WireOwner* owner = nullptr;
        std::vector<FrameObserver*> observers;
        sim::Counter& frames;
        sim::Counter& bytes;
        sim::Counter& dropped_full;
        sim::Counter& dropped_down;
        sim::Counter& dropped_length;
        sim::Queue<InFlight> in_flight;
        std::size_t queued_bytes = 0;  // of those in flight that have not left yet
        std::size_t left = 0;          // how many at the front of in_flight have left
        sim::Time burst_start;         // of frames back to back
        std::uint64_t burst_bytes = 0;
        sim::Timer timer;

        template <class Archive>
        void fields(Archive& archive) {
            archive(in_flight, queued_bytes, left, burst_start, burst_bytes, timer);
        }
    };
    void transmit(unsigned from, Frame&& frame);
    void start(Side& side, Frame&& frame);
    void arrived(unsigned from);
    sim::Time bits_time(std::uint64_t bytes) const;

    WireSettings settings_;
    bool up_ = true;
    std::array<Side, 2> sides_;
    std::array<End, 2> ends_;
    sim::StateRegistration registration_;
};

}  // namespace models
