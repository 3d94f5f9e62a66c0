#include "models/legacy/legacy_switch_adapter.h"

#include <utility>

namespace models {

namespace {
PortSettings without_offloads(PortSettings settings) {
    settings.receives = {};
    return settings;
}
}  // namespace

LegacySwitchAdapter::LegacySwitchAdapter(const sim::Scope& scope, VirtualSwitch& network, std::string_view port_name,
                                         PortSettings settings, sim::Processor& processor,
                                         const LegacyNetworkCosts& costs)
    : scope_(scope),
      network_(network),
      costs_(costs),
      busy_(scope.counter("busy", "ps", "time of the root's processor that handing frames over took")),
      slot_(processor, *this),
      port_(network.connect(port_name, *this, without_offloads(std::move(settings)))) {}

LegacySwitchAdapter::~LegacySwitchAdapter() {
    network_.disconnect(port_);
}

void LegacySwitchAdapter::clear() {
    state_.waiting.clear();
    state_.at_work = false;
}

void LegacySwitchAdapter::add(Passage&& passage, vmbus::TrafficCount& count) {
    if (state_.waiting.size() == most_waiting) {
        ++count.discards;
        return;
    }
    state_.waiting.push_back(std::move(passage));
    slot_.wake();
}

void LegacySwitchAdapter::transmit(std::span<const std::byte> frame) {
    add({false, {frame.begin(), frame.end()}}, state_.from_guest);
}

void LegacySwitchAdapter::receive(Frame&& frame) {
    add({true, std::move(frame.bytes)}, state_.to_guest);
}

std::optional<sim::Time> LegacySwitchAdapter::begin() {
    if (state_.waiting.empty()) return std::nullopt;
    state_.at_work = true;
    sim::Journeys& journeys = scope_.journeys();
    if (journeys.on()) journeys.mark_frame(state_.waiting.front().bytes, "wait.processor", scope_.now());
    const auto bytes = static_cast<std::int64_t>(state_.waiting.front().bytes.size());
    const sim::Time cost = costs_.per_frame + sim::Time::ps(bytes * costs_.per_kibibyte.ps() / 1024);
    busy_.add(static_cast<std::uint64_t>(cost.ps()));
    cost_ = cost;
    return cost;
}

void LegacySwitchAdapter::finish() {
    if (!std::exchange(state_.at_work, false)) return;
    Passage passage = std::move(state_.waiting.front());
    state_.waiting.pop_front();
    sim::Journeys& journeys = scope_.journeys();
    if (journeys.on()) journeys.mark_frame(passage.bytes, "root.network", scope_.now());
    if (!passage.to_guest) {
        state_.from_guest.add(passage.bytes);
        network_.send(port_, Frame{std::move(passage.bytes)});
    } else if (adapter_ != nullptr && adapter_->receive(passage.bytes)) {
        state_.to_guest.add(passage.bytes);
    } else {
        ++state_.to_guest.discards;
    }
}

}  // namespace models
