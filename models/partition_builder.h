// Makes a child partition with its memory, processors and loaded guest, and takes it down again: the sequence of
// hypercalls that a root's drivers issue.
#pragma once

#include <cstdint>
#include <vector>

#include "hypervisor/root_client.h"
#include "models/host.h"
#include "models/partition_memory.h"

namespace models {

// Throws sim::UserError for values that no partition of such a host can have.
void check_partition(const PartitionConfig& config, const HostConfig& host);

class PartitionBuilder final {
public:
    PartitionBuilder(hypervisor::RootClient& client, RootPages& pages, HostMemory& memory)
        : client_(client), pages_(pages), memory_(memory) {}

    struct Built {
        hypervisor::PartitionId id = 0;
        std::vector<MemoryRun> memory;

        template <class Archive>
        void fields(Archive& archive) {
            archive(id, memory);
        }
    };
    // The processors are suspended still. Throws sim::UserError, and nothing is left behind, if memory or the machine's
    // reserves don't suffice or the guest's files are no good.
    Built build(const PartitionConfig& config, const HostConfig& host);
    [[nodiscard]] hypervisor::HvStatus start(const Built& built, unsigned vps);
    // Everything goes back to the root.
    void take_down(const Built& built);

private:
    void check_memory(const PartitionConfig& config) const;
    void create(Built& built, const PartitionConfig& config, const HostConfig& host);
    PartitionConfig placed(const PartitionConfig& config, const HostConfig& host) const;
    void map_memory(Built& built, const PartitionConfig& config, const HostConfig& host, const MemoryLayout& layout);
    void load(const Built& built, const PartitionConfig& config, const MemoryLayout& layout);

    hypervisor::RootClient& client_;
    RootPages& pages_;
    HostMemory& memory_;
};

}  // namespace models
