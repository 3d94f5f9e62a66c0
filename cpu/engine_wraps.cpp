// Calls inside the engine that are replaced at link time (cmake/FindUnicorn.cmake lists them).
//
// - The host's time of day, by which the engine sizes its software TLB: a clock that goes on with each look at it.
// - The host's counter, when the guest reads the TSC: the simulated clock. The call also shows where the engine keeps
//   the processor state that it runs on.
// - The host's randomness, for RDRAND and RDSEED: a stream of the run's seed. CPUID doesn't offer them, but a guest may
//   execute them all the same.
// - Where translated code is placed, so that its buffer is emptied before it is full.
// - Port I/O: the engine leaves out SVM's I/O intercept and the I/O permission check. The replacement is that
//   intercept, always; the permission check follows in the logical processor.
#include "cpu/engine_wraps.h"

#include <sys/time.h>

#include <cstddef>
#include <cstdint>
#include <utility>

#include "cpu/engine_state.h"
#include "sim/check.h"

namespace cpu {

thread_local TscReader* current_tsc_reader = nullptr;

}  // namespace cpu

extern "C" {

// In the engine: INVLPG, SVM's intercept included.
void helper_invlpg_x86_64(void* state, std::uint64_t linear);

// In the engine: leaves the running block for good, with precise state (SVM's #VMEXIT).
[[noreturn]] void cpu_vmexit_x86_64(void* state, std::uint32_t exit_code, std::uint64_t exit_info_1,
                                    std::uintptr_t return_address);

int __wrap_gettimeofday(struct timeval* tv, void*) {
    const std::uint64_t us = cpu::current_tsc_reader != nullptr ? cpu::current_tsc_reader->engine_clock_us() : 0;
    tv->tv_sec = static_cast<time_t>(us / 1'000'000);
    tv->tv_usec = static_cast<suseconds_t>(us % 1'000'000);
    return 0;
}

std::uint64_t __wrap_cpu_get_tsc_x86_64(void* state) {
    VG_CHECK(cpu::current_tsc_reader != nullptr);
    return cpu::current_tsc_reader->read_tsc(state);
}

int __wrap_qemu_guest_getrandom(void* buffer, std::size_t size) {
    VG_CHECK(cpu::current_tsc_reader != nullptr);
    cpu::current_tsc_reader->draw_random(static_cast<std::byte*>(buffer), size);
    return 0;
}

void* __real_tcg_tb_alloc_x86_64(void* translator);
void* __wrap_tcg_tb_alloc_x86_64(void* translator) {
    void* const block = __real_tcg_tb_alloc_x86_64(translator);
    if (cpu::current_tsc_reader != nullptr) {
        cpu::current_tsc_reader->code_placed(reinterpret_cast<std::uintptr_t>(block));
    }
    return block;
}

// EXITINFO1: port 31:16, size as one of bits 6:4, IN bit 0 (APM volume 2, 15.10.2). String forms call these helpers
// too; the logical processor adds their bits from the instruction.
#define VG_IO_EXIT(port, size, in)                                    \
    cpu_vmexit_x86_64(state, 0x7b, (port) << 16 | (size) << 4 | (in), \
                      reinterpret_cast<std::uintptr_t>(__builtin_return_address(0)))

void __wrap_helper_outb_x86_64(void* state, std::uint32_t port, std::uint32_t) {
    VG_IO_EXIT(port, 1u, 0u);
}
void __wrap_helper_outw_x86_64(void* state, std::uint32_t port, std::uint32_t) {
    VG_IO_EXIT(port, 2u, 0u);
}
void __wrap_helper_outl_x86_64(void* state, std::uint32_t port, std::uint32_t) {
    VG_IO_EXIT(port, 4u, 0u);
}
std::uint64_t __wrap_helper_inb_x86_64(void* state, std::uint32_t port) {
    VG_IO_EXIT(port, 1u, 1u);
}
std::uint64_t __wrap_helper_inw_x86_64(void* state, std::uint32_t port) {
    VG_IO_EXIT(port, 2u, 1u);
}
std::uint64_t __wrap_helper_inl_x86_64(void* state, std::uint32_t port) {
    VG_IO_EXIT(port, 4u, 1u);
}
}

namespace cpu {

void flush_engine_page(void* state, std::uint64_t linear) {
    auto& live = *static_cast<EngineState*>(state);
    const std::uint64_t intercept = std::exchange(live.intercept, 0);
    helper_invlpg_x86_64(state, linear);
    live.intercept = intercept;
}

}  // namespace cpu
