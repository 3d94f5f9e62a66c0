#include "models/network/peer/peer.h"

#include <algorithm>
#include <utility>

#include "models/network/byte_order.h"
#include "models/network/checksum.h"

namespace models {

namespace {

namespace icmp {
constexpr std::uint8_t v4_echo_reply = 0;
constexpr std::uint8_t v4_unreachable = 3;
constexpr std::uint8_t v4_echo_request = 8;
constexpr std::uint8_t port_unreachable = 3;  // code
constexpr std::uint8_t v6_unreachable = 1;
constexpr std::uint8_t v6_port_unreachable = 4;  // code
constexpr std::uint8_t v6_echo_request = 128;
constexpr std::uint8_t v6_echo_reply = 129;
constexpr std::uint8_t neighbour_solicitation = 135;
constexpr std::uint8_t neighbour_advertisement = 136;
constexpr std::uint8_t source_link_layer_address = 1;  // options of RFC 4861, 4.6
constexpr std::uint8_t target_link_layer_address = 2;
}  // namespace icmp

const IpAddress all_hosts = IpAddress::v4(0xe000'0001);
const IpAddress limited_broadcast = IpAddress::v4(0xffff'ffff);
const IpAddress all_nodes = IpAddress::v6({0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1});

// The link-layer address option of that type.
std::optional<MacAddress> find_address(std::span<const std::byte> options, std::uint8_t type) {
    while (options.size() >= 8) {
        const std::size_t length = load_u8(options, 1) * 8u;
        if (length == 0 || length > options.size()) return std::nullopt;
        if (load_u8(options, 0) == type) return load_mac(options, 2);
        options = options.subspan(length);
    }
    return std::nullopt;
}

}  // namespace

Peer::Peer(const sim::Scope& scope, const PeerSettings& settings, FrameReceiver& network)
    : scope_(scope),
      network_(network),
      in_frames_(scope.counter("in_frames", "frames", "frames that arrived")),
      out_frames_(scope.counter("out_frames", "frames", "frames sent; a large send counts once")),
      settings_(settings),
      link_local_(link_local(settings.mac)),
      not_for_us_(scope.counter("not_for_us", "frames", "frames for other addresses or of other VLANs")),
      inbox_full_(scope.counter("inbox_full", "frames", "frames dropped because too many waited")),
      bad_checksum_(scope.counter("bad_checksum", "frames", "frames dropped for a wrong checksum")),
      not_understood_(scope.counter("not_understood", "frames", "fragments, malformed packets and other protocols")),
      unreachable_(scope.counter("unreachable", "packets", "packets without a route or an answer to ARP")),
      echoes_(scope.counter("echoes", "packets", "echo requests and UDP echoes answered")),
      udp_discarded_(scope.counter("udp_discarded", "datagrams", "datagrams to the discard port")),
      neighbours_(scope.agenda(), *this),
      tcp_(scope.child("tcp"), settings.tcp, *this),
      pinger_(scope.agenda(), *this),
      inbox_timer_(scope.agenda(), scope.path() + ".inbox", [this] { work(); }),
      registration_(scope.register_state(*this)) {
    if (settings.mac.is_zero() || settings.mac.is_multicast()) {
        throw sim::UserError("peer " + scope.path() + ": needs a unicast MAC address");
    }
    if (settings.dhcp) dhcp_.emplace(*settings.dhcp, settings.ipv4);
}

void Peer::receive(Frame&& frame) {
    ++in_frames_;
    if (inbox_.size() >= settings_.inbox_frames) {
        ++inbox_full_;
        return;
    }
    inbox_.push_back({scope_.now() + settings_.response, std::move(frame)});
    if (!inbox_timer_.armed()) inbox_timer_.arm(inbox_.front().due);
}

void Peer::work() {
    while (!inbox_.empty() && inbox_.front().due <= scope_.now()) {
        Frame frame = std::move(inbox_.front().frame);
        inbox_.pop_front();
        handle(std::move(frame));
    }
    if (!inbox_.empty() && !inbox_timer_.armed()) inbox_timer_.arm(inbox_.front().due);
}

void Peer::handle(Frame&& frame) {
    if (!frame.vlan) take_tag_out(frame);
    const std::uint16_t vlan = frame.vlan ? frame.vlan->id : std::uint16_t{0};
    const auto h = parse_headers(frame);
    const bool ours = h && (h->destination == settings_.mac || h->destination.is_multicast()) && vlan == settings_.vlan;
    if (!ours) {
        ++not_for_us_;
        return;
    }
    if (h->ether_type == ether_type::arp) return handle_arp(frame, *h);
    if (h->ip == IpFamily::none || h->fragment) {
        ++not_understood_;
        return;
    }
    if (frame.transport_verdict != ChecksumVerdict::good || frame.ip_verdict != ChecksumVerdict::good) {
        verify_checksums(frame);
    }
    if (frame.ip_verdict == ChecksumVerdict::bad || frame.transport_verdict == ChecksumVerdict::bad) {
        ++bad_checksum_;
        return;
    }
    if (h->ip == IpFamily::v4) {
        handle_ipv4(frame, *h);
    } else {
        handle_ipv6(frame, *h);
    }
}

void Peer::handle_arp(const Frame& frame, const Headers& h) {
    const auto arp = parse_arp(frame.bytes, h);
    if (!arp) {
        ++not_understood_;
        return;
    }
    if (!settings_.ipv4.is_v4() || arp->target_ip != settings_.ipv4) return;
    if (!arp->sender_ip.is_unspecified()) neighbours_.learn(arp->sender_ip, arp->sender_mac);
    if (arp->operation != ArpMessage::request) return;
    put_out(arp_frame({.operation = ArpMessage::reply,
                       .sender_mac = settings_.mac,
                       .sender_ip = settings_.ipv4,
                       .target_mac = arp->sender_mac,
                       .target_ip = arp->sender_ip}));
}

bool Peer::is_mine(const IpAddress& address) const {
    if (address.is_none() || address.is_unspecified()) return false;
    return address == settings_.ipv4 || address == settings_.ipv6 || address == link_local_;
}

void Peer::handle_ipv4(const Frame& frame, const Headers& h) {
    const IpAddress& to = h.ip_destination;
    const std::uint32_t host_bits =
        settings_.ipv4_prefix_length >= 32 ? 0 : ~std::uint32_t{0} >> settings_.ipv4_prefix_length;
    const bool everybody = to == limited_broadcast || to == all_hosts ||
                           (settings_.ipv4.is_v4() && to.to_v4() == (settings_.ipv4.to_v4() | host_bits));
    if (!is_mine(to) && !everybody) {
        ++not_for_us_;
        return;
    }
    if (h.is_udp()) return handle_udp(frame, h);
    if (h.is_tcp() && is_mine(to)) return handle_tcp(frame, h);
    if (h.protocol == ip_protocol::icmp) return handle_icmp(frame, h);
    ++not_understood_;
}

void Peer::handle_ipv6(const Frame& frame, const Headers& h) {
    const IpAddress& to = h.ip_destination;
    const bool group = to == all_nodes || to == solicited_node(link_local_) ||
                       (settings_.ipv6.is_v6() && to == solicited_node(settings_.ipv6));
    if (!is_mine(to) && !group) {
        ++not_for_us_;
        return;
    }
    if (h.is_udp()) return handle_udp(frame, h);
    if (h.is_tcp() && is_mine(to)) return handle_tcp(frame, h);
    if (h.protocol == ip_protocol::icmpv6) return handle_icmp(frame, h);
    ++not_understood_;
}

void Peer::handle_icmp(const Frame& frame, const Headers& h) {
    const auto message = std::span{frame.bytes}.subspan(h.transport_offset, h.end - h.transport_offset);
    if (message.size() < 8) {
        ++not_understood_;
        return;
    }
    const bool v4 = h.ip == IpFamily::v4;
    const std::uint8_t type = load_u8(message, 0);
    if (type == (v4 ? icmp::v4_echo_request : icmp::v6_echo_request)) {
        // RFC 1122, 3.2.2.6 lets a host ignore those to a group, and who has no address gets no answer.
        if (!is_mine(h.ip_destination) || h.ip_source.is_unspecified() || h.ip_source.is_multicast()) return;
        std::vector<std::byte> reply(message.begin(), message.end());
        reply[0] = std::byte{v4 ? icmp::v4_echo_reply : icmp::v6_echo_reply};
        ++echoes_;
        send_icmp(h.ip_destination, h.ip_source, reply);
    } else if (type == (v4 ? icmp::v4_echo_reply : icmp::v6_echo_reply)) {
        pinger_.reply_arrived(h.ip_source, load_be16(message, 4), load_be16(message, 6));
    } else if (!v4 && type == icmp::neighbour_solicitation) {
        handle_neighbour_solicitation(message, h);
    } else if (!v4 && type == icmp::neighbour_advertisement) {
        handle_neighbour_advertisement(message, h);
    } else {
        ++not_understood_;
    }
}

// RFC 4861, 7.1.1 and 7.2.3.
void Peer::handle_neighbour_solicitation(std::span<const std::byte> message, const Headers& h) {
    if (h.hop_limit != 255 || message.size() < 24 || load_u8(message, 1) != 0) return;
    const IpAddress target = load_ip(message, 8, IpFamily::v6);
    if (!is_mine(target)) return;
    const bool probing = h.ip_source.is_unspecified();  // somebody wants this address for itself
    if (!probing) {
        const auto source = find_address(message.subspan(24), icmp::source_link_layer_address);
        if (source) neighbours_.learn(h.ip_source, *source);
    }
    std::vector<std::byte> reply(32);
    reply[0] = std::byte{icmp::neighbour_advertisement};
    store_be32(reply, 4, probing ? 0x2000'0000 : 0x6000'0000);  // override; solicited
    store_ip(reply, 8, target);
    reply[24] = std::byte{icmp::target_link_layer_address};
    reply[25] = std::byte{1};
    store_mac(reply, 26, settings_.mac);
    send_icmp(target, probing ? all_nodes : h.ip_source, reply, 255);
}

void Peer::handle_neighbour_advertisement(std::span<const std::byte> message, const Headers& h) {
    if (h.hop_limit != 255 || message.size() < 24 || load_u8(message, 1) != 0) return;
    const IpAddress target = load_ip(message, 8, IpFamily::v6);
    const auto address = find_address(message.subspan(24), icmp::target_link_layer_address);
    if (address && !is_mine(target)) neighbours_.learn(target, *address);
}

void Peer::handle_udp(const Frame& frame, const Headers& h) {
    const std::size_t length = load_be16(frame.bytes, h.transport_offset + 4) - 8u;
    const auto payload = std::span{frame.bytes}.subspan(h.payload_offset, length);
    if (h.destination_port == DhcpServer::server_port && h.ip == IpFamily::v4 && dhcp_) {
        const auto reply = dhcp_->answer(payload, scope_.now());
        if (!reply) return;
        const bool relayed = reply->destination != limited_broadcast && h.source_port == DhcpServer::server_port;
        const std::uint16_t port = relayed ? DhcpServer::server_port : DhcpServer::client_port;
        return send_udp_from(settings_.ipv4, DhcpServer::server_port, {reply->destination, port}, reply->message,
                             relayed ? std::nullopt : std::optional{reply->mac});
    }
    if (!is_mine(h.ip_destination) || h.ip_source.is_unspecified() || h.ip_source.is_multicast()) return;
    if (h.destination_port == udp_discard_port) {
        ++udp_discarded_;
    } else if (h.destination_port == udp_echo_port) {
        // Not back to another echo service, which would never end.
        if (h.source_port == udp_echo_port) return;
        ++echoes_;
        send_udp_from(h.ip_destination, udp_echo_port, {h.ip_source, h.source_port}, payload, std::nullopt);
    } else if (program_ == nullptr ||
               !program_->udp_arrived(h.destination_port, {h.ip_source, h.source_port}, payload)) {
        port_unreachable(frame, h);
    }
}

void Peer::port_unreachable(const Frame& frame, const Headers& h) {
    const bool v4 = h.ip == IpFamily::v4;
    // The packet's header and the first bytes of its payload (RFC 792); as much as fits the smallest MTU (RFC 4443).
    const std::size_t shown = v4 ? std::min<std::size_t>(h.end, h.transport_offset + 8u)
                                 : std::min<std::size_t>(h.end, h.network_offset + 1232u);
    Frame complete = frame;  // a neighbour on the same switch may have left its checksums to others
    (void)fill_checksums(complete);
    const auto quoted = std::span{complete.bytes}.subspan(h.network_offset, shown - h.network_offset);
    std::vector<std::byte> message(8);
    message[0] = std::byte{v4 ? icmp::v4_unreachable : icmp::v6_unreachable};
    message[1] = std::byte{v4 ? icmp::port_unreachable : icmp::v6_port_unreachable};
    message.insert(message.end(), quoted.begin(), quoted.end());
    send_icmp(h.ip_destination, h.ip_source, message);
}

void Peer::handle_tcp(const Frame& frame, const Headers& h) {
    const auto segment = parse_tcp(frame.bytes, h);
    if (!segment || h.ip_source.is_multicast() || h.ip_source.is_unspecified() || h.ip_source == limited_broadcast) {
        ++not_understood_;
        return;
    }
    tcp_.arrived({{h.ip_destination, h.destination_port}, {h.ip_source, h.source_port}}, *segment);
}

}  // namespace models
