// The services of a partition that answer a scenario's questions: key-value exchange, snapshots, file copy, sockets,
// memory. A question has a number; its answer waits here until it is taken, and a checkpoint keeps both.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "models/guest_ram.h"
#include "vmbus/input/pointer.h"
#include "vmbus/integration/file_copy.h"
#include "vmbus/integration/key_value.h"
#include "vmbus/integration/volume_snapshot.h"
#include "vmbus/memory/dynamic_memory.h"
#include "vmbus/memory/memory_balancer.h"
#include "vmbus/server.h"
#include "vmbus/socket/host_sockets.h"

namespace models {

// Hears that there is something new for whoever waits for a service.
class ServiceListener {
public:
    virtual void service_changed() = 0;

protected:
    ~ServiceListener() = default;
};

class PartitionServices final : private vmbus::KeyValueListener,
                                private vmbus::SnapshotListener,
                                private vmbus::FileCopyListener,
                                private vmbus::DynamicMemoryListener,
                                private vmbus::SocketUser {
public:
    PartitionServices(const sim::Scope& scope, const vmbus::ServiceHost& host, vmbus::Server& server, GuestRam& ram,
                      ServiceListener& listener);
    ~PartitionServices();
    PartitionServices(const PartitionServices&) = delete;

    // Questions are asked of the services themselves; their answers are here.
    vmbus::KeyValueExchange& key_values() { return key_values_; }
    std::optional<vmbus::KeyValueResult> take_key_values(std::uint32_t request);
    vmbus::FileCopy& file_copy() { return file_copy_; }
    std::optional<vmbus::FileCopyResult> take_copy(std::uint32_t copy);
    vmbus::VolumeSnapshot& snapshots() { return snapshots_; }
    // The number of the question.
    std::uint32_t ask_snapshot(vmbus::SnapshotOperation operation);
    std::optional<vmbus::SnapshotResult> take_snapshot(std::uint32_t number);

    vmbus::Pointer& pointer() { return pointer_; }

    vmbus::HostSockets& sockets() { return sockets_; }
    // The guest's oldest connection to a port that nobody has taken yet.
    std::optional<vmbus::SocketId> accept(std::uint32_t port);

    vmbus::DynamicMemory& memory() { return memory_; }
    std::uint64_t assigned_pages() const { return ram_.assigned_pages(); }
    // Adds so many pages behind all RAM there is, aligned as the guest asks for. False: not now.
    bool hot_add(std::uint64_t pages);
    // After each of the guest's reports, or no longer.
    void balance(const std::optional<vmbus::MemoryBalancer::Settings>& settings) { state_.balance = settings; }

    // All that has state, this among it.
    template <class Function>
    void for_each_state(Function& function) {
        function(key_values_);
        function(snapshots_);
        function(file_copy_);
        function(pointer_);
        function(memory_);
        function(sockets_);
        function(*this);
    }

    // The guest has ended: its memory stays as it is.
    void close() { ram_.close(); }

    template <class Archive>
    void fields(Archive& archive) {
        archive(state_);
    }

private:
    struct KeyValueAnswer {
        vmbus::RequestOutcome outcome = vmbus::RequestOutcome::answered;
        std::uint32_t status = 0;
        std::vector<vmbus::KeyValue> items;
        vmbus::KeyValue names;   // of an adapter's addresses: adapter, addresses
        vmbus::KeyValue routes;  // subnets, gateways
        std::string name_servers;
        std::uint8_t family = 0;
        bool dhcp = false;

        template <class Archive>
        void fields(Archive& archive) {
            archive(outcome, status, items, names, routes, name_servers, family, dhcp);
        }
    };
    struct CopyAnswer {
        vmbus::RequestOutcome outcome = vmbus::RequestOutcome::answered;
        std::uint32_t status = 0;
        std::uint64_t bytes_written = 0;

        template <class Archive>
        void fields(Archive& archive) {
            archive(outcome, status, bytes_written);
        }
    };
    struct SnapshotAnswer {
        vmbus::SnapshotOperation operation = vmbus::SnapshotOperation::freeze;
        vmbus::RequestOutcome outcome = vmbus::RequestOutcome::answered;
        std::uint32_t status = 0;
        std::uint32_t flags = 0;

        template <class Archive>
        void fields(Archive& archive) {
            archive(operation, outcome, status, flags);
        }
    };
    struct State {
        std::map<std::uint32_t, KeyValueAnswer> key_values;
        std::map<std::uint32_t, CopyAnswer> copies;
        std::map<std::uint32_t, SnapshotAnswer> snapshots;
        std::uint32_t last_snapshot = 0;
        std::map<std::uint32_t, vmbus::SnapshotOperation> snapshots_asked;  // not answered yet
        std::map<std::uint32_t, std::deque<vmbus::SocketId>> accepted;      // by port, not taken yet
        std::optional<vmbus::MemoryBalancer::Settings> balance;

        template <class Archive>
        void fields(Archive& archive) {
            archive(key_values, copies, snapshots, last_snapshot, snapshots_asked, accepted, balance);
        }
    };

    void key_value_answered(std::uint32_t request, const vmbus::KeyValueResult& result) override;
    void snapshot_answered(const vmbus::SnapshotResult& result) override;
    void file_copied(const vmbus::FileCopyResult& result) override;
    void memory_status(const vmbus::GuestMemoryStatus& status) override;
    void balloon_grown(std::uint64_t) override { memory_changed(); }
    void balloon_shrunk(std::uint64_t) override { memory_changed(); }
    void memory_added(std::uint64_t, bool) override { memory_changed(); }
    void memory_changed();
    void accepted(vmbus::SocketId socket, std::uint32_t port) override;
    void connected(vmbus::SocketId) override { listener_.service_changed(); }
    void refused(vmbus::SocketId) override { listener_.service_changed(); }
    void readable(vmbus::SocketId) override { listener_.service_changed(); }
    void finished(vmbus::SocketId) override { listener_.service_changed(); }
    void drained(vmbus::SocketId) override { listener_.service_changed(); }
    void closed(vmbus::SocketId) override { listener_.service_changed(); }

    GuestRam& ram_;
    ServiceListener& listener_;
    vmbus::Server& server_;
    State state_;
    sim::Counter& assigned_;
    sim::Counter& available_;
    sim::Counter& committed_;
    sim::Counter& pressure_;
    vmbus::KeyValueExchange key_values_;
    vmbus::VolumeSnapshot snapshots_;
    vmbus::FileCopy file_copy_;
    vmbus::Pointer pointer_;
    vmbus::DynamicMemory memory_;
    vmbus::HostSockets sockets_;
    sim::StateRegistration registration_;
};

}  // namespace models
