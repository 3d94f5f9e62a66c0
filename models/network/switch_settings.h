// What an administrator sets on a port of the virtual switch, and the reasons for which the switch drops frames.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "models/network/addresses.h"
#include "models/network/frame.h"
#include "models/network/headers.h"

namespace models {

using PortId = std::uint32_t;
inline constexpr PortId no_port = 0;

enum class PortKind : std::uint8_t {
    virtual_machine,
    internal,  // an adapter of the root itself
    external,  // the uplink to a physical adapter
};

enum class VlanMode : std::uint8_t {
    access,  // the adapter sees no tags; its frames belong to `id`, 0 being the untagged network
    trunk,   // the adapter tags; frames without a tag belong to `id`
};

struct VlanSettings {
    VlanMode mode = VlanMode::access;
    std::uint16_t id = 0;
    bool all = false;  // a trunk of every VLAN, else of those in `allowed`
    std::set<std::uint16_t> allowed;

    static VlanSettings access(std::uint16_t id) { return {VlanMode::access, id, false, {}}; }
    static VlanSettings trunk(std::set<std::uint16_t> allowed, std::uint16_t native = 0) {
        return {VlanMode::trunk, native, false, std::move(allowed)};
    }
    static VlanSettings trunk_of_all() { return {VlanMode::trunk, 0, true, {}}; }

    // The VLAN that a frame with this tag enters; nothing if the port may not send it.
    std::optional<std::uint16_t> enter(const std::optional<VlanTag>& tag) const;
    bool carries(std::uint16_t vlan) const;

    bool operator==(const VlanSettings&) const = default;
    template <class Archive>
    void fields(Archive& archive) {
        archive(mode, id, all, allowed);
    }
};

enum class AclAction : std::uint8_t { allow, deny, meter };
// As the port's owner sees it.
enum class AclDirection : std::uint8_t { inbound, outbound, both };

// One rule. What is left out fits every frame. "Local" is the port's owner, "remote" the other end.
struct AclRule {
    std::uint32_t weight = 0;  // the highest is asked first; the first added among equals
    AclAction action = AclAction::deny;
    AclDirection direction = AclDirection::both;
    std::optional<MacAddress> local_mac;
    std::optional<MacAddress> remote_mac;
    std::optional<IpPrefix> local_ip;
    std::optional<IpPrefix> remote_ip;
    std::optional<std::uint8_t> protocol;
    std::optional<std::uint16_t> local_port;
    std::optional<std::uint16_t> remote_port;

    bool operator==(const AclRule&) const = default;
    template <class Archive>
    void fields(Archive& archive) {
        archive(weight, action, direction, local_mac, remote_mac, local_ip, remote_ip, protocol, local_port,
                remote_port);
    }
};

enum class MirrorMode : std::uint8_t {
    none,
    source,       // what it sends and gets is copied to the ports that are ...
    destination,  // ... the monitors of the same switch
};

// What the adapter behind a port can take. What it can't, the switch does before it delivers.
struct ReceiveAbilities {
    bool large_frames = false;       // TCP beyond the frame size, uncut (LRO)
    bool coalesced = false;          // wants receive segment coalescing
    bool partial_checksums = false;  // believes a verdict and does not look at the field
    bool tags_out_of_band = false;   // else a trunk's tags are put into the bytes

    bool operator==(const ReceiveAbilities&) const = default;
    template <class Archive>
    void fields(Archive& archive) {
        archive(large_frames, coalesced, partial_checksums, tags_out_of_band);
    }
};

struct PortSettings {
    PortKind kind = PortKind::virtual_machine;
    MacAddress mac;  // the adapter's own; 0 for an uplink
    // Allows other source addresses than `mac`, lets the switch learn them, and floods unknown destinations here. An
    // uplink is always so.
    bool allow_mac_spoofing = false;
    bool dhcp_guard = false;    // drops what only a DHCP server sends
    bool router_guard = false;  // drops router advertisements and redirects
    VlanSettings vlan;
    std::uint32_t virtual_subnet = 0;  // 24 bits; not 0: a tenant's port, and VLANs do not apply
    MirrorMode mirror = MirrorMode::none;
    std::uint64_t maximum_bps = 0;  // of what the owner sends; 0: no limit
    std::uint32_t burst_bytes = 128 * 1024;
    std::uint32_t weight = 1;                  // share of a congested uplink, 1 to 100
    std::uint64_t uplink_bps = 0;              // of an external port: the rate that is shared out by weight; 0: at once
    std::uint32_t maximum_frame_bytes = 1518;  // delivered here without a large send; tags included, check sequence not
    ReceiveAbilities receives;
    std::vector<AclRule> acl;

    bool learns() const { return kind == PortKind::external || allow_mac_spoofing; }
    bool operator==(const PortSettings&) const = default;
    template <class Archive>
    void fields(Archive& archive) {
        archive(kind, mac, allow_mac_spoofing, dhcp_guard, router_guard, vlan, virtual_subnet, mirror, maximum_bps,
                burst_bytes, weight, uplink_bps, maximum_frame_bytes, receives, acl);
    }
};

// Every frame that is dropped is counted under exactly one of these, at the port in brackets.
// clang-format off
#define MODELS_SWITCH_DROP_REASONS(X)                                                                              \
    X(malformed,              "the Ethernet header is cut short or the source is a group (sender)")                \
    X(too_long,               "longer than the port's limit and not to be cut (receiver), or than any frame (sender)") \
    X(bad_offload_request,    "a checksum or large send was asked for that does not fit the headers (sender)")     \
    X(vlan_not_allowed,       "the tag is not one that the port may use (sender)")                                 \
    X(source_not_allowed,     "another adapter's source address without permission to spoof (sender)")             \
    X(dhcp_guard,             "a DHCP server's message from a guarded port (sender)")                              \
    X(router_guard,           "a router's advertisement or redirect from a guarded port (sender)")                 \
    X(acl_denied,             "a port ACL denies it (sender or receiver)")                                         \
    X(bandwidth,              "too much waits for the port's maximum bandwidth (sender)")                          \
    X(uplink_full,            "too much waits for the uplink (uplink)")                                            \
    X(extension,              "a switch extension dropped it (sender) or kept it from a port (receiver)")          \
    X(no_destination,         "no port of its network takes that address (sender)")                                \
    X(own_segment,            "the destination is behind the port it came from (sender)")                          \
    X(port_gone,              "the port was disconnected while the frame waited (receiver)")                       \
    X(no_provider_address,    "a tenant's frame for another host without a lookup record or an uplink (sender)")   \
    X(provider_unresolved,    "the other host's provider address got no answer, or too much waits for it (uplink)") \
    X(provider_mismatch,      "encapsulated by a host that the lookup records do not name for it (uplink)")        \
    X(bad_encapsulation,      "NVGRE to us that RFC 7637 does not allow (uplink)")                                 \
    X(unknown_virtual_subnet, "NVGRE for a virtual subnet without ports here (uplink)")
// clang-format on

enum class DropReason : std::uint8_t {
#define MODELS_ENUM_ENTRY(name, description) name,
    MODELS_SWITCH_DROP_REASONS(MODELS_ENUM_ENTRY)
#undef MODELS_ENUM_ENTRY
        count
};
inline constexpr std::size_t drop_reasons = static_cast<std::size_t>(DropReason::count);
const char* name_of(DropReason reason);
const char* description_of(DropReason reason);

}  // namespace models
