#include "vmbus/network/network_client_queue.h"

#include <algorithm>
#include <cstring>

#include "sim/check.h"
#include "vmbus/network/layout.h"
#include "vmbus/network/rndis_packet.h"

namespace vmbus {

namespace {

constexpr std::size_t piece_bytes = 256 * 1024;
// What a frame takes of each ring with its completion, and of a section, if it is short.
constexpr std::uint32_t expected_packet_bytes = 160, expected_message_bytes = 192;
constexpr sim::GuestCause driver_cause{"client.driver", "server.driver"};

std::array<std::byte, nvsp::message_bytes> rndis_header(std::uint32_t section, std::size_t section_bytes) {
    nvsp::SendRndisPacket message;
    message.section = section;
    message.section_bytes = static_cast<std::uint32_t>(section_bytes);
    return nvsp::padded(message);
}

}  // namespace

NetworkClient::Queue::Queue(NetworkClient& client, const sim::Scope& scope, std::uint16_t index,
                            sim::Processor& processor)
    : client_(client),
      index_(index),
      frames_sent_(scope.counter("frames_sent", "count", "frames that the host has taken")),
      bytes_sent_(scope.counter("bytes_sent", "B", "bytes of those frames")),
      frames_received_(scope.counter("frames_received", "count", "frames given to the guest's network stack")),
      bytes_received_(scope.counter("bytes_received", "B", "bytes of those frames")),
      slot_(processor, *this) {
    slot_.needs(*this);
    slot_.needs(client_);
    slot_.needs(&frames_sent_, 4 * sizeof(sim::Counter));
    slot_.needs_elements(state_.backlog);
    slot_.needs_elements(state_.outgoing);
    slot_.needs_elements(client_.queues_);
}

void NetworkClient::Queue::opened(ClientChannel& channel) {
    channel_ = &channel;
    if (sim::WorkingSet* const set = slot_.working_set()) {
        channel.add_needs(*set);
        channel.bus().add_needs(*set);
    }
    state_.relid = channel.relid();
    state_.called = state_.blocked = false;
}

void NetworkClient::Queue::closed() {
    for (const auto& [transaction, pending] : state_.pending) free_resources(pending);
    State next;
    next.backlog = std::move(state_.backlog);
    next.last_transaction = state_.last_transaction;
    next.sent = state_.sent;
    next.received = state_.received;
    // What was about to be sent goes to the front again.
    for (std::size_t n = state_.sending.size(); n-- > 0;) next.backlog.push_front(std::move(state_.sending[n]));
    state_ = std::move(next);
    channel_ = nullptr;
}

void NetworkClient::Queue::signalled() {
    if (!is_open()) return;
    if (!state_.called) state_.called_at = client_.scope_.now();
    state_.called = true;
    state_.blocked = false;
    slot_.wake();
}

bool NetworkClient::Queue::push(OutgoingFrame&& frame) {
    if (state_.backlog.size() >= client_.config_.backlog) return false;
    state_.backlog.push_back(std::move(frame));
    slot_.wake();
    return true;
}

void NetworkClient::Queue::fetch_ahead() const {
    if (!is_open()) return;
    channel_->expect(expected_packet_bytes);
    const auto& agreed = client_.state_;
    const GuestMemory& memory = client_.bus_.memory();
    client_.receive_list_.expect(memory, last_offset_, expected_message_bytes);
    if (agreed.free_sections.empty()) return;
    const std::uint32_t& section = agreed.free_sections.back();
    client_.send_list_.expect(memory, std::uint64_t{section} * agreed.send.section_bytes, expected_message_bytes);
}

// -- To the ring.

void NetworkClient::Queue::send(nvsp::MessageType type, std::span<const std::byte> message, bool wants_completion) {
    Outgoing& next = state_.outgoing.emplace_back();
    next.wants_completion = wants_completion;
    next.transaction = ++state_.last_transaction;
    next.payload.assign(message.begin(), message.end());
    if (wants_completion) state_.pending[next.transaction].type = type;
    slot_.wake();
}

void NetworkClient::Queue::send_direct(nvsp::MessageType type, GpaRange range, std::span<const std::byte> message) {
    send(type, message, true);
    state_.outgoing.back().range = std::move(range);
}

void NetworkClient::Queue::drain() {
    if (!is_open()) return;
    while (!state_.outgoing.empty()) {
        const Outgoing& next = state_.outgoing.front();
        const bool put = next.completion ? channel_->complete(next.transaction, next.payload)
                         : next.range    ? channel_->send_gpa_direct(next.transaction, {&*next.range, 1}, next.payload)
                                         : channel_->send(next.transaction, next.payload, next.wants_completion);
        state_.blocked = !put;
        if (!put) break;
        state_.outgoing.pop_front();
    }
    channel_->flush();
}

// -- The task.

std::optional<sim::Time> NetworkClient::Queue::begin() {
    if (!is_open()) return std::nullopt;
    const Config& config = client_.config_;
    parts_ = {};
    state_.begun_at = client_.scope_.now();
    if (!state_.blocked && !state_.outgoing.empty()) {
        state_.work = Work::drain;
        parts_.message = config.costs.per_message;
        parts_.signal = config.costs.signal;
    } else {
        const bool done = state_.frames_next ? begin_frames() || begin_packets() : begin_packets() || begin_frames();
        if (!done) return std::nullopt;
        state_.frames_next = state_.work == Work::packets;
    }
    if (std::exchange(state_.called, false)) parts_.interrupt = config.interrupt;
    return parts_.sum();
}

void NetworkClient::Queue::account(sim::Account& account) const {
    account.add("guest.network.interrupt", parts_.interrupt);
    account.add("guest.network.frame", parts_.frames);
    account.add("guest.vmbus.message", parts_.message);
    account.add("guest.vmbus.packet", parts_.packets);
    account.add("guest.vmbus.copy", parts_.copying);
    account.add("guest.vmbus.signal", parts_.signal);
}

bool NetworkClient::Queue::begin_packets() {
    const Config& config = client_.config_;
    std::size_t bytes = 0;
    Packet packet;
    while (state_.taken.size() < config.batch && bytes < piece_bytes && channel_->receive(packet)) {
        Taken& taken = state_.taken.emplace_back();
        taken.type = packet.type;
        taken.transaction = packet.transaction;
        taken.payload = std::move(packet.payload);
        for (const TransferRange& range : packet.transfers) {
            taken.ranges.emplace_back(range.offset, range.length);
            bytes += range.length;
        }
    }
    if (state_.taken.empty()) return false;
    state_.work = Work::packets;
    std::size_t frames = 0;
    for (const Taken& taken : state_.taken) frames += taken.ranges.size();
    parts_.packets = config.costs.packets(state_.taken.size(), 0);
    parts_.copying = config.costs.copy(bytes);
    parts_.frames = config.per_frame * static_cast<std::int64_t>(frames);
    return true;
}

bool NetworkClient::Queue::begin_frames() {
    if (state_.backlog.empty() || state_.blocked || !client_.is_up()) return false;
    const Config& config = client_.config_;
    std::size_t copied = 0;
    while (!state_.backlog.empty() && state_.sending.size() < config.batch && copied < piece_bytes) {
        const std::size_t bytes = state_.backlog.front().bytes.size();
        // What fits into a section is copied there; the rest stays where it is.
        copied += bytes < client_.state_.send.section_bytes ? bytes : rndis::packet_overhead;
        state_.sending.push_back(std::move(state_.backlog.front()));
        state_.backlog.pop_front();
    }
    state_.work = Work::frames;
    parts_.packets = config.costs.packets(1, 0);
    parts_.copying = config.costs.copy(copied);
    parts_.frames = config.per_frame * static_cast<std::int64_t>(state_.sending.size());
    parts_.signal = config.costs.signal;
    return true;
}

void NetworkClient::Queue::finish() {
    if (!is_open()) return;
    switch (std::exchange(state_.work, Work::none)) {
        case Work::packets:
            finish_packets();
            break;
        case Work::frames:
            finish_frames();
            break;
        default:
            break;
    }
    drain();
    client_.sends_drained();
}

// -- From the host.

void NetworkClient::Queue::finish_packets() {
    const std::vector<Taken> taken = std::exchange(state_.taken, {});
    std::vector<IncomingFrame> frames;
    for (const Taken& packet : taken) {
        if (packet.type == PacketType::completion) {
            take_completion(packet);
        } else if (packet.type == PacketType::transfer_pages) {
            take_frames(packet, frames);
        } else {
            client_.inband_received(packet.payload);
        }
        if (!is_open()) return;
    }
    sim::Journeys& journeys = client_.scope_.journeys();
    for (std::size_t n = 0; journeys.on() && n < frames.size(); ++n) {
        const sim::RequestId id = journeys.identify(frames[n].bytes);
        journeys.mark(id, "interrupt.delivery", state_.called_at);
        journeys.mark(id, "wait.processor", state_.begun_at);
        journeys.mark(id, driver_cause, sim::Travel::received, client_.scope_.now());
    }
    if (!frames.empty()) client_.user_.receive(index_, frames);
    if (client_.is_up() && client_.state_.refused && state_.backlog.size() < client_.config_.backlog) {
        client_.state_.refused = false;
        client_.user_.room();
    }
}

void NetworkClient::Queue::free_resources(const Pending& pending) {
    if (pending.section != nvsp::no_section) client_.state_.free_sections.push_back(pending.section);
    client_.bus_.pages().release(pending.pages);
}

void NetworkClient::Queue::take_completion(const Taken& packet) {
    const auto found = state_.pending.find(packet.transaction);
    if (found == state_.pending.end()) {
        ++client_.state_.host_errors;
        return;
    }
    const Pending pending = std::move(found->second);
    state_.pending.erase(found);
    free_resources(pending);
    // Sections and pages are for all channels.
    for (auto& queue : client_.queues_) {
        if (queue->is_open() && queue->state_.blocked) queue->signalled();
    }
    if (pending.frames == 0) return client_.completed(pending.type, packet.payload);
    state_.sent.frames += pending.frames;
    state_.sent.bytes += pending.bytes;
    frames_sent_.add(pending.frames);
    bytes_sent_.add(pending.bytes);
    const auto complete = read_layout<nvsp::SendRndisPacketComplete>(packet.payload);
    if (!complete || complete->type != nvsp::MessageType::send_rndis_packet_complete) ++client_.state_.host_errors;
    if (!complete || complete->status != nvsp::Status::success) state_.sent.errors += pending.frames;
}

void NetworkClient::Queue::take_frames(const Taken& packet, std::vector<IncomingFrame>& frames) {
    const auto header = read_layout<nvsp::SendRndisPacket>(packet.payload);
    nvsp::SendRndisPacketComplete complete;
    const auto wrong = [&] {
        complete.status = nvsp::Status::failure;
        state_.partial.reset();
        ++state_.received.errors;
        ++client_.state_.host_errors;
    };
    if (!header || header->type != nvsp::MessageType::send_rndis_packet) wrong();
    std::vector<std::byte> message;
    for (std::size_t n = 0; n < packet.ranges.size(); ++n) {
        const auto& [offset, length] = packet.ranges[n];
        last_offset_ = offset;
        message.resize(length <= client_.state_.receive.section_bytes ? length : 0);
        if (message.empty() || !client_.receive_list_.read(client_.bus_.memory(), offset, message)) {
            wrong();
            continue;
        }
        const auto type = read_layout<rndis::Header>(message);
        if (type && type->type != rndis::MessageType::packet) {
            client_.control_received(message);
            if (!is_open()) return;
            continue;
        }
        ReceivedMessage received;
        const bool last_range = n + 1 == packet.ranges.size();
        if (!parse_received_message(message, received) || (!received.first && !state_.partial) ||
            (!received.last && last_range)) {
            wrong();
            continue;
        }
        if (received.first) {
            state_.partial = std::move(received.frame);
        } else {
            auto& bytes = state_.partial->bytes;
            bytes.insert(bytes.end(), received.frame.bytes.begin(), received.frame.bytes.end());
        }
        if (!received.last) continue;
        ++state_.received.frames;
        state_.received.bytes += state_.partial->bytes.size();
        ++frames_received_;
        bytes_received_.add(state_.partial->bytes.size());
        frames.push_back(std::move(*state_.partial));
        state_.partial.reset();
    }
    Outgoing& answer = state_.outgoing.emplace_back();
    answer.completion = true;
    answer.transaction = packet.transaction;
    answer.payload.resize(sizeof(complete));
    std::memcpy(answer.payload.data(), &complete, sizeof(complete));
}

// -- To the host.

// Adds a frame to the packet if it fits there; as Linux' netvsc_send() decides it.
bool NetworkClient::Queue::add(Bundle& bundle, const OutgoingFrame& frame, bool last) {
    const auto& agreed = client_.state_;
    std::size_t offset = 0;
    const auto message = data_message(frame, last ? 1 : agreed.alignment, &offset);
    const std::size_t room = agreed.send.section_bytes;
    const auto take = [&] {
        ++bundle.frames;
        bundle.bytes += frame.bytes.size();
        return true;
    };
    if (bundle.frames == 0) {
        if (message.size() + agreed.alignment < room && !agreed.free_sections.empty()) {
            bundle.section = agreed.free_sections.back();
            bundle.copied = message;
        } else {
            bundle.direct = message;
        }
        return take();
    }
    if (bundle.section == nvsp::no_section || !bundle.direct.empty() || bundle.frames >= agreed.packets_per_message) {
        return false;
    }
    if (bundle.copied.size() + message.size() + agreed.alignment < room) {
        bundle.copied.insert(bundle.copied.end(), message.begin(), message.end());
        return take();
    }
    if (bundle.copied.size() + offset >= room) return false;
    // Its header in the section, the frame where it lies. Nothing follows, so nothing is padded.
    const auto exact = data_message(frame, 1, &offset);
    const auto split = exact.begin() + static_cast<std::ptrdiff_t>(offset);
    bundle.copied.insert(bundle.copied.end(), exact.begin(), split);
    bundle.direct.assign(split, exact.end());
    return take();
}

bool NetworkClient::Queue::emit(Bundle& bundle) {
    auto& agreed = client_.state_;
    Pending pending;
    pending.type = nvsp::MessageType::send_rndis_packet;
    pending.frames = bundle.frames;
    pending.bytes = bundle.bytes;
    GuestMemory& memory = client_.bus_.memory();
    std::vector<GpaRange> ranges;
    if (!bundle.direct.empty()) {
        auto pages = client_.bus_.pages().allocate((bundle.direct.size() + page_bytes - 1) / page_bytes);
        if (!pages) return false;
        PageList list;
        list.append(0, static_cast<std::uint32_t>(bundle.direct.size()), *pages);
        VG_CHECK(list.write(memory, 0, bundle.direct));
        ranges.push_back({static_cast<std::uint32_t>(bundle.direct.size()), 0, *pages});
        pending.pages = std::move(*pages);
    }
    if (bundle.section != nvsp::no_section) {
        VG_CHECK(agreed.free_sections.back() == bundle.section);
        const std::uint64_t at = std::uint64_t{bundle.section} * agreed.send.section_bytes;
        VG_CHECK(client_.send_list_.write(memory, at, bundle.copied));
        pending.section = bundle.section;
    }
    const std::uint64_t transaction = state_.last_transaction + 1;
    const auto header = rndis_header(bundle.section, bundle.copied.size());
    const bool put = ranges.empty() ? channel_->send(transaction, header, true)
                                    : channel_->send_gpa_direct(transaction, ranges, header);
    if (!put) {
        client_.bus_.pages().release(pending.pages);
        return false;
    }
    if (bundle.section != nvsp::no_section) agreed.free_sections.pop_back();
    state_.last_transaction = transaction;
    state_.pending.emplace(transaction, std::move(pending));
    return true;
}

void NetworkClient::Queue::finish_frames() {
    std::vector<OutgoingFrame> frames = std::exchange(state_.sending, {});
    sim::Journeys& journeys = client_.scope_.journeys();
    for (std::size_t n = 0; journeys.on() && n < frames.size(); ++n) {
        const sim::RequestId id = journeys.identify(frames[n].bytes);
        journeys.mark(id, "wait.processor", state_.begun_at);
        journeys.mark(id, driver_cause, sim::Travel::sent, client_.scope_.now());
    }
    std::size_t next = 0;
    while (next < frames.size()) {
        Bundle bundle;
        bundle.first = next;
        std::size_t end = next;
        while (end < frames.size() && add(bundle, frames[end], end + 1 == frames.size())) ++end;
        if (!emit(bundle)) {
            // Waits for room, or for pages.
            state_.blocked = true;
            break;
        }
        next = end;
    }
    for (std::size_t n = frames.size(); n-- > next;) state_.backlog.push_front(std::move(frames[n]));
}

}  // namespace vmbus
