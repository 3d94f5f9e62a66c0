#include "models/legacy/emulation_task.h"

#include <cstring>
#include <utility>

namespace models {

EmulationTask::EmulationTask(const sim::Scope& scope, sim::Processor& processor, DeviceEmulator& emulator)
    : emulator_(emulator),
      intercepts_(scope.counter("intercepts", "count", "accesses of the guest's that a root processor has emulated")),
      busy_(scope.counter("busy", "ps", "time of the root's processor that they took")),
      slot_(processor, *this) {}

void EmulationTask::add(const hypervisor::HvMessage& message) {
    Message copy{};
    std::memcpy(copy.data(), &message, sizeof message);
    state_.waiting.push_back(copy);
    slot_.wake();
}

void EmulationTask::clear() {
    state_.waiting.clear();
    state_.at_work.reset();
}

std::optional<sim::Time> EmulationTask::begin() {
    if (state_.waiting.empty()) return std::nullopt;
    state_.at_work = state_.waiting.front();
    state_.waiting.erase(state_.waiting.begin());
    ++intercepts_;
    busy_.add(static_cast<std::uint64_t>(cost.ps()));
    return cost;
}

void EmulationTask::finish() {
    if (!state_.at_work) return;
    hypervisor::HvMessage message{};
    std::memcpy(&message, state_.at_work->data(), sizeof message);
    state_.at_work.reset();
    emulator_.emulate(message);
}

}  // namespace models
