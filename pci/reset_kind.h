// What resets a function (PCIe 6.0, 6.6): power-on, its bus or link, or software that means this function alone.
#pragma once

#include <cstdint>

namespace pci {

enum class ResetKind : std::uint8_t {
    cold,            // everything, sticky bits too
    bus,             // secondary bus reset, hot reset
    function_level,  // FLR
    power_state,     // D3hot to D0 without No_Soft_Reset
};

}  // namespace pci
