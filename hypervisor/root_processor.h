// A virtual processor whose work is C++: tasks that say what they cost. It is scheduled on logical processors among the
// others; it has no registers, takes no exits and gets no interrupts. The root partition's processors are such; those
// of a behavioural child are more (behavioural_processor.h).
#pragma once

#include <functional>

#include "hypervisor/scheduler.h"
#include "sim/processor.h"

namespace hypervisor {

class RootProcessor final : public sim::TaskQueue {
public:
    // `runnable`: it has work again; the scheduler is to be told.
    RootProcessor(const sim::Scope& scope, VpRef ref, std::function<void(RootProcessor&)> runnable);

    VpRef ref() const { return ref_; }

    // One piece of work on a logical processor: from begin() on, for as long as it says, then finish(). Nothing: it
    // has no work and blocks.
    std::optional<sim::Time> begin(sim::Account& account);
    void finish() { TaskQueue::finish(); }

private:
    void work_arrived() override { runnable_(*this); }

    VpRef ref_;
    std::function<void(RootProcessor&)> runnable_;
    sim::Counter& busy_;
    sim::Counter& pieces_;
};

}  // namespace hypervisor
