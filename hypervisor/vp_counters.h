// What a virtual processor counts: one counter for each kind of exit that has a name.
#pragma once

#include "sim/scope.h"

namespace hypervisor {

struct VpCounters {
    explicit VpCounters(const sim::Scope& scope)
        : exits(scope.counter("exits", "count", "exits from the guest to the hypervisor")),
          cpuid(scope.counter("exits.cpuid", "count", "exits for CPUID")),
          msr_read(scope.counter("exits.rdmsr", "count", "exits for RDMSR")),
          msr_write(scope.counter("exits.wrmsr", "count", "exits for WRMSR")),
          io(scope.counter("exits.io", "count", "exits for port I/O")),
          halt(scope.counter("exits.halt", "count", "exits for HLT")),
          hypercall(scope.counter("exits.hypercall", "count", "hypercalls")),
          nested_fault(scope.counter("exits.nested_fault", "count", "second-level translation faults")),
          interrupt_window(scope.counter("exits.interrupt_window", "count",
                                         "exits because an interrupt could be delivered at last")),
          interrupt(scope.counter("exits.interrupt", "count",
                                  "exits because an assigned device's interrupt came for it, and was not posted")),
          host_interrupt(
              scope.counter("exits.host", "count", "exits because the host had something to do: a timer, the quantum")),
          refused(scope.counter("refused", "count",
                                "instructions and registers that don't exist here: answered with #UD or #GP")),
          device_access(scope.counter("device_accesses", "count",
                                      "accesses to registers of assigned devices: no exits, but the engine's")),
          unhandled_mmio(scope.counter("unhandled_mmio", "count",
                                       "device accesses by instructions that the emulator doesn't know: #UD")) {}

    sim::Counter& exits;
    sim::Counter& cpuid;
    sim::Counter& msr_read;
    sim::Counter& msr_write;
    sim::Counter& io;
    sim::Counter& halt;
    sim::Counter& hypercall;
    sim::Counter& nested_fault;
    sim::Counter& interrupt_window;
    sim::Counter& interrupt;
    sim::Counter& host_interrupt;
    sim::Counter& refused;
    sim::Counter& device_access;
    sim::Counter& unhandled_mmio;
};

}  // namespace hypervisor
