#include "python/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>

namespace python {

namespace {
constexpr auto interval = std::chrono::milliseconds{250};
}

Progress::Progress() : wanted_(isatty(STDERR_FILENO) == 1), next_(Clock::now() + interval), wall_(Clock::now()) {}

void Progress::show(sim::Time now, std::uint64_t instructions) {
    const auto wall = Clock::now();
    if (!wanted_ || wall < next_) return;
    const double seconds = std::chrono::duration<double>(wall - wall_).count();
    const double simulated = static_cast<double>((now - time_).ps()) / 1e12;
    const double executed = static_cast<double>(instructions - instructions_);
    fmt::print(stderr, "\r{:.6f} s simulated, {:.3g} x wall time, {:.1f} MIPS\x1b[K",
               static_cast<double>(now.ps()) / 1e12, simulated / seconds, executed / seconds / 1e6);
    std::fflush(stderr);
    shown_ = true;
    next_ = wall + interval;
    wall_ = wall;
    time_ = now;
    instructions_ = instructions;
}

void Progress::clear() {
    if (shown_) fmt::print(stderr, "\r\x1b[K");
    shown_ = false;
}

}  // namespace python
