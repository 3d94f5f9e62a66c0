// A behavioural guest's driver for a channel with plain messages: what arrives goes to the guest's side of a protocol
// (*_client.h), what that sends goes on the ring, or waits for room there.
#pragma once

#include <cstdint>
#include <deque>
#include <span>
#include <utility>
#include <vector>

#include "vmbus/client/client_channel.h"
#include "vmbus/inband/guest_link.h"

namespace vmbus {

class RingDriver : public ChannelDriver, public GuestLink {
public:
    void send(std::uint64_t transaction, std::span<const std::byte> payload) final {
        unsent_.emplace_back(transaction, std::vector<std::byte>(payload.begin(), payload.end()));
        flush();
    }
    bool is_open() const { return channel_ != nullptr && channel_->is_open(); }
    std::size_t unsent() const { return unsent_.size(); }

    void opened(ClientChannel& channel, std::uint32_t status) final {
        channel_ = status == 0 ? &channel : nullptr;
        unsent_.clear();
        if (channel_ != nullptr) start();
        if (channel_ != nullptr) signalled(channel);
    }
    void signalled(ClientChannel& channel) final {
        flush();
        Packet packet;
        while (channel.receive(packet)) {
            if (packet.type == PacketType::inband) received(packet.transaction, packet.payload);
        }
        channel.flush();
    }
    void rescinded(ClientChannel&) final { channel_ = nullptr; }

private:
    // The channel is open: the first message, if it is the guest's.
    virtual void start() = 0;
    virtual void received(std::uint64_t transaction, std::span<const std::byte> payload) = 0;

    void flush() {
        if (!is_open()) return;
        while (!unsent_.empty() && channel_->send(unsent_.front().first, unsent_.front().second, false)) {
            unsent_.pop_front();
        }
        channel_->flush();
    }

    ClientChannel* channel_ = nullptr;
    std::deque<std::pair<std::uint64_t, std::vector<std::byte>>> unsent_;
};

}  // namespace vmbus
