// What a partition finds on its VMBus: the root's services for it, each on a processor of the root's.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "hypervisor/root_client.h"
#include "models/guest_ram.h"
#include "models/host_networks.h"
#include "models/migration/pausable_processor.h"
#include "models/partition_bus.h"
#include "models/partition_services.h"
#include "models/service_costs.h"
#include "models/switch_adapter.h"
#include "models/virtual_disk.h"
#include "sim/processor.h"
#include "vmbus/input/keyboard.h"
#include "vmbus/integration/heartbeat.h"
#include "vmbus/integration/shutdown.h"
#include "vmbus/integration/time_sync.h"
#include "vmbus/network/network_provider.h"
#include "vmbus/storage/storage_provider.h"
#include "vmbus/video/synthetic_video.h"

namespace models {

// The root's processors, by number.
class RootProcessors {
public:
    virtual ~RootProcessors() = default;
    virtual std::uint32_t count() const = 0;
    virtual sim::Processor& processor(std::uint32_t index) = 0;
    // How much of that memory is another node's than the processor's, in thousandths.
    virtual std::uint32_t remote_permille(std::uint32_t index, std::span<const MemoryRun> memory) const {
        (void)index, (void)memory;
        return 0;
    }
};

struct ServiceConfig {
    unsigned vps = 1;
    bool screen = false;
    std::int64_t epoch_s = 0;  // time of day at simulated time 0, seconds since 1970
    ServiceCosts costs;
};

struct NetworkConfig {
    std::string name;  // of the adapter, and of its port on the switch
    PortSettings port;
    std::uint16_t channels = 1;
    std::uint64_t bits_per_second = 10'000'000'000;
    bool coalescing = false;  // offers the guest coalesced segments (RSC)
    // Of the root, for its channels in turn; none: one after the other from the partition's own on.
    std::vector<std::uint32_t> processors;
    std::vector<vmbus::NetworkCosts> costs_of_queue;  // made from the host's
};

// One synthetic adapter on a virtual switch.
class SyntheticNic final {
public:
    SyntheticNic(const sim::Scope& scope, vmbus::Bus& bus, Network& network, const NetworkConfig& config,
                 const vmbus::Guid& instance, const ServiceCosts& costs,
                 const vmbus::NetworkProvider::ProcessorOfQueue& processor);

    vmbus::NetworkProvider& provider() { return provider_; }
    SwitchAdapter& port() { return port_; }
    Network& network() const { return network_; }
    const NetworkConfig& config() const { return config_; }

private:
    Network& network_;
    NetworkConfig config_;
    SwitchAdapter port_;
    vmbus::NetworkProvider provider_;
};

class SyntheticDevices final : private vmbus::ReferenceClock, private vmbus::VideoHost {
public:
    // `runs`: the partition's memory, which changes with dynamic memory.
    SyntheticDevices(const sim::Scope& scope, const ServiceConfig& config, hypervisor::RootClient& client,
                     PortNumbers& numbers, RootProcessors& processors, const HostMemory& memory, RootPages& pages,
                     hypervisor::PartitionId partition, std::vector<MemoryRun>& runs, ServiceListener& listener);

    PartitionBus& bus() { return bus_; }
    vmbus::Heartbeat& heartbeat() { return heartbeat_; }
    vmbus::Shutdown& shutdown() { return shutdown_; }
    vmbus::TimeSync& time_sync() { return time_sync_; }

    vmbus::Keyboard& keyboard() { return keyboard_; }
    PartitionServices& services() { return services_; }

    // Nothing if the partition has no screen.
    vmbus::SyntheticVideo* video() { return video_ ? &*video_ : nullptr; }

    // All may come while the guest runs.
    SyntheticNic& add_network(Network& network, const NetworkConfig& config);
    VirtualDisk& add_disk(std::unique_ptr<DiskImage> image, const DiskConfig& config);
    VirtualDvd& add_dvd(std::unique_ptr<DiskImage> image, const std::string& name);
    // Pulls it out of the running machine, if it is in; it can be looked at still.
    void remove_disk(const VirtualDisk& disk);

    const std::vector<std::unique_ptr<SyntheticNic>>& networks() const { return nics_; }
    bool has_storage() const { return storage_.has_value(); }
    // The memory that the partition has is as much as it was given at first.
    bool balloon_is_empty(std::uint64_t memory_bytes) const {
        return ram_.assigned_pages() * page_bytes == memory_bytes;
    }

    // All services end what they have begun, and stand; for as long as that takes they are not at rest.
    void hold();
    bool at_rest() const;
    void go_on();
    // What devices have agreed with the guest, to and from those of another host that were made alike.
    void save_elsewhere(sim::Writer& writer);
    void restore_elsewhere(sim::Reader& reader);

    // What services of the partition run on.
    vmbus::ServiceHost service_host();

    // The guest has ended: all channels close.
    void guest_stopped() { bus_.server().reset(); }
    // Its partition goes.
    void take_down() {
        services_.close();
        bus_.take_down();
    }

private:
    std::uint64_t reference_time() override;
    bool place_vram(std::uint64_t gpa, std::uint64_t bytes) override;
    void remove_vram() override {}
    std::uint32_t place_of(std::uint64_t channel) const;
    sim::Processor& processor_of(std::uint64_t channel) { return processor_at(place_of(channel)); }
    sim::Processor& processor_at(std::uint32_t number);
    // What the bus costs there.
    vmbus::Costs costs_of(std::uint32_t processor) const;
    template <class Function>
    void for_each_state(Function function);
    std::uint8_t next_unit(const std::string& name);

    sim::Scope scope_;
    ServiceConfig config_;
    hypervisor::RootClient& client_;
    hypervisor::PartitionId partition_;
    RootProcessors& processors_;
    std::vector<MemoryRun>& runs_;
    // By number; made when a service first wants one.
    struct Turns {
        std::map<std::uint32_t, std::unique_ptr<PausableProcessor>> of;
        template <class Archive>
        void fields(Archive& archive) {
            for (auto& [number, turns] : of) archive(*turns);
        }
    };
    Turns turns_;
    GuestRam ram_;
    PartitionBus bus_;
    vmbus::Heartbeat heartbeat_;
    vmbus::Shutdown shutdown_;
    vmbus::TimeSync time_sync_;
    vmbus::Keyboard keyboard_;
    PartitionServices services_;
    std::optional<vmbus::SyntheticVideo> video_;
    std::optional<vmbus::StorageProvider> storage_;
    struct Disk {
        std::unique_ptr<VirtualDisk> disk;
        std::uint8_t lun = 0;
    };
    std::vector<Disk> disks_;
    std::vector<std::unique_ptr<VirtualDvd>> dvds_;
    std::vector<std::unique_ptr<SyntheticNic>> nics_;
    sim::StateRegistration turns_registration_;
};

}  // namespace models
