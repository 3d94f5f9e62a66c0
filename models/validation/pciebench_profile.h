// The timing profile of the hosts that pcie-bench measured (Neugebauer et al., SIGCOMM 2018): two servers with the same
// device, and one set of constants for all rows. docs/timing.md shows this table; a test compares them.
#pragma once

#include <cstdint>

namespace models {

struct PciebenchConstant {
    const char* name;
    std::int64_t value;
    const char* unit;
    const char* origin;  // as in docs/timing.md
    const char* what;
    const char* source;
};

namespace pciebench {
// Link: gen3 x8, MPS 256, MRRS 512.
inline constexpr std::int64_t flight_ns = 85;
inline constexpr std::int64_t tags = 24;
inline constexpr std::int64_t short_completion_bytes = 128;
// Host.
inline constexpr std::int64_t cache_read_ns = 200;
inline constexpr std::int64_t memory_read_ns = 60;
inline constexpr std::int64_t remote_read_ns = 112;
inline constexpr std::int64_t cache_bytes = 15 << 20;
// Device.
inline constexpr std::int64_t beat_ps = 4000;
inline constexpr std::int64_t beat_bytes = 32;
inline constexpr std::int64_t operation_beats = 1;
inline constexpr std::int64_t received_packet_ps = 12'000;
inline constexpr std::int64_t sent_packet_ps = 14'000;
inline constexpr std::int64_t write_ps = 21'097;
inline constexpr std::int64_t command_ns = 38;
inline constexpr std::int64_t engine_ns = 177;
// IOMMU of the Ivy Bridge host.
inline constexpr std::int64_t iotlb_entries = 128;
inline constexpr std::int64_t walkers = 5;
inline constexpr std::int64_t walk_overhead_ns = 200;
inline constexpr std::int64_t walk_reference_ns = 98;

inline constexpr PciebenchConstant constants[] = {
    {"link.flight", flight_ns, "ns", "assumed", "one way through physical layers and data link layers",
     "with host.cache_read and the bytes' time it makes the 385 ns that a 64-byte read holds its tag; the split is "
     "free"},
    {"link.tags", tags, "", "calibrated", "reads that the device keeps under way",
     "raw points: 64-byte read rates of the near and the far socket, 62.4 and 48.3 M/s, are one count over "
     "latencies 112 ns apart"},
    {"link.short_completion", short_completion_bytes, "bytes", "calibrated",
     "largest completion of a read up to MPS; longer reads come in MPS",
     "row 3: 256-byte reads take 42.9 ns, one completion would take 40"},
    {"host.cache_read", cache_read_ns, "ns", "calibrated", "root complex and last-level cache, to the data's start",
     "row 3: 64-byte reads, 24 of them every 385 ns; with link.flight"},
    {"host.memory_read", memory_read_ns, "ns", "calibrated", "besides, where the cache has not the line",
     "row 5: 8-byte command reads from memory against cache, 57 to 67 ns"},
    {"host.remote_read", remote_read_ns, "ns", "calibrated", "besides, on the other socket",
     "row 6: DMA reads of all sizes, 110 to 118 ns"},
    {"host.cache", cache_bytes, "bytes", "published", "last-level cache",
     "Intel ARK: Xeon E5-2630 and E5-2620 v2, 15 MB"},
    {"device.beat", beat_ps, "ps", "published", "a word of the device's data path",
     "NetFPGA SUME: gen3 x8 core, 256 bits at 250 MHz"},
    {"device.operation", operation_beats, "beats", "calibrated", "besides, per DMA operation",
     "row 4: 128-byte writes take 24.15 ns"},
    {"device.received_packet", received_packet_ps, "ps", "calibrated", "least time of a completion",
     "row 3: 257-byte reads take 52.7 ns"},
    {"device.sent_packet", sent_packet_ps, "ps", "calibrated", "least time of a write packet",
     "row 4: 257-byte writes take 55.0 ns"},
    {"device.write", write_ps, "ps", "published", "least time of a DMA write",
     "row 4: at most 47.4 M writes per second"},
    {"device.command", command_ns, "ns", "calibrated", "command interface, both ends of a read",
     "row 5: 8-byte command read, 413 ns"},
    {"device.engine", engine_ns, "ns", "calibrated", "DMA engine, both ends of a read", "row 5: 554 ns at no bytes"},
    {"iommu.iotlb", iotlb_entries, "entries", "calibrated", "IOTLB of the Ivy Bridge host, 8 ways",
     "raw points: half the reads of a 1 MiB window miss, 2/3 of 1.5 MiB; the paper infers 64 from windows of powers "
     "of two"},
    {"iommu.walkers", walkers, "", "calibrated", "page walks at once",
     "row 7: 64-byte reads over 64 MiB, one in 56 ns"},
    {"iommu.walk_overhead", walk_overhead_ns, "ns", "assumed", "a walk apart from its references",
     "with one reference it is the 298 ns that a miss costs (row 7); the split is free"},
    {"iommu.walk_reference", walk_reference_ns, "ns", "assumed", "each table entry read",
     "as above: about a memory access"},
};
}  // namespace pciebench

}  // namespace models
