// What the simulating computer will need soon it may bring nearer meanwhile. No effect on anything that is simulated.
#pragma once

namespace sim {

// The cache line of an address, which need not be one of memory. The empty statement of assembly stands for the effect:
// without it GCC takes a function that does nothing else for one that does nothing, and leaves its calls out.
inline void prefetch(const void* at) {
    __builtin_prefetch(at);
    asm volatile("");
}

// Of all of [at, at + bytes), which is not empty.
inline void prefetch(const void* at, unsigned long bytes) {
    constexpr unsigned long line = 64;
    const auto* const from = static_cast<const char*>(at);
    for (unsigned long offset = 0; offset < bytes; offset += line) prefetch(from + offset);
    prefetch(from + bytes - 1);
}

}  // namespace sim
