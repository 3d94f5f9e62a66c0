// Adds capabilities to a layout that is being built. Each gives the offset of what it added.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "pci/capability_registers.h"
#include "pci/config_layout.h"
#include "pci/function_layout.h"

namespace pci {

struct PowerManagement {
    std::uint16_t further_capabilities = 0;  // power::d1, power::d2, PME support
    bool no_soft_reset = true;
};
std::uint16_t add_power_management(ConfigLayout& layout, const PowerManagement& what, std::uint16_t at = 0);

struct MsiCapability {
    unsigned vectors = 1;  // a power of two up to 32
    bool address64 = true;
    bool per_vector_masking = false;
};
std::uint16_t add_msi(ConfigLayout& layout, const MsiCapability& what, std::uint16_t at = 0);

struct MsixCapability {
    unsigned vectors = 1;  // 1 to 2048
    unsigned table_bar = 0;
    std::uint32_t table_offset = 0;
    unsigned pending_bar = 0;
    std::uint32_t pending_offset = 0;
};
std::uint16_t add_msix(ConfigLayout& layout, const MsixCapability& what, std::uint16_t at = 0);

// A vendor's own; its length is in its third byte. `rows` begin at offset 3 at the earliest.
std::uint16_t add_vendor(ConfigLayout& layout, std::uint8_t length, std::span<const ConfigRegister> rows,
                         std::uint16_t at = 0);

struct PciExpress {
    express::PortType type = express::PortType::endpoint;
    bool function_level_reset = false;
    unsigned max_payload_bytes = 128;  // supported: 128 to 4096
    unsigned generation = 2;           // link speed 2.5, 5, 8, 16, 32, 64 GT/s
    unsigned width = 1;
    unsigned port_number = 0;
    bool slot = false;  // of a root or downstream port: a place that a device can be put into and pulled out of
    bool ari_forwarding = false;
};
std::uint16_t add_express(ConfigLayout& layout, const PciExpress& what, std::uint16_t at = 0);

// Advanced error reporting; `root` adds the root ports' registers.
std::uint16_t add_aer(ConfigLayout& layout, bool root, std::uint16_t at = 0);
std::uint16_t add_ari(ConfigLayout& layout, std::uint8_t next_function, std::uint16_t at = 0);
std::uint16_t add_acs(ConfigLayout& layout, std::uint16_t capabilities, std::uint16_t at = 0);
std::uint16_t add_serial_number(ConfigLayout& layout, std::uint64_t number, std::uint16_t at = 0);

struct SriovCapability {
    std::uint16_t total_vfs = 0;
    std::uint16_t first_vf_offset = 0;
    std::uint16_t vf_stride = 0;
    std::uint16_t vf_device_id = 0;
    std::uint8_t dependency_link = 0;
    std::uint32_t page_sizes = sriov::page_sizes_usual;
    std::vector<Bar> vf_bars;  // one VF's share, by register
};
// The layout alone. Making VFs when VF Enable is set is its owner's work, who listens to the registers.
std::uint16_t add_sriov(ConfigLayout& layout, const SriovCapability& what, std::uint16_t at = 0);

}  // namespace pci
