// A partition's VMBus as the root's stack joins it to the hypervisor: message and event ports with their connections
// (TLFS chapter 11), and the root's own view of the guest's memory.
#pragma once

#include <cstdint>
#include <deque>
#include <span>
#include <vector>

#include "hypervisor/root_client.h"
#include "models/host_memory.h"
#include "models/partition_memory.h"
#include "sim/check.h"
#include "sim/flat_map.h"
#include "vmbus/ports.h"
#include "vmbus/server.h"

namespace models {

class PageLog;
class PartitionBus;

// Numbers for ports and connections of the root's, unique in the machine, and whose port each is. 0 is none. There are
// as many as were ever in use at once.
class PortNumbers final {
public:
    hypervisor::PortId take() {
        if (free_.empty()) return next_++;
        const hypervisor::PortId number = free_.back();
        free_.pop_back();
        return number;
    }
    void give_back(hypervisor::PortId number) { free_.push_back(number); }

    void claim(hypervisor::PortId port, PartitionBus& owner) {
        if (port > hypervisor::connection_id_mask) throw sim::UserError("checkpoint: a port's number is too large");
        if (port >= owners_.size()) owners_.resize(port + std::size_t{1});
        owners_[port] = &owner;
    }
    // While a machine is restored somebody else may have claimed it already.
    void disclaim(hypervisor::PortId port, const PartitionBus& owner) {
        if (owners_[port] == &owner) owners_[port] = nullptr;
    }
    PartitionBus* owner(hypervisor::PortId port) const { return port < owners_.size() ? owners_[port] : nullptr; }
    // What owner() looks at.
    void add_needs(hypervisor::PortId port, sim::WorkingSet& set) const { set.add(owners_[port]); }

    template <class Archive>
    void fields(Archive& archive) {
        archive(next_, free_);  // owners claim their ports anew
    }

private:
    hypervisor::PortId next_ = 1;
    std::vector<hypervisor::PortId> free_;  // taken before; the last one goes first
    std::deque<PartitionBus*> owners_;      // by port; null: nobody
};

// Guest memory through the root's mapping of the pages that it gave the guest.
class RootViewOfGuest final : public vmbus::GuestMemory {
public:
    RootViewOfGuest(const HostMemory& memory, const std::vector<MemoryRun>& runs) : memory_(memory), runs_(runs) {}

    // What is written from now on is noted there; null: nowhere.
    void note_writes(PageLog* log) { log_ = log; }

    [[nodiscard]] bool read(std::uint64_t gpa, std::span<std::byte> out) override;
    [[nodiscard]] bool write(std::uint64_t gpa, std::span<const std::byte> data) override;
    // Without a look at it, which would cost the simulating computer a page.
    [[nodiscard]] bool is_memory(std::uint64_t gpa) override { return contains(gpa, 1); }
    void will_fill(std::uint64_t gpa, std::uint64_t bytes) override;
    void expect(std::uint64_t gpa) const override;
    void add_needs(sim::WorkingSet& set) const override {
        set.add(*this);
        set.add(runs_);
        set.add(runs_.data(), runs_.size() * sizeof runs_.front());
    }

private:
    bool contains(std::uint64_t gpa, std::uint64_t length) const;

    const HostMemory& memory_;
    const std::vector<MemoryRun>& runs_;
    PageLog* log_ = nullptr;
};

class PartitionBus final : private vmbus::GuestPort {
public:
    PartitionBus(const sim::Scope& scope, hypervisor::RootClient& client, PortNumbers& numbers,
                 const HostMemory& memory, hypervisor::PartitionId partition, const std::vector<MemoryRun>& runs,
                 unsigned vps);

    vmbus::Server& server() { return server_; }
    RootViewOfGuest& memory() { return memory_; }

    // What arrives at a port that this bus has claimed.
    void message(const hypervisor::HvMessage& message);
    void event(hypervisor::PortId port);

    // Those that the guest may signal; and as many for a guest that comes from elsewhere and knows them by number.
    std::vector<std::uint32_t> connections() const;
    void open_connections(std::span<const std::uint32_t> connections);

    // The partition is about to go: the root's ports and connections go first.
    void take_down();

    template <class Archive>
    void fields(Archive& archive) {
        if constexpr (Archive::reading) disclaim_ports();
        archive(state_);
        if constexpr (Archive::reading) claim_ports();
    }

private:
    // A port of the guest's, for one of its processors, and the root's connection to it.
    struct WayToGuest {
        hypervisor::ConnectionId connection = 0;

        bool operator==(const WayToGuest&) const = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(connection);
        }
    };
    struct State {
        hypervisor::PortId message_port = 0;                                 // of the root's
        sim::FlatMap<std::uint32_t, WayToGuest> messages;                    // by virtual processor
        sim::FlatMap<std::uint32_t, WayToGuest> events;                      // by virtual processor
        sim::FlatMap<std::uint32_t, hypervisor::PortId> port_of_connection;  // of the guest's connections
        sim::FlatMap<hypervisor::PortId, std::uint32_t> connection_of_port;

        bool operator==(const State&) const = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(message_port, messages, events, port_of_connection, connection_of_port);
        }
    };

    // vmbus::GuestPort
    [[nodiscard]] bool post_message(std::uint32_t vp, std::span<const std::byte> payload) override;
    void signal_event(std::uint32_t vp, std::uint16_t flag) override;
    void open_connection(std::uint32_t connection) override;
    void close_connection(std::uint32_t connection) override;
    std::uint32_t processor_count() const override { return vps_; }
    void add_needs(sim::WorkingSet& set) const override;

    void accept_messages();
    void claim_ports();
    void disclaim_ports();
    const WayToGuest& way(sim::FlatMap<std::uint32_t, WayToGuest>& ways, std::uint32_t vp, bool events);

    hypervisor::RootClient& client_;
    PortNumbers& numbers_;
    hypervisor::PartitionId partition_;
    hypervisor::PartitionId root_;
    unsigned vps_;
    State state_;
    sim::Counter& undelivered_;
    sim::StateRegistration registration_;
    RootViewOfGuest memory_;
    vmbus::Server server_;
};

}  // namespace models
