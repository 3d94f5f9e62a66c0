#include "python/program/bench_agenda.h"

#include <fmt/format.h>

#include <chrono>
#include <map>

#include "models/platform_bench.h"
#include "sim/check.h"

namespace python {

namespace {

constexpr std::uint64_t events = 2'000'000;

std::uint64_t clock_ns() {
    const auto now = std::chrono::steady_clock::now().time_since_epoch();
    return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(now).count());
}

}  // namespace

int bench_agenda() try {
    models::AgendaBench bench;
    fmt::print("{:<16}{:>8}{:>10}{:>12}{:>24}\n", "queue", "timers", "events", "ns an event", "time of ours to this");
    std::map<unsigned, std::uint64_t> ours;
    for (const models::AgendaBenchRow& row : bench.run(events, clock_ns)) {
        const std::uint64_t own = ours.try_emplace(row.timers, row.ps_per_event).first->second;
        fmt::print("{:<16}{:>8}{:>10}{:>12.1f}{:>24.2f}\n", row.queue, row.timers, row.events,
                   static_cast<double>(row.ps_per_event) / 1000.0,
                   static_cast<double>(own) / static_cast<double>(row.ps_per_event));
        std::fflush(stdout);
    }
    return 0;
} catch (const sim::UserError& error) {
    fmt::print(stderr, "verdigris: {}\n", error.what());
    return 2;
}

}  // namespace python
