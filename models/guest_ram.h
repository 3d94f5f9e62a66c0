// A guest's RAM while its amount changes: pages that the balloon has taken leave the guest's address space and are free
// pages of the root's again, pages that come back are others, all zero, and new RAM begins behind what there was.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "hypervisor/root_client.h"
#include "models/partition_memory.h"
#include "vmbus/memory/dynamic_memory.h"

namespace models {

class GuestRam final : public vmbus::DynamicMemoryHost {
public:
    // `runs`: what the partition has, sorted by address; it belongs to the partition's builder and changes with every
    // change here.
    GuestRam(hypervisor::RootClient& client, RootPages& pages, hypervisor::PartitionId partition,
             std::vector<MemoryRun>& runs)
        : client_(client),
          pages_(pages),
          partition_(partition),
          runs_(runs),
          end_(next_free_page(MemoryLayout::high_window_align / page_bytes)) {}

    // Pages that the guest has now; without a screen's.
    std::uint64_t assigned_pages() const;
    // Where the next RAM to add could begin: behind all there is, from 4 GiB on.
    std::uint64_t next_free_page(std::uint64_t align_pages) const;
    // The partition goes: nothing is given to it any more.
    void close() { closing_ = true; }

    // vmbus::DynamicMemoryHost
    bool has_memory(const vmbus::PageRange& range) const override;
    void pages_taken(std::span<const vmbus::PageRange> ranges) override;
    bool give_pages(std::span<const vmbus::PageRange> ranges) override;
    bool add_memory(const vmbus::PageRange& range) override;
    void memory_refused(const vmbus::PageRange& range) override;

private:
    void remove(std::vector<vmbus::PageRange> ranges);
    void insert(std::span<const MemoryRun> fresh);

    hypervisor::RootClient& client_;
    RootPages& pages_;
    hypervisor::PartitionId partition_;
    std::vector<MemoryRun>& runs_;
    std::uint64_t end_;  // where the high window for devices begins (MemoryLayout)
    bool closing_ = false;
};

}  // namespace models
