// The second half of the virtual switch: where a frame goes, and how it leaves.
#include <algorithm>
#include <utility>

#include "models/network/checksum.h"
#include "models/network/segmentation.h"
#include "models/network/switch_busy.h"
#include "models/network/virtual_switch.h"

namespace models {

namespace {
// Addresses that bridges keep to themselves (IEEE 802.1Q, table 8-1).
bool is_bridge_group(const MacAddress& mac) {
    return (mac.to_u64() & ~std::uint64_t{0xf}) == 0x0180'c200'0000;
}
// What a frame takes of an uplink beside its bytes: check sequence, preamble, gap.
constexpr std::size_t wire_overhead_bytes = 24;
}  // namespace

void VirtualSwitch::enter(Port& port, Passage&& passage) {
    if (port.id == provider_port_ && enter_from_provider(port, passage)) return;
    if (!pass_ingress_extensions(passage)) return drop(port, DropReason::extension);
    forward(port, std::move(passage));
}

// True if the frame ended here. One for a tenant goes on, in its virtual subnet.
bool VirtualSwitch::enter_from_provider(Port& port, Passage& passage) {
    const auto headers = parse_headers(passage.frame);
    auto arrival = nvgre_.receive(passage.frame, *headers, passage.network.vlan);
    switch (arrival.taken) {
        case NvgreEndpoint::Taken::not_ours:
            return false;
        case NvgreEndpoint::Taken::consumed:
            ++answered_;
            return true;
        case NvgreEndpoint::Taken::bad_encapsulation:
            drop(port, DropReason::bad_encapsulation);
            return true;
        case NvgreEndpoint::Taken::provider_mismatch:
            drop(port, DropReason::provider_mismatch);
            return true;
        case NvgreEndpoint::Taken::delivered:
            break;
    }
    passage.network = {0, arrival.virtual_subnet};
    passage.frame = std::move(arrival.inner);
    const bool known = std::any_of(ports_.begin(), ports_.end(), [&](const auto& item) {
        return item.second->settings.virtual_subnet == arrival.virtual_subnet;
    });
    if (arrival.virtual_subnet == 0 || !known) {
        drop(port, DropReason::unknown_virtual_subnet);
        return true;
    }
    ++decapsulated_;
    return false;
}

void VirtualSwitch::forward(Port& port, Passage&& passage) {
    // An extension may have changed the frame into anything.
    const auto headers = parse_headers(passage.frame);
    if (!headers || !request_matches(passage.frame, *headers)) return drop(port, DropReason::extension);
    learn(port, passage, *headers);
    if (passage.network.virtual_subnet != 0 && answer_for_tenant(port, passage, *headers)) {
        ++answered_;
        return;
    }
    Destinations destinations;
    choose(port, passage, *headers, destinations);
    std::erase_if(destinations.ports, [&](PortId id) {
        const Port* to = find(id);
        return to == nullptr || id == port.id || !is_member(*to, passage.network);
    });
    const bool mirrored = port.settings.mirror == MirrorMode::source;
    if (mirrored) mirror(passage, no_port);
    if (destinations.empty()) {
        const bool to_itself = owner_of(passage.network, headers->destination) == port.id;
        const bool tenant = passage.network.virtual_subnet != 0 && port.id != provider_port_;
        return drop(port, to_itself ? DropReason::own_segment
                          : tenant  ? DropReason::no_provider_address
                                    : DropReason::no_destination);
    }
    copies_.add(destinations.ports.size() + destinations.hosts.size() - 1);
    pass_egress_extensions(passage, destinations.ports);
    for (std::size_t i = 0; i < destinations.ports.size(); ++i) {
        Port& to = *find(destinations.ports[i]);
        if (!to.acl.allows(*headers, passage.frame.size(), false)) {
            drop(to, DropReason::acl_denied);
            continue;
        }
        if (to.settings.mirror == MirrorMode::source && !mirrored) mirror(passage, to.id);
        const bool last = i + 1 == destinations.ports.size() && destinations.hosts.empty();
        leave(to, last ? std::move(passage) : Passage{passage});
    }
    if (!destinations.hosts.empty()) encapsulate(port, destinations.hosts, passage);
}

bool VirtualSwitch::pass_ingress_extensions(Passage& passage) {
    const SwitchContext context{passage.from, passage.network, {}};
    for (SwitchExtension* extension : extensions_) {
        if (extension->kind() == ExtensionKind::capture) {
            extension->capture(SwitchPath::ingress, context, passage.frame);
        } else if (extension->kind() == ExtensionKind::filter) {
            if (extension->filter_ingress(context, passage.frame) == FilterVerdict::drop) return false;
        }
    }
    return true;
}

// Takes away the destinations that a filter refuses.
void VirtualSwitch::pass_egress_extensions(const Passage& passage, std::vector<PortId>& ports) {
    if (extensions_.empty()) return;
    const std::vector<PortId> chosen = ports;
    const SwitchContext before{passage.from, passage.network, chosen};
    for (auto e = extensions_.rbegin(); e != extensions_.rend(); ++e) {
        if ((*e)->kind() != ExtensionKind::filter) continue;
        std::erase_if(ports, [&](PortId id) {
            const bool passes = (*e)->filter_egress(before, passage.frame, id);
            if (!passes) drop(*find(id), DropReason::extension);
            return !passes;
        });
    }
    const SwitchContext after{passage.from, passage.network, ports};
    for (auto e = extensions_.rbegin(); e != extensions_.rend(); ++e) {
        if ((*e)->kind() == ExtensionKind::capture) (*e)->capture(SwitchPath::egress, after, passage.frame);
    }
}

void VirtualSwitch::learn(const Port& port, const Passage& passage, const Headers& headers) {
    // Another host's tenants are found by lookup records only.
    if (!port.settings.learns() || headers.source == port.settings.mac || headers.source.is_multicast()) return;
    if (port.settings.kind == PortKind::external && passage.network.virtual_subnet != 0) return;
    (void)macs_.learn(passage.network, headers.source, port.id, scope_.now());
}

bool VirtualSwitch::is_member(const Port& port, const NetworkId& network) const {
    if (port.gone || port.settings.virtual_subnet != network.virtual_subnet) return false;
    return network.virtual_subnet != 0 || port.settings.vlan.carries(network.vlan);
}

PortId VirtualSwitch::owner_of(const NetworkId& network, const MacAddress& mac) const {
    const std::pair<MacAddress, PortId> first{mac, no_port};
    for (auto place = std::ranges::lower_bound(owners_, first); place != owners_.end() && place->first == mac;
         ++place) {
        if (is_member(*find(place->second), network)) return place->second;
    }
    return macs_.find(network, mac, scope_.now());
}

PortId VirtualSwitch::destination_port(PortId from, const Frame& frame) const {
    const Port* port = find(from);
    const auto headers = parse_headers(frame);
    if (port == nullptr || !headers || headers->destination.is_multicast()) return no_port;
    const auto vlan = port->settings.vlan.enter(frame.vlan ? frame.vlan : headers->vlan);
    if (!vlan) return no_port;
    return owner_of({*vlan, port->settings.virtual_subnet}, headers->destination);
}

void VirtualSwitch::choose(const Port& port, const Passage& passage, const Headers& h,
                           Destinations& destinations) const {
    const SwitchContext context{passage.from, passage.network, {}};
    for (SwitchExtension* extension : extensions_) {
        if (extension->kind() == ExtensionKind::forward &&
            extension->choose(context, passage.frame, h, destinations.ports)) {
            return;
        }
    }
    if (is_bridge_group(h.destination)) return;
    const bool group = h.destination.is_multicast();
    const std::uint32_t subnet = passage.network.virtual_subnet;
    // What came from another host's tenant does not go to a third one.
    const bool may_leave = subnet != 0 && port.id != provider_port_ && provider_port_ != no_port;
    if (!group) {
        if (const PortId owner = owner_of(passage.network, h.destination); owner != no_port) {
            destinations.ports.push_back(owner);
            return;
        }
        if (may_leave) {
            if (const auto host = nvgre_.host_of(subnet, h.destination)) {
                destinations.hosts.insert(*host);
                return;
            }
        }
    }
    for (const auto& [id, to] : ports_) {
        if (id != port.id && is_member(*to, passage.network) && (group || to->settings.learns())) {
            destinations.ports.push_back(id);
        }
    }
    if (group && may_leave) destinations.hosts = nvgre_.hosts_of(subnet);
}

// The lookup records know who has an address: no tenant's ARP question crosses the provider's network.
bool VirtualSwitch::answer_for_tenant(Port& port, const Passage& passage, const Headers& h) {
    if (port.id == provider_port_) return false;
    const auto arp = parse_arp(passage.frame.bytes, h);
    if (!arp || arp->operation != ArpMessage::request) return false;
    const LookupRecord* record = nvgre_.find(passage.network.virtual_subnet, arp->target_ip);
    if (record == nullptr || record->customer_mac == h.source) return false;
    Frame reply = arp_frame({.operation = ArpMessage::reply,
                             .sender_mac = record->customer_mac,
                             .sender_ip = arp->target_ip,
                             .target_mac = arp->sender_mac,
                             .target_ip = arp->sender_ip});
    deliver(port, std::move(reply));
    return true;
}

void VirtualSwitch::mirror(const Passage& passage, PortId except) {
    const std::vector<PortId> monitors = monitors_;  // a receiver may change settings
    for (const PortId id : monitors) {
        Port& to = *find(id);
        if (id == passage.from || id == except || !is_member(to, passage.network)) continue;
        ++copies_;
        leave(to, Passage{passage});
    }
}

void VirtualSwitch::encapsulate(Port& from, const std::set<IpAddress>& hosts, const Passage& passage) {
    std::vector<Frame> inner;
    Frame whole = passage.frame;
    whole.vlan.reset();
    finish_for_wire(std::move(whole), inner);
    encapsulating_for_ = from.id;
    for (const IpAddress& host : hosts) {
        for (const Frame& frame : inner) {
            if (nvgre_.send(passage.network.virtual_subnet, host, Frame{frame})) {
                ++encapsulated_;
            } else {
                drop(from, DropReason::too_long);
            }
        }
    }
    encapsulating_for_ = no_port;
}

void VirtualSwitch::send_provider_frame(Frame&& frame) {
    const Busy busy(*this);
    Port* port = find(provider_port_);
    if (port == nullptr || port->gone) return;
    share_uplink(*port, encapsulating_for_ == no_port ? provider_port_ : encapsulating_for_, std::move(frame));
}

void VirtualSwitch::provider_unresolved() {
    if (Port* port = find(provider_port_); port != nullptr) drop(*port, DropReason::provider_unresolved);
}

void VirtualSwitch::leave(Port& port, Passage&& passage) {
    scope_.trace("switch_frame", passage.from, port.id, passage.frame.size());
    set_tag(port, passage.network, passage.frame);
    share_uplink(port, passage.from, std::move(passage.frame));
}

void VirtualSwitch::set_tag(const Port& port, const NetworkId& network, Frame& frame) {
    const VlanSettings& vlan = port.settings.vlan;
    if (network.virtual_subnet != 0 || vlan.mode == VlanMode::access || network.vlan == vlan.id) {
        frame.vlan.reset();
        return;
    }
    VlanTag tag = frame.vlan.value_or(VlanTag{});
    tag.id = network.vlan;
    frame.vlan = tag;
}

void VirtualSwitch::share_uplink(Port& port, PortId from, Frame&& frame) {
    if (port.settings.uplink_bps == 0) return deliver(port, std::move(frame));
    if (port.uplink_free <= scope_.now()) port.uplink.rest();
    const Port* sender = find(from);
    const std::uint32_t weight = sender != nullptr ? sender->settings.weight : 1;
    if (!port.uplink.push(from, weight, std::move(frame))) return drop(port, DropReason::uplink_full);
    if (!port.uplink_timer.armed()) uplink_ready(port);
}

void VirtualSwitch::uplink_ready(Port& port) {
    const Busy busy(*this);
    const sim::Time now = scope_.now();
    while (!port.uplink.empty() && port.uplink_free <= now) {
        auto item = port.uplink.pop();
        const std::uint64_t bytes =
            item->frame.size() + std::uint64_t{segment_count(item->frame)} * wire_overhead_bytes;
        port.uplink_free = now + sim::cycles_to_time(bytes * 8, port.settings.uplink_bps);
        deliver(port, std::move(item->frame));
    }
    if (!port.uplink.empty()) port.uplink_timer.arm(port.uplink_free);
}

void VirtualSwitch::deliver(Port& port, Frame&& frame) {
    if (port.gone) return drop(port, DropReason::port_gone);
    const ReceiveAbilities& able = port.settings.receives;
    if (frame.vlan && !able.tags_out_of_band) put_tag_in(frame);
    if (frame.large_send_mss != 0 && !able.large_frames) {
        std::vector<Frame> segments;
        cut_into_segments(std::move(frame), segments);
        for (Frame& segment : segments) deliver(port, std::move(segment));
        return;
    }
    const std::size_t tag = frame.vlan ? vlan_tag_bytes : 0;
    const bool large = frame.large_send_mss != 0 || frame.coalesced_segments != 0;
    if (!large && frame.size() + tag > port.settings.maximum_frame_bytes) return drop(port, DropReason::too_long);
    // Inside the host nothing damages a frame.
    if (frame.fill.ip) frame.ip_verdict = ChecksumVerdict::good;
    if (frame.fill.tcp || frame.fill.udp) frame.transport_verdict = ChecksumVerdict::good;
    if (!able.partial_checksums) (void)fill_checksums(frame);
    if (able.coalesced && batch_depth_ != 0) {
        std::vector<Frame> ready;
        port.coalescer.add(std::move(frame), ready);
        const auto place = std::ranges::lower_bound(coalescing_, port.id);
        if (place == coalescing_.end() || *place != port.id) coalescing_.insert(place, port.id);
        for (Frame& one : ready) hand_over(port, std::move(one));
        return;
    }
    hand_over(port, std::move(frame));
}

void VirtualSwitch::hand_over(Port& port, Frame&& frame) {
    if (port.gone) return drop(port, DropReason::port_gone);
    ++port.out_frames;
    port.out_bytes.add(frame.size());
    for (FrameObserver* observer : port.observers) observer->observed(FrameDirection::out, frame);
    port.receiver.receive(std::move(frame));
}

void VirtualSwitch::end_batch() {
    VG_CHECK(batch_depth_ > 0);
    if (--batch_depth_ != 0) return;
    const Busy busy(*this);
    while (!coalescing_.empty()) {
        Port& port = *find(coalescing_.front());
        coalescing_.erase(coalescing_.begin());
        std::vector<Frame> ready;
        port.coalescer.flush(ready);
        for (Frame& frame : ready) hand_over(port, std::move(frame));
    }
}

}  // namespace models
