// Layouts of the hypercalls about devices that are assigned to a partition, as Linux' root drivers have them (TLFS
// leaves them to the root).
#pragma once

#include <cstdint>

#include "hypervisor/tlfs_hypercalls.h"

namespace hypervisor {

// HV_DEVICE_ID: the kind in bits 63:62. A PCI function: requester identity in 15:0, segment in 31:16. A logical one is
// the name that the partition's own software uses.
namespace device_id {
inline constexpr unsigned kind_shift = 62;
inline constexpr std::uint64_t logical = 0, pci = 1;
constexpr std::uint64_t of_pci(std::uint16_t requester) {
    return pci << kind_shift | requester;
}
}  // namespace device_id

struct HvInputAttachDevice {
    std::uint64_t partition_id;
    std::uint64_t device_id;
    std::uint64_t attach_flags;
    std::uint64_t logical_device_id;
};
static_assert(sizeof(HvInputAttachDevice) == 32);

struct HvInputDetachDevice {
    std::uint64_t partition_id;
    std::uint64_t logical_device_id;
};
static_assert(sizeof(HvInputDetachDevice) == 16);

// HV_DEVICE_INTERRUPT_DESCRIPTOR, with the target as a mask of processors.
struct HvDeviceInterruptDescriptor {
    std::uint32_t interrupt_type;
    std::uint32_t trigger_mode;
    std::uint32_t vector_count;
    std::uint32_t reserved;
    std::uint32_t vector;
    std::uint32_t flags;  // interrupt_target_flag
    std::uint64_t vp_mask;
};
static_assert(sizeof(HvDeviceInterruptDescriptor) == 32);

struct HvInputMapDeviceInterrupt {
    std::uint64_t partition_id;
    std::uint64_t device_id;
    std::uint64_t flags;
    HvInterruptEntry logical_entry;
    HvDeviceInterruptDescriptor descriptor;
};
static_assert(sizeof(HvInputMapDeviceInterrupt) == 72);

struct HvOutputMapDeviceInterrupt {
    HvInterruptEntry entry;
};
static_assert(sizeof(HvOutputMapDeviceInterrupt) == 16);

struct HvInputUnmapDeviceInterrupt {
    std::uint64_t partition_id;
    std::uint64_t device_id;
    HvInterruptEntry entry;
};
static_assert(sizeof(HvInputUnmapDeviceInterrupt) == 32);

// Host addresses from here on are devices' registers, not memory: HvCallMapGpaPages gives a partition such pages, too.
inline constexpr std::uint64_t first_device_spa = std::uint64_t{1} << 46;

}  // namespace hypervisor
