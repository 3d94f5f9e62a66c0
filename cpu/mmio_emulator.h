// Carries out one instruction that reached a device: the second level refused its memory access, and the device's model
// answers instead of memory. The instruction's other operands are registers, immediates and ordinary memory.
//
// Emulated: MOV (also MOVNTI and the moffs forms), MOVZX, MOVSX, MOVSXD, ADD to XOR, CMP, TEST, INC, DEC, NOT, NEG,
// XCHG, XADD, CMPXCHG, BT, BTS, BTR, BTC, PUSH, POP, MOVS, CMPS, STOS, LODS, SCAS with their prefixes. Left out:
// everything else, SSE among it; and segment limits, as in the engine.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "cpu/event_delivery.h"
#include "cpu/instruction.h"
#include "cpu/linear_memory.h"

namespace cpu {

struct DeviceAccess {
    // The guest-physical address behind a linear one, if a device answers there. Asked only for addresses where
    // LinearMemory reported a nested fault.
    [[nodiscard]] virtual std::optional<u64> device_address(u64 linear, bool write, Privilege privilege) = 0;
    // `size` is 1, 2, 4 or 8.
    virtual u64 read(u64 gpa, unsigned size) = 0;
    virtual void write(u64 gpa, unsigned size, u64 value) = 0;

protected:
    ~DeviceAccess() = default;
};

enum class Emulation : u8 {
    done,          // registers are those after the instruction; see `repeats`
    exception,     // `raised` is to be delivered; registers are unchanged
    nested_fault,  // the second level refused an access that no device answers; registers are unchanged
    unhandled,     // not an instruction that is emulated; registers are unchanged
};

struct EmulationResult {
    Emulation outcome = Emulation::done;
    bool repeats = false;  // one iteration of a repeated string instruction is done, and RIP is still at it
    Event raised;
};

class MmioEmulator final {
public:
    // `code` are the bytes at RIP, as far as they could be fetched.
    [[nodiscard]] EmulationResult step(Registers& r, std::span<const u8> code, LinearMemory& memory,
                                       DeviceAccess& device) const;

private:
    InstructionDecoder decoder_;
};

}  // namespace cpu
