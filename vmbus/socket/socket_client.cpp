#include "vmbus/socket/socket_client.h"

#include <utility>

#include "vmbus/inband/inband_port.h"

namespace vmbus {

bool GuestSocket::is_for(const message::OfferChannel& offer, std::uint32_t guest_port) {
    return (offer.flags & Offer::socket_provider) != 0 && offer.user_defined[4] != std::byte{0} &&
           offer.interface_type == socket::service_of(guest_port);
}

bool GuestSocket::answers(const message::OfferChannel& offer, std::uint32_t guest_port, std::uint32_t host_port) {
    return (offer.flags & Offer::socket_provider) != 0 && offer.user_defined[4] == std::byte{0} &&
           offer.interface_type == socket::service_of(host_port) && offer.instance == socket::service_of(guest_port);
}

void GuestSocket::take(ClientChannel& channel) {
    channel_ = &channel;
    channel.bind(*this);
    (void)channel.open(rings, 0, {}, ReadMode::direct);
}

void GuestSocket::send(std::span<const std::byte> data) {
    unsent_.push(data);
    move();
}

std::vector<std::byte> GuestSocket::read() {
    return std::exchange(read_, {});
}

void GuestSocket::finish() {
    finishing_ = true;
    move();
}

void GuestSocket::close() {
    if (channel_ != nullptr) std::exchange(channel_, nullptr)->close();
}

void GuestSocket::set_reading(bool reading) {
    reading_ = reading;
    move();
}

void GuestSocket::opened(ClientChannel& channel, std::uint32_t status) {
    channel_ = status == 0 ? &channel : nullptr;
    move();
}

void GuestSocket::signalled(ClientChannel&) {
    move();
}

void GuestSocket::rescinded(ClientChannel&) {
    channel_ = nullptr;
    gone_ = true;
}

void GuestSocket::move() {
    if (!is_open()) return;
    Packet packet;
    while (reading_ && channel_->receive(packet)) {
        const auto message = pipe::unwrap(packet.payload);
        if (!message) continue;
        if (message->empty()) host_finished_ = true;
        read_.insert(read_.end(), message->begin(), message->end());
    }
    while (!unsent_.empty()) {
        const auto piece = unsent_.front(socket::usual_message);
        if (!channel_->send(0, pipe::wrap(piece), false)) break;
        unsent_.pop(piece.size());
    }
    if (finishing_ && !finished_ && unsent_.empty()) finished_ = channel_->send(0, pipe::wrap({}), false);
    channel_->flush();
}

}  // namespace vmbus
