// The adapter as RNDIS control messages see it: initialised or not, what may be asked of it and set. It answers each
// message with at most one other; what else follows from it, its owner does.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "vmbus/network/ndis.h"
#include "vmbus/network/network_port.h"
#include "vmbus/network/rndis.h"

namespace vmbus {

// Frames and their bytes by kind of destination, without tags that are not in the bytes.
struct TrafficCount {
    struct Kind {
        std::uint64_t frames = 0;
        std::uint64_t bytes = 0;

        friend constexpr bool operator==(const Kind&, const Kind&) = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(frames, bytes);
        }
    };
    Kind directed;
    Kind multicast;
    Kind broadcast;
    std::uint64_t discards = 0;  // for want of room, or for rules
    std::uint64_t errors = 0;    // that could not be understood
    std::uint64_t no_buffer = 0;

    std::uint64_t frames() const { return directed.frames + multicast.frames + broadcast.frames; }
    std::uint64_t bytes() const { return directed.bytes + multicast.bytes + broadcast.bytes; }
    void add(std::span<const std::byte> frame);

    friend constexpr bool operator==(const TrafficCount&, const TrafficCount&) = default;
    template <class Archive>
    void fields(Archive& archive) {
        archive(directed, multicast, broadcast, discards, errors, no_buffer);
    }
};

class RndisDevice {
public:
    struct Config {
        NetworkAddress address;
        std::string friendly_name = "Network Adapter";
        bool address_change_allowed = false;
        OffloadSettings offloads = OffloadSettings::all(false);
        std::uint16_t queues = 1;
        std::uint16_t rss_table_entries = 128;
        std::uint32_t packets_per_message = 8;
        std::uint32_t alignment_factor = 3;
    };
    // What the host says of the link, and what was counted.
    struct Surroundings {
        bool link_up = true;
        std::uint64_t bits_per_second = 0;
        const TrafficCount* from_guest = nullptr;
        const TrafficCount* to_guest = nullptr;
    };
    // What a message has changed.
    struct Changes {
        bool ready = false;
        bool filter = false;
        bool address = false;
        bool offloads = false;
        bool rss = false;
    };
    struct Answer {
        bool understood = true;
        std::vector<std::byte> reply;  // empty: none
        Changes changes;
    };
    static constexpr std::size_t largest_message = 16384;
    static constexpr std::size_t largest_group_list = 256;

    explicit RndisDevice(const Config& config);

    // A driver has attached: what it is, and the largest frame that was agreed with it.
    void attach(std::uint16_t ndis_version, bool coalescing, std::uint32_t frame_bytes);
    // It is gone. The address that it gave itself stays.
    void detach();

    Answer handle(std::span<const std::byte> message, const Surroundings& surroundings);

    bool operational() const { return state_.operational; }
    std::uint32_t filter() const { return state_.filter; }
    std::span<const NetworkAddress> groups() const { return state_.groups; }
    const NetworkAddress& address() const { return state_.address; }
    const OffloadSettings& offloads() const { return state_.offloads; }
    // What this driver may switch on.
    OffloadSettings supported_offloads() const;
    const RssSettings& rss() const { return state_.rss; }
    std::uint32_t frame_bytes() const { return state_.frame_bytes; }
    // The offloads as the guest's NDIS knows them, in no more than `room` bytes if that is possible.
    std::vector<std::byte> offload_bytes(const OffloadSettings& settings,
                                         std::uint32_t room = ndis::offload_bytes_3) const;
    bool wants(std::span<const std::byte> frame) const;

    template <class Archive>
    void fields(Archive& archive) {
        archive(state_);
    }

private:
    struct State {
        bool operational = false;
        std::uint16_t ndis_version = ndis::ndis_6_0;
        bool coalescing = false;
        std::uint32_t frame_bytes = 1514;
        std::uint32_t filter = 0;
        std::uint32_t lookahead = 0;
        std::vector<NetworkAddress> groups;
        NetworkAddress address;
        OffloadSettings offloads;
        RssSettings rss;

        friend bool operator==(const State&, const State&) = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(operational, ndis_version, coalescing, frame_bytes, filter, lookahead, groups, address, offloads,
                    rss);
        }
    };

    void start_over();
    Answer query(std::span<const std::byte> message, const Surroundings& surroundings);
    Answer set(std::span<const std::byte> message);
    std::optional<std::vector<std::byte>> value_of(ndis::Oid oid, std::uint32_t room,
                                                   const Surroundings& surroundings) const;
    std::optional<std::uint64_t> statistic(ndis::Oid oid, const Surroundings& surroundings) const;
    std::uint32_t set_value(ndis::Oid oid, std::span<const std::byte> information, Changes& changes);
    std::uint32_t set_config_parameter(std::span<const std::byte> information, Changes& changes);

    Config config_;
    State state_;
};

}  // namespace vmbus
