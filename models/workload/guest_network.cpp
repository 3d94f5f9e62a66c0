#include "models/workload/guest_network.h"

#include <algorithm>
#include <string>

#include "models/behavioural/synthetic_driver.h"

namespace models {

NetworkPath network_path(std::string_view name) {
    if (name == "synthetic") return NetworkPath::synthetic;
    throw sim::UserError("path: " + std::string{name} + " is not one of synthetic");
}

namespace {

StackSettings stack_settings(const PeerSettings& host, const Profile& profile) {
    StackSettings settings;
    settings.host = host;
    settings.costs = profile.stack_costs;
    return settings;
}

}  // namespace

GuestNetwork::GuestNetwork(const sim::Scope& scope, BehaviouralGuest& guest, const Profile& profile,
                           const GuestNetworkConfig& config)
    : stack_(scope.child("stack"), stack_settings(config.host, profile), guest.processor_count(),
             [&guest](unsigned vp) -> sim::Processor& { return guest.processor(vp); }) {
    const auto channels = static_cast<std::uint16_t>(std::min<unsigned>(config.channels, guest.processor_count()));
    driver_ = std::make_unique<SyntheticDriver>(scope.child("driver"), guest, stack_,
                                                SyntheticDriver::config(profile.driver_costs, channels));
    stack_.connect_driver(*driver_);
}

GuestNetwork::~GuestNetwork() = default;

}  // namespace models
