// Timing profiles: what a platform's processors, caches and exits cost. Every constant is a row of one table with its
// value, unit, origin and source; the profile is computed from the rows, and docs/timing.md shows the same rows.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cpu/cost_table.h"
#include "cpu/memory_timing.h"
#include "hypervisor/exit_costs.h"
#include "models/behavioural/driver_costs.h"
#include "models/migration/migration_costs.h"
#include "models/numa.h"
#include "models/pci/pci_costs.h"
#include "models/service_costs.h"
#include "models/workload/stack_costs.h"
#include "sim/time.h"

namespace models {

enum class Unit : std::uint8_t { hertz, millicycles, cycles, nanoseconds, kibibytes, entries, ways };

enum class Origin : std::uint8_t {
    published,    // looked up in the source
    second_hand,  // as quoted by others for that source, which has not been opened for this table
    calibrated,   // computed from a published measurement that the validation suite then gets back
    assumed,      // nobody has published it; the source says why this value
};

struct Constant {
    std::string_view key;
    std::int64_t value;
    Unit unit;
    Origin origin;
    std::string_view meaning;
    std::string_view source;
};

struct Profile {
    std::string_view name;
    std::string_view title;
    std::span<const Constant> constants;

    std::uint64_t core_hz = 0;
    std::uint64_t tsc_hz = 0;
    std::uint64_t apic_hz = 0;
    cpu::CostTable instruction_costs;
    hypervisor::ExitCosts exit_costs;
    PciCosts pci_costs;
    cpu::MemoryTimingConfig memory_timing;  // for the timed fidelity
    ServiceCosts service_costs;
    DriverCosts driver_costs;  // of behavioural guests
    StackCosts stack_costs;
    NumaCosts numa_costs;  // of hosts with several nodes
    MigrationCosts migration_costs;

    // Whole cycles of this platform, to the nearest picosecond.
    sim::Time cycles(std::int64_t n) const;
};

std::string_view unit_name(Unit unit);
std::string_view origin_name(Origin origin);

// A profile's name, and behind colons what differs from it: "sandy-bridge-ep:posted:exit.hypercall=1000"
// (docs/timing.md). Throws sim::UserError, naming those there are, for an unknown one.
Profile find_profile(std::string_view name);
std::vector<std::string_view> profile_names();

// The rows of every profile as Markdown tables: the generated part of docs/timing.md.
std::string constants_as_markdown();

}  // namespace models
