#include "vmbus/network/network_queue.h"

#include <algorithm>
#include <utility>

#include "sim/check.h"
#include "vmbus/network/layout.h"
#include "vmbus/network/rndis_packet.h"

namespace vmbus {

namespace {

// The longest message: a large send of 64 KB with its headers, or several ordinary ones.
constexpr std::size_t largest_rndis_bytes = 128 * 1024;
// After so many bytes a piece is long enough.
constexpr std::size_t piece_bytes = 256 * 1024;
// What is kept of an NVSP message: more than the largest has.
constexpr std::size_t kept_message_bytes = 64;

}  // namespace

NetworkProvider::Queue::Queue(NetworkProvider& provider, const sim::Scope& scope, std::uint16_t index,
                              sim::Processor& processor)
    : provider_(provider),
      index_(index),
      frames_sent_(scope.counter("frames_from_guest", "count", "frames taken from the guest")),
      bytes_sent_(scope.counter("bytes_from_guest", "B", "bytes of those frames")),
      frames_received_(scope.counter("frames_to_guest", "count", "frames put into the guest's receive buffer")),
      bytes_received_(scope.counter("bytes_to_guest", "B", "bytes of those frames")),
      slot_(processor, *this) {}

// The driver's buffers belong to the primary channel, whichever channel uses them.
Channel& NetworkProvider::Queue::buffers() {
    return *provider_.primary().channel_;
}

void NetworkProvider::Queue::opened(Channel& channel) {
    channel_ = &channel;
    state_ = {};
    state_.open = true;
}

void NetworkProvider::Queue::closed() {
    if (!state_.open) return;
    drop_backlog(NetworkDrop::closed);
    state_ = {};
}

void NetworkProvider::Queue::signalled() {
    if (!state_.open) return;
    if (!state_.called) state_.called_at = provider_.scope_.now();
    state_.called = true;
    state_.blocked = false;
    wake();
}

bool NetworkProvider::Queue::push(IncomingFrame&& frame) {
    if (state_.backlog.size() >= provider_.config_.backlog) return false;
    state_.backlog.push_back(std::move(frame));
    wake();
    return true;
}

void NetworkProvider::Queue::drop_backlog(NetworkDrop reason) {
    const std::size_t frames = state_.backlog.size() + state_.piece.to_deliver.size();
    provider_.count_drop(reason, frames);
    provider_.state_.to_guest.discards += frames;
    state_.backlog.clear();
    state_.piece.to_deliver.clear();
}

// -- To the ring.

void NetworkProvider::Queue::complete(std::uint64_t transaction, std::span<const std::byte> payload) {
    state_.outgoing.push_back({true, false, transaction, {payload.begin(), payload.end()}});
}

void NetworkProvider::Queue::send_inband(std::uint64_t transaction, std::span<const std::byte> message,
                                         bool wants_completion) {
    state_.outgoing.push_back({false, wants_completion, transaction, {message.begin(), message.end()}});
}

void NetworkProvider::Queue::send_control(std::vector<std::byte> message) {
    state_.control.push_back(std::move(message));
}

void NetworkProvider::Queue::drain() {
    if (!state_.open) return;
    while (!state_.outgoing.empty()) {
        const Outgoing& next = state_.outgoing.front();
        const bool put = next.completion ? channel_->complete(next.transaction, next.payload)
                                         : channel_->send(next.transaction, next.payload, next.wants_completion);
        state_.blocked = !put;
        if (!put) break;
        state_.outgoing.pop_front();
    }
    ReceiveBuffer& buffer = provider_.state_.receive_buffer;
    if (!buffer.established()) state_.control.clear();
    while (!state_.blocked && !state_.control.empty() && buffer.free_for_control() != 0) {
        const std::vector<std::byte>& message = state_.control.front();
        const std::array section{buffer.take_for_control()};
        const std::uint64_t offset = buffer.offset(section[0]);
        VG_CHECK(message.size() <= buffer.section_bytes());
        if (!buffers().gpadl_write(buffer.gpadl(), offset, message)) {
            buffer.give_back(section);
            provider_.revoke_receive_buffer();
            break;
        }
        const std::array range{
            TransferRange{static_cast<std::uint32_t>(message.size()), static_cast<std::uint32_t>(offset)}};
        nvsp::SendRndisPacket header;
        header.channel_type = nvsp::channel_type::control;
        if (!channel_->send_transfer_pages(ReceiveBuffer::transaction_of(section[0]), buffer.id(), range,
                                           nvsp::padded(header))) {
            buffer.give_back(section);
            state_.blocked = true;
            break;
        }
        buffer.sent(index_, section);
        state_.control.pop_front();
    }
    channel_->flush();
}

void NetworkProvider::Queue::fault(std::string_view reason) {
    ++provider_.faults_;
    channel_->fault(reason);  // closed() comes from there
}

// -- The task.

template <class Frames>
void NetworkProvider::Queue::mark_begun(const Frames& frames, sim::Time called) const {
    sim::Journeys& journeys = provider_.scope_.journeys();
    if (!journeys.on()) return;
    for (const auto& frame : frames) {
        const sim::RequestId id = journeys.identify(frame.bytes);
        journeys.mark(id, "vmbus.signal", called);
        journeys.mark(id, "wait.processor", provider_.scope_.now());
    }
}

bool NetworkProvider::Queue::can_take() const {
    return state_.outgoing.size() + state_.control.size() < most_waiting;
}

std::optional<sim::Time> NetworkProvider::Queue::begin() {
    if (!state_.open) return std::nullopt;
    const NetworkCosts& costs = provider_.costs_of(index_);
    sim::Time cost;
    const bool some_control = !state_.control.empty() && provider_.state_.receive_buffer.free_for_control() != 0;
    if (!state_.blocked && (!state_.outgoing.empty() || some_control)) {
        state_.piece.work = Work::drain;
        cost = costs.ring.per_packet + costs.ring.signal;
    } else if (index_ == 0 && provider_.state_.notices != 0 && can_take()) {
        state_.piece.work = Work::notices;
        cost = costs.ring.per_message + costs.ring.signal;
    } else {
        // By turns, if there is work of both kinds.
        const bool done =
            state_.frames_next ? begin_frames(cost) || begin_packets(cost) : begin_packets(cost) || begin_frames(cost);
        if (!done) return std::nullopt;
        state_.frames_next = state_.piece.work == Work::packets;
    }
    if (std::exchange(state_.called, false)) cost = cost + costs.interrupt;
    cost_ = cost;
    return cost;
}

bool NetworkProvider::Queue::begin_frames(sim::Time& cost) {
    if (state_.backlog.empty()) return false;
    const NetworkCosts& costs = provider_.costs_of(index_);
    std::size_t bytes = 0;
    auto& frames = state_.piece.to_deliver;
    while (!state_.backlog.empty() && frames.size() < provider_.config_.batch && bytes < piece_bytes) {
        bytes += state_.backlog.front().bytes.size();
        frames.push_back(std::move(state_.backlog.front()));
        state_.backlog.pop_front();
    }
    state_.piece.work = Work::frames;
    mark_begun(frames, sim::Time::zero());
    cost =
        costs.per_frame * static_cast<std::int64_t>(frames.size()) + costs.ring.packets(1, bytes) + costs.ring.signal;
    return true;
}

bool NetworkProvider::Queue::begin_packets(sim::Time& cost) {
    const NetworkCosts& costs = provider_.costs_of(index_);
    Packet packet;
    std::size_t bytes = 0;
    std::size_t packets = 0;
    for (bool more = can_take(); more && packets < provider_.config_.batch && bytes < piece_bytes; ++packets) {
        if (!channel_->receive(packet)) break;
        more = take(packet, bytes);
    }
    // A packet whose form is wrong has closed the channel, and what was taken before it is gone.
    if (!state_.open || packets == 0) return false;
    Piece& piece = state_.piece;
    piece.work = Work::packets;
    mark_begun(piece.sent, state_.called_at);
    cost = costs.ring.packets(static_cast<std::int64_t>(packets + piece.completions.size()), bytes) +
           costs.per_frame_sent * static_cast<std::int64_t>(piece.sent.size());
    if (!piece.completions.empty() || piece.request) cost = cost + costs.ring.signal;
    if (piece.request) cost = cost + costs.ring.per_message;
    return true;
}

void NetworkProvider::Queue::finish() {
    if (!state_.open) return;
    switch (state_.piece.work) {
        case Work::none:
            break;
        case Work::packets:
            finish_packets();
            break;
        case Work::frames:
            finish_frames();
            break;
        case Work::notices:
            provider_.send_notices();
            break;
        case Work::drain:
            break;
    }
    state_.piece = {};
    drain();
}

// -- From the guest.

bool NetworkProvider::Queue::take(Packet& packet, std::size_t& bytes) {
    Piece& piece = state_.piece;
    const auto type = read_layout<std::uint32_t>(packet.payload);
    if (packet.type == PacketType::completion) {
        if (packet.transaction == vf_association_transaction) return true;
        if (type && *type != static_cast<std::uint32_t>(nvsp::MessageType::send_rndis_packet_complete)) {
            piece.fault = Fault::unknown_message;
            return false;
        }
        piece.returned.push_back(packet.transaction);
        return true;
    }
    if (packet.type == PacketType::transfer_pages || !type) {
        piece.fault = Fault::packet_form;
        return false;
    }
    bytes += packet.payload.size();
    const auto rndis = read_layout<nvsp::SendRndisPacket>(packet.payload);
    if (rndis && rndis->type == nvsp::MessageType::send_rndis_packet && provider_.state_.version != 0) {
        take_rndis(packet, *rndis, bytes);
        return !piece.request;
    }
    packet.payload.resize(std::min(packet.payload.size(), kept_message_bytes));
    piece.request = Request{packet.transaction, packet.wants_completion, false, std::move(packet.payload)};
    return false;
}

std::optional<std::vector<std::byte>> NetworkProvider::Queue::gather(const Packet& packet,
                                                                     const nvsp::SendRndisPacket& message) {
    const auto& agreed = provider_.state_;
    std::uint64_t total = message.section == nvsp::no_section ? 0 : message.section_bytes;
    for (const GpaRange& range : packet.ranges) {
        total += range.length;
        if (total > largest_rndis_bytes) return std::nullopt;
    }
    if (total > largest_rndis_bytes) return std::nullopt;
    std::vector<std::byte> bytes(static_cast<std::size_t>(total));
    std::span<std::byte> rest{bytes};
    if (message.section != nvsp::no_section) {
        const std::uint64_t at = std::uint64_t{message.section} * provider_.config_.send_section_bytes;
        if (at > agreed.send_buffer_bytes || agreed.send_buffer_bytes - at < message.section_bytes) return std::nullopt;
        if (!buffers().gpadl_read(agreed.send_gpadl, at, rest.first(message.section_bytes))) return std::nullopt;
        rest = rest.subspan(message.section_bytes);
    }
    for (const GpaRange& range : packet.ranges) {
        if (!read_range(channel_->memory(), range, 0, rest.first(range.length))) return std::nullopt;
        rest = rest.subspan(range.length);
    }
    return bytes;
}

void NetworkProvider::Queue::take_rndis(const Packet& packet, const nvsp::SendRndisPacket& message,
                                        std::size_t& bytes) {
    Piece& piece = state_.piece;
    std::optional<std::vector<std::byte>> content = gather(packet, message);
    if (content) bytes += content->size();
    const auto header = content ? read_layout<rndis::Header>(*content) : std::nullopt;
    if (header && header->type != rndis::MessageType::packet) {
        content->resize(std::min(content->size(), RndisDevice::largest_message));
        piece.request = Request{packet.transaction, packet.wants_completion, true, std::move(*content)};
        return;
    }
    nvsp::SendRndisPacketComplete complete;
    if (!header) {
        ++piece.sent_malformed;
        complete.status = nvsp::Status::invalid_rndis_packet;
    } else if (!provider_.ready()) {
        ++piece.sent_not_ready;
        complete.status = nvsp::Status::failure;
    } else {
        const SendLimits limits{provider_.state_.frame_bytes + 4, provider_.rndis_.offloads()};
        switch (parse_data_messages(*content, limits, piece.sent)) {
            case SendFault::none:
                break;
            case SendFault::malformed:
                ++piece.sent_malformed;
                complete.status = nvsp::Status::invalid_rndis_packet;
                break;
            case SendFault::unsupported:
                ++piece.sent_unsupported;
                complete.status = nvsp::Status::failure;
                break;
            case SendFault::offload_not_enabled:
                ++piece.sent_not_enabled;
                complete.status = nvsp::Status::failure;
                break;
            case SendFault::too_long:
                ++piece.sent_too_long;
                complete.status = nvsp::Status::failure;
                break;
        }
    }
    if (!packet.wants_completion) return;
    Outgoing& outgoing = piece.completions.emplace_back();
    outgoing.transaction = packet.transaction;
    const auto payload = nvsp::padded(complete);
    outgoing.payload.assign(payload.begin(), payload.end());
}

void NetworkProvider::Queue::finish_packets() {
    Piece piece = std::exchange(state_.piece, {});
    auto& agreed = provider_.state_;
    if (!piece.sent.empty()) {
        std::uint64_t bytes = 0;
        for (const OutgoingFrame& frame : piece.sent) {
            agreed.from_guest.add(frame.bytes);
            bytes += frame.bytes.size();
        }
        frames_sent_.add(piece.sent.size());
        bytes_sent_.add(bytes);
        sim::Journeys& journeys = provider_.scope_.journeys();
        for (std::size_t n = 0; journeys.on() && n < piece.sent.size(); ++n) {
            journeys.mark_frame(piece.sent[n].bytes, "root.network", provider_.scope_.now());
        }
        provider_.scope_.trace("network_from_guest", index_, piece.sent.size(), bytes);
        if (agreed.link_up) {
            provider_.port_.transmit(index_, piece.sent);
        } else {
            provider_.count_drop(NetworkDrop::link_down, piece.sent.size());
            agreed.from_guest.discards += piece.sent.size();
        }
    }
    provider_.count_drop(NetworkDrop::malformed, piece.sent_malformed);
    provider_.count_drop(NetworkDrop::unsupported, piece.sent_unsupported);
    provider_.count_drop(NetworkDrop::offload_not_enabled, piece.sent_not_enabled);
    provider_.count_drop(NetworkDrop::too_long, piece.sent_too_long);
    provider_.count_drop(NetworkDrop::not_ready, piece.sent_not_ready);
    agreed.from_guest.errors +=
        piece.sent_malformed + piece.sent_unsupported + piece.sent_not_enabled + piece.sent_too_long;
    agreed.from_guest.discards += piece.sent_not_ready;
    for (auto& completion : piece.completions) state_.outgoing.push_back(std::move(completion));
    for (const std::uint64_t transaction : piece.returned) {
        if (!agreed.receive_buffer.completed(index_, transaction)) {
            // After a revocation there may be some on their way.
            if (agreed.receive_buffer.established()) piece.fault = Fault::unknown_completion;
            break;
        }
    }
    switch (piece.fault) {
        case Fault::none:
            if (piece.request) provider_.handle(*this, *piece.request);
            break;
        case Fault::packet_form:
            fault("a packet that is no message");
            break;
        case Fault::unknown_completion:
            fault("completes what it was not sent");
            break;
        case Fault::unknown_message:
            fault("an unknown completion");
            break;
    }
}

}  // namespace vmbus
