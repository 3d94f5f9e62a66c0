// Linux' hv_netvsc of a behavioural guest: vmbus::NetworkClient as a network stack sees an adapter. The channels'
// interrupts and their work are spread over the guest's processors, one after the other.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "models/behavioural/driver_costs.h"
#include "models/behavioural/guest_platform.h"
#include "models/behavioural/network_driver.h"
#include "vmbus/client/bus_client.h"
#include "vmbus/network/network_client.h"

namespace models {

// What the host says of a virtual function that belongs to the adapter.
class VfNotices {
public:
    virtual void vf_changed(bool allocated, std::uint32_t serial) = 0;
    virtual void data_path_switched() = 0;

protected:
    ~VfNotices() = default;
};

class SyntheticDriver final : public NetworkDriver, private vmbus::NetworkClientUser, private vmbus::BusDriver {
public:
    using Config = vmbus::NetworkClient::Config;
    // Of so many channels, with all offloads, and the profile's costs.
    static Config config(const DriverCosts& costs, std::uint16_t channels);

    // Takes the first network adapter that the bus offers.
    SyntheticDriver(const sim::Scope& scope, GuestPlatform& platform, NetworkDriverUser& user, const Config& config);
    SyntheticDriver(const SyntheticDriver&) = delete;

    void set_notices(VfNotices* notices) { notices_ = notices; }
    void switch_data_path(bool to_vf) { client_.switch_data_path(to_vf); }
    vmbus::NetworkClient& client() { return client_; }

    // NetworkDriver
    [[nodiscard]] bool transmit(vmbus::OutgoingFrame&& frame) override { return client_.transmit(std::move(frame)); }
    bool is_up() const override { return client_.is_up(); }
    std::uint16_t queues() const override { return client_.channels(); }
    unsigned processor_of(std::uint16_t queue) const override { return queue % processors_; }
    const vmbus::NetworkAddress& address() const override { return client_.address(); }
    std::uint32_t mtu() const override { return client_.mtu(); }
    const vmbus::OffloadSettings& offloads() const override { return client_.offloads(); }
    std::string_view path() const override { return "synthetic"; }

private:
    // vmbus::NetworkClientUser
    void ready() override { user_.ready(); }
    void down() override { user_.down(); }
    void receive(std::uint16_t queue, std::span<vmbus::IncomingFrame> frames) override { user_.receive(queue, frames); }
    void room() override { user_.room(); }
    void vf_changed(bool allocated, std::uint32_t serial) override {
        if (notices_ != nullptr) notices_->vf_changed(allocated, serial);
    }
    void data_path_switched() override {
        if (notices_ != nullptr) notices_->data_path_switched();
    }

    // vmbus::BusDriver
    void offered(vmbus::ClientChannel& channel) override { client_.offered(channel); }
    vmbus::ChannelDriver* adopt(vmbus::ClientChannel&) override { return &client_; }

    NetworkDriverUser& user_;
    VfNotices* notices_ = nullptr;
    unsigned processors_;
    vmbus::NetworkClient client_;
};

}  // namespace models
