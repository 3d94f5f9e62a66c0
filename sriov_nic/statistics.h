// What the statistics registers count (82599 datasheet, 8.2.3.23): of the port, of queues, of virtual functions.
#pragma once

#include <array>
#include <cstdint>

#include "sriov_nic/ports.h"

namespace sriov_nic {

inline constexpr unsigned size_classes = 6;  // 64, to 127, 255, 511, 1023, more

struct DirectionStatistics {
    std::uint64_t packets = 0;
    std::uint64_t octets = 0;  // with FCS
    std::uint64_t broadcast = 0;
    std::uint64_t multicast = 0;
    std::array<std::uint64_t, size_classes> by_size{};
    bool operator==(const DirectionStatistics&) const = default;
    template <class Archive>
    void fields(Archive& a) {
        a(packets, octets, broadcast, multicast, by_size);
    }
};

struct FunctionStatistics {
    std::uint64_t received = 0, received_octets = 0, received_multicast = 0, sent = 0, sent_octets = 0;
    bool operator==(const FunctionStatistics&) const = default;
    template <class Archive>
    void fields(Archive& a) {
        a(received, received_octets, received_multicast, sent, sent_octets);
    }
};

struct Statistics {
    DirectionStatistics good_received;  // GPRC and its kin: after the filters
    DirectionStatistics sent;
    std::uint64_t total_received = 0, total_received_octets = 0;  // TPR, TOR
    std::uint64_t crc_errors = 0, undersize = 0, oversize = 0, jabber = 0, length_errors = 0;
    std::uint64_t missed = 0;     // MPC: no room in the packet buffer
    std::uint64_t no_buffer = 0;  // RNBC: no descriptor, frame waits
    std::uint64_t xon_sent = 0, xon_received = 0, xoff_sent = 0, xoff_received = 0;
    std::uint64_t spoofed = 0;  // SSVPC
    std::uint64_t loopback = 0, filtered = 0, malformed = 0, dma_errors = 0, link_down_drops = 0, loopback_drops = 0;
    std::array<std::uint64_t, queues> queue_received{}, queue_received_octets{}, queue_dropped{}, queue_sent{},
        queue_sent_octets{};
    std::array<FunctionStatistics, max_pools> functions{};
    bool operator==(const Statistics&) const = default;
    template <class Archive>
    void fields(Archive& a) {
        a(good_received, sent, total_received, total_received_octets, crc_errors, undersize, oversize, jabber,
          length_errors, missed, no_buffer, xon_sent, xon_received, xoff_sent, xoff_received, spoofed, loopback,
          filtered, malformed, dma_errors, link_down_drops, loopback_drops, queue_received, queue_received_octets,
          queue_dropped, queue_sent, queue_sent_octets, functions);
    }
};

// `bytes` with FCS.
constexpr unsigned size_class(std::uint32_t bytes) {
    return bytes <= 64 ? 0 : bytes <= 127 ? 1 : bytes <= 255 ? 2 : bytes <= 511 ? 3 : bytes <= 1023 ? 4 : 5;
}

}  // namespace sriov_nic
