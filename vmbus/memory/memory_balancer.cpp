#include "vmbus/memory/memory_balancer.h"

#include <algorithm>
#include <limits>

namespace vmbus {

std::uint64_t MemoryBalancer::target_pages(const GuestMemoryStatus& status) const {
    // Guests may say anything.
    const std::uint64_t committed = std::min(status.committed, settings_.most_pages);
    const std::uint64_t wanted = committed + committed * settings_.reserve_percent / 100;
    return std::clamp(wanted, std::min(settings_.least_pages, settings_.most_pages), settings_.most_pages);
}

void MemoryBalancer::memory_status(const GuestMemoryStatus& status) {
    if (memory_ == nullptr) return;
    const std::uint64_t has = settings_.memory_pages - std::min(settings_.memory_pages, memory_->ballooned().pages());
    const std::uint64_t target = std::min(target_pages(status), settings_.memory_pages);
    constexpr std::uint64_t most = std::numeric_limits<std::uint32_t>::max();
    if (has >= target + settings_.step_pages) {
        (void)memory_->balloon(static_cast<std::uint32_t>(std::min(has - target, most)));
    } else if (target >= has + settings_.step_pages) {
        (void)memory_->unballoon(target - has);
    }
}

}  // namespace vmbus
