// An interrupt vector of a virtual function with the queue pairs that share it, and the work it calls for, as NAPI has
// it: the interrupt finds itself masked by the device (EIAM), queues are polled with a budget until nothing is left,
// then the vector is unmasked. Frames are sent by the same task. A driver that only polls never unmasks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "models/behavioural/driver_costs.h"
#include "models/behavioural/guest_platform.h"
#include "models/behavioural/vf_moderation.h"
#include "models/behavioural/vf_queue.h"

namespace models {

struct VfVectorSettings {
    std::uint32_t budget = 64;  // frames received in one poll, of all queues together
    std::uint32_t batch = 64;   // frames sent at once, with one write of the tail
    Moderation moderation = Moderation::adaptive;
    std::uint32_t interval = eitr_value::per_second_20k;  // of EITR, where it is fixed
    bool polling = false;
    DriverCosts costs;
};

class VfVector final : public InterruptHandler, private sim::Task {
public:
    class Owner {
    public:
        virtual void received(std::uint16_t queue, std::span<vmbus::IncomingFrame> frames) = 0;
        // A queue may take frames again.
        virtual void polled() = 0;

    protected:
        ~Owner() = default;
    };
    struct Pair {
        std::uint16_t number = 0;
        VfQueue* queue = nullptr;
    };

    VfVector(const sim::Scope& scope, GuestPlatform& platform, Owner& owner, unsigned number, unsigned vp,
             const VfVectorSettings& settings);
    VfVector(const VfVector&) = delete;

    // Before anything else.
    void add(std::uint16_t number, VfQueue& queue);
    unsigned vp() const { return vp_; }
    // With whatever its owner needs for it (sim/working_set.h).
    void needs(const void* from, std::size_t bytes) const { slot_.needs(from, bytes); }
    // The first value of EITR.
    std::uint32_t interval() const;

    // The device is at work, its registers are here; and no more.
    void open(std::uint64_t registers);
    void close() { state_ = {}; }
    bool is_open() const { return state_.registers != 0; }
    // Something has been pushed.
    void wake() { slot_.wake(); }

    void interrupt() override;

    template <class Archive>
    void fields(Archive& archive) {
        archive(state_);
    }

private:
    enum class Work : std::uint8_t { none, poll, send };
    struct State {
        std::uint64_t registers = 0;
        bool scheduled = false;  // to be polled
        bool called = false;     // by an interrupt
        sim::Time called_at;     // the last time
        sim::Time begun_at;      // of the piece
        bool send_next = false;
        bool more = false;  // the budget was used up, or too much was sent
        Work work = Work::none;
        ModeratedTraffic sent, received;
        AdaptiveInterval interval;

        template <class Archive>
        void fields(Archive& archive) {
            archive(registers, scheduled, called, called_at, begun_at, send_next, more, work, sent, received, interval);
        }
    };
    // Of the piece that has begun, for account().
    struct Parts {
        sim::Time interrupt, poll, sent, received, idle;
        sim::Time sum() const { return interrupt + poll + sent + received + idle; }
    };

    // sim::Task
    std::optional<sim::Time> begin() override;
    void finish() override;
    void account(sim::Account& account) const override;
    void fetch_places() const override {
        for (const Pair& pair : pairs_) pair.queue->fetch_places();
    }
    void fetch_ahead() const override {
        for (const Pair& pair : pairs_) pair.queue->fetch_ahead();
    }

    bool can_send() const;
    void begin_poll();
    void begin_send();
    void finish_poll();
    void finish_send();
    void write(std::uint32_t offset, std::uint32_t value);

    GuestPlatform& platform_;
    Owner& owner_;
    unsigned number_;
    unsigned vp_;
    VfVectorSettings settings_;
    std::vector<Pair> pairs_;
    State state_;
    Parts parts_;
    sim::Counter& interrupts_;
    sim::Counter& polls_;
    sim::Counter& tails_;
    sim::TaskSlot slot_;
};

}  // namespace models
