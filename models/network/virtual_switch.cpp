#include "models/network/virtual_switch.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "models/network/byte_order.h"
#include "models/network/checksum.h"
#include "models/network/segmentation.h"
#include "models/network/switch_busy.h"

namespace models {

namespace {
// The longest IP packet with an Ethernet header and a tag.
constexpr std::size_t longest_frame_bytes = 18 + 40 + 65535;
}  // namespace

PortSettings external_port(std::uint64_t uplink_bps, std::uint32_t maximum_frame_bytes) {
    PortSettings settings;
    settings.kind = PortKind::external;
    settings.vlan = VlanSettings::trunk_of_all();
    settings.uplink_bps = uplink_bps;
    settings.maximum_frame_bytes = maximum_frame_bytes;
    settings.receives = {.large_frames = true, .coalesced = false, .partial_checksums = true, .tags_out_of_band = true};
    return settings;
}

PortSettings adapter_port(const MacAddress& mac, PortKind kind) {
    PortSettings settings;
    settings.kind = kind;
    settings.mac = mac;
    return settings;
}

VirtualSwitch::Port::Port(VirtualSwitch& owner, PortId port, std::string_view name, SwitchPort& receives,
                          const PortSettings& set)
    : id(port),
      scope(owner.scope_.child(name)),
      receiver(receives),
      in_frames(scope.counter("in_frames", "frames", "frames that the port's owner sent")),
      in_bytes(scope.counter("in_bytes", "bytes", "bytes that the port's owner sent")),
      out_frames(scope.counter("out_frames", "frames", "frames that the port's owner got")),
      out_bytes(scope.counter("out_bytes", "bytes", "bytes that the port's owner got")),
      settings(set),
      bucket_timer(scope.agenda(), scope.path() + ".maximum", [&owner, this] { owner.bucket_ready(*this); }),
      uplink_timer(scope.agenda(), scope.path() + ".uplink", [&owner, this] { owner.uplink_ready(*this); }) {}

VirtualSwitch::VirtualSwitch(const sim::Scope& scope, const SwitchSettings& settings)
    : scope_(scope),
      settings_(settings),
      copies_(scope.counter("copies", "frames", "further copies made for several destinations and for monitors")),
      answered_(scope.counter("answered", "frames", "questions of tenants and hosts that the switch itself answered")),
      encapsulated_(scope.counter("nvgre_sent", "frames", "tenants' frames that left in NVGRE")),
      decapsulated_(scope.counter("nvgre_received", "frames", "tenants' frames that came in NVGRE")),
      macs_(settings.learning),
      queues_(settings.queues),
      nvgre_(scope.agenda(), *this),
      registration_(scope.register_state(*this)) {}

VirtualSwitch::~VirtualSwitch() = default;

VirtualSwitch::Port* VirtualSwitch::find(PortId id) {
    return id < table_.size() ? table_[id] : nullptr;
}

PortId VirtualSwitch::connect(std::string_view name, SwitchPort& owner, const PortSettings& settings) {
    const PortId id = next_port_++;
    const auto& port = ports_.emplace(id, std::make_unique<Port>(*this, id, name, owner, settings)).first->second;
    table_.resize(id + std::size_t{1});
    table_[id] = port.get();
    configure(id, settings);
    return id;
}

void VirtualSwitch::disconnect(PortId id) {
    Port* port = find(id);
    if (port == nullptr || port->gone) return;
    // Its owner may go now. What is under way with the port ends first, if this comes from within receive().
    port->gone = true;
    leaving_.push_back(id);
    const Busy busy(*this);
}

void VirtualSwitch::remove_leaving() {
    for (const PortId id : std::exchange(leaving_, {})) {
        Port& port = *find(id);
        for (std::size_t n = port.waiting.size() + port.uplink.size() + port.coalescer.segments(); n > 0; --n) {
            drop(port, DropReason::port_gone);
        }
        macs_.forget(id);
        queues_.remove(id);
        std::erase(coalescing_, id);
        table_[id] = nullptr;
        ports_.erase(id);
    }
    settings_changed();
}

void VirtualSwitch::configure(PortId id, const PortSettings& settings) {
    Port* port = find(id);
    VG_CHECK(port != nullptr);
    if (port->settings.maximum_bps != settings.maximum_bps || port->settings.burst_bytes != settings.burst_bytes ||
        !port->bucket.limits()) {
        port->bucket = TokenBucket{settings.maximum_bps, settings.burst_bytes};
    }
    port->settings = settings;
    port->acl.set(settings.acl);
    macs_.forget(id);
    settings_changed();
    if (!port->waiting.empty()) port->bucket_timer.arm(port->bucket.ready_at(scope_.now()));
}

void VirtualSwitch::add_needs(PortId id, sim::WorkingSet& set) const {
    const Port* const port = find(id);
    if (port == nullptr) return;
    set.add(table_[id]);
    set.add(port, static_cast<std::size_t>(reinterpret_cast<const std::byte*>(&port->drops) -
                                           reinterpret_cast<const std::byte*>(port)));
    set.add(&port->in_frames, 4 * sizeof(sim::Counter));
    set.add(port->coalescer);
}

const PortSettings& VirtualSwitch::settings(PortId id) const {
    const Port* port = find(id);
    VG_CHECK(port != nullptr);
    return port->settings;
}

void VirtualSwitch::settings_changed() {
    owners_.clear();
    monitors_.clear();
    coalescing_.clear();
    for (const auto& [id, port] : ports_) {
        if (port->coalescer.segments() != 0) coalescing_.push_back(id);
        if (port->gone) continue;
        if (!port->settings.mac.is_zero()) owners_.emplace_back(port->settings.mac, id);
        if (port->settings.mirror == MirrorMode::destination) monitors_.push_back(id);
    }
    std::ranges::sort(owners_);
}

void VirtualSwitch::check_restored(bool same_ports) {
    if (!same_ports) throw sim::UserError("checkpoint: the virtual switch has other ports; build the same machine");
}

void VirtualSwitch::add_extension(SwitchExtension& extension) {
    const bool second = extension.kind() == ExtensionKind::forward &&
                        std::any_of(extensions_.begin(), extensions_.end(),
                                    [](const auto* e) { return e->kind() == ExtensionKind::forward; });
    if (second) throw sim::UserError("virtual switch: a second forwarding extension; a switch has at most one");
    const auto place = std::find_if(extensions_.begin(), extensions_.end(),
                                    [&](const auto* e) { return e->kind() >= extension.kind(); });
    extensions_.insert(place, &extension);
}

void VirtualSwitch::observe(PortId id, FrameObserver& observer) {
    Port* port = find(id);
    VG_CHECK(port != nullptr);
    port->observers.push_back(&observer);
}

void VirtualSwitch::set_provider(PortId external, const ProviderSettings& provider) {
    const Port* port = find(external);
    VG_CHECK(port != nullptr);
    if (port->settings.kind != PortKind::external || !provider.address.is_v4()) {
        throw sim::UserError("network virtualization: a provider address is an IPv4 address at an external port");
    }
    provider_port_ = external;
    nvgre_.set_provider(provider);
}

sim::Time VirtualSwitch::cost(const Frame& frame) const {
    const SwitchCosts& c = settings_.costs;
    return c.per_frame + c.per_byte * static_cast<std::int64_t>(frame.size()) +
           c.per_segment * static_cast<std::int64_t>(segment_count(frame) - 1);
}

std::uint64_t VirtualSwitch::dropped(PortId id, DropReason reason) const {
    const Port* port = find(id);
    VG_CHECK(port != nullptr);
    return port->drops[static_cast<std::size_t>(reason)];
}

std::uint64_t VirtualSwitch::dropped(PortId id) const {
    const Port* port = find(id);
    VG_CHECK(port != nullptr);
    return std::accumulate(port->drops.begin(), port->drops.end(), std::uint64_t{0});
}

PortAcl::Meter VirtualSwitch::meter(PortId id, std::size_t rule) const {
    const Port* port = find(id);
    VG_CHECK(port != nullptr);
    return port->acl.meter(rule);
}

std::size_t VirtualSwitch::waiting() const {
    std::size_t n = 0;
    for (const auto& [id, port] : ports_) n += port->waiting.size() + port->uplink.size() + port->coalescer.segments();
    return n;
}

void VirtualSwitch::drop(Port& port, DropReason reason) {
    ++port.drops[static_cast<std::size_t>(reason)];
    ++port.scope.counter(std::string{"dropped."} + name_of(reason), "frames", description_of(reason));
    scope_.trace("switch_drop", port.id, static_cast<std::uint64_t>(reason));
}

void VirtualSwitch::send(PortId from, Frame&& frame) {
    if (busy_ != 0) {
        pending_.emplace_back(from, std::move(frame));
        return;
    }
    const Busy busy(*this);
    switch_frame(from, std::move(frame));
}

void VirtualSwitch::switch_frame(PortId from, Frame&& frame) {
    Port* port = find(from);
    VG_CHECK(port != nullptr);
    ++port->in_frames;
    port->in_bytes.add(frame.size());
    for (FrameObserver* observer : port->observers) observer->observed(FrameDirection::in, frame);
    NetworkId network;
    if (const auto reason = admit(*port, frame, network)) return drop(*port, *reason);
    limit(*port, Passage{from, network, std::move(frame)});
}

std::optional<DropReason> VirtualSwitch::admit(Port& port, Frame& frame, NetworkId& network) {
    if (frame.size() > longest_frame_bytes) return DropReason::too_long;
    if (!frame.vlan) take_tag_out(frame);
    const auto headers = parse_headers(frame);
    if (!headers || headers->source.is_multicast()) return DropReason::malformed;
    if (!sound_offloads(frame, *headers)) return DropReason::bad_offload_request;

    const PortSettings& s = port.settings;
    network.virtual_subnet = s.virtual_subnet;
    const VlanSettings untagged;
    const auto vlan = (s.virtual_subnet != 0 ? untagged : s.vlan).enter(frame.vlan);
    if (!vlan || headers->vlan) return DropReason::vlan_not_allowed;  // of two tags only one is the switch's
    network.vlan = *vlan;

    if (!s.learns() && headers->source != s.mac) return DropReason::source_not_allowed;
    if (const auto reason = guard(port, frame, *headers)) return reason;
    if (!port.acl.allows(*headers, frame.size(), true)) return DropReason::acl_denied;
    return std::nullopt;
}

bool VirtualSwitch::sound_offloads(Frame& frame, const Headers& headers) {
    if (frame.large_send_mss == 0) return request_matches(frame, headers);
    if (!is_sound_large_send(frame, headers)) return false;
    write_large_send_length(frame, headers);
    frame.fill = {.ip = headers.ip == IpFamily::v4, .tcp = true, .udp = false};
    if (headers.payload_bytes() <= frame.large_send_mss) frame.large_send_mss = 0;
    return true;
}

std::optional<DropReason> VirtualSwitch::guard(const Port& port, const Frame& frame, const Headers& h) {
    if (port.settings.dhcp_guard && h.is_udp()) {
        const bool v4 = h.ip == IpFamily::v4 && h.source_port == 67 && h.destination_port == 68;
        const bool v6 = h.ip == IpFamily::v6 && h.source_port == 547 && h.destination_port == 546;
        if (v4 || v6) return DropReason::dhcp_guard;
    }
    if (port.settings.router_guard && h.ip != IpFamily::none && !h.fragment && h.transport_offset < h.end) {
        const std::uint8_t type = load_u8(frame.bytes, h.transport_offset);
        const bool v4 = h.ip == IpFamily::v4 && h.protocol == ip_protocol::icmp && (type == 5 || type == 9);
        const bool v6 = h.ip == IpFamily::v6 && h.protocol == ip_protocol::icmpv6 && (type == 134 || type == 137);
        if (v4 || v6) return DropReason::router_guard;
    }
    return std::nullopt;
}

void VirtualSwitch::limit(Port& port, Passage&& passage) {
    if (port.waiting.empty() && port.bucket.take(passage.frame.size(), scope_.now())) {
        return enter(port, std::move(passage));
    }
    if (port.waiting_bytes + passage.frame.size() > settings_.waiting_bytes) return drop(port, DropReason::bandwidth);
    port.waiting_bytes += passage.frame.size();
    port.waiting.push_back(std::move(passage));
    if (!port.bucket_timer.armed()) port.bucket_timer.arm(port.bucket.ready_at(scope_.now()));
}

void VirtualSwitch::bucket_ready(Port& port) {
    const Busy busy(*this);
    while (!port.waiting.empty() && port.bucket.take(port.waiting.front().frame.size(), scope_.now())) {
        Passage passage = std::move(port.waiting.front());
        port.waiting.pop_front();
        port.waiting_bytes -= passage.frame.size();
        enter(port, std::move(passage));
    }
    if (!port.waiting.empty()) port.bucket_timer.arm(port.bucket.ready_at(scope_.now()));
}

}  // namespace models
