#include "vmbus/client/client_channel.h"

#include <cstring>

#include "sim/check.h"
#include "vmbus/client/bus_client.h"

namespace vmbus {

ClientChannel::OfferBytes ClientChannel::bytes_of_offer(const message::OfferChannel& offer) {
    OfferBytes bytes;
    std::memcpy(bytes.data(), static_cast<const void*>(&offer), bytes.size());
    return bytes;
}

message::OfferChannel ClientChannel::offer() const {
    return *read_as<message::OfferChannel>(state_.offer);
}

bool ClientChannel::open(RingPages pages, std::uint32_t target_vp, const UserData& user_data, ReadMode mode) {
    if (state_.phase != Phase::closed || pages.to_host < 2 || pages.to_guest < 2) return false;
    auto ring_pages = bus_.pages().allocate(std::uint64_t{pages.to_host} + pages.to_guest);
    if (!ring_pages) return false;
    state_.ring_pages = std::move(*ring_pages);
    state_.ring_split = pages.to_host;
    state_.target_vp = target_vp;
    state_.user_data = user_data;
    state_.mode = mode;
    state_.phase = Phase::making_rings;
    attach_rings();
    bus_.memory().will_fill_pages(state_.ring_pages);  // bytes go round in them
    const std::vector<GpaRange> range{
        {static_cast<std::uint32_t>(state_.ring_pages.size() * page_bytes), 0, state_.ring_pages}};
    state_.ring_gpadl = bus_.post_gpadl(relid(), range, {relid(), false, state_.ring_pages});
    return true;
}

void ClientChannel::attach_rings() {
    PageList all;
    all.append(0, static_cast<std::uint32_t>(state_.ring_pages.size() * page_bytes), state_.ring_pages);
    const std::uint64_t split = state_.ring_split * page_bytes;
    rings_.in = RingReader{RingEnd::guest, state_.mode};
    rings_.out.attach(all.slice(0, split));
    rings_.in.attach(all.slice(split, all.size() - split));
}

// The indices are the guest's to set, between the list's creation and the channel's opening.
void ClientChannel::ring_created(std::uint32_t status) {
    if (state_.phase != Phase::making_rings) return;
    if (status != status::success) {
        state_.phase = Phase::closed;
        drop_rings();
        if (driver_ != nullptr) driver_->opened(*this, status);
        return;
    }
    RingControl zero;
    const std::uint32_t feature = RingControl::feature_pending_send_size;
    PageList to_guest;
    const auto pages = std::span{state_.ring_pages}.subspan(state_.ring_split);
    to_guest.append(0, static_cast<std::uint32_t>(pages.size() * page_bytes), pages);
    const bool made = rings_.out.make(bus_.memory()) && to_guest.write(bus_.memory(), 0, bytes_of(zero)) &&
                      to_guest.write(bus_.memory(), RingControl::feature_bits, bytes_of(feature)) &&
                      rings_.in.start(bus_.memory());
    VG_CHECK(made);
    state_.phase = Phase::opening;
    message::OpenChannel request;
    request.relid = relid();
    request.open_id = relid();
    request.ring_gpadl = state_.ring_gpadl;
    request.target_vp = state_.target_vp;
    request.downstream_page_offset = state_.ring_split;
    request.user_data = state_.user_data;
    bus_.post(request);
}

void ClientChannel::open_answered(std::uint32_t status) {
    if (state_.phase != Phase::opening) return;
    if (status == status::success) {
        state_.phase = Phase::open;
    } else {
        state_.phase = Phase::closed;
        rings_.detach();
        let_go_of_rings();
    }
    if (driver_ != nullptr) driver_->opened(*this, status);
}

void ClientChannel::close() {
    if (state_.phase != Phase::open) return;
    state_.phase = Phase::closed;
    rings_.detach();
    message::CloseChannel request;
    request.relid = relid();
    bus_.post(request);
    let_go_of_rings();
}

// Their pages are free once the host has let go of them too.
void ClientChannel::let_go_of_rings() {
    bus_.state_.gpadls[state_.ring_gpadl].closing = true;
    tear_down_gpadl(state_.ring_gpadl);
    state_.ring_gpadl = 0;
    state_.ring_pages.clear();
}

void ClientChannel::drop_rings() {
    rings_.detach();
    bus_.pages().release(state_.ring_pages);
    bus_.state_.gpadls.erase(state_.ring_gpadl);
    state_.ring_pages.clear();
}

void ClientChannel::change_target(std::uint32_t vp) {
    message::ModifyChannel request;
    request.relid = relid();
    request.target_vp = vp;
    bus_.post(request);
}

std::uint32_t ClientChannel::make_gpadl(std::span<const GpaRange> ranges) {
    return bus_.post_gpadl(relid(), ranges, {relid(), false, {}});
}

std::uint32_t ClientChannel::make_gpadl(std::span<const std::uint64_t> pages) {
    const std::vector<GpaRange> range{
        {static_cast<std::uint32_t>(pages.size() * page_bytes), 0, {pages.begin(), pages.end()}}};
    return make_gpadl(range);
}

void ClientChannel::tear_down_gpadl(std::uint32_t gpadl) {
    message::GpadlTeardown request;
    request.relid = relid();
    request.gpadl = gpadl;
    bus_.post(request);
}

// Packets
// ----------------------------------------------------------------------------------------------------------------

void ClientChannel::expect(std::uint32_t bytes) const {
    if (is_open()) rings_.expect(bus_.memory(), bytes);
}

bool ClientChannel::receive(Packet& packet) {
    if (!is_open()) return false;
    const RingReader::Result result = rings_.in.receive(bus_.memory(), packet);
    if (result != RingReader::Result::packet) signal_if_due();
    return result == RingReader::Result::packet;
}

bool ClientChannel::sent(RingWriter::Result result) {
    if (result == RingWriter::Result::full) signal_if_due();
    return result == RingWriter::Result::written;
}

bool ClientChannel::send(std::uint64_t transaction, std::span<const std::byte> payload, bool wants_completion) {
    return is_open() && sent(rings_.send(bus_.memory(), PacketType::inband, transaction, wants_completion, payload));
}

bool ClientChannel::send_gpa_direct(std::uint64_t transaction, std::span<const GpaRange> ranges,
                                    std::span<const std::byte> payload) {
    return is_open() && sent(rings_.send_gpa_direct(bus_.memory(), transaction, ranges, payload));
}

bool ClientChannel::complete(std::uint64_t transaction, std::span<const std::byte> payload) {
    return is_open() && sent(rings_.send(bus_.memory(), PacketType::completion, transaction, false, payload));
}

void ClientChannel::flush() {
    if (!is_open()) return;
    (void)rings_.commit(bus_.memory());
    signal_if_due();
}

void ClientChannel::signal_if_due() {
    if (rings_.take_signal()) bus_.signal_host(*this);
}

}  // namespace vmbus
