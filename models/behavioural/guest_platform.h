// What a guest that executes no instructions finds: its processors, its memory, its interrupts, its bus, its devices'
// registers. Drivers and workloads are written against this; behind it stands a partition of the hypervisor's, or a
// test's plain one.
//
// Work is done in tasks (sim/processor.h): a piece costs time and then has its effects. What a piece does to what is
// outside costs more time on the same processor, and happens when that is spent: a hypercall, a register's write.
// Such calls may be made from finish() and from interrupt handlers only; they take effect in the order of the calls.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "sim/ledger.h"
#include "sim/processor.h"
#include "sim/scope.h"
#include "vmbus/client/page_allocator.h"
#include "vmbus/ports.h"

namespace models {

// Called when the processor has taken the interrupt, which has cost its time. Most handlers wake a task.
class InterruptHandler {
public:
    virtual void interrupt() = 0;

protected:
    ~InterruptHandler() = default;
};

class GuestProcessor : public sim::Processor {
public:
    // More time of this processor, after the piece that is finishing.
    virtual void charge(sim::Cause cause, sim::Time time) = 0;
    // The same, and then an effect.
    virtual void charge_then(sim::Cause cause, sim::Time time, std::function<void()> effect) = 0;
};

class GuestPlatform {
public:
    virtual ~GuestPlatform() = default;

    virtual const sim::Scope& scope() const = 0;
    virtual unsigned processor_count() const = 0;
    virtual GuestProcessor& processor(unsigned vp) = 0;

    virtual vmbus::GuestMemory& memory() = 0;
    virtual vmbus::PageAllocator& pages() = 0;
    // Hypercalls of that processor: post a message, signal an event. They cost it an exit.
    virtual vmbus::HostPort& hypercalls(unsigned vp) = 0;

    // A vector of that processor's that calls this handler; and no more.
    virtual std::uint8_t allocate_vector(unsigned vp, InterruptHandler& handler) = 0;
    virtual void release_vector(unsigned vp, std::uint8_t vector) = 0;

    // Registers by guest physical address. Where a device of the partition's own answers, it costs the processor what
    // the bus takes; where the root emulates, an intercept with all that it takes. Reads answer later.
    virtual void write_register(unsigned vp, std::uint64_t gpa, unsigned bytes, std::uint64_t value) = 0;
    virtual void read_register(unsigned vp, std::uint64_t gpa, unsigned bytes,
                               std::function<void(std::uint64_t)> answer) = 0;
    // I/O ports: always an intercept.
    virtual void write_port(unsigned vp, std::uint16_t port, unsigned bytes, std::uint32_t value) = 0;
    virtual void read_port(unsigned vp, std::uint16_t port, unsigned bytes,
                           std::function<void(std::uint32_t)> answer) = 0;
};

}  // namespace models
