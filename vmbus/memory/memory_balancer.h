// Decides how much memory a guest with dynamic memory gets: what it says it has committed plus a reserve, between a
// least and a most, in steps, by the balloon.
#pragma once

#include <cstdint>

#include "vmbus/memory/dynamic_memory.h"

namespace vmbus {

class MemoryBalancer final {
public:
    struct Settings {
        std::uint64_t least_pages = 0;
        std::uint64_t most_pages = 0;
        std::uint32_t reserve_percent = 20;  // of what is committed
        std::uint64_t step_pages = 4096;     // smaller differences are left alone

        template <class Archive>
        void fields(Archive& archive) {
            archive(least_pages, most_pages, reserve_percent, step_pages);
        }
    };

    explicit MemoryBalancer(const Settings& settings) : settings_(settings) {}

    // What the guest should have. Guests count what is in the balloon as committed (Linux: get_pages_committed).
    std::uint64_t target_pages(const GuestMemoryStatus& status, std::uint64_t ballooned_pages) const;
    // After a report of a guest that has so many pages: starts what brings it nearer to that, if anything does.
    void balance(DynamicMemory& memory, std::uint64_t assigned_pages) const;

private:
    Settings settings_;
};

}  // namespace vmbus
