// Where a network service meets what switches frames: frames with what is still to be done to them or was found out
// about them, in batches. Nothing here knows the bus, and the other side knows neither NVSP nor RNDIS.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "sim/working_set.h"

namespace vmbus {

struct NetworkAddress {
    std::array<std::uint8_t, 6> bytes{};

    friend constexpr auto operator<=>(const NetworkAddress&, const NetworkAddress&) = default;
    template <class Archive>
    void fields(Archive& archive) {
        archive(bytes);
    }
};

// From the guest. Bytes run from the destination address to the end of the payload.
struct OutgoingFrame {
    std::vector<std::byte> bytes;
    // Checksums that are to be filled in. The transport's field may hold the pseudo-header's sum.
    bool fill_ip_checksum = false;
    bool fill_tcp_checksum = false;
    bool fill_udp_checksum = false;
    std::uint16_t large_send_mss = 0;       // not 0: TCP to be cut into segments of this size; the IP length may be 0
    std::uint16_t transport_offset = 0;     // of the TCP or UDP header, if the guest said so
    std::optional<std::uint16_t> vlan_tci;  // a tag that is not in the bytes, as IEEE 802.1Q lays it out
    std::optional<std::uint32_t> hash;

    friend bool operator==(const OutgoingFrame&, const OutgoingFrame&) = default;
    template <class Archive>
    void fields(Archive& archive) {
        archive(bytes, fill_ip_checksum, fill_tcp_checksum, fill_udp_checksum, large_send_mss, transport_offset,
                vlan_tci, hash);
    }
};

// What is known of a checksum. `absent`: it is right by origin but its value was never filled in, as in a frame of
// another guest's on the same switch, or after coalescing.
enum class ChecksumState : std::uint8_t { unknown, good, bad, absent };

// To the guest. Of the transport's checksums counts the one whose header the frame has.
struct IncomingFrame {
    std::vector<std::byte> bytes;
    ChecksumState ip_checksum = ChecksumState::unknown;
    ChecksumState tcp_checksum = ChecksumState::unknown;
    ChecksumState udp_checksum = ChecksumState::unknown;
    std::uint16_t coalesced_segments = 0;  // not 0: that many TCP segments, put together
    std::optional<std::uint16_t> vlan_tci;
    std::optional<std::uint32_t> hash;  // Toeplitz, as RssSettings say

    friend bool operator==(const IncomingFrame&, const IncomingFrame&) = default;
    template <class Archive>
    void fields(Archive& archive) {
        archive(bytes, ip_checksum, tcp_checksum, udp_checksum, coalesced_segments, vlan_tci, hash);
    }
};

// Which offloads a host has, or which of them a guest has switched on.
struct OffloadSettings {
    struct Checksums {
        bool ip = false;
        bool tcp4 = false;
        bool udp4 = false;
        bool tcp6 = false;
        bool udp6 = false;

        friend constexpr bool operator==(const Checksums&, const Checksums&) = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(ip, tcp4, udp4, tcp6, udp6);
        }
    };
    Checksums send;
    Checksums receive;
    bool large_send_ipv4 = false;
    bool large_send_ipv6 = false;
    bool coalescing_ipv4 = false;
    bool coalescing_ipv6 = false;

    static constexpr OffloadSettings all(bool coalescing = true) {
        constexpr Checksums every{true, true, true, true, true};
        return {every, every, true, true, coalescing, coalescing};
    }
    friend constexpr bool operator==(const OffloadSettings&, const OffloadSettings&) = default;
    template <class Archive>
    void fields(Archive& archive) {
        archive(send, receive, large_send_ipv4, large_send_ipv6, coalescing_ipv4, coalescing_ipv6);
    }
};

// Receive side scaling as the guest has set it.
struct RssSettings {
    bool enabled = false;
    std::uint32_t hash_types = 0;  // ndis::hash
    std::array<std::uint8_t, 40> key{};
    std::vector<std::uint16_t> table;  // channel of hash % table.size()

    friend bool operator==(const RssSettings&, const RssSettings&) = default;
    template <class Archive>
    void fields(Archive& archive) {
        archive(enabled, hash_types, key, table);
    }
};

// What the service asks of the switch. All calls come at the time at which the service's processor has done the work.
class NetworkPort {
public:
    virtual ~NetworkPort() = default;
    // Frames of one of the guest's channels, in its order. The receiver may take their bytes away.
    virtual void transmit(std::uint16_t queue, std::span<OutgoingFrame> frames) = 0;
    // The driver has brought its adapter up, or it is gone; nothing is delivered meanwhile.
    virtual void ready_changed(bool ready) { (void)ready; }
    // Which frames the guest wants (ndis::packet_filter), and for `multicast` of which groups.
    virtual void filter_changed(std::uint32_t filter, std::span<const NetworkAddress> groups) {
        (void)filter;
        (void)groups;
    }
    // The guest has given itself another address, which policy allows.
    virtual void address_changed(const NetworkAddress& address) { (void)address; }
    // The largest frame, with its Ethernet header.
    virtual void frame_size_changed(std::uint32_t bytes) { (void)bytes; }
    // A frame whose checksums are absent may come only while the guest has the matching receive offload on; coalesced
    // ones only with coalescing.
    virtual void offloads_changed(const OffloadSettings& settings) { (void)settings; }
    virtual void rss_changed(const RssSettings& settings) { (void)settings; }
    // What a frame needs there, either way (sim/working_set.h).
    virtual void add_needs(sim::WorkingSet& /*set*/) const {}
    // The guest moves its traffic to the virtual function or back. True: done. False: it will be, told by
    // NetworkProvider::data_path_switched(); the guest waits.
    virtual bool switch_data_path(bool to_virtual_function) {
        (void)to_virtual_function;
        return true;
    }
};

// What the switch asks of the service.
class NetworkAdapter {
public:
    virtual ~NetworkAdapter() = default;
    // Frames for the guest. Each is delivered, or dropped for one counted reason.
    virtual void receive(std::span<IncomingFrame> frames) = 0;
    virtual void set_link(bool up) = 0;
    virtual void set_link_speed(std::uint64_t bits_per_second) = 0;
    // The network behind the link is another one: the guest renews its addresses.
    virtual void network_changed() = 0;
};

}  // namespace vmbus
