// What a guest that executes no instructions finds: its processors, its memory, its interrupts, its bus, its devices'
// registers. Drivers and workloads are written against this; behind it stands a partition of the hypervisor's, or a
// test's plain one.
//
// Work is done in tasks (sim/processor.h): a piece costs time and then has its effects. What a piece does to what is
// outside costs more time on the same processor, and happens when that is spent: a hypercall, a register's write.
// Such calls may be made from finish(), from interrupt handlers and from resume() only; they take effect in the order
// of the calls, before the processor's next piece. A register's write is at the device at once, as soon as it is its
// turn, and then costs what the bus takes.
//
// Nothing here takes a function object: what waits must be in a checkpoint.
#pragma once

#include <cstdint>
#include <string>

#include "sim/ledger.h"
#include "sim/processor.h"
#include "sim/scope.h"
#include "vmbus/client/bus_client.h"
#include "vmbus/client/page_allocator.h"
#include "vmbus/guid.h"
#include "vmbus/ports.h"

namespace models {

// Called when the processor has taken the interrupt, which has cost its time. Most handlers wake a task.
class InterruptHandler {
public:
    virtual void interrupt() = 0;

protected:
    ~InterruptHandler() = default;
};

// Who waits for something on a guest's processor: a time to pass, a register to be read. What is waited for has a step,
// a number of the waiter's own, and comes back with it; `value` is what was read. A restored checkpoint goes on with
// the continuation that was attached in the same turn.
class Continuation {
public:
    virtual void resume(std::uint32_t step, std::uint64_t value) = 0;

protected:
    ~Continuation() = default;
};
using ContinuationId = std::uint32_t;

class GuestProcessor : public sim::Processor {
public:
    // More time of this processor, after the piece that is finishing.
    virtual void charge(sim::Cause cause, sim::Time time) = 0;
    // The same, and then resume(step, value) of that continuation.
    virtual void charge_then(sim::Cause cause, sim::Time time, ContinuationId who, std::uint32_t step,
                             std::uint64_t value = 0) = 0;
};

class GuestPlatform {
public:
    virtual ~GuestPlatform() = default;

    // Whoever gets continuations, in a fixed order of attachment (sim::Processor's rule for tasks). One that is
    // detached gets none of what it still waits for.
    virtual ContinuationId attach(Continuation& continuation) = 0;
    virtual void detach(ContinuationId id) = 0;

    virtual const sim::Scope& scope() const = 0;
    virtual unsigned processor_count() const = 0;
    virtual GuestProcessor& processor(unsigned vp) = 0;

    virtual vmbus::GuestMemory& memory() = 0;
    virtual vmbus::PageAllocator& pages() = 0;
    // Hypercalls of that processor: post a message, signal an event. They cost it an exit.
    virtual vmbus::HostPort& hypercalls(unsigned vp) = 0;
    // The bus. Channels of this interface type are offered to this driver (offered(), adopt()), those that are there
    // already at once. connected(), refused(), unloaded() are told to all.
    virtual vmbus::BusClient& bus() = 0;
    virtual void add_driver(const vmbus::Guid& interface_type, vmbus::BusDriver& driver) = 0;

    // A vector of that processor's that calls this handler; and no more.
    virtual std::uint8_t allocate_vector(unsigned vp, InterruptHandler& handler) = 0;
    virtual void release_vector(unsigned vp, std::uint8_t vector) = 0;
    // After a restored checkpoint, of a vector that was allocated in it: this handler's.
    virtual void adopt_vector(unsigned vp, std::uint8_t vector, InterruptHandler& handler) {
        (void)vp, (void)vector, (void)handler;
    }

    // Registers by guest physical address. Where a device of the partition's own answers, it costs the processor what
    // the bus takes; where the root emulates, an intercept with all that it takes. Reads answer by resume(step, value).
    virtual void write_register(unsigned vp, std::uint64_t gpa, unsigned bytes, std::uint64_t value) = 0;
    virtual void read_register(unsigned vp, std::uint64_t gpa, unsigned bytes, ContinuationId who,
                               std::uint32_t step) = 0;
    // I/O ports: always an intercept.
    virtual void write_port(unsigned vp, std::uint16_t port, unsigned bytes, std::uint32_t value) = 0;
    virtual void read_port(unsigned vp, std::uint16_t port, unsigned bytes, ContinuationId who, std::uint32_t step) = 0;
};

}  // namespace models
