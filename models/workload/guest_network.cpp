#include "models/workload/guest_network.h"

#include <algorithm>
#include <string>

#include "models/behavioural/emulated_driver.h"
#include "models/behavioural/failover_driver.h"
#include "models/behavioural/synthetic_driver.h"

namespace models {

namespace {

// Where the guest's kernel puts the virtual function: in the low window for devices, behind where a screen may be.
constexpr std::uint64_t device_space = Screen::memory.end();

StackSettings stack_settings(const GuestNetworkConfig& config, const Profile& profile) {
    StackSettings settings;
    settings.host = config.host;
    settings.costs = profile.stack_costs;
    if (config.polling) settings.costs.wake_up = sim::Time::zero();
    if (config.send_buffer != 0) settings.send_buffer = config.send_buffer;
    return settings;
}

VfDriver::Config function_settings(const GuestNetworkConfig& config, const DriverCosts& costs) {
    VfDriver::Config settings = VfDriver::config(costs, device_space);
    if (config.mailbox) settings.kind = sriov_nic::VfKind::mailbox;
    if (config.queues != 1 && config.queues != 2 && config.queues != 4) {
        throw sim::UserError("queues of a virtual function: 1, 2 or 4");
    }
    settings.queues = config.queues;
    settings.vectors.moderation = config.moderation;
    if (config.polling) {
        settings.vectors.polling = true;
        // It is the kernel's driver still.
        settings.vectors.costs.polled_sent = costs.sent;
        settings.vectors.costs.polled_received = costs.received;
    }
    if (config.moderation == Moderation::fixed) {
        settings.vectors.interval = eitr_value::of(config.interval);
        if (settings.vectors.interval == 0) {
            throw sim::UserError(
                "moderation: a virtual function's interrupts are 2 to 1022 us apart, or \"adaptive\", or "
                "\"low latency\"");
        }
    }
    return settings;
}

}  // namespace

NetworkPath network_path(std::string_view name) {
    if (name == "synthetic") return NetworkPath::synthetic;
    if (name == "paired") return NetworkPath::paired;
    if (name == "emulated") return NetworkPath::emulated;
    throw sim::UserError("path: " + std::string{name} + " is not one of emulated, synthetic, paired");
}

GuestNetwork::GuestNetwork(const sim::Scope& scope, BehaviouralGuest& guest, const Profile& profile,
                           const GuestNetworkConfig& config)
    : stack_(scope.child("stack"), stack_settings(config, profile), guest.processor_count(),
             [&guest](unsigned vp) -> sim::Processor& { return guest.processor(vp); }) {
    const sim::Scope place = scope.child("driver");
    const DriverCosts& costs = profile.driver_costs;
    const auto channels = static_cast<std::uint16_t>(std::min<unsigned>(config.channels, guest.processor_count()));
    if (config.path == NetworkPath::emulated) {
        guest.will_need(EmulatedDriver::pages, "an emulated network adapter");
        EmulatedDriver::Config emulated;
        emulated.address.bytes = config.host.mac.bytes;
        emulated.costs = costs;
        auto driver = std::make_unique<EmulatedDriver>(place, guest, stack_, emulated);
        stack_.connect_driver(*driver);
        driver->start();
        driver_ = std::move(driver);
        return;
    }
    const SyntheticDriver::Config synthetic = SyntheticDriver::config(costs, channels);
    const std::uint64_t rings = synthetic.ring_pages.to_host + std::uint64_t{synthetic.ring_pages.to_guest};
    guest.will_need(synthetic.receive_pages + synthetic.send_pages + 1 + channels * rings,
                    "a synthetic network adapter");
    if (config.path == NetworkPath::paired) {
        const VfDriver::Config function = function_settings(config, costs);
        guest.will_need(function.queues * function.layout.pages(), "a virtual function");
        driver_ = std::make_unique<FailoverDriver>(place, guest, stack_, synthetic, function);
    } else {
        driver_ = std::make_unique<SyntheticDriver>(place, guest, stack_, synthetic);
    }
    stack_.connect_driver(*driver_);
}

GuestNetwork::~GuestNetwork() = default;

}  // namespace models
