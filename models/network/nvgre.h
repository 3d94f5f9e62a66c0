// Network virtualization with NVGRE (RFC 7637): tenants' frames between hosts, each in an IPv4 packet of the provider's
// network with the tenant's virtual subnet in the GRE key. The endpoint holds the lookup records that say behind which
// provider address a customer's address is; the virtual switch decides which frames come here.
// Left out: provider addresses of IPv6, gateways between virtual subnets.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "models/network/addresses.h"
#include "models/network/frame.h"
#include "models/network/headers.h"
#include "models/network/neighbour_cache.h"
#include "models/network/switch_settings.h"
#include "sim/agenda.h"

namespace models {

inline constexpr std::size_t nvgre_overhead_bytes = 14 + 20 + 8;
// RFC 7637, 3.2: 0 to 0xfff are reserved, 0xffffff is for the vendor.
inline constexpr std::uint32_t first_virtual_subnet = 0x1000;
inline constexpr std::uint32_t last_virtual_subnet = 0xfffffe;

struct LookupRecord {
    std::uint32_t virtual_subnet = 0;
    IpAddress customer_address;
    MacAddress customer_mac;
    IpAddress provider_address;

    bool operator==(const LookupRecord&) const = default;
    template <class Archive>
    void fields(Archive& archive) {
        archive(virtual_subnet, customer_address, customer_mac, provider_address);
    }
};

struct ProviderSettings {
    IpAddress address;
    MacAddress mac;
    std::uint16_t vlan = 0;
    IpPrefix on_link;   // other provider addresses are reached through the gateway
    IpAddress gateway;  // or none

    template <class Archive>
    void fields(Archive& archive) {
        archive(address, mac, vlan, on_link, gateway);
    }
};

class NvgreOutput {
public:
    // On the provider's network.
    virtual void send_provider_frame(Frame&& frame) = 0;
    virtual void provider_unresolved() = 0;

protected:
    ~NvgreOutput() = default;
};

class NvgreEndpoint final : private NeighbourOutput {
public:
    NvgreEndpoint(sim::Agenda& agenda, NvgreOutput& output);

    void set_provider(const ProviderSettings& provider) { provider_ = provider; }
    const std::optional<ProviderSettings>& provider() const { return provider_; }
    // A record replaces the one of the same subnet and customer address. Bad numbers are a sim::UserError.
    void add_record(const LookupRecord& record);
    void remove_record(std::uint32_t virtual_subnet, const IpAddress& customer_address);

    const LookupRecord* find(std::uint32_t virtual_subnet, const IpAddress& customer_address) const;
    // Behind which other host an address is; nothing if it is here or unknown.
    std::optional<IpAddress> host_of(std::uint32_t virtual_subnet, const MacAddress& mac) const;
    // All other hosts with members of a subnet.
    std::set<IpAddress> hosts_of(std::uint32_t virtual_subnet) const;

    // `inner` is as on a wire, without a tag. False if there is no provider address here.
    bool send(std::uint32_t virtual_subnet, const IpAddress& host, Frame&& inner);

    // Frames from the provider's network.
    enum class Taken : std::uint8_t { not_ours, consumed, delivered, bad_encapsulation, provider_mismatch };
    struct Arrival {
        Taken taken = Taken::not_ours;
        std::uint32_t virtual_subnet = 0;
        Frame inner;
    };
    Arrival receive(const Frame& frame, const Headers& headers, std::uint16_t vlan);

    template <class Archive>
    void fields(Archive& archive) {
        archive(provider_, records_, neighbours_, next_identification_);
    }

private:
    void solicit(const IpAddress& address) override;
    void send_resolved(Frame&& frame) override { output_.send_provider_frame(std::move(frame)); }
    void unresolved(Frame&&) override { output_.provider_unresolved(); }
    void receive_arp(const ArpMessage& message);
    Arrival decapsulate(const Frame& frame, const Headers& headers) const;
    bool may_send(const IpAddress& host, std::uint32_t virtual_subnet, const MacAddress& mac) const;

    NvgreOutput& output_;
    NeighbourCache neighbours_;
    std::optional<ProviderSettings> provider_;
    std::map<std::pair<std::uint32_t, IpAddress>, LookupRecord> records_;
    std::uint16_t next_identification_ = 1;
};

}  // namespace models
