// Instructions as values: what Capstone decodes, in our own words, for those instructions that the processor model
// carries out in the engine's stead (accesses to devices, port I/O).
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "cpu/block_costs.h"
#include "cpu/registers.h"

namespace cpu {

enum class Operation : u8 {
    other,  // decoded, but none of the following
    mov,
    movzx,
    movsx,
    add,
    or_,
    adc,
    sbb,
    and_,
    sub,
    xor_,
    cmp,
    test,
    inc,
    dec,
    not_,
    neg,
    xchg,
    xadd,
    cmpxchg,
    bt,
    bts,
    btr,
    btc,
    push,
    pop,
    movs,
    cmps,
    stos,
    lods,
    scas,
    in,
    out,
    ins,
    outs,
};

struct MemoryOperand {
    SegmentName segment = SegmentName::ds;
    std::optional<Gpr> base;
    std::optional<Gpr> index;
    bool rip_relative = false;
    u8 scale = 1;
    u64 displacement = 0;

    bool operator==(const MemoryOperand&) const = default;
};

enum class OperandKind : u8 { none, gpr, high_byte, memory, immediate };  // high_byte: AH, CH, DH, BH

struct Operand {
    OperandKind kind = OperandKind::none;
    u8 size = 0;  // bytes
    Gpr gpr = Gpr::rax;
    MemoryOperand memory;
    u64 immediate = 0;  // sign-extended

    bool operator==(const Operand&) const = default;
};

enum class Repeat : u8 { none, while_equal, while_not_equal };  // F3, F2

struct Instruction {
    Operation operation = Operation::other;
    u8 length = 0;
    u8 operand_size = 0;  // bytes, of the first operand or the string element
    u8 address_size = 0;  // bytes
    Repeat repeat = Repeat::none;
    bool lock = false;
    SegmentName segment = SegmentName::ds;  // of a string instruction's source
    std::array<Operand, 2> operands;        // as Intel writes them: destination first

    bool operator==(const Instruction&) const = default;
};

class InstructionDecoder final {
public:
    InstructionDecoder();
    ~InstructionDecoder();
    InstructionDecoder(const InstructionDecoder&) = delete;
    InstructionDecoder& operator=(const InstructionDecoder&) = delete;

    // The first instruction of `code` (at most 15 bytes of it are looked at); nothing if it is none or cut off.
    [[nodiscard]] std::optional<Instruction> decode(std::span<const u8> code, CodeSize size) const;

private:
    struct Engine;
    std::unique_ptr<Engine> engine_;
};

[[nodiscard]] constexpr CodeSize code_size_of(const Registers& r) {
    if (r.code_64bit()) return CodeSize::bits64;
    const bool big = r.protected_mode() && !r.virtual_8086() && r[SegmentName::cs].has(segment::default_big);
    return big ? CodeSize::bits32 : CodeSize::bits16;
}

// EXITINFO1 of an intercepted IN, OUT, INS or OUTS (APM volume 2, 15.10.2); nothing for other instructions.
[[nodiscard]] std::optional<u64> io_exit_info(const Instruction& instruction, const Registers& r);

}  // namespace cpu
