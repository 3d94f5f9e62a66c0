// What the adapter needs of its neighbours: the bus on one side, the wire on the other.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "sim/time.h"

namespace sriov_nic {

// Functions by number: VF n is n, the physical function comes after them.
inline constexpr unsigned max_pools = 64;
inline constexpr unsigned physical_function = 64;
inline constexpr unsigned functions = 65;
inline constexpr unsigned max_vfs = 63;  // one pool stays with the physical function
inline constexpr unsigned queues = 128;

// The bus, by function: transactions carry that function's requester identity. Requests are answered later, never from
// within the call, by Controller::read_done; a call that finds no room is repeated after Controller::bus_ready.
class BusPort {
public:
    virtual bool read(unsigned function, std::uint64_t address, std::uint32_t size, std::uint32_t cookie) = 0;
    // Posted: the data is taken at once, and reaches memory in the order of the calls.
    virtual bool write(unsigned function, std::uint64_t address, std::span<const std::byte> data) = 0;
    // A function's MSI-X vector; goes out behind the writes before it.
    virtual void interrupt(unsigned function, unsigned vector) = 0;
    // When the last write will have reached memory, for the trace.
    virtual sim::Time last_write_done() const { return {}; }
    // None of the function's operations is answered any more: it was reset.
    virtual void forget(unsigned function) = 0;
    // At `at` Controller::woken is called, once. A later call takes the place of this one; never: not at all.
    virtual void wake_at(sim::Time at) = 0;

protected:
    ~BusPort() = default;
};

// What the connector leads to. The frame is without its FCS and is the callee's to copy; `start` is the first bit of
// the preamble, `end` the last of the FCS. Neither lies before now; both may lie ahead by no more than the adapter's
// reaction to a pause frame may take.
class Wire {
public:
    virtual void transmit(std::span<const std::byte> frame, sim::Time start, sim::Time end) = 0;

protected:
    ~Wire() = default;
};

// Sees what pools send and receive, without FCS, and takes no part: captures. A frame is sent when it has passed the
// switch, received when its last write has been handed to the bus.
class FrameWatcher {
public:
    virtual void sent(unsigned pool, std::span<const std::byte> frame) = 0;
    virtual void received(unsigned pool, std::span<const std::byte> frame) = 0;

protected:
    ~FrameWatcher() = default;
};

}  // namespace sriov_nic
