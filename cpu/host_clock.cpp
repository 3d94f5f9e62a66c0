// The engine asks the host for the time of day to size its software TLB, and for its counter when the guest reads the
// TSC. Both calls are wrapped at link time (cmake/FindUnicorn.cmake): the first gets a constant, the second the
// simulated clock. The second also shows where the engine keeps the processor state that it runs on.
#include <sys/time.h>

#include <cstddef>
#include <cstdint>

#include "cpu/engine_wraps.h"
#include "sim/check.h"

namespace cpu {

thread_local TscReader* current_tsc_reader = nullptr;

}  // namespace cpu

extern "C" {

int __wrap_gettimeofday(struct timeval* tv, void*) {
    tv->tv_sec = 0;
    tv->tv_usec = 0;
    return 0;
}

std::uint64_t __wrap_cpu_get_tsc_x86_64(void* state) {
    VG_CHECK(cpu::current_tsc_reader != nullptr);
    return cpu::current_tsc_reader->read_tsc(state);
}

// RDRAND and RDSEED are not offered, but a guest may execute them: its draw must not be the host's.
int __wrap_qemu_guest_getrandom(void* buffer, std::size_t size) {
    VG_CHECK(cpu::current_tsc_reader != nullptr);
    cpu::current_tsc_reader->draw_random(static_cast<std::byte*>(buffer), size);
    return 0;
}
}
