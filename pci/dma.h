// How a device's engine reads and writes the host's memory in time, as a link carries it out. BusMaster does the same
// in no time at all; a device that models time uses this alone, so that its writes, reads and messages keep their
// order.
//
// Order (PCIe 6.0, 2.4.1): writes and messages reach the host in the order of the calls, whichever function of the
// device asks. A read never passes a write that was asked before it. Reads may end in another order than they were
// asked in, when they take different ways or one is larger.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "pci/function.h"
#include "pci/ports.h"

namespace pci {

// The device's side. May call the port from within, except that read_done's data is gone when it returns.
class DmaClient {
public:
    // The last completion has arrived. `data` is empty unless the status is ok: one bad completion spoils the read.
    virtual void read_done(std::uint32_t cookie, DmaStatus status, std::span<const std::byte> data) = 0;
    // A write asked with `notify` has left the device: its buffer is free. Posted writes have no completion, so the
    // status tells only of what never left: not_sent.
    virtual void write_sent(std::uint32_t cookie, DmaStatus status) = 0;
    // There is room again after read() or write() said false.
    virtual void link_ready() = 0;
    // The time of DmaPort::wake_at has come.
    virtual void woken() = 0;

protected:
    ~DmaClient() = default;
};

// The host's side: one per physical device, shared by its physical and virtual functions.
class DmaPort {
public:
    static constexpr std::uint32_t max_bytes = 16384;  // of one operation, and at least 1

    // False: no room now (tags, credits or queue); nothing happened, link_ready() follows. The cookie is the caller's
    // own and comes back. An answer never comes from within the call, not even a refusal.
    [[nodiscard]] virtual bool read(BusMaster& function, std::uint64_t address, std::uint32_t size,
                                    std::uint32_t cookie) = 0;
    // The data is copied at once; the memory changes when the last byte reaches it.
    [[nodiscard]] virtual bool write(BusMaster& function, std::uint64_t address, std::span<const std::byte> data,
                                     std::uint32_t cookie, bool notify) = 0;
    // When the last write reaches the host, for whoever explains where time went.
    virtual sim::Time last_write_done() const { return {}; }
    // MSI or MSI-X: a posted write of a dword, behind the writes before it. Always accepted: a vector that is on its
    // way already with the same address and data is not sent twice when there is no more room.
    virtual void message(BusMaster& function, std::uint64_t address, std::uint32_t data) = 0;
    // The function was reset or goes away: none of its operations is answered any more. What has left the device has
    // arrived when this returns, so that nothing of it comes under the name of whoever has the place next; what has not
    // left never will.
    virtual void forget(BusMaster& function) = 0;
    // The device's clock: at `at` the client is woken, once; a time that has passed already means now. A later call
    // takes the place of this one; never: not at all. Device and port mostly act by turns, and with a timer of its own
    // each would make the other's way through the agenda longer.
    virtual void wake_at(sim::Time at) = 0;

protected:
    ~DmaPort() = default;
};

}  // namespace pci
