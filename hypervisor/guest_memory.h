// A partition's guest physical memory as the hypervisor's own code sees it: hypercall pages, messages, crash texts.
// Implemented over the partition's second-level tables, so overlays and access rights hold here too.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace hypervisor {

class GuestMemory {
public:
    virtual ~GuestMemory() = default;
    // All or nothing: false if any byte is unmapped or may not be accessed so by the guest, and then nothing was moved.
    [[nodiscard]] virtual bool read(std::uint64_t gpa, std::span<std::byte> out) = 0;
    [[nodiscard]] virtual bool write(std::uint64_t gpa, std::span<const std::byte> data) = 0;
};

}  // namespace hypervisor
