// The progress line on a terminal: simulated time, its ratio to wall time, instructions per second. It is the one place
// where a run looks at the clock on the wall, and nothing of it goes back into the simulated world.
#pragma once

#include <chrono>
#include <cstdint>

#include "sim/time.h"

namespace python {

class Progress {
public:
    Progress();
    // Only when the error output is a terminal.
    bool wanted() const { return wanted_; }
    void show(sim::Time now, std::uint64_t instructions);
    void clear();

private:
    using Clock = std::chrono::steady_clock;

    bool wanted_;
    bool shown_ = false;
    Clock::time_point next_;
    // Where the present interval began.
    Clock::time_point wall_;
    sim::Time time_;
    std::uint64_t instructions_ = 0;
};

}  // namespace python
