// What a bus needs of its neighbours: memory and interrupt controllers above, devices below.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "pci/requester_id.h"
#include "pci/reset_kind.h"

namespace pci {

enum class Space : std::uint8_t { memory, io };

// How a device's own access to memory ended.
enum class DmaStatus : std::uint8_t {
    ok,
    unsupported,  // nobody answers, or the device may not: Unsupported Request, master abort
    aborted,      // refused by whoever answers: Completer Abort, target abort
    not_sent,     // the function may not master the bus, or is not there any more
};

// A message-signalled interrupt: a write by a known requester.
struct InterruptMessage {
    std::uint64_t address = 0;
    std::uint32_t data = 0;
    RequesterId requester;

    bool operator==(const InterruptMessage&) const = default;
};

// What lies above a root complex.
class HostPort {
public:
    [[nodiscard]] virtual DmaStatus read_memory(RequesterId requester, std::uint64_t address,
                                                std::span<std::byte> out) = 0;
    [[nodiscard]] virtual DmaStatus write_memory(RequesterId requester, std::uint64_t address,
                                                 std::span<const std::byte> data) = 0;
    virtual void interrupt(const InterruptMessage& message) = 0;
    // Lines 0 to 3 stand for INTA to INTD at the root bus; `asserted` changes only.
    virtual void line(unsigned line, bool asserted) = 0;

protected:
    ~HostPort() = default;
};

// The host's side of a bus: a bridge or the root complex.
class Upstream {
public:
    [[nodiscard]] virtual DmaStatus dma_read(RequesterId requester, std::uint64_t address,
                                             std::span<std::byte> out) = 0;
    [[nodiscard]] virtual DmaStatus dma_write(RequesterId requester, std::uint64_t address,
                                              std::span<const std::byte> data) = 0;
    virtual void message(const InterruptMessage& message) = 0;
    virtual void line(unsigned line, bool asserted) = 0;

protected:
    ~Upstream() = default;
};

// Who answers a range of addresses. `range` is the number that the owner gave the range; the access lies within it.
class RangeTarget {
public:
    // Nothing: an unsupported request.
    virtual std::optional<std::uint64_t> read_range(Space space, unsigned range, std::uint64_t address,
                                                    unsigned size) = 0;
    virtual bool write_range(Space space, unsigned range, std::uint64_t address, unsigned size,
                             std::uint64_t value) = 0;

protected:
    ~RangeTarget() = default;
};

}  // namespace pci
