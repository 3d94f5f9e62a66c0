// A legacy adapter on a port of the virtual switch: whole frames with their checksums both ways, as on a cable.
#pragma once

#include <span>
#include <string_view>

#include "models/legacy/dec21140.h"
#include "models/network/virtual_switch.h"

namespace models {

class LegacySwitchAdapter final : public FramePort, private SwitchPort {
public:
    // The adapter takes no offloads: what `settings` says of them is overruled.
    LegacySwitchAdapter(VirtualSwitch& network, std::string_view port_name, PortSettings settings);
    ~LegacySwitchAdapter();
    LegacySwitchAdapter(const LegacySwitchAdapter&) = delete;

    // The adapter; before any frame comes.
    void connect(Dec21140& adapter) { adapter_ = &adapter; }
    PortId port() const { return port_; }

    void transmit(std::span<const std::byte> frame) override;

private:
    void receive(Frame&& frame) override;

    VirtualSwitch& network_;
    Dec21140* adapter_ = nullptr;
    PortId port_;
};

}  // namespace models
