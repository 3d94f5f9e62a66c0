// A guest's end of a socket, as Linux's hv_sock makes it: on a channel of its own, taken when it is offered.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "vmbus/client/bus_client.h"
#include "vmbus/inband/byte_queue.h"
#include "vmbus/socket/socket_protocol.h"

namespace vmbus {

class GuestSocket final : public ChannelDriver {
public:
    // Six pages for each direction, as Linux takes unless a program asks for more.
    static constexpr ClientChannel::RingPages rings{6, 6};

    // From the guest to a port of the host's; the offer that follows is for take().
    static void connect(BusClient& bus, std::uint32_t guest_port, std::uint32_t host_port) {
        bus.connect_socket(socket::service_of(guest_port), socket::service_of(host_port));
    }
    // This offer is a connection that the host asks for to this port of the guest's.
    static bool is_for(const message::OfferChannel& offer, std::uint32_t guest_port);
    // This offer is the answer to connect().
    static bool answers(const message::OfferChannel& offer, std::uint32_t guest_port, std::uint32_t host_port);

    void take(ClientChannel& channel);
    void send(std::span<const std::byte> data);
    std::vector<std::byte> read();
    // Nothing more will be sent.
    void finish();
    void close();

    bool is_open() const { return channel_ != nullptr && channel_->is_open(); }
    bool host_finished() const { return host_finished_; }
    bool gone() const { return gone_; }
    std::size_t unsent_bytes() const { return unsent_.size(); }
    // Leaves what arrives on the ring.
    void set_reading(bool reading);

    void opened(ClientChannel& channel, std::uint32_t status) override;
    void signalled(ClientChannel& channel) override;
    void rescinded(ClientChannel& channel) override;

private:
    void move();

    ClientChannel* channel_ = nullptr;
    ByteQueue unsent_;
    std::vector<std::byte> read_;
    bool reading_ = true;
    bool finishing_ = false;
    bool finished_ = false;
    bool host_finished_ = false;
    bool gone_ = false;
};

}  // namespace vmbus
