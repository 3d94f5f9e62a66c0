// The uplink of a virtual switch on a wire, without an adapter in between: what comes is taken in batches on processors
// of the root's, by flow, at what a frame from a wire costs there. For wires faster than the 82599's.
#pragma once

#include <deque>
#include <memory>
#include <vector>

#include "models/network/virtual_switch.h"
#include "models/network/wire.h"
#include "sim/processor.h"

namespace models {

class RootPort final : private FrameReceiver {
public:
    // On each of the processors is a channel of the guest's. One queue: it is where the first stream's channel is, as
    // dynamic VMQ leaves it. Or as many as there are processors.
    RootPort(VirtualSwitch& network, Wire::End& end, std::vector<sim::Processor*> processors, unsigned queues);
    ~RootPort();
    RootPort(const RootPort&) = delete;

private:
    static constexpr std::size_t most_in_batch = 64;
    static constexpr std::size_t most_waiting = 4096;
    static constexpr sim::Time per_interrupt = sim::Time::us(1);  // as PhysicalQueue has it

    class Queue final : private sim::Task {
    public:
        Queue(RootPort& port, sim::Processor& processor) : port_(port), slot_(processor, *this) {}
        void push(Frame&& frame);

    private:
        std::optional<sim::Time> begin() override;
        void finish() override;
        void account(sim::Account& account) const override { account.add("root.switch", cost_); }

        RootPort& port_;
        sim::TaskSlot slot_;
        std::deque<Frame> waiting_;
        std::vector<Frame> batch_;
        bool working_ = false;
        sim::Time cost_;
    };
    struct FromSwitch final : FrameReceiver {
        explicit FromSwitch(Wire::End& e) : end(e) {}
        void receive(Frame&& frame) override { end.receive(std::move(frame)); }
        Wire::End& end;
    };

    void receive(Frame&& frame) override;  // from the wire

    VirtualSwitch& network_;
    FromSwitch to_wire_;
    PortId port_;
    std::vector<sim::Processor*> processors_;
    unsigned wanted_;
    std::vector<std::unique_ptr<Queue>> queues_;
};

}  // namespace models
