#include "models/network/peer/dhcp_server.h"

#include <fmt/format.h>

#include <algorithm>

#include "models/network/byte_order.h"

namespace models {

namespace {

constexpr std::size_t fixed_bytes = 236;
constexpr std::uint32_t magic_cookie = 0x63825363;
constexpr std::size_t smallest_message_bytes = 300;  // RFC 1542, 2.1: some clients take no shorter one
constexpr std::uint32_t infinite_lease = 0xffff'ffff;

namespace message_type {
constexpr std::uint8_t discover = 1;
constexpr std::uint8_t offer = 2;
constexpr std::uint8_t request = 3;
constexpr std::uint8_t decline = 4;
constexpr std::uint8_t ack = 5;
constexpr std::uint8_t nak = 6;
constexpr std::uint8_t release = 7;
constexpr std::uint8_t inform = 8;
}  // namespace message_type

namespace dhcp_option {
constexpr std::uint8_t pad = 0;
constexpr std::uint8_t subnet_mask = 1;
constexpr std::uint8_t router = 3;
constexpr std::uint8_t dns = 6;
constexpr std::uint8_t domain = 15;
constexpr std::uint8_t mtu = 26;
constexpr std::uint8_t requested_address = 50;
constexpr std::uint8_t lease_time = 51;
constexpr std::uint8_t message_type = 53;
constexpr std::uint8_t server = 54;
constexpr std::uint8_t renewal_time = 58;
constexpr std::uint8_t rebinding_time = 59;
constexpr std::uint8_t client = 61;
constexpr std::uint8_t end = 255;
}  // namespace dhcp_option

void put(std::vector<std::byte>& message, std::uint8_t code, std::span<const std::uint8_t> value) {
    if (value.empty()) return;
    message.push_back(std::byte{code});
    message.push_back(static_cast<std::byte>(value.size()));
    for (const std::uint8_t b : value) message.push_back(std::byte{b});
}

void put_u32(std::vector<std::byte>& message, std::uint8_t code, std::uint32_t value) {
    const auto bytes = IpAddress::v4(value).bytes;
    put(message, code, std::span{bytes}.first(4));
}

}  // namespace

struct DhcpServer::Request {
    std::uint8_t type = 0;
    std::uint32_t transaction = 0;
    std::uint16_t flags = 0;
    IpAddress client_address;
    IpAddress relay;
    MacAddress mac;
    std::vector<std::uint8_t> client;
    std::optional<IpAddress> requested;
    std::optional<IpAddress> server;

    static std::optional<Request> parse(std::span<const std::byte> m) {
        // A request, Ethernet.
        if (m.size() < fixed_bytes + 4 || load_be32(m, 0) >> 8 != 0x010106) return std::nullopt;
        if (load_be32(m, fixed_bytes) != magic_cookie) return std::nullopt;
        Request r;
        r.transaction = load_be32(m, 4);
        r.flags = load_be16(m, 10);
        r.client_address = load_ip(m, 12, IpFamily::v4);
        r.relay = load_ip(m, 24, IpFamily::v4);
        r.mac = load_mac(m, 28);
        auto options = m.subspan(fixed_bytes + 4);
        while (!options.empty()) {
            const std::uint8_t code = load_u8(options, 0);
            if (code == dhcp_option::end) break;
            if (code == dhcp_option::pad) {
                options = options.subspan(1);
                continue;
            }
            if (options.size() < 2 || load_u8(options, 1) > options.size() - 2) return std::nullopt;
            const auto value = options.subspan(2, load_u8(options, 1));
            options = options.subspan(2 + value.size());
            if (code == dhcp_option::message_type && value.size() == 1) r.type = load_u8(value, 0);
            if (code == dhcp_option::requested_address && value.size() == 4)
                r.requested = load_ip(value, 0, IpFamily::v4);
            if (code == dhcp_option::server && value.size() == 4) r.server = load_ip(value, 0, IpFamily::v4);
            if (code == dhcp_option::client) {
                r.client.clear();
                for (const std::byte b : value) r.client.push_back(std::to_integer<std::uint8_t>(b));
            }
        }
        if (r.client.empty()) {
            r.client.push_back(1);  // hardware type and address, RFC 2132, 9.14
            r.client.insert(r.client.end(), r.mac.bytes.begin(), r.mac.bytes.end());
        }
        return r;
    }
};

DhcpServer::DhcpServer(const DhcpSettings& settings, const IpAddress& server) : settings_(settings), server_(server) {
    if (!settings.first.is_v4() || !settings.last.is_v4() || settings.last < settings.first || !server.is_v4()) {
        throw sim::UserError(fmt::format("dhcp: {} to {} is no pool of IPv4 addresses", to_string(settings.first),
                                         to_string(settings.last)));
    }
}

std::optional<DhcpServer::Reply> DhcpServer::answer(std::span<const std::byte> message, sim::Time now) {
    const auto r = Request::parse(message);
    if (!r) return std::nullopt;
    // Leases that ended long ago make room, so that clients with ever new names take no memory.
    std::erase_if(leases_, [now](const auto& item) { return item.second.until <= now; });
    switch (r->type) {
        case message_type::discover:
            return discover(*r, now);
        case message_type::request:
            return request(*r, now);
        case message_type::inform:
            return reply(*r, message_type::ack, IpAddress{});
        case message_type::decline:
            if (r->requested) {
                const auto place = leases_.find(*r->requested);
                if (place != leases_.end() && place->second.client == r->client) place->second.declined = true;
            }
            return std::nullopt;
        case message_type::release:
            std::erase_if(leases_, [&](const auto& item) {
                return item.first == r->client_address && item.second.client == r->client;
            });
            return std::nullopt;
        default:
            return std::nullopt;
    }
}

std::optional<DhcpServer::Reply> DhcpServer::discover(const Request& r, sim::Time now) {
    const auto address = choose(r, now);
    if (!address) return std::nullopt;
    Lease& lease = leases_[*address];
    if (lease.client != r.client || lease.offered) {
        lease = {r.client, r.mac, now + sim::Time::s(60), true, false};
    }
    return reply(r, message_type::offer, *address);
}

std::optional<DhcpServer::Reply> DhcpServer::request(const Request& r, sim::Time now) {
    // RFC 2131, 4.3.2: selecting, after a restart, renewing and rebinding differ in what is filled in.
    if (r.server && *r.server != server_) {
        std::erase_if(leases_, [&](const auto& item) { return item.second.client == r.client && item.second.offered; });
        return std::nullopt;
    }
    const IpAddress wanted = r.requested.value_or(r.client_address);
    if (!is_free(wanted, r, now)) return reply(r, message_type::nak, IpAddress{});
    std::erase_if(leases_, [&](const auto& item) { return item.second.client == r.client; });
    const sim::Time until =
        settings_.lease_s == infinite_lease ? sim::Time::never() : now + sim::Time::s(1) * settings_.lease_s;
    leases_[wanted] = {r.client, r.mac, until, false, false};
    return reply(r, message_type::ack, wanted);
}

bool DhcpServer::in_pool(const IpAddress& address) const {
    return address.is_v4() && settings_.first <= address && address <= settings_.last && address != server_;
}

bool DhcpServer::is_free(const IpAddress& address, const Request& r, sim::Time now) const {
    const auto own = settings_.reserved.find(r.mac);
    if (own != settings_.reserved.end()) return own->second == address;
    const bool kept = std::any_of(settings_.reserved.begin(), settings_.reserved.end(),
                                  [&](const auto& item) { return item.second == address; });
    if (kept || !in_pool(address)) return false;
    const auto place = leases_.find(address);
    if (place == leases_.end() || place->second.until <= now) return true;
    return place->second.client == r.client && !place->second.declined;
}

std::optional<IpAddress> DhcpServer::choose(const Request& r, sim::Time now) const {
    // RFC 2131, 4.3.1: the present or last one, the one asked for, any.
    const auto own = settings_.reserved.find(r.mac);
    if (own != settings_.reserved.end()) return own->second;
    for (const auto& [address, lease] : leases_) {
        if (lease.client == r.client && is_free(address, r, now)) return address;
    }
    if (r.requested && is_free(*r.requested, r, now)) return r.requested;
    for (std::uint32_t n = settings_.first.to_v4();; ++n) {
        if (is_free(IpAddress::v4(n), r, now)) return IpAddress::v4(n);
        if (n == settings_.last.to_v4()) return std::nullopt;
    }
}

std::optional<IpAddress> DhcpServer::lease_of(const MacAddress& mac, sim::Time now) const {
    for (const auto& [address, lease] : leases_) {
        if (lease.mac == mac && !lease.offered && !lease.declined && lease.until > now) return address;
    }
    return std::nullopt;
}

DhcpServer::Reply DhcpServer::reply(const Request& r, std::uint8_t type, const IpAddress& address) const {
    Reply out;
    auto& m = out.message;
    m.resize(fixed_bytes + 4);
    store_be32(m, 0, 0x02010600);
    store_be32(m, 4, r.transaction);
    store_be16(m, 10, r.flags);
    if (type != message_type::nak) store_ip(m, 12, r.client_address);
    store_be32(m, 16, address.to_v4());
    store_ip(m, 20, server_);
    store_ip(m, 24, r.relay);
    store_mac(m, 28, r.mac);
    store_be32(m, fixed_bytes, magic_cookie);
    put(m, dhcp_option::message_type, std::array{type});
    put_u32(m, dhcp_option::server, server_.to_v4());
    if (type != message_type::nak) {
        if (type != message_type::ack || !address.is_none()) {
            put_u32(m, dhcp_option::lease_time, settings_.lease_s);
            if (settings_.lease_s != infinite_lease) {
                put_u32(m, dhcp_option::renewal_time, settings_.lease_s / 2);
                put_u32(m, dhcp_option::rebinding_time, settings_.lease_s / 8 * 7);
            }
        }
        const std::uint32_t mask =
            settings_.prefix_length == 0 ? 0 : ~std::uint32_t{0} << (32 - settings_.prefix_length);
        put_u32(m, dhcp_option::subnet_mask, mask);
        if (settings_.router.is_v4()) put_u32(m, dhcp_option::router, settings_.router.to_v4());
        std::vector<std::uint8_t> dns;
        for (const IpAddress& server : settings_.dns)
            dns.insert(dns.end(), server.bytes.begin(), server.bytes.begin() + 4);
        put(m, dhcp_option::dns, dns);
        put(m, dhcp_option::domain, std::vector<std::uint8_t>(settings_.domain.begin(), settings_.domain.end()));
        if (settings_.mtu != 0) {
            put(m, dhcp_option::mtu,
                std::array{static_cast<std::uint8_t>(settings_.mtu >> 8), static_cast<std::uint8_t>(settings_.mtu)});
        }
    }
    m.push_back(std::byte{dhcp_option::end});
    if (m.size() < smallest_message_bytes) m.resize(smallest_message_bytes);

    // RFC 2131, 4.1: to the relay, to the address the client has, to everybody if it wants that, to the new address.
    out.mac = r.mac;
    constexpr std::uint16_t broadcast_flag = 0x8000;
    const IpAddress everybody = IpAddress::v4(0xffff'ffff);
    if (!r.relay.is_unspecified()) {
        out.destination = r.relay;
    } else if (type == message_type::nak) {
        out.destination = everybody;
    } else if (!r.client_address.is_unspecified()) {
        out.destination = r.client_address;
    } else {
        out.destination = (r.flags & broadcast_flag) != 0 || address.is_none() ? everybody : address;
    }
    if (out.destination == everybody) out.mac = MacAddress::broadcast();
    return out;
}

}  // namespace models
