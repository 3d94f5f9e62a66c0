// What the host's PCI Express takes of time, beyond its links: of a timing profile.
#pragma once

#include <cstdint>

#include "pci/iommu_caches.h"
#include "sim/time.h"

namespace models {

// What a processor waits for a register of a device.
struct MmioCosts {
    sim::Time read;   // the request's way to the device and the completion's back
    sim::Time write;  // posted: until it has left the processor
};

struct PciCosts {
    MmioCosts mmio;
    // What memory takes of a device's read and write, beyond the link's own time.
    sim::Time memory_read = sim::Time::ns(250);
    sim::Time memory_write;
    pci::IommuConfig iommu;
    // Of the root's processor: called by the IOMMU, and for each fault record.
    sim::Time fault_event = sim::Time::us(1);
    sim::Time fault_record = sim::Time::us(3);
    std::uint32_t posted_descriptors = 0;  // virtual processors that interrupts can be posted to; 0: the unit can't
};

}  // namespace models
