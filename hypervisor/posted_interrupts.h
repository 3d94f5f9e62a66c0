// Posted interrupts: the table's entry names a descriptor in memory, one for each virtual processor that gets any. The
// IOMMU sets the vector's bit there and sends one notification until that is seen; then the hypervisor takes all bits
// at once (VT-d 5.2.3, 9.12).
#pragma once

#include <bit>
#include <cstdint>
#include <map>
#include <optional>

#include "hypervisor/scheduler.h"
#include "mmu/system_memory.h"
#include "pci/iommu_format.h"

namespace hypervisor {

class PostedInterrupts final {
public:
    // `count` descriptors from `first` on, in memory that is nobody's else; none: nothing is posted.
    PostedInterrupts(mmu::SystemMemory memory, std::uint64_t first, std::uint32_t count)
        : memory_(memory), first_(first), count_(count) {}

    // The descriptor for this handle's interrupts, which notifies that logical processor; nothing if none is left.
    std::optional<std::uint64_t> use(std::uint32_t handle, VpRef vp, std::uint32_t processor,
                                     std::uint8_t notification);
    void drop(std::uint32_t handle);

    // A logical processor was notified: deliver(vp, vector) of what has been posted for it.
    template <class Deliver>
    void take(std::uint32_t processor, Deliver deliver) {
        namespace pd = pci::posted_descriptor;
        for (const auto& [vp, use] : descriptors_) {
            const std::uint64_t at = address_of(use.index);
            const auto control = memory_.load<std::uint64_t>(at + pd::control);
            if ((control & pd::outstanding) == 0 || control >> pd::destination_shift != processor) continue;
            memory_.store<std::uint64_t>(at + pd::control, control & ~pd::outstanding);
            for (std::uint32_t word = 0; word < 4; ++word) {
                auto left = memory_.load<std::uint64_t>(at + 8 * word);
                memory_.store<std::uint64_t>(at + 8 * word, 0);
                for (; left != 0; left &= left - 1) {
                    deliver(vp, 64 * word + static_cast<std::uint32_t>(std::countr_zero(left)));
                }
            }
        }
    }
    std::size_t used() const { return descriptors_.size(); }

    template <class Archive>
    void fields(Archive& archive) {
        archive(handles_, descriptors_);
    }

private:
    struct Use {
        std::uint32_t index = 0;
        std::uint32_t handles = 0;
        friend bool operator==(const Use&, const Use&) = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(index, handles);
        }
    };
    std::uint64_t address_of(std::uint32_t index) const { return first_ + pci::posted_descriptor::bytes * index; }

    mmu::SystemMemory memory_;
    std::uint64_t first_;
    std::uint32_t count_;
    std::map<std::uint32_t, VpRef> handles_;
    std::map<VpRef, Use> descriptors_;
};

}  // namespace hypervisor
