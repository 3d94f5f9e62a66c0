#include "models/network/nvgre.h"

#include <fmt/format.h>

#include <utility>

#include "models/network/byte_order.h"
#include "models/network/checksum.h"
#include "models/network/headers.h"
#include "models/network/toeplitz.h"

namespace models {

namespace {
// RFC 7637, 3.2: a key is present, nothing else; version 0; the payload is an Ethernet frame.
constexpr std::uint16_t gre_flags = 0x2000;
constexpr std::uint16_t gre_transparent_ethernet = 0x6558;
constexpr std::size_t gre_header_bytes = 8;
constexpr std::uint8_t provider_ttl = 128;

// Spreads flows over paths and queues of the provider's network.
std::uint8_t flow_id(const Frame& inner) {
    const auto headers = parse_headers(inner);
    if (!headers) return 0;
    constexpr std::uint16_t types = rss_type::ipv4 | rss_type::tcp_ipv4 | rss_type::udp_ipv4 | rss_type::ipv6 |
                                    rss_type::tcp_ipv6 | rss_type::udp_ipv6;
    const auto hash = rss_hash(microsoft_rss_key, types, *headers);
    return hash ? static_cast<std::uint8_t>(hash->value) : std::uint8_t{0};
}
}  // namespace

NvgreEndpoint::NvgreEndpoint(sim::Agenda& agenda, NvgreOutput& output) : output_(output), neighbours_(agenda, *this) {}

void NvgreEndpoint::add_record(const LookupRecord& record) {
    if (record.virtual_subnet < first_virtual_subnet || record.virtual_subnet > last_virtual_subnet) {
        throw sim::UserError(fmt::format("network virtualization: virtual subnet {} is reserved; use {} to {}",
                                         record.virtual_subnet, first_virtual_subnet, last_virtual_subnet));
    }
    if (!record.provider_address.is_v4() || record.customer_address.is_none() || record.customer_mac.is_zero()) {
        throw sim::UserError(
            fmt::format("network virtualization: the record of {} needs a customer address, its MAC address and an "
                        "IPv4 provider address",
                        to_string(record.customer_address)));
    }
    records_[{record.virtual_subnet, record.customer_address}] = record;
}

void NvgreEndpoint::remove_record(std::uint32_t virtual_subnet, const IpAddress& customer_address) {
    records_.erase({virtual_subnet, customer_address});
}

const LookupRecord* NvgreEndpoint::find(std::uint32_t virtual_subnet, const IpAddress& customer_address) const {
    const auto place = records_.find({virtual_subnet, customer_address});
    return place == records_.end() ? nullptr : &place->second;
}

std::optional<IpAddress> NvgreEndpoint::host_of(std::uint32_t virtual_subnet, const MacAddress& mac) const {
    for (auto place = records_.lower_bound({virtual_subnet, IpAddress{}});
         place != records_.end() && place->first.first == virtual_subnet; ++place) {
        const LookupRecord& record = place->second;
        if (record.customer_mac == mac && (!provider_ || record.provider_address != provider_->address)) {
            return record.provider_address;
        }
    }
    return std::nullopt;
}

std::set<IpAddress> NvgreEndpoint::hosts_of(std::uint32_t virtual_subnet) const {
    std::set<IpAddress> hosts;
    for (auto place = records_.lower_bound({virtual_subnet, IpAddress{}});
         place != records_.end() && place->first.first == virtual_subnet; ++place) {
        hosts.insert(place->second.provider_address);
    }
    if (provider_) hosts.erase(provider_->address);
    return hosts;
}

bool NvgreEndpoint::may_send(const IpAddress& host, std::uint32_t virtual_subnet, const MacAddress& mac) const {
    bool knows_host = false;
    for (auto place = records_.lower_bound({virtual_subnet, IpAddress{}});
         place != records_.end() && place->first.first == virtual_subnet; ++place) {
        const LookupRecord& record = place->second;
        if (record.customer_mac == mac) return record.provider_address == host;
        knows_host = knows_host || record.provider_address == host;
    }
    return knows_host;
}

bool NvgreEndpoint::send(std::uint32_t virtual_subnet, const IpAddress& host, Frame&& inner) {
    if (!provider_) return false;
    const std::size_t total = ipv4_header_bytes + gre_header_bytes + inner.size();
    if (total > 0xffff) return false;
    const std::uint8_t flow = flow_id(inner);
    Frame outer;
    auto& bytes = outer.bytes;
    bytes.reserve(nvgre_overhead_bytes + inner.size());
    bytes.resize(nvgre_overhead_bytes);
    store_mac(bytes, 6, provider_->mac);
    store_be16(bytes, 12, ether_type::ipv4);
    store_be16(bytes, 14, 0x4500);
    store_be16(bytes, 16, static_cast<std::uint16_t>(total));
    store_be16(bytes, 18, next_identification_++);
    store_be16(bytes, 20, 0x4000);  // RFC 7637, 4.4: not to be fragmented
    bytes[22] = std::byte{provider_ttl};
    bytes[23] = std::byte{ip_protocol::gre};
    store_ip(bytes, 26, provider_->address);
    store_ip(bytes, 30, host);
    store_be16(bytes, 34, gre_flags);
    store_be16(bytes, 36, gre_transparent_ethernet);
    store_be32(bytes, 38, virtual_subnet << 8 | flow);
    bytes.insert(bytes.end(), inner.bytes.begin(), inner.bytes.end());
    outer.fill.ip = true;
    (void)fill_checksums(outer);
    if (provider_->vlan != 0) outer.vlan = VlanTag{provider_->vlan};
    const bool direct = provider_->gateway.is_none() || provider_->on_link.contains(host);
    neighbours_.send(direct ? host : provider_->gateway, std::move(outer));
    return true;
}

NvgreEndpoint::Arrival NvgreEndpoint::receive(const Frame& frame, const Headers& h, std::uint16_t vlan) {
    Arrival none;
    if (!provider_ || vlan != provider_->vlan) return none;
    if (const auto arp = parse_arp(frame.bytes, h); arp && arp->target_ip == provider_->address) {
        receive_arp(*arp);
        return {.taken = Taken::consumed, .virtual_subnet = 0, .inner = {}};
    }
    if (h.destination != provider_->mac || h.ip_destination != provider_->address) return none;
    return decapsulate(frame, h);
}

NvgreEndpoint::Arrival NvgreEndpoint::decapsulate(const Frame& frame, const Headers& h) const {
    Arrival arrival;
    arrival.taken = Taken::bad_encapsulation;
    const auto& bytes = frame.bytes;
    const std::size_t at = h.transport_offset;
    if (h.protocol != ip_protocol::gre || h.fragment || h.end - at < gre_header_bytes + ethernet_header_bytes) {
        return arrival;
    }
    if (load_be16(bytes, at) != gre_flags || load_be16(bytes, at + 2) != gre_transparent_ethernet) return arrival;
    arrival.virtual_subnet = load_be32(bytes, at + 4) >> 8;
    const auto inner = std::span{bytes}.subspan(at + gre_header_bytes, h.end - at - gre_header_bytes);
    // RFC 7637, 3.3: the inner frame carries no tag.
    if (load_be16(inner, 12) == ether_type::vlan) return arrival;
    arrival.taken =
        may_send(h.ip_source, arrival.virtual_subnet, load_mac(inner, 6)) ? Taken::delivered : Taken::provider_mismatch;
    arrival.inner.bytes.assign(inner.begin(), inner.end());
    return arrival;
}

void NvgreEndpoint::receive_arp(const ArpMessage& message) {
    if (!message.sender_ip.is_unspecified()) neighbours_.learn(message.sender_ip, message.sender_mac);
    if (message.operation != ArpMessage::request) return;
    Frame reply = arp_frame({.operation = ArpMessage::reply,
                             .sender_mac = provider_->mac,
                             .sender_ip = provider_->address,
                             .target_mac = message.sender_mac,
                             .target_ip = message.sender_ip});
    if (provider_->vlan != 0) reply.vlan = VlanTag{provider_->vlan};
    output_.send_provider_frame(std::move(reply));
}

void NvgreEndpoint::solicit(const IpAddress& address) {
    Frame question = arp_frame({.operation = ArpMessage::request,
                                .sender_mac = provider_->mac,
                                .sender_ip = provider_->address,
                                .target_mac = {},
                                .target_ip = address});
    if (provider_->vlan != 0) question.vlan = VlanTag{provider_->vlan};
    output_.send_provider_frame(std::move(question));
}

}  // namespace models
