// Decides how much memory a guest with dynamic memory gets: what it says it has committed plus a reserve, between a
// minimum and a maximum, in steps, by the balloon.
#pragma once

#include <cstdint>

#include "vmbus/memory/dynamic_memory.h"

namespace vmbus {

class MemoryBalancer final : public DynamicMemoryListener {
public:
    struct Settings {
        std::uint64_t memory_pages = 0;  // the guest's RAM without a balloon
        std::uint64_t least_pages = 0;
        std::uint64_t most_pages = 0;
        std::uint32_t reserve_percent = 20;  // of what is committed
        std::uint64_t step_pages = 4096;     // smaller differences are left alone
    };

    explicit MemoryBalancer(const Settings& settings) : settings_(settings) {}
    // Once the device is there, which has the balancer for its listener.
    void connect(DynamicMemory& memory) { memory_ = &memory; }

    // What the guest should have.
    std::uint64_t target_pages(const GuestMemoryStatus& status) const;
    void memory_status(const GuestMemoryStatus& status) override;

private:
    Settings settings_;
    DynamicMemory* memory_ = nullptr;
};

}  // namespace vmbus
