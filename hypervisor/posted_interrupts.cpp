#include "hypervisor/posted_interrupts.h"

#include <algorithm>

#include "sim/check.h"

namespace hypervisor {

namespace pd = pci::posted_descriptor;

std::optional<std::uint64_t> PostedInterrupts::use(std::uint32_t handle, VpRef vp, std::uint32_t processor,
                                                   std::uint8_t notification) {
    drop(handle);
    const auto found = descriptors_.find(vp);
    if (found != descriptors_.end()) {
        ++found->second.handles;
        handles_[handle] = vp;
        return address_of(found->second.index);
    }
    if (descriptors_.size() == count_) return std::nullopt;
    const auto taken = [&](std::uint32_t index) {
        return std::ranges::any_of(descriptors_, [&](const auto& entry) { return entry.second.index == index; });
    };
    std::uint32_t index = 0;
    while (taken(index)) ++index;
    descriptors_[vp] = {index, 1};
    handles_[handle] = vp;
    const std::uint64_t at = address_of(index);
    VG_CHECK(memory_.fill(at, pd::bytes, std::byte{0}));
    memory_.store<std::uint64_t>(at + pd::control, std::uint64_t{notification} << pd::vector_shift |
                                                       std::uint64_t{processor} << pd::destination_shift);
    return at;
}

void PostedInterrupts::drop(std::uint32_t handle) {
    const auto found = handles_.find(handle);
    if (found == handles_.end()) return;
    const auto descriptor = descriptors_.find(found->second);
    if (--descriptor->second.handles == 0) descriptors_.erase(descriptor);
    handles_.erase(found);
}

}  // namespace hypervisor
