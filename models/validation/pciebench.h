// pcie-bench on a simulated host: a behavioural device that issues DMA operations as the paper's NetFPGA does, on the
// link, root complex and IOMMU of the room pci.
#pragma once

#include <cstdint>

namespace models {

// Where the window of addresses lies, and what stands between.
struct PciebenchSetting {
    std::uint64_t window_bytes = 8192;
    bool warm = true;     // as much of the window as fits is in the last-level cache
    bool remote = false;  // on the other socket
    bool iommu = false;
    bool super_pages = false;  // 2 MiB pages in the IOMMU's tables
};

enum class PciebenchOperation : std::uint8_t { dma_read, dma_write, command_read };

// Thousandths of Gb/s, many operations under way, at random places of the window.
std::int64_t pciebench_bandwidth(PciebenchOperation operation, std::uint32_t size, const PciebenchSetting& setting);
// Picoseconds, one operation after the other: the mean.
std::int64_t pciebench_latency(PciebenchOperation operation, std::uint32_t size, const PciebenchSetting& setting);

}  // namespace models
