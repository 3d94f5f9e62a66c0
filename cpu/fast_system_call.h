// SYSCALL and SYSENTER, which the engine leaves to us.
#pragma once

#include <optional>

#include "cpu/event_delivery.h"
#include "cpu/registers.h"

namespace cpu {

// SYSCALL (APM volume 3): in 64-bit, compatibility and legacy mode. RIP is at the instruction. An event: it faulted and
// the registers are unchanged.
[[nodiscard]] std::optional<Event> system_call(Registers& r, unsigned instruction_length = 2);

// SYSENTER (SDM volume 2B), in protected and, as Intel has it, in long mode.
[[nodiscard]] std::optional<Event> system_enter(Registers& r);

}  // namespace cpu
