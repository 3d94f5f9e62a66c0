#include "models/pci/numa_timing.h"

#include "pci/root_complex.h"

namespace models {

sim::Time NumaTiming::crossing(const pci::HostAccess& access) const {
    using Root = pci::RootComplex;
    const std::uint32_t here = node_of(access.requester.bus());
    if (access.write && access.address - Root::message_window < Root::message_window_bytes) {
        return owners_.listening_node(access.requester) == here ? sim::Time::zero() : costs_.message;
    }
    if (owners_.own_memory(access.requester) || nodes_.of_address(access.address) == here) return sim::Time::zero();
    return access.write ? costs_.dma_write : costs_.dma_read;
}

}  // namespace models
