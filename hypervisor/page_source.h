// Where the hypervisor gets pages of host memory for itself, which belong to no partition. The host's memory owner
// implements it; partitions get their pages from the root by deposit and mapping instead.
#pragma once

#include <cstdint>
#include <optional>

namespace hypervisor {

class PageSource {
public:
    virtual ~PageSource() = default;
    // The system physical address of a 4 KiB page, or nothing when none is left.
    [[nodiscard]] virtual std::optional<std::uint64_t> allocate_page() = 0;
    virtual void free_page(std::uint64_t spa) = 0;
};

}  // namespace hypervisor
