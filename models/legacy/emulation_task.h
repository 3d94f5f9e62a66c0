// Device emulation as work of the root's: the intercepts of a Generation 1 machine's processors wait in order for the
// worker that emulates its devices, on one of the root's processors. Each is a piece of work that costs time; then the
// device acts and the guest's processor goes on. A processor waits in one intercept at a time, so as many wait as there
// are processors at most.
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <vector>

#include "hypervisor/tlfs_messages.h"
#include "sim/processor.h"
#include "sim/scope.h"

namespace models {

class DeviceEmulator {
public:
    // The message's processor is still suspended in its intercept.
    virtual void emulate(const hypervisor::HvMessage& message) = 0;

protected:
    ~DeviceEmulator() = default;
};

class EmulationTask final : private sim::Task {
public:
    // What one intercept costs beyond the hypervisor's round trip (`exit.root_round_trip`). An assumption.
    static constexpr sim::Time cost = sim::Time::us(1);

    EmulationTask(const sim::Scope& scope, sim::Processor& processor, DeviceEmulator& emulator);
    EmulationTask(const EmulationTask&) = delete;

    void add(const hypervisor::HvMessage& message);
    // The guest has ended: what waits is forgotten.
    void clear();

    using Message = std::array<std::byte, sizeof(hypervisor::HvMessage)>;
    struct State {
        std::vector<Message> waiting;  // in order; keeps its memory, and is short
        std::optional<Message> at_work;

        bool operator==(const State&) const = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(waiting, at_work);
        }
    };
    const State& state() const { return state_; }
    template <class Archive>
    void fields(Archive& archive) {
        archive(state_);
    }

private:
    std::optional<sim::Time> begin() override;
    void finish() override;
    void account(sim::Account& account) const override { account.add("root.emulation", cost); }

    DeviceEmulator& emulator_;
    sim::Counter& intercepts_;
    sim::Counter& busy_;
    State state_;
    sim::TaskSlot slot_;
};

}  // namespace models
