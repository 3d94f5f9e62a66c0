#include "models/synthetic_devices.h"

namespace models {

SyntheticDevices::SyntheticDevices(const sim::Scope& scope, const ServiceConfig& config, hypervisor::RootClient& client,
                                   PortNumbers& numbers, RootProcessors& processors, const HostMemory& memory,
                                   hypervisor::PartitionId partition, const std::vector<MemoryRun>& runs)
    : client_(client),
      partition_(partition),
      processors_(processors),
      bus_(scope.child("vmbus"), client, numbers, memory, partition, runs, config.vps),
      heartbeat_(scope.child("heartbeat"), service_host(), {}),
      shutdown_(scope.child("shutdown"), service_host()),
      time_sync_(scope.child("time_sync"), service_host(), {.start_unix_seconds = config.epoch_s}, *this) {}

std::uint64_t SyntheticDevices::reference_time() {
    const auto value = client_.get_register(partition_, 0, hypervisor::HvRegister::time_ref_count);
    return value ? value->low : 0;
}

// Services that carry little are all on one processor, spread by partition.
vmbus::ServiceHost SyntheticDevices::service_host() {
    const auto index = static_cast<std::uint32_t>(partition_ % processors_.count());
    return {bus_.server(), processors_.processor(index), {sim::Time::us(1), sim::Time::ns(100)}};
}

}  // namespace models
