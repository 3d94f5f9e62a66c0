#include "sim/processor.h"

#include <algorithm>

#include "sim/check.h"

namespace sim {

SerialProcessor::SerialProcessor(const Scope& scope, Time dispatch)
    : scope_(scope),
      dispatch_(dispatch),
      timer_(scope.agenda(), scope.path() + ".work", [this] { expired(); }),
      busy_time_(scope.counter("busy", "ps", "time in which tasks were at work")),
      pieces_(scope.counter("pieces", "count", "pieces of work done")),
      registration_(scope.register_state(*this)) {}

Processor::TaskId SerialProcessor::attach(Task& task) {
    tasks_.push_back(&task);
    return static_cast<TaskId>(tasks_.size() - 1);
}

void SerialProcessor::detach(TaskId id) {
    VG_CHECK(id < tasks_.size() && tasks_[id] != nullptr);
    tasks_[id] = nullptr;
    const bool at_work = state_.working && state_.awake.front() == id;
    std::erase(state_.awake, id);
    if (at_work) {
        // What it was doing is lost with it; its time is spent.
        state_.working = false;
        state_.again = false;
    }
}

void SerialProcessor::wake(TaskId id) {
    VG_CHECK(id < tasks_.size() && tasks_[id] != nullptr);
    if (state_.working && state_.awake.front() == id) {
        state_.again = true;
        return;
    }
    if (std::find(state_.awake.begin(), state_.awake.end(), id) != state_.awake.end()) return;
    state_.awake.push_back(id);
    if (!timer_.armed()) timer_.arm_after(dispatch_);
}

void SerialProcessor::expired() {
    if (state_.working) {
        const TaskId id = state_.awake.front();
        state_.awake.pop_front();
        state_.working = false;
        // It may have more: it stays awake until begin() says no. Behind the others, each in its turn.
        state_.awake.push_back(id);
        state_.again = false;
        ++pieces_;
        tasks_[id]->finish();
    }
    if (!timer_.armed()) start_next();
}

void SerialProcessor::start_next() {
    while (!state_.awake.empty()) {
        const TaskId id = state_.awake.front();
        state_.working = true;
        const std::optional<Time> cost = tasks_[id]->begin();
        if (cost) {
            VG_CHECK(*cost >= Time{});
            state_.busy = state_.busy + *cost;
            busy_time_.add(static_cast<std::uint64_t>(cost->ps()));
            timer_.arm_after(*cost);
            return;
        }
        // Woken by its own begin(): it is asked once more in its turn.
        state_.awake.pop_front();
        state_.working = false;
        if (state_.again) state_.awake.push_back(id);
        state_.again = false;
    }
}

}  // namespace sim
