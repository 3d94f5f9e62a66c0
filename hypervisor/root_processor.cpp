#include "hypervisor/root_processor.h"

#include <utility>

namespace hypervisor {

RootProcessor::RootProcessor(const sim::Scope& scope, VpRef ref, std::function<void(RootProcessor&)> runnable)
    : ref_(ref),
      runnable_(std::move(runnable)),
      busy_(scope.counter("busy", "ps", "time in which tasks were at work")),
      pieces_(scope.counter("pieces", "count", "pieces of work done")) {}

std::optional<sim::Time> RootProcessor::begin(sim::Account& account) {
    const std::optional<sim::Time> cost = TaskQueue::begin();
    if (cost) {
        busy_.add(static_cast<std::uint64_t>(cost->ps()));
        ++pieces_;
        TaskQueue::account(account);
    }
    return cost;
}

}  // namespace hypervisor
