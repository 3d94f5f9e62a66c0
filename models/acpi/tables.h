// The ACPI tables of a guest: RSDP, XSDT, FADT, MADT, DSDT and, for guests with several memory nodes, SRAT.
// A Generation 2 machine is hardware-reduced (ACPI 6.4, 4.1): no PM1 block, no SCI, no PM timer and no 8259 or 8254 to
// probe for. Power-off goes through the sleep registers, the power button through a generic event device.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "models/memory_layout.h"

namespace models::acpi {

struct Processor {
    std::uint32_t apic_id = 0;
    std::uint32_t node = 0;
};

struct NodeMemory {
    std::uint32_t node = 0;
    AddressRange range;
};

enum class Machine : std::uint8_t {
    generation2,  // hardware-reduced
    generation1,  // PIIX4 registers, 8259 pair, a PCI bus on which everything else lies
};

struct Config {
    Machine machine = Machine::generation2;
    std::vector<Processor> processors;  // the first one boots
    MemoryLayout layout;
    bool serial_port = true;
    bool real_time_clock = true;
    bool power_button = true;
    // The VMBus device and, above it, the module whose resources are the windows that vPCI devices live in.
    bool vmbus = true;
    // One device object per processor. Nothing needs it; power management of processors would.
    bool processor_devices = false;
    std::vector<NodeMemory> nodes;  // empty: no SRAT
};

struct Image {
    std::uint64_t gpa = 0;  // of the first byte, which is also the RSDP's
    std::vector<std::byte> bytes;
};

// Throws sim::UserError when the tables of that many processors do not fit into their place.
Image build(const Config& config);

// Each table alone, header and checksum included.
std::vector<std::byte> build_dsdt(const Config& config);
std::vector<std::byte> build_fadt(std::uint64_t dsdt_gpa);
std::vector<std::byte> build_madt(const Config& config);
std::vector<std::byte> build_srat(const Config& config);
std::vector<std::byte> build_xsdt(const std::vector<std::uint64_t>& tables);
std::vector<std::byte> build_rsdp(std::uint64_t xsdt_gpa);
// The terms of the processors' device objects.
std::vector<std::byte> processor_devices(const Config& config);

// Of a Generation 1 machine (generation1_tables.cpp).
std::vector<std::byte> build_generation1_dsdt(const Config& config);
std::vector<std::byte> build_generation1_fadt(std::uint64_t dsdt_gpa, std::uint64_t facs_gpa);
std::vector<std::byte> build_facs();

}  // namespace models::acpi
