#include "models/switch_adapter.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "models/network/headers.h"
#include "models/network/toeplitz.h"
#include "vmbus/network/ndis.h"

namespace models {

namespace {

Frame to_switch(vmbus::OutgoingFrame&& from) {
    Frame frame{std::move(from.bytes)};
    frame.fill = {.ip = from.fill_ip_checksum, .tcp = from.fill_tcp_checksum, .udp = from.fill_udp_checksum};
    frame.large_send_mss = from.large_send_mss;
    if (from.vlan_tci) frame.vlan = VlanTag::from_tci(*from.vlan_tci);
    return frame;
}

vmbus::ChecksumState state_of(bool unfilled, ChecksumVerdict verdict) {
    if (unfilled) return vmbus::ChecksumState::absent;
    switch (verdict) {
        case ChecksumVerdict::good:
            return vmbus::ChecksumState::good;
        case ChecksumVerdict::bad:
            return vmbus::ChecksumState::bad;
        case ChecksumVerdict::unknown:
            break;
    }
    return vmbus::ChecksumState::unknown;
}

vmbus::IncomingFrame to_guest(Frame&& from) {
    vmbus::IncomingFrame frame;
    // A verdict speaks of the one transport header that the frame has; the service looks which.
    frame.ip_checksum = state_of(from.fill.ip, from.ip_verdict);
    frame.tcp_checksum = state_of(from.fill.tcp, from.transport_verdict);
    frame.udp_checksum = state_of(from.fill.udp, from.transport_verdict);
    frame.coalesced_segments = from.coalesced_segments;
    if (from.vlan) frame.vlan_tci = from.vlan->tci();
    frame.bytes = std::move(from.bytes);
    return frame;
}

}  // namespace

SwitchAdapter::SwitchAdapter(VirtualSwitch& network, std::string_view port_name, const PortSettings& settings)
    : network_(network), port_(network.connect(port_name, *this, settings)) {}

SwitchAdapter::~SwitchAdapter() {
    network_.disconnect(port_);
}

void SwitchAdapter::take_over(const SwitchAdapter& other) {
    ready_ = other.ready_;
    rss_ = other.rss_;
    network_.configure(port_, other.network_.settings(other.port_));
}

// A reverse ARP request that asks for its own address (RFC 903): switches learn from it, and nobody answers.
void SwitchAdapter::announce() {
    constexpr std::size_t frame_bytes = 60, address_bytes = 6;
    constexpr std::uint8_t header[] = {0x80, 0x35, 0, 1, 0x08, 0, 6, 4, 0, 3};
    std::vector<std::byte> bytes(frame_bytes);
    std::fill_n(bytes.begin(), address_bytes, std::byte{0xff});
    const auto own = std::as_bytes(std::span{network_.settings(port_).mac.bytes});
    std::ranges::copy(own, bytes.begin() + 6);
    std::ranges::copy(std::as_bytes(std::span{header}), bytes.begin() + 12);
    std::ranges::copy(own, bytes.begin() + 22);
    std::ranges::copy(own, bytes.begin() + 32);
    network_.send(port_, Frame{std::move(bytes)});
}

void SwitchAdapter::transmit(std::uint16_t, std::span<vmbus::OutgoingFrame> frames) {
    network_.begin_batch();
    for (vmbus::OutgoingFrame& frame : frames) network_.send(port_, to_switch(std::move(frame)));
    network_.end_batch();
}

void SwitchAdapter::receive(Frame&& frame) {
    // What the guest sent through its virtual function comes back by the uplink when it is for all: it is not shown.
    const auto& own = network_.settings(port_).mac.bytes;
    if (path_ != nullptr && frame.size() >= 12 &&
        std::equal(own.begin(), own.end(), reinterpret_cast<const std::uint8_t*>(frame.bytes.data()) + 6)) {
        return;
    }
    std::optional<RssHash> hash;
    if (rss_.enabled) {
        const auto types = static_cast<std::uint16_t>(rss_.hash_types & vmbus::ndis::hash::type_mask);
        if (const auto headers = parse_headers(frame)) hash = rss_hash(rss_.key, types, *headers);
    }
    vmbus::IncomingFrame incoming = to_guest(std::move(frame));
    if (hash) incoming.hash = hash->value;
    service_->receive({&incoming, 1});
}

template <class Change>
void SwitchAdapter::change(Change make) {
    PortSettings settings = network_.settings(port_);
    make(settings);
    if (settings != network_.settings(port_)) network_.configure(port_, settings);
}

// The service filters by itself what the guest does not want.
void SwitchAdapter::filter_changed(std::uint32_t, std::span<const vmbus::NetworkAddress>) {}

void SwitchAdapter::address_changed(const vmbus::NetworkAddress& address) {
    change([&](PortSettings& settings) { settings.mac = MacAddress{address.bytes}; });
}

void SwitchAdapter::frame_size_changed(std::uint32_t bytes) {
    change([&](PortSettings& settings) { settings.maximum_frame_bytes = bytes + 4; });
}

void SwitchAdapter::offloads_changed(const vmbus::OffloadSettings& offloads) {
    change([&](PortSettings& settings) {
        settings.receives.tags_out_of_band = true;
        settings.receives.coalesced = offloads.coalescing_ipv4 && offloads.coalescing_ipv6;
        const auto& checks = offloads.receive;
        settings.receives.partial_checksums = checks.tcp4 && checks.udp4 && checks.tcp6 && checks.udp6;
    });
}

bool SwitchAdapter::switch_data_path(bool to_virtual_function) {
    if (path_ != nullptr) path_->switched(to_virtual_function);
    return true;
}

}  // namespace models
