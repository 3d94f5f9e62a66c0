// Integer instructions on values: result and status flags (SDM volume 2, each instruction's "Flags Affected").
#pragma once

#include "cpu/registers.h"

namespace cpu {

struct AluResult {
    u64 value = 0;
    u64 flags = 0;     // of `affected`
    u64 affected = 0;  // which RFLAGS bits the instruction sets; undefined ones count as unaffected
};

[[nodiscard]] constexpr u64 width_mask(unsigned bytes) {
    return bytes >= 8 ? ~u64{0} : (u64{1} << 8 * bytes) - 1;
}
[[nodiscard]] constexpr u64 sign_bit(unsigned bytes) {
    return u64{1} << (8 * bytes - 1);
}

// a + b + carry, b and carry as given; likewise a - b - borrow.
[[nodiscard]] AluResult alu_add(u64 a, u64 b, bool carry, unsigned bytes);
[[nodiscard]] AluResult alu_subtract(u64 a, u64 b, bool borrow, unsigned bytes);
// AND, OR, XOR, TEST by their result.
[[nodiscard]] AluResult alu_logic(u64 result, unsigned bytes);
[[nodiscard]] AluResult alu_increment(u64 a, unsigned bytes);
[[nodiscard]] AluResult alu_decrement(u64 a, unsigned bytes);

}  // namespace cpu
