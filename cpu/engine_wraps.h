// Who answers the engine's wrapped calls (engine_wraps.cpp).
#pragma once

#include <cstddef>
#include <cstdint>

namespace cpu {

struct TscReader {
    virtual ~TscReader() = default;
    // `state` is the engine's live processor state.
    virtual std::uint64_t read_tsc(void* state) = 0;
    virtual void draw_random(std::byte* out, std::size_t size) = 0;
    // Time as the engine's own housekeeping sees it: it goes on with each look, and with nothing else.
    virtual std::uint64_t engine_clock_us() = 0;
    // The engine's next translated block begins here in its code buffer.
    virtual void code_placed(std::uintptr_t place) = 0;
};

// Forgets what the engine's TLB holds of a page, between runs. `state` is its live processor state.
void flush_engine_page(void* state, std::uint64_t linear);

// The engine that runs on this thread.
extern thread_local TscReader* current_tsc_reader;

}  // namespace cpu
