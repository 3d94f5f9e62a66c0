// Ports and connections (TLFS chapter 11): how partitions send each other messages and events. A port is the receiving
// end, owned by one partition; a connection is a sender's name for it. What is sent to a child's port goes into the
// SynIC of one of its virtual processors, what is sent to the root's port to the root's stack.
//
// Towards the root everything arrives in the order it was sent, messages and events alike, as an event of its own at
// the same simulated time. A signal of a flag that is still on its way is that same flag.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <vector>

#include "hypervisor/tlfs.h"
#include "sim/queue.h"
#include "sim/scope.h"
#include "sim/working_set.h"

namespace hypervisor {

using PortId = std::uint32_t;
using ConnectionId = std::uint32_t;

// The root's stack, where it receives.
class RootReceiver {
public:
    virtual ~RootReceiver() = default;
    virtual void message(PortId port, const HvMessage& message) = 0;
    virtual void event(PortId port, std::uint16_t flag) = 0;
    // A child's virtual processor is suspended in an intercept; the sender in the header is its partition.
    virtual void intercept(const HvMessage& message) = 0;
};

// The synthetic interrupt controllers of all children.
class SynicTargets {
public:
    virtual ~SynicTargets() = default;
    // What is needed when it sends and is sent to (sim/working_set.h). Null: there is no such partition.
    virtual sim::WorkingSet* port_needs(std::uint64_t /*partition*/) { return nullptr; }
    // success, insufficient_buffers (its queue is full), invalid_synic_state, invalid_vp_index.
    // hv_any_vp: whichever takes it first, from virtual processor 0 on.
    virtual HvStatus post_message(std::uint64_t partition, std::uint32_t vp, std::uint32_t sint,
                                  const HvMessage& message) = 0;
    virtual HvStatus signal_event(std::uint64_t partition, std::uint32_t vp, std::uint32_t sint,
                                  std::uint16_t flag) = 0;
};

// HvCallGetPortProperty (0x5a).
enum class HvPortProperty : std::uint32_t { post_count = 0, signal_count = 1 };
struct HvInputGetPortProperty {
    std::uint64_t port_partition_id;
    std::uint32_t port_id;
    std::uint32_t reserved;
    std::uint32_t property_code;
    std::uint32_t padding;
};
static_assert(sizeof(HvInputGetPortProperty) == 24);

struct PortAddress {
    std::uint64_t partition = 0;
    std::uint32_t id = 0;

    friend auto operator<=>(const PortAddress&, const PortAddress&) = default;
    template <class Archive>
    void fields(Archive& archive) {
        archive(partition, id);
    }
};

struct Port {
    HvPortType type = HvPortType::message;
    std::uint64_t connection_partition = 0;  // who may connect
    std::uint32_t sint = 0;
    std::uint32_t vp = 0;
    std::uint16_t base_flag = 0;
    std::uint16_t flag_count = 0;
    std::uint64_t monitor_gpa = 0;
    std::uint64_t serial = 0;  // tells a port from its predecessor of the same number
    std::uint64_t posts = 0;
    std::uint64_t signals = 0;

    friend bool operator==(const Port&, const Port&) = default;
    template <class Archive>
    void fields(Archive& archive) {
        archive(type, connection_partition, sint, vp, base_flag, flag_count, monitor_gpa, serial, posts, signals);
    }
};

struct Connection {
    PortAddress port;
    std::uint64_t serial = 0;
    HvPortType type = HvPortType::message;
    std::uint64_t monitor_gpa = 0;

    friend bool operator==(const Connection&, const Connection&) = default;
    template <class Archive>
    void fields(Archive& archive) {
        archive(port, serial, type, monitor_gpa);
    }
};

class Ports final {
public:
    // A port of the root's holds so many messages that the root has not seen yet (HV_STATUS_INSUFFICIENT_BUFFERS).
    static constexpr std::size_t message_buffers_per_port = 64;

    Ports(const sim::Scope& scope, std::uint64_t root, SynicTargets& targets, RootReceiver& receiver);

    HvStatus create(PortAddress address, std::uint64_t connection_partition, const HvPortInfo& info);
    HvStatus remove(PortAddress address);
    HvStatus connect(PortAddress connection, PortAddress port, const HvConnectionInfo& info);
    HvStatus disconnect(PortAddress connection);
    HvStatus property(PortAddress address, std::uint32_t code, std::uint64_t& value) const;
    // Everything that a partition owns.
    void remove_partition(std::uint64_t partition);

    // HvCallPostMessage and HvCallSignalEvent of `sender`, whose privilege the caller has checked. The payload is the
    // sender's, and hostile: its size is checked here.
    HvStatus post_message(std::uint64_t sender, ConnectionId connection, std::uint32_t message_type,
                          std::span<const std::byte> payload);
    HvStatus signal_event(std::uint64_t sender, ConnectionId connection, std::uint16_t flag);

    std::size_t port_count(std::uint64_t partition) const;
    std::size_t connection_count(std::uint64_t partition) const;

    template <class Archive>
    void fields(Archive& archive) {
        archive(state_, deliver_);
        if constexpr (Archive::reading) forget_routes();
    }

private:
    struct Arrival {
        PortId port = 0;
        bool is_event = false;
        std::uint16_t flag = 0;
        std::uint32_t message_type = 0;
        std::uint8_t payload_size = 0;
        std::array<std::uint8_t, message_payload_bytes> payload{};

        friend bool operator==(const Arrival&, const Arrival&) = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(port, is_event, flag, message_type, payload_size, payload);
        }
    };
    struct State {
        std::map<PortAddress, Port> ports;
        std::map<PortAddress, Connection> connections;
        std::uint64_t next_serial = 1;
        sim::Queue<Arrival> arrivals;             // at the root
        std::map<PortId, std::uint64_t> waiting;  // messages among them, by port
        std::set<std::pair<PortId, std::uint16_t>> events_on_their_way;

        friend bool operator==(const State&, const State&) = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(ports, connections, next_serial, arrivals, waiting, events_on_their_way);
        }
    };

    // What a connection has led to: of many partitions' objects one is found at once, not by a way through all maps.
    struct Route {
        PortAddress address;
        HvPortType type = HvPortType::message;
        Port* port = nullptr;
    };

    HvStatus resolve(std::uint64_t sender, ConnectionId connection, HvPortType type, Route& route);
    std::uint64_t child_of(PortAddress from, PortAddress to) const;
    void forget_routes();
    void arrive(const Arrival& arrival);
    void deliver();
    void forget_arrivals(PortId port);

    sim::Scope scope_;
    std::uint64_t root_;
    SynicTargets& targets_;
    RootReceiver& receiver_;
    State state_;
    // By an address's hash, or behind it where others are; which place it is decides nothing. All are forgotten
    // whenever an object goes, or when there are more connections than half the places.
    struct alignas(64) Known {
        PortAddress from;
        Route route;  // without a port: none
    };
    std::vector<Known> routes_;
    sim::Timer deliver_;
};

}  // namespace hypervisor
