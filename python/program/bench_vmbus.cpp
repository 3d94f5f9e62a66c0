#include "python/program/bench_vmbus.h"

#include <fmt/format.h>

#include <array>
#include <chrono>

#include "models/synthetic_path_bench.h"
#include "sim/check.h"
#include "vmbus/ring_bench.h"

namespace python {

namespace {

constexpr std::uint64_t packets = 1'000'000;
constexpr sim::Time duration = sim::Time::ms(50);
constexpr std::uint16_t round_trips = 100;

std::uint64_t clock_ns() {
    const auto now = std::chrono::steady_clock::now().time_since_epoch();
    return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(now).count());
}

void print_rings() {
    fmt::print("packets through rings, time of this computer\n");
    fmt::print("{:<10}{:>14}{:>12}{:>12}{:>16}\n", "what", "payload B", "ring pages", "packets", "million a second");
    for (const vmbus::RingBenchRow& row : vmbus::run_ring_bench(packets, clock_ns)) {
        fmt::print("{:<10}{:>14}{:>12}{:>12}{:>16.2f}\n", row.what, row.payload_bytes, row.ring_pages, row.packets,
                   static_cast<double>(row.packets_per_second()) / 1e6);
        std::fflush(stdout);
    }
}

double share(sim::Time busy, sim::Time whole, std::uint16_t processors) {
    return 100.0 * static_cast<double>(busy.ps()) / static_cast<double>(whole.ps()) / processors;
}

void print_paths(const models::Profile& profile) {
    fmt::print("\nthe synthetic path in {} ms of simulated time, profile {}; host ns: of this computer's time\n",
               duration.ps() / 1'000'000'000, profile.name);
    fmt::print("{:<16}{:>9}{:>12}{:>10}{:>12}{:>10}{:>10}{:>12}{:>14}\n", "path", "channels", "connections", "Gb/s",
               "k frames/s", "root %", "guest %", "guest c/B", "host ns/frame");
    const auto show = [&](models::PathForm form, std::uint16_t channels, std::uint64_t connections) {
        const auto row = models::run_synthetic_path(form, channels, connections, duration, profile, clock_ns);
        fmt::print("{:<16}{:>9}{:>12}{:>10.2f}{:>12.0f}{:>10.0f}{:>10.0f}{:>12.2f}{:>14}\n", models::name_of(form),
                   channels, connections, static_cast<double>(row.megabits_per_second()) / 1e3,
                   static_cast<double>(row.frames_per_second()) / 1e3, share(row.root_busy, row.duration, channels),
                   share(row.guest_busy, row.duration, channels),
                   static_cast<double>(row.guest_millicycles_per_byte(profile)) / 1e3, row.wall_ns_per_frame());
        std::fflush(stdout);
    };
    using enum models::PathForm;
    for (const auto form : {receives, sends, two_guests}) {
        for (const std::uint16_t channels : {1, 2, 4, 8}) show(form, channels, std::uint64_t{2} * channels);
    }
    show(small_frames, 1, 1);
    for (const auto form : {sends, receives}) {
        for (const std::uint64_t connections : {1, 2, 4, 16, 32}) show(form, 4, connections);
    }
    const auto trips = models::run_synthetic_round_trips(round_trips, profile);
    fmt::print("round trip between two guests: least {:.1f}, average {:.1f} us\n",
               static_cast<double>(trips.least.ps()) / 1e6, static_cast<double>(trips.average.ps()) / 1e6);
}

}  // namespace

int bench_vmbus() try {
    print_rings();
    print_paths(models::find_profile("sandy-bridge-ep"));
    return 0;
} catch (const sim::UserError& error) {
    fmt::print(stderr, "verdigris: {}\n", error.what());
    return 2;
}

}  // namespace python
