#include "vmbus/inband/inband_port.h"

#include <utility>

#include "sim/check.h"
#include "vmbus/inband/bytes.h"

namespace vmbus {

InbandPort::InbandPort(const sim::Scope& scope, const ServiceHost& host, const Offer& offer, InbandDevice& device,
                       Offered offered)
    : scope_(scope),
      bus_(host.bus),
      offer_(offer),
      device_(device),
      costs_(host.costs),
      received_(scope.counter("messages_received", "messages", "taken from the guest")),
      sent_(scope.counter("messages_sent", "messages", "put on the guest's ring")),
      ignored_(scope.counter("packets_ignored", "packets", "from the guest, of a kind that this protocol lacks")),
      faults_(scope.counter("faults", "count", "times that the guest broke the protocol and lost the channel")),
      slot_(host.processor, *this) {
    if (offered == Offered::at_once) this->offer();
}

// A guest that has not let go of the channel's predecessor hears of this one when it does.
void InbandPort::offer() {
    VG_CHECK(!offered_);
    offered_ = true;
    channel_ = &bus_.offer(offer_, *this);
}

void InbandPort::rescind() {
    VG_CHECK(offered_);
    offered_ = false;
    bus_.rescind(*std::exchange(channel_, nullptr));
}

void InbandPort::released(Channel& channel) {
    if (channel_ == &channel) channel_ = nullptr;
}

void InbandPort::send(std::vector<std::byte> message, std::uint64_t transaction) {
    queue({false, transaction, std::move(message)});
}

void InbandPort::complete(std::vector<std::byte> message, std::uint64_t transaction) {
    queue({true, transaction, std::move(message)});
}

void InbandPort::queue(InbandMessage message) {
    if (!state_.open || state_.faulted) return;
    state_.outgoing.push_back(std::move(message));
    slot_.wake();
}

void InbandPort::fault(std::string_view reason) {
    if (!state_.open || state_.faulted) return;
    ++faults_;
    state_ = {};
    state_.open = true;
    state_.faulted = true;
    channel_->fault(reason);
}

std::uint32_t InbandPort::open(Channel&, std::span<const std::byte, 120>) {
    state_ = {};
    state_.open = true;
    device_.opened();
    slot_.wake();
    return 0;
}

void InbandPort::closed(Channel&) {
    if (!state_.open) return;
    state_ = {};
    device_.closed();
}

void InbandPort::signalled(Channel&) {
    state_.blocked = false;
    slot_.wake();
}

std::optional<sim::Time> InbandPort::begin() {
    if (!state_.open || state_.faulted || state_.blocked) return std::nullopt;
    if (!state_.outgoing.empty()) {
        state_.piece = Piece::send;
        return costs_.packets(1, state_.outgoing.front().bytes.size()) + costs_.signal;
    }
    Packet packet;
    while (channel_->receive(packet)) {
        if (packet.type != PacketType::inband) {
            ++ignored_;
            channel_->flush();
            continue;
        }
        state_.piece = Piece::receive;
        state_.incoming = InbandMessage{packet.wants_completion, packet.transaction, std::move(packet.payload)};
        return costs_.per_message + costs_.packets(1, state_.incoming->bytes.size()) +
               device_.cost_of(state_.incoming->bytes);
    }
    return std::nullopt;
}

void InbandPort::finish() {
    // A channel that was closed meanwhile has left no piece.
    switch (std::exchange(state_.piece, Piece::none)) {
        case Piece::none:
            break;
        case Piece::send:
            send_first();
            break;
        case Piece::receive:
            handle_incoming();
            break;
    }
}

void InbandPort::send_first() {
    const InbandMessage& first = state_.outgoing.front();
    const bool gone = first.completion ? channel_->complete(first.transaction, first.bytes)
                                       : channel_->send(first.transaction, first.bytes, false);
    if (!gone) {
        state_.blocked = true;
        return;
    }
    scope_.trace("inband.send", first.completion, first.transaction, first.bytes.size());
    ++sent_;
    state_.outgoing.pop_front();
    channel_->flush();
}

void InbandPort::handle_incoming() {
    const InbandMessage message = *std::exchange(state_.incoming, std::nullopt);
    channel_->flush();
    scope_.trace("inband.receive", message.completion, message.transaction, message.bytes.size());
    ++received_;
    if (message.completion && device_.requested(message.bytes, message.transaction)) return;
    if (message.completion) state_.outgoing.push_back({true, message.transaction, {}});
    device_.received(message.bytes, message.transaction);
}

Offer message_pipe_offer(const Guid& type, const Guid& instance) {
    Offer offer;
    offer.type = type;
    offer.instance = instance;
    offer.flags = Offer::enumerate_device_interface | Offer::named_pipe_mode;
    offer.user_defined[0] = std::byte{pipe::message_mode};
    return offer;
}

namespace pipe {

std::vector<std::byte> wrap(std::span<const std::byte> message) {
    return ByteBuilder{}.u32(data).u32(static_cast<std::uint32_t>(message.size())).bytes(message).take();
}

std::optional<std::span<const std::byte>> unwrap(std::span<const std::byte> packet) {
    ByteReader reader{packet};
    const std::uint32_t type = reader.u32();
    const auto message = reader.bytes(reader.u32());
    if (!reader.complete() || type != data) return std::nullopt;
    return message;
}

}  // namespace pipe

}  // namespace vmbus
