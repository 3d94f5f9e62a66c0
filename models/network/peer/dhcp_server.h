// A DHCP server for IPv4 (RFC 2131, options of RFC 2132): one pool, leases by client, in the simulated time. Pure: a
// message in, an answer out.
// Left out: relays' option 82, DHCPLEASEQUERY, probing an address before it is offered.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "models/network/addresses.h"
#include "sim/time.h"

namespace models {

struct DhcpSettings {
    IpAddress first;  // of the pool
    IpAddress last;
    std::uint8_t prefix_length = 24;
    IpAddress router;  // none: the option is left out
    std::vector<IpAddress> dns;
    std::string domain;
    std::uint32_t lease_s = 3600;
    std::uint16_t mtu = 0;                     // 0: the option is left out
    std::map<MacAddress, IpAddress> reserved;  // always the same address, in the pool or not
};

class DhcpServer final {
public:
    static constexpr std::uint16_t server_port = 67;
    static constexpr std::uint16_t client_port = 68;

    DhcpServer(const DhcpSettings& settings, const IpAddress& server);

    struct Reply {
        std::vector<std::byte> message;
        IpAddress destination;
        MacAddress mac;  // for a client that has no address yet
    };
    // Nothing for what is not a client's message or has no answer.
    std::optional<Reply> answer(std::span<const std::byte> message, sim::Time now);

    std::size_t leases() const { return leases_.size(); }
    std::optional<IpAddress> lease_of(const MacAddress& mac, sim::Time now) const;

    template <class Archive>
    void fields(Archive& archive) {
        archive(leases_);
    }

private:
    struct Request;
    struct Lease {
        std::vector<std::uint8_t> client;
        MacAddress mac;
        sim::Time until;
        bool offered = false;   // not yet taken
        bool declined = false;  // somebody else was found to have it
        template <class Archive>
        void fields(Archive& archive) {
            archive(client, mac, until, offered, declined);
        }
    };
    std::optional<Reply> discover(const Request& request, sim::Time now);
    std::optional<Reply> request(const Request& request, sim::Time now);
    Reply reply(const Request& request, std::uint8_t type, const IpAddress& address) const;
    std::optional<IpAddress> choose(const Request& request, sim::Time now) const;
    bool is_free(const IpAddress& address, const Request& request, sim::Time now) const;
    bool in_pool(const IpAddress& address) const;

    DhcpSettings settings_;
    IpAddress server_;
    std::map<IpAddress, Lease> leases_;
};

}  // namespace models
