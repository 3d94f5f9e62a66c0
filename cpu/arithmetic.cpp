#include "cpu/arithmetic.h"

#include <bit>

namespace cpu {

namespace {

u64 result_flags(u64 value, unsigned bytes) {
    u64 flags = 0;
    if (value == 0) flags |= rflags::zf;
    if ((value & sign_bit(bytes)) != 0) flags |= rflags::sf;
    if (std::popcount(value & 0xff) % 2 == 0) flags |= rflags::pf;
    return flags;
}

}  // namespace

AluResult alu_add(u64 a, u64 b, bool carry, unsigned bytes) {
    const u64 mask = width_mask(bytes);
    a &= mask;
    b &= mask;
    const u64 sum = (a + b + (carry ? 1 : 0)) & mask;
    // Bit n is the carry out of bit n.
    const u64 carries = (a & b) | ((a | b) & ~sum);
    AluResult r{sum, result_flags(sum, bytes), rflags::status};
    if ((carries & sign_bit(bytes)) != 0) r.flags |= rflags::cf;
    if ((carries & 8) != 0) r.flags |= rflags::af;
    if (((a ^ sum) & (b ^ sum) & sign_bit(bytes)) != 0) r.flags |= rflags::of;
    return r;
}

AluResult alu_subtract(u64 a, u64 b, bool borrow, unsigned bytes) {
    const u64 mask = width_mask(bytes);
    a &= mask;
    b &= mask;
    const u64 difference = (a - b - (borrow ? 1 : 0)) & mask;
    const u64 borrows = (~a & b) | ((~a | b) & difference);
    AluResult r{difference, result_flags(difference, bytes), rflags::status};
    if ((borrows & sign_bit(bytes)) != 0) r.flags |= rflags::cf;
    if ((borrows & 8) != 0) r.flags |= rflags::af;
    if (((a ^ b) & (a ^ difference) & sign_bit(bytes)) != 0) r.flags |= rflags::of;
    return r;
}

// AF is undefined; processors clear it.
AluResult alu_logic(u64 result, unsigned bytes) {
    result &= width_mask(bytes);
    return {result, result_flags(result, bytes), rflags::status};
}

AluResult alu_increment(u64 a, unsigned bytes) {
    AluResult r = alu_add(a, 1, false, bytes);
    r.affected &= ~rflags::cf;
    r.flags &= ~rflags::cf;
    return r;
}

AluResult alu_decrement(u64 a, unsigned bytes) {
    AluResult r = alu_subtract(a, 1, false, bytes);
    r.affected &= ~rflags::cf;
    r.flags &= ~rflags::cf;
    return r;
}

}  // namespace cpu
