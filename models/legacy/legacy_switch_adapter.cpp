#include "models/legacy/legacy_switch_adapter.h"

#include <utility>

namespace models {

namespace {
PortSettings without_offloads(PortSettings settings) {
    settings.receives = {};
    return settings;
}
}  // namespace

LegacySwitchAdapter::LegacySwitchAdapter(VirtualSwitch& network, std::string_view port_name, PortSettings settings)
    : network_(network), port_(network.connect(port_name, *this, without_offloads(std::move(settings)))) {}

LegacySwitchAdapter::~LegacySwitchAdapter() {
    network_.disconnect(port_);
}

void LegacySwitchAdapter::transmit(std::span<const std::byte> frame) {
    network_.send(port_, Frame{{frame.begin(), frame.end()}});
}

void LegacySwitchAdapter::receive(Frame&& frame) {
    if (adapter_ != nullptr) adapter_->receive(frame.bytes);
}

}  // namespace models
