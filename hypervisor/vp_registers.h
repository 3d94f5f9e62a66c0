// The architectural registers under their TLFS names (7.8): what HvCallGetVpRegisters reads and HvCallSetVpRegisters
// writes of a processor's state. Synthetic and APIC registers belong to their models.
#pragma once

#include <optional>

#include "cpu/guest_context.h"
#include "cpu/registers.h"
#include "hypervisor/tlfs_registers.h"

namespace hypervisor {

// Nothing if the name is none of an architectural register.
std::optional<HvRegisterValue> get_architectural(const cpu::Registers& r, HvRegister name);
// False if the name is none of an architectural register.
[[nodiscard]] bool set_architectural(cpu::Registers& r, HvRegister name, const HvRegisterValue& value);

// The x2APIC's MSR behind a register's name; nothing if it is none of the local APIC's.
std::optional<std::uint32_t> x2apic_msr_of(HvRegister name);

HvX64SegmentRegister to_hv(const cpu::Segment& segment);
cpu::Segment from_hv(const HvX64SegmentRegister& segment);

}  // namespace hypervisor
