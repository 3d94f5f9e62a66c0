// Segment descriptors and gates as they stand in memory (SDM volume 3A, 3.4.5, 5.8.3, 6.11, 6.14.1).
#pragma once

#include "cpu/registers.h"
#include "sim/bits.h"

namespace cpu {

// A code, data or (in legacy mode) system descriptor.
struct Descriptor {
    static constexpr u64 accessed_flag = 1ull << 40;
    static constexpr unsigned access_byte = 5;  // where bits 47:40 stand

    u64 raw = 0;

    [[nodiscard]] constexpr Segment segment(u16 selector) const {
        Segment s;
        s.selector = selector;
        s.attributes = static_cast<u16>(sim::bits(raw, 47, 40) | sim::bits(raw, 55, 52) << 8);
        s.limit = static_cast<u32>(sim::bits(raw, 15, 0) | sim::bits(raw, 51, 48) << 16);
        if (s.has(segment::granularity)) s.limit = s.limit << 12 | 0xfff;
        s.base = sim::bits(raw, 39, 16) | sim::bits(raw, 63, 56) << 24;
        return s;
    }
};

// An IDT gate; `high` is the upper half of a long-mode one.
struct Gate {
    u64 low = 0;
    u64 high = 0;

    [[nodiscard]] constexpr u16 selector() const { return static_cast<u16>(low >> 16); }
    [[nodiscard]] constexpr unsigned type() const { return static_cast<unsigned>(sim::bits(low, 43, 40)); }
    [[nodiscard]] constexpr bool is_system() const { return !sim::bit(low, 44); }
    [[nodiscard]] constexpr unsigned dpl() const { return static_cast<unsigned>(sim::bits(low, 46, 45)); }
    [[nodiscard]] constexpr bool present() const { return sim::bit(low, 47); }
    [[nodiscard]] constexpr unsigned stack_table_index() const { return static_cast<unsigned>(sim::bits(low, 34, 32)); }
    [[nodiscard]] constexpr bool is_32bit() const { return type() >= segment::call_gate32; }
    [[nodiscard]] constexpr bool is_interrupt_gate() const { return (type() & 1) == 0; }
    [[nodiscard]] constexpr u64 offset() const {
        return (is_32bit() ? sim::bits(low, 63, 48) << 16 : 0) | sim::bits(low, 15, 0) | high << 32;
    }
};

}  // namespace cpu
