// A partition's synthetic adapter on a port of the virtual switch: translates between what the network service knows of
// frames and what the switch does.
#pragma once

#include <string_view>

#include "models/network/virtual_switch.h"
#include "vmbus/network/network_port.h"

namespace models {

// Hears of the guest's moving its traffic to its virtual function and back.
class DataPath {
public:
    virtual void switched(bool to_vf) = 0;

protected:
    ~DataPath() = default;
};

class SwitchAdapter final : public vmbus::NetworkPort, private SwitchPort {
public:
    SwitchAdapter(VirtualSwitch& network, std::string_view port_name, const PortSettings& settings);
    ~SwitchAdapter() override;
    SwitchAdapter(const SwitchAdapter&) = delete;

    // The service; before any frame comes.
    void connect(vmbus::NetworkAdapter& service) { service_ = &service; }
    PortId port() const { return port_; }
    void set_data_path(DataPath* path) { path_ = path; }
    // The adapter of a guest that comes from elsewhere: what it had agreed there holds here.
    void take_over(const SwitchAdapter& other);
    // The network learns where it is now.
    void announce();
    // The guest has gone elsewhere: nobody is at this port any more.
    void leave() { network_.disconnect(port_); }

    // vmbus::NetworkPort
    void transmit(std::uint16_t queue, std::span<vmbus::OutgoingFrame> frames) override;
    void ready_changed(bool ready) override { ready_ = ready; }
    void filter_changed(std::uint32_t filter, std::span<const vmbus::NetworkAddress> groups) override;
    void address_changed(const vmbus::NetworkAddress& address) override;
    void frame_size_changed(std::uint32_t bytes) override;
    void offloads_changed(const vmbus::OffloadSettings& settings) override;
    bool switch_data_path(bool to_virtual_function) override;
    void rss_changed(const vmbus::RssSettings& settings) override { rss_ = settings; }
    void add_needs(sim::WorkingSet& set) const override {
        set.add(*this);
        network_.add_needs(port_, set);
    }

    template <class Archive>
    void fields(Archive& archive) {
        archive(ready_, rss_);
    }

private:
    void receive(Frame&& frame) override;
    template <class Change>
    void change(Change make);

    VirtualSwitch& network_;
    vmbus::NetworkAdapter* service_ = nullptr;
    DataPath* path_ = nullptr;
    bool ready_ = false;
    vmbus::RssSettings rss_;
    PortId port_;
};

}  // namespace models
