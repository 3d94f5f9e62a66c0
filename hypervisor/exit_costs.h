// What the hypervisor's own work costs the processor that does it: an exit by its reason, and what follows from some. A
// timing profile fills the table and names the sources.
#pragma once

#include <array>
#include <cstdint>

#include "cpu/control_block.h"
#include "sim/ledger.h"
#include "sim/time.h"

namespace hypervisor {

// How a logical processor sleeps: in this state when it has idled so long, and so much later awake.
struct IdleState {
    sim::Time after;
    sim::Time exit;
};

struct ExitCosts {
    sim::Time exit;   // any exit and the entry after it: the world switch and its dispatch
    sim::Time cpuid;  // besides: what handling this reason takes
    sim::Time msr;
    sim::Time apic_register;  // an x2APIC MSR or an access to the APIC page
    sim::Time hypercall;
    sim::Time hypercall_rep;  // each element of a list
    sim::Time nested_fault;
    sim::Time root_round_trip;     // an intercept that the root's stack handles, its virtual processor's time included
    sim::Time interrupt_delivery;  // injecting an event
    sim::Time halt;
    sim::Time context_switch;                // another virtual processor on a logical processor
    sim::Time ipi_latency;                   // from the sender's command to the receiver's pending bit
    std::array<IdleState, 4> idle_states{};  // from the lightest to the deepest

    // What it takes a processor to wake up that has idled for a time, as if it had known for how long it would.
    sim::Time wake_up(sim::Time idle) const {
        sim::Time latency;
        for (const IdleState& state : idle_states) {
            if (idle >= state.after) latency = state.exit;
        }
        return latency;
    }

    sim::Time of(cpu::ExitCode code) const {
        switch (code) {
            case cpu::ExitCode::cpuid:
                return exit + cpuid;
            case cpu::ExitCode::msr:
                return exit + msr;
            case cpu::ExitCode::hypercall:
                return exit + hypercall;
            case cpu::ExitCode::nested_fault:
                return exit + nested_fault;
            case cpu::ExitCode::halt:
                return exit + halt;
            default:
                return exit;
        }
    }
};

// What an exit's time is counted as.
constexpr sim::Cause exit_cause(cpu::ExitCode code) {
    switch (code) {
        case cpu::ExitCode::interrupt_window:
            return "hypervisor.exit.interrupt_window";
        case cpu::ExitCode::cpuid:
            return "hypervisor.exit.cpuid";
        case cpu::ExitCode::msr:
            return "hypervisor.exit.msr";
        case cpu::ExitCode::io:
            return "hypervisor.exit.io";
        case cpu::ExitCode::halt:
            return "hypervisor.exit.halt";
        case cpu::ExitCode::hypercall:
            return "hypervisor.exit.hypercall";
        case cpu::ExitCode::nested_fault:
            return "hypervisor.exit.nested_fault";
        default:
            return "hypervisor.exit.other";
    }
}
// And what comes with some: an intercept that the root's stack handles, and the injection of an event.
inline constexpr sim::Cause round_trip_cause = "hypervisor.root_round_trip";
inline constexpr sim::Cause injection_cause = "hypervisor.interrupt";
inline constexpr sim::Cause switch_cause = "hypervisor.switch";
inline constexpr sim::Cause interrupt_exit_cause = "hypervisor.exit.interrupt";
inline constexpr sim::Cause device_register_cause = "device_registers";
inline constexpr sim::Cause remote_memory_cause = "remote_memory";  // work that waits for another node's memory

}  // namespace hypervisor
