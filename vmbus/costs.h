// What working on channels costs a processor. The bus charges nothing by itself: a device's or a driver's task asks
// here what a piece of its work takes.
#pragma once

#include <cstdint>

#include "sim/time.h"

namespace vmbus {

// The defaults are assumptions, of the size that such code has on processors of the 2010s; a timing profile replaces
// them with figures that have a source.
struct Costs {
    sim::Time per_packet = sim::Time::ns(150);    // taking a packet from a ring or putting one there
    sim::Time per_message = sim::Time::us(1);     // handling a control message
    sim::Time signal = sim::Time::ns(500);        // telling the other side, beyond what the hypervisor itself takes
    sim::Time per_kibibyte = sim::Time::ns(100);  // copying

    constexpr sim::Time copy(std::uint64_t bytes) const {
        return sim::Time::ps(static_cast<std::int64_t>(bytes) * per_kibibyte.ps() / 1024);
    }
    constexpr sim::Time packets(std::uint64_t count, std::uint64_t bytes) const {
        return per_packet * static_cast<std::int64_t>(count) + copy(bytes);
    }

    bool operator==(const Costs&) const = default;
    template <class Archive>
    void fields(Archive& archive) {
        archive(per_packet, per_message, signal, per_kibibyte);
    }
};

}  // namespace vmbus
