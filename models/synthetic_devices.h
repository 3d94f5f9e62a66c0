// What a partition finds on its VMBus: the root's services for it, each on a processor of the root's.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "hypervisor/root_client.h"
#include "models/partition_bus.h"
#include "sim/processor.h"
#include "vmbus/integration/heartbeat.h"
#include "vmbus/integration/shutdown.h"
#include "vmbus/integration/time_sync.h"

namespace models {

// The root's processors, by number.
class RootProcessors {
public:
    virtual ~RootProcessors() = default;
    virtual std::uint32_t count() const = 0;
    virtual sim::Processor& processor(std::uint32_t index) = 0;
};

struct ServiceConfig {
    unsigned vps = 1;
    std::int64_t epoch_s = 0;  // time of day at simulated time 0, seconds since 1970
};

class SyntheticDevices final : private vmbus::ReferenceClock {
public:
    SyntheticDevices(const sim::Scope& scope, const ServiceConfig& config, hypervisor::RootClient& client,
                     PortNumbers& numbers, RootProcessors& processors, const HostMemory& memory,
                     hypervisor::PartitionId partition, const std::vector<MemoryRun>& runs);

    PartitionBus& bus() { return bus_; }
    vmbus::Heartbeat& heartbeat() { return heartbeat_; }
    vmbus::Shutdown& shutdown() { return shutdown_; }
    vmbus::TimeSync& time_sync() { return time_sync_; }

    // The guest has ended: all channels close.
    void guest_stopped() { bus_.server().reset(); }
    // Its partition goes.
    void take_down() { bus_.take_down(); }

private:
    std::uint64_t reference_time() override;
    vmbus::ServiceHost service_host();

    hypervisor::RootClient& client_;
    hypervisor::PartitionId partition_;
    RootProcessors& processors_;
    PartitionBus bus_;
    vmbus::Heartbeat heartbeat_;
    vmbus::Shutdown shutdown_;
    vmbus::TimeSync time_sync_;
};

}  // namespace models
