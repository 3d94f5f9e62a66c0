// How long the host takes over what a device asks, once it has reached the root complex. The effect on memory is
// HostPort's; here is only the time of it.
#pragma once

#include <cstdint>

#include "pci/requester_id.h"
#include "sim/time.h"

namespace pci {

struct HostAccess {
    RequesterId requester;
    std::uint64_t address = 0;
    std::uint32_t size = 0;
    bool write = false;
};

class HostTiming {
public:
    // Asked once per request, in the order in which requests leave their device. Of a read: when its data are there to
    // be sent back; of a write: when memory has it. Never before `arrival`.
    [[nodiscard]] virtual sim::Time served(const HostAccess& access, sim::Time arrival) = 0;

protected:
    ~HostTiming() = default;
};

// The same for every address.
class FixedHostTiming final : public HostTiming {
public:
    FixedHostTiming(sim::Time read, sim::Time write) : read_(read), write_(write) {}
    sim::Time served(const HostAccess& access, sim::Time arrival) override {
        return arrival + (access.write ? write_ : read_);
    }

private:
    sim::Time read_;
    sim::Time write_;
};

}  // namespace pci
