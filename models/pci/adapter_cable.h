// The cable of a host's adapter into the network beyond: a rack switch that takes no time of its own, on which peers
// stand. What comes back takes its time on the cable; what the adapter sends has had it already.
#pragma once

#include "models/host_networks.h"
#include "models/pci/host_adapter.h"

namespace models {

class AdapterCable final {
public:
    AdapterCable(const sim::Scope& scope, HostAdapter& adapter, Network& rack)
        : AdapterCable(scope, adapter, rack, adapter.name()) {}
    // `port_name`: of its port on the rack switch.
    AdapterCable(const sim::Scope& scope, HostAdapter& adapter, Network& rack, const std::string& port_name)
        : rack_(rack.ports()),
          wire_(scope, {}),
          to_adapter_(*this),
          from_adapter_(*this),
          port_(rack_.connect(port_name, to_adapter_, external_port())) {
        wire_.end(1).connect(adapter.from_wire());
        adapter.connect_wire(from_adapter_);
        rack.capture(port_, port_name);
    }
    ~AdapterCable() { rack_.disconnect(port_); }
    AdapterCable(const AdapterCable&) = delete;

private:
    struct ToAdapter final : FrameReceiver {
        explicit ToAdapter(AdapterCable& c) : cable(c) {}
        void receive(Frame&& frame) override { cable.wire_.end(0).receive(std::move(frame)); }
        AdapterCable& cable;
    };
    struct FromAdapter final : FrameReceiver {
        explicit FromAdapter(AdapterCable& c) : cable(c) {}
        void receive(Frame&& frame) override { cable.rack_.send(cable.port_, std::move(frame)); }
        AdapterCable& cable;
    };

    VirtualSwitch& rack_;
    Wire wire_;
    ToAdapter to_adapter_;
    FromAdapter from_adapter_;
    PortId port_;
};

}  // namespace models
