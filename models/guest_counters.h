// What the root's stack counts of one guest's intercepts.
#pragma once

#include "models/guest_machine.h"

namespace models {

struct GuestMachine::Counters {
    explicit Counters(const sim::Scope& s)
        : io(s.counter("io", "count", "accesses to the ports of devices")),
          string_io(s.counter("string_io", "count", "intercepts of INS and OUTS")),
          mmio(s.counter("mmio", "count", "accesses to device memory")),
          msr(s.counter("msr", "count", "writes to MSRs that the root listens to")),
          eoi(s.counter("eoi", "count", "ends of level-triggered interrupts")),
          unhandled(s.counter("unhandled", "count",
                              "instructions on device memory that are not emulated, answered with #UD")),
          unexpected(s.counter("unexpected", "count", "intercepts that nobody asked for, answered with #UD")),
          refused_interrupts(s.counter("refused_interrupts", "count", "device interrupts that no processor takes")) {}

    sim::Counter& io;
    sim::Counter& string_io;
    sim::Counter& mmio;
    sim::Counter& msr;
    sim::Counter& eoi;
    sim::Counter& unhandled;
    sim::Counter& unexpected;
    sim::Counter& refused_interrupts;
};

}  // namespace models
