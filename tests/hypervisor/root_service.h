// Pieces of work of one of the root's processors, and when each ends.
#pragma once

#include <deque>
#include <optional>
#include <vector>

#include "whole_machine.h"

namespace hypervisor::test {

struct Service final : sim::Task {
    Service(WholeMachine& m, std::uint32_t vp) : machine(m), slot(m.hypervisor->root_processor(vp), *this) {}
    void add(Time cost) {
        queue.push_back(cost);
        slot.wake();
    }
    std::optional<Time> begin() override {
        if (queue.empty()) return std::nullopt;
        const Time cost = queue.front();
        queue.pop_front();
        return cost;
    }
    void finish() override { done.push_back(machine.simulation.agenda().now()); }

    WholeMachine& machine;
    std::deque<Time> queue;
    std::vector<Time> done;
    sim::TaskSlot slot;
};

}  // namespace hypervisor::test
