// One processor's part of a guest's network stack: the frames that wait there, and the steps of the programs.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "models/workload/guest_stack.h"
#include "sim/prefetch.h"
#include "sim/queue.h"

namespace models {

class GuestStack::Lane final : public sim::Task {
public:
    // What a program has asked for or is told.
    enum class StepKind : std::uint8_t {
        opened,
        read,
        write,
        room,
        close,
        closed,
        datagram,
        send,
        datagram_room,
        call,
        work,
    };
    struct Step {
        StepKind kind{};
        std::uint32_t id = 0;     // socket, port or user
        bool wakes = false;       // the program was asleep
        std::uint64_t bytes = 0;  // or what a call is about
        sim::Time time;           // of work
        TcpEndpoint remote;
        std::vector<std::byte> data;
        template <class Archive>
        void fields(Archive& archive) {
            archive(kind, id, wakes, bytes, time, remote, data);
        }
    };

    Lane(GuestStack& stack, std::size_t index, sim::Processor& processor);

    // `from_program`: by what runs there already.
    void add(Step&& step);
    void send(Frame&& frame);
    void received(Frame&& frame);
    void wake() { slot_.wake(); }
    std::size_t waiting_frames() const { return state_.out.size() + state_.sending.size(); }

    std::optional<sim::Time> begin() override;
    void finish() override;
    void account(sim::Account& account) const override;
    // What only who has sockets of TCP needs.
    void fetch_places() const override {
        if (!stack_.state_.sockets.empty()) sim::prefetch(&stack_.peer_.tcp(), sizeof stack_.peer_.tcp());
    }

    template <class Archive>
    void fields(Archive& archive) {
        archive(state_, costs_);
    }

private:
    enum class Work : std::uint8_t { none, out, in, program };
    struct State {
        sim::Queue<Frame> out;
        sim::Queue<Frame> in;
        sim::Queue<Step> steps;
        bool programs_next = false;
        bool blocked = false;  // the driver has no room
        Work work = Work::none;
        std::vector<Frame> sending;
        std::vector<Frame> arriving;
        Step step;
        template <class Archive>
        void fields(Archive& archive) {
            archive(out, in, steps, programs_next, blocked, work, sending, arriving, step);
        }
    };
    // Of the piece that has begun.
    struct Costs {
        sim::Time system_call, copy, wake_up, tcp, acknowledgement, datagram, checksum, program;
        sim::Time sum() const {
            return system_call + copy + wake_up + tcp + acknowledgement + datagram + checksum + program;
        }
        template <class Archive>
        void fields(Archive& archive) {
            archive(system_call, copy, wake_up, tcp, acknowledgement, datagram, checksum, program);
        }
    };
    static constexpr std::size_t frames_of_a_piece = 64;

    friend class GuestStack;
    void begin_out();
    void begin_in();
    void begin_step();
    void finish_out();
    void finish_in();
    void finish_step();
    void price_sent(const Frame& frame);
    void price_received(const Frame& frame);
    void until_begin(std::span<const std::byte> data, bool frame) const;
    void unblocked() {
        state_.blocked = false;
        slot_.wake();
    }

    GuestStack& stack_;
    sim::Processor& processor_;
    std::size_t index_;
    State state_;
    Costs costs_;
    std::uint64_t fetched_ = 0;  // what its processor needs, at this event
    sim::TaskSlot slot_;
};

}  // namespace models
