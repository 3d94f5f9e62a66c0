// The physical adapter of a virtual switch: connects an external port to a wire's end and does the receive work on the
// root's processors. The adapter verifies checksums, computes the RSS hash and sorts frames to queues by destination
// (VMQ); each queue's processor switches them in batches, at a cost. What the switch sends goes out at once: whoever
// sent it has paid. An adapter without processors works in no time.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "models/network/toeplitz.h"
#include "models/network/virtual_switch.h"
#include "models/network/wire.h"
#include "sim/processor.h"
#include "sim/scope.h"

namespace models {

struct UplinkSettings {
    sim::Time moderation;  // from the first frame of an idle queue to the interrupt
    std::size_t batch_frames = 64;
    std::size_t queue_frames = 4096;  // per processor; more are dropped
    sim::Time per_batch;              // interrupt and dispatch, beside what the switch costs
    sim::Time rebalance_interval;     // of dynamic VMQ; 0: queues stay where they are
};

class Uplink final : public WireOwner {
public:
    // `processors` are those that the switch's queue placement counts, from its first on; or none.
    Uplink(const sim::Scope& scope, VirtualSwitch& vswitch, std::string_view port_name, const PortSettings& port,
           Wire::End& end, std::span<sim::Processor* const> processors = {}, std::uint32_t first_processor = 0,
           const UplinkSettings& settings = {});
    ~Uplink();

    PortId port() const { return port_; }
    void receive(Frame&& frame) override;

    template <class Archive>
    void fields(Archive& archive) {
        for (auto& queue : queues_) archive(*queue);
        archive(rebalance_timer_);
    }

private:
    struct Arrival {
        Frame frame;
        PortId destination = no_port;  // whose queue; no_port: the default queue
        std::uint32_t queue = 0;
        template <class Archive>
        void fields(Archive& archive) {
            archive(frame, destination, queue);
        }
    };
    // The work of one processor.
    class Queue final : public sim::Task {
    public:
        Queue(Uplink& owner, sim::Processor* processor, unsigned index);
        void add(Arrival&& arrival);
        std::optional<sim::Time> begin() override;
        void finish() override;
        void account(sim::Account& account) const override { account.add("root.switch", cost_); }

        template <class Archive>
        void fields(Archive& archive) {
            archive(waiting_, batch_, timer_);
        }

    private:
        void interrupt();

        Uplink& owner_;
        std::deque<Arrival> waiting_;
        std::vector<Arrival> batch_;
        sim::Time cost_;  // of the piece that has begun
        sim::Timer timer_;
        std::optional<sim::TaskSlot> slot_;
    };
    void rebalance();

    sim::Scope scope_;
    VirtualSwitch& switch_;
    UplinkSettings settings_;
    std::uint32_t first_processor_;
    sim::Counter& received_;
    sim::Counter& dropped_;
    sim::Counter& batches_;
    sim::Counter& moves_;
    std::vector<std::unique_ptr<Queue>> queues_;
    PortId port_ = no_port;
    sim::Timer rebalance_timer_;
    sim::StateRegistration registration_;
};

}  // namespace models
