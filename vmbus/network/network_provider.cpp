#include "vmbus/network/network_provider.h"

#include <algorithm>
#include <string>

#include "sim/check.h"
#include "vmbus/network/network_queue.h"
#include "vmbus/network/rndis_packet.h"

namespace vmbus {

namespace {

struct DropText {
    std::string_view name;
    std::string_view description;
};
constexpr std::array<DropText, network_drop_count> drop_texts{{
    {"dropped_not_ready", "frames dropped while no driver had the adapter up"},
    {"dropped_link_down", "frames dropped while the link was down"},
    {"dropped_filtered", "frames for the guest that its filter does not want"},
    {"dropped_too_long", "frames longer than agreed"},
    {"dropped_no_checksum", "frames without checksums for a guest that has not switched the offload on"},
    {"dropped_backlog_full", "frames for the guest that found too many others waiting"},
    {"dropped_no_sections", "frames for the guest when it had all sections of its receive buffer"},
    {"dropped_ring_full", "frames for the guest when its ring was full"},
    {"dropped_no_buffer", "frames for the guest after its receive buffer had gone"},
    {"dropped_closed", "frames for the guest whose channel closed while they waited"},
    {"dropped_malformed", "messages of the guest that are no RNDIS data messages"},
    {"dropped_unsupported", "messages of the guest that use what is not supported"},
    {"dropped_offload_not_enabled", "frames of the guest that ask for an offload which is off"},
}};

// Frames for the guest may bring a tag in their bytes.
constexpr std::uint32_t tag_bytes = 4;

}  // namespace

NetworkProvider::NetworkProvider(const sim::Scope& scope, Bus& bus, NetworkPort& port, const Config& config,
                                 const ProcessorOfQueue& processor)
    : scope_(scope),
      bus_(bus),
      port_(port),
      config_(config),
      rndis_(config.adapter),
      faults_(scope.counter("faults", "count", "channels closed because the guest broke the protocol")) {
    VG_CHECK(config.adapter.queues >= 1 && config.adapter.queues <= largest_channel_count && config.batch >= 1);
    VG_CHECK(config.adapter.rss_table_entries >= 1 && config.adapter.rss_table_entries <= 256);
    state_.link_up = config.link_up;
    state_.bits_per_second = config.bits_per_second;
    for (std::size_t n = 0; n < network_drop_count; ++n) {
        drops_[n] = &scope.counter(drop_texts[n].name, "count", drop_texts[n].description);
    }
    // All of them at once and for good, so that tasks have the same numbers in every machine that is built alike.
    for (std::uint16_t n = 0; n < config.adapter.queues; ++n) {
        queues_.push_back(std::make_unique<Queue>(*this, scope.child("channel" + std::to_string(n)), n, processor(n)));
    }
    Offer offer;
    offer.type = interface_type::network;
    offer.instance = config.instance;
    primary().set_channel(&bus_.offer(offer, *this));
    registration_ = scope.register_state(*this);
}

NetworkProvider::~NetworkProvider() = default;

NetworkProvider::Queue& NetworkProvider::queue_of(const Channel& channel) const {
    const std::uint16_t index = channel.offer().sub_channel_index;
    VG_CHECK(index < queues_.size(), "channel {} of {}", index, queues_.size());
    return *queues_[index];
}

std::uint16_t NetworkProvider::open_channels() const {
    return static_cast<std::uint16_t>(
        std::count_if(queues_.begin(), queues_.end(), [](const auto& queue) { return queue->is_open(); }));
}

std::uint64_t NetworkProvider::dropped(NetworkDrop reason) const {
    return drops_[static_cast<std::size_t>(reason)]->value();
}

void NetworkProvider::count_drop(NetworkDrop reason, std::uint64_t frames) {
    if (frames == 0) return;
    drops_[static_cast<std::size_t>(reason)]->add(frames);
    scope_.trace("network_drop", reason, frames);
}

RndisDevice::Surroundings NetworkProvider::surroundings() const {
    return {state_.link_up, state_.bits_per_second, &state_.from_guest, &state_.to_guest};
}

// -- The switch's side.

std::optional<NetworkDrop> NetworkProvider::refusal(const IncomingFrame& frame) const {
    if (!ready()) return NetworkDrop::not_ready;
    if (!state_.link_up) return NetworkDrop::link_down;
    if (!rndis_.wants(frame.bytes)) return NetworkDrop::filtered;
    const OffloadSettings& on = rndis_.offloads();
    const FrameKind kind = frame_kind(frame.bytes);
    if (frame.bytes.size() > state_.frame_bytes + tag_bytes) {
        const bool coalescing = kind.ipv6 ? on.coalescing_ipv6 : on.coalescing_ipv4;
        if (!coalescing || frame.coalesced_segments == 0) return NetworkDrop::too_long;
        if (sections_needed(frame.bytes.size(), state_.receive_buffer.section_bytes()) > nvsp::maximum_ranges) {
            return NetworkDrop::too_long;
        }
    }
    const bool knows_tcp = kind.ipv6 ? on.receive.tcp6 : on.receive.tcp4;
    const bool knows_udp = kind.ipv6 ? on.receive.udp6 : on.receive.udp4;
    if ((kind.tcp && frame.tcp_checksum == ChecksumState::absent && !knows_tcp) ||
        (kind.udp && frame.udp_checksum == ChecksumState::absent && !knows_udp)) {
        return NetworkDrop::no_checksum;
    }
    return std::nullopt;
}

std::uint16_t NetworkProvider::choose_queue(const IncomingFrame& frame) const {
    const RssSettings& rss = rndis_.rss();
    if (!rss.enabled || !frame.hash) return 0;
    const std::uint16_t queue = rss.table[*frame.hash % rss.table.size()];
    return queue < queues_.size() && queues_[queue]->is_open() ? queue : 0;
}

void NetworkProvider::receive(std::span<IncomingFrame> frames) {
    for (IncomingFrame& frame : frames) {
        std::optional<NetworkDrop> reason = refusal(frame);
        if (!reason && !queues_[choose_queue(frame)]->push(std::move(frame))) reason = NetworkDrop::backlog_full;
        if (!reason) continue;
        count_drop(*reason);
        if (*reason != NetworkDrop::filtered) ++state_.to_guest.discards;
    }
}

void NetworkProvider::set_link(bool up) {
    if (state_.link_up == up) return;
    state_.link_up = up;
    scope_.trace("network_link", up);
    give_notice(Notice::link);
}

void NetworkProvider::set_link_speed(std::uint64_t bits_per_second) {
    if (state_.bits_per_second == bits_per_second) return;
    state_.bits_per_second = bits_per_second;
    give_notice(Notice::speed);
}

void NetworkProvider::network_changed() {
    give_notice(Notice::network);
}

void NetworkProvider::associate_vf(std::uint32_t serial) {
    state_.vf = serial;
    scope_.trace("network_vf", 1, serial);
    give_notice(Notice::virtual_function);
}

void NetworkProvider::revoke_vf() {
    if (!state_.vf) return;
    scope_.trace("network_vf", 0, *state_.vf);
    state_.vf.reset();
    // What the guest still sends to the function is lost; what comes for it is not.
    if (state_.data_path_is_vf) {
        state_.data_path_is_vf = false;
        (void)port_.switch_data_path(false);
    }
    give_notice(Notice::virtual_function);
}

void NetworkProvider::data_path_switched() {
    if (!state_.switching) return;
    finish_switch();
    primary().wake();
}

// -- What the guest is told.

void NetworkProvider::give_notice(Notice notice) {
    // Who has no driver yet asks when it has.
    if (!ready()) return;
    state_.notices = static_cast<std::uint8_t>(state_.notices | 1u << static_cast<unsigned>(notice));
    primary().wake();
}

void NetworkProvider::indicate(std::uint32_t status, std::span<const std::byte> buffer) {
    rndis::IndicateStatus body;
    body.status = status;
    body.buffer_bytes = static_cast<std::uint32_t>(buffer.size());
    body.buffer_offset = buffer.empty() ? 0 : sizeof(body);
    scope_.trace("rndis_indicate", status);
    primary().send_control(rndis::message(rndis::MessageType::indicate_status, body, buffer));
}

void NetworkProvider::send_notices() {
    const std::uint8_t notices = std::exchange(state_.notices, std::uint8_t{0});
    const auto given = [notices](Notice notice) { return (notices >> static_cast<unsigned>(notice) & 1) != 0; };
    if (given(Notice::offloads)) {
        indicate(rndis::status::task_offload_current_config, rndis_.offload_bytes(rndis_.offloads()));
    }
    // Linux says by this capability that it understands them.
    if (given(Notice::speed) && has_capability(nvsp::capability::teaming)) {
        const auto units =
            static_cast<std::uint32_t>(std::min<std::uint64_t>(state_.bits_per_second / 100, 0xffff'ffff));
        indicate(rndis::status::link_speed_change, layout_bytes(units));
    }
    if (given(Notice::link) && state_.announced_link != state_.link_up) {
        state_.announced_link = state_.link_up;
        indicate(state_.link_up ? rndis::status::media_connect : rndis::status::media_disconnect);
    }
    if (given(Notice::network)) indicate(rndis::status::network_change);
    if (given(Notice::send_table)) {
        const std::uint16_t channels = open_channels();
        nvsp::SendIndirectionTable table;
        for (std::uint32_t n = 0; n < nvsp::send_table_entries; ++n) table.table[n] = n % channels;
        scope_.trace("nvsp_send_table", channels);
        primary().send_inband(0, layout_bytes(table), false);
    }
    if (given(Notice::virtual_function) && may_have_vf() && state_.announced_vf != state_.vf) {
        // What has gone is named once more, with 0.
        for (const bool allocated : {false, true}) {
            const auto& serial = allocated ? state_.vf : state_.announced_vf;
            if (!serial) continue;
            const nvsp::SendVfAssociation message{nvsp::MessageType::send_vf_association, allocated ? 1u : 0u, *serial};
            scope_.trace("nvsp_vf_association", allocated, *serial);
            primary().send_inband(vf_association_transaction, nvsp::padded(message), true);
        }
        state_.announced_vf = state_.vf;
    }
}

// -- Channels.

std::uint32_t NetworkProvider::open(Channel& channel, std::span<const std::byte, 120> user_data) {
    (void)user_data;
    constexpr std::uint32_t status_unsuccessful = 0xc000'0001;
    Queue& queue = queue_of(channel);
    if (queue.is_open() || (queue.index() != 0 && !primary().is_open())) return status_unsuccessful;
    queue.opened(channel);
    scope_.trace("network_channel", queue.index(), 1);
    // The promise is kept when all of them are open; from then on each may be sent to.
    if (queue.index() != 0 && open_channels() == state_.sub_channels + 1) give_notice(Notice::send_table);
    return 0;
}

void NetworkProvider::closed(Channel& channel) {
    Queue& queue = queue_of(channel);
    if (!queue.is_open()) return;
    queue.closed();
    scope_.trace("network_channel", queue.index(), 0);
    if (queue.index() == 0) {
        forget_driver();
    } else {
        state_.receive_buffer.forget_channel(queue.index());
    }
}

void NetworkProvider::forget_driver() {
    const bool was_ready = ready();
    for (auto& queue : queues_) queue->closed();
    State next;
    next.link_up = state_.link_up;
    next.bits_per_second = state_.bits_per_second;
    next.vf = state_.vf;
    next.from_guest = state_.from_guest;
    next.to_guest = state_.to_guest;
    const bool was_vf = state_.data_path_is_vf;
    state_ = std::move(next);
    rndis_.detach();
    if (was_vf) (void)port_.switch_data_path(false);
    if (was_ready) port_.ready_changed(false);
}

void NetworkProvider::signalled(Channel& channel) {
    queue_of(channel).signalled();
}

void NetworkProvider::released(Channel& channel) {
    Queue& queue = queue_of(channel);
    if (queue.channel() == &channel) queue.set_channel(nullptr);
}

void NetworkProvider::add_needs(const Channel& channel, sim::WorkingSet& set) const {
    channel.add_needs(set);
    queue_of(channel).add_needs(set);
    set.add(this, static_cast<std::size_t>(reinterpret_cast<const std::byte*>(&drops_) -
                                           reinterpret_cast<const std::byte*>(this)));
    set.add_elements(queues_);
    set.add_content(config_.costs_of_queue, 2 * sim::WorkingSet::line_bytes);
    state_.receive_buffer.add_needs(set);
    port_.add_needs(set);
}

// -- Checkpoints.

ChannelDevice& NetworkProvider::adopt_sub_channel(Channel& primary_channel, Channel& sub_channel) {
    (void)primary_channel;
    queue_of(sub_channel).set_channel(&sub_channel);
    return *this;
}

void NetworkProvider::save(sim::Writer& writer) const {
    writer(state_, rndis_);
    for (const auto& queue : queues_) writer(*queue);
}

void NetworkProvider::restore(sim::Reader& reader) {
    reader(state_, rndis_);
    for (auto& queue : queues_) reader(*queue);
}

}  // namespace vmbus
