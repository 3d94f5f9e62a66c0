#include "vmbus/host_channel.h"

#include "vmbus/server.h"

namespace vmbus {

HostChannel::HostChannel(Server& server, ChannelDevice* device, std::uint32_t id, const Offer& offer,
                         std::uint32_t primary)
    : server_(server), device_(device), id_(id) {
    state_.offer = offer;
    state_.primary = primary;
}

GuestMemory& HostChannel::memory() {
    return server_.memory_;
}

bool HostChannel::receive(Packet& packet) {
    if (!is_open()) return false;
    const RingReader::Result result = rings_.in.receive(server_.memory_, packet);
    if (result != RingReader::Result::packet) {
        signal_if_due();
        if (result == RingReader::Result::fault) ring_failed();
        return false;
    }
    ++server_.packets_in_;
    server_.bytes_in_.add(packet.payload.size());
    server_.scope_.trace("packet_in", state_.relid, packet.type, packet.payload.size(), packet.transaction);
    return true;
}

bool HostChannel::sent(RingWriter::Result result, PacketType type, std::size_t bytes, std::uint64_t transaction) {
    switch (result) {
        case RingWriter::Result::written:
            break;
        case RingWriter::Result::full:
            signal_if_due();
            if (!rings_.in.writer_supports_pending(server_.memory_)) server_.poll_room_of(*this);
            return false;
        case RingWriter::Result::fault:
            ring_failed();
            return false;
    }
    ++server_.packets_out_;
    server_.bytes_out_.add(bytes);
    server_.scope_.trace("packet_out", state_.relid, type, bytes, transaction);
    return true;
}

bool HostChannel::send(std::uint64_t transaction, std::span<const std::byte> payload, bool wants_completion) {
    if (!is_open()) return false;
    return sent(rings_.send(server_.memory_, PacketType::inband, transaction, wants_completion, payload),
                PacketType::inband, payload.size(), transaction);
}

bool HostChannel::send_transfer_pages(std::uint64_t transaction, std::uint16_t page_set,
                                      std::span<const TransferRange> ranges, std::span<const std::byte> payload) {
    if (!is_open()) return false;
    return sent(rings_.send_transfer_pages(server_.memory_, transaction, page_set, ranges, payload),
                PacketType::transfer_pages, payload.size(), transaction);
}

bool HostChannel::complete(std::uint64_t transaction, std::span<const std::byte> payload) {
    if (!is_open()) return false;
    return sent(rings_.send(server_.memory_, PacketType::completion, transaction, false, payload),
                PacketType::completion, payload.size(), transaction);
}

void HostChannel::flush() {
    if (!is_open()) return;
    const bool good = rings_.commit(server_.memory_);
    signal_if_due();
    if (!good) ring_failed();
}

void HostChannel::signal_if_due() {
    if (rings_.take_signal()) server_.signal_guest(*this);
}

void HostChannel::ring_failed() {
    server_.fault_later(*this, Refusal::ring_fault, static_cast<std::uint64_t>(rings_.fault()));
}

void HostChannel::fault(std::string_view reason) {
    if (!is_open()) return;
    server_.scope_.trace_bytes("device_fault", std::as_bytes(std::span{reason}));
    server_.fault_later(*this, Refusal::device_fault, 0);
}

void HostChannel::add_needs(sim::WorkingSet& set) const {
    set.add(this, static_cast<std::size_t>(reinterpret_cast<const std::byte*>(&state_.offer.user_defined) -
                                           reinterpret_cast<const std::byte*>(this)));
    rings_.add_needs(set);
    unsigned left = 8;  // a driver has two or three; a guest may make thousands
    for (auto gpadl = server_.gpadls_.lower_bound({id_, 0});
         gpadl != server_.gpadls_.end() && gpadl->first.first == id_ && left != 0; ++gpadl, --left) {
        set.add(*gpadl);
        if (gpadl->first.second != state_.ring_gpadl) gpadl->second.pages().add_needs(set);
    }
}

std::uint64_t HostChannel::gpadl_size(std::uint32_t gpadl) const {
    if (!is_open()) return 0;
    const auto found = server_.gpadls_.find({id_, gpadl});
    return found != server_.gpadls_.end() ? found->second.pages().size() : 0;
}

bool HostChannel::gpadl_read(std::uint32_t gpadl, std::uint64_t at, std::span<std::byte> out) {
    if (!is_open()) return false;
    const auto found = server_.gpadls_.find({id_, gpadl});
    return found != server_.gpadls_.end() && found->second.pages().read(server_.memory_, at, out);
}

bool HostChannel::gpadl_write(std::uint32_t gpadl, std::uint64_t at, std::span<const std::byte> data) {
    if (!is_open()) return false;
    const auto found = server_.gpadls_.find({id_, gpadl});
    return found != server_.gpadls_.end() && found->second.pages().write(server_.memory_, at, data);
}

}  // namespace vmbus
