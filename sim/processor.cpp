#include "sim/processor.h"

#include <algorithm>
#include <utility>

#include "sim/check.h"

namespace sim {

Processor::TaskId TaskQueue::attach(Task& task) {
    tasks_.push_back(&task);
    needs_.emplace_back();
    return static_cast<TaskId>(tasks_.size() - 1);
}

void TaskQueue::detach(TaskId id) {
    VG_CHECK(id < tasks_.size() && tasks_[id] != nullptr);
    tasks_[id] = nullptr;
    needs_[id].clear();
    if (state_.working && state_.awake.front() == id) {
        state_.working = false;
        state_.again = false;
    }
    state_.awake.erase(id);
}

void TaskQueue::wake(TaskId id) {
    VG_CHECK(id < tasks_.size() && tasks_[id] != nullptr);
    if (state_.working && state_.awake.front() == id) {
        state_.again = true;
        return;
    }
    if (std::find(state_.awake.begin(), state_.awake.end(), id) != state_.awake.end()) return;
    awake_ |= bit(id);
    if ((gathered_ & bit(id)) == 0) needs_[id].fetch();
    const bool first = state_.awake.empty();
    state_.awake.push_back(id);
    if (first) work_arrived();
}

std::optional<Time> TaskQueue::begin() {
    VG_CHECK(!state_.working);
    while (!state_.awake.empty()) {
        const TaskId id = state_.awake.front();
        state_.working = true;
        const std::optional<Time> cost = tasks_[id]->begin();
        if (cost) {
            VG_CHECK(*cost >= Time::zero());
            return cost;
        }
        state_.awake.pop_front();
        state_.working = false;
        // Woken while it looked: it is asked once more in its turn.
        if (std::exchange(state_.again, false)) state_.awake.push_back(id);
    }
    return std::nullopt;
}

void TaskQueue::finish() {
    if (!state_.working) return;
    const TaskId id = state_.awake.front();
    // It stays awake until its begin() finds nothing, behind the others.
    state_.awake.pop_front();
    state_.awake.push_back(id);
    state_.working = false;
    state_.again = false;
    tasks_[id]->finish();
}

SerialProcessor::SerialProcessor(const Scope& scope, Time dispatch)
    : dispatch_(dispatch),
      timer_(scope.agenda(), scope.path() + ".work", [this] { expired(); }),
      busy_(scope.counter("busy", "ps", "time in which tasks were at work")),
      pieces_(scope.counter("pieces", "count", "pieces of work done")),
      registration_(scope.register_state(*this)) {}

void SerialProcessor::work_arrived() {
    if (!timer_.armed()) timer_.arm_after(dispatch_);
}

void SerialProcessor::expired() {
    finish();
    const std::optional<Time> cost = begin();
    if (!cost) return;
    busy_.add(static_cast<std::uint64_t>(cost->ps()));
    ++pieces_;
    timer_.arm_after(*cost);
}

}  // namespace sim
