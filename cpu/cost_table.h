// What executing instructions costs, by class. A profile (models/profiles) fills the table from published figures; the
// engine adds it up once per translated block.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace cpu {

enum class InstructionClass : std::uint8_t {
    simple,       // register moves, integer ALU, address arithmetic
    load,         // any other class's instruction that reads memory adds this once
    store,        // likewise for a write
    branch,       // jumps, calls, returns
    multiply,     // integer multiplication
    divide,       // integer division
    simd,         // x87, MMX, SSE
    string,       // one iteration of a string instruction
    atomic,       // LOCK prefix, XCHG with memory, and the like
    serializing,  // CR writes, INVLPG, IRET, fences of the strong kind
    system,       // SYSCALL, SWAPGS, RDTSC, segment loads, port I/O before its exit
};
inline constexpr std::size_t instruction_classes = 11;
inline constexpr std::array<std::string_view, instruction_classes> instruction_class_names = {
    "simple", "load", "store", "branch", "multiply", "divide", "simd", "string", "atomic", "serializing", "system"};

// Integer picoseconds per instruction of each class, so that sums don't depend on how code is cut into blocks.
struct CostTable {
    std::array<std::int64_t, instruction_classes> ps{};

    std::int64_t operator[](InstructionClass c) const { return ps[static_cast<std::size_t>(c)]; }
};

}  // namespace cpu
