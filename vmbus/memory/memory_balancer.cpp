#include "vmbus/memory/memory_balancer.h"

#include <algorithm>
#include <limits>

namespace vmbus {

std::uint64_t MemoryBalancer::target_pages(const GuestMemoryStatus& status, std::uint64_t ballooned_pages) const {
    // Guests may say anything.
    const std::uint64_t own = status.committed - std::min(status.committed, ballooned_pages);
    const std::uint64_t committed = std::min(own, settings_.most_pages);
    const std::uint64_t wanted = committed + committed * settings_.reserve_percent / 100;
    return std::clamp(wanted, std::min(settings_.least_pages, settings_.most_pages), settings_.most_pages);
}

void MemoryBalancer::balance(DynamicMemory& memory, std::uint64_t assigned_pages) const {
    const std::uint64_t ballooned = memory.ballooned().pages();
    const std::uint64_t target = std::min(target_pages(memory.status(), ballooned), assigned_pages + ballooned);
    constexpr std::uint64_t most = std::numeric_limits<std::uint32_t>::max();
    if (assigned_pages >= target + settings_.step_pages) {
        (void)memory.balloon(static_cast<std::uint32_t>(std::min(assigned_pages - target, most)));
    } else if (target >= assigned_pages + settings_.step_pages) {
        (void)memory.unballoon(target - assigned_pages);
    }
}

}  // namespace vmbus
