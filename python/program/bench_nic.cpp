#include "python/program/bench_nic.h"

#include <fmt/format.h>
#include <malloc.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <ctime>
#include <string>

#include "models/validation/nic_path.h"
#include "sim/check.h"
#include "sriov_nic/nic_bench.h"

namespace python {

namespace {

// Of this thread's processor: what else the computer does meanwhile does not count.
std::uint64_t clock_ns() {
    timespec now{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(now.tv_nsec);
}

std::uint64_t heap_bytes() {
    const struct mallinfo2 now = mallinfo2();
    return now.uordblks + now.hblkhd;
}

std::uint64_t wall_ns() {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(now.tv_nsec);
}

constexpr std::uint64_t frames = 100'000, frames_alone = 100'000;
// Few and many functions by turns, so that what else the computer does meets both.
constexpr unsigned rounds = 7;

double per_second(std::uint64_t count, std::uint64_t ns) {
    return static_cast<double>(count) * 1e9 / static_cast<double>(ns);
}

// One row of the table: the best of its rounds, on the processor and by the clock on the wall.
struct Best {
    unsigned vfs = 0;
    models::NicPathRow row{};
    std::uint64_t wall = ~std::uint64_t{0};

    // The round's processor time for a frame, nanoseconds.
    double measure(models::NicWay way, std::uint32_t bytes) {
        std::uint64_t began = 0, ended = 0;  // the clock is read twice
        const auto clocks = [&] {
            began = ended;
            ended = wall_ns();
            return clock_ns();
        };
        const auto one = models::run_nic_path(way, bytes, vfs, frames, clocks, models::even_rings(vfs, bytes));
        wall = std::min(wall, ended - began);
        if (row.frames == 0 || one.wall_ns < row.wall_ns) row = one;
        return static_cast<double>(one.wall_ns) / static_cast<double>(one.frames);
    }
    void print(const std::string& cost) const {
        const auto count = static_cast<double>(row.frames), per_ps = static_cast<double>(row.simulated_ps);
        fmt::print("{:<12}{:>7}{:>5}{:>16.0f}{:>16.0f}{:>7}{:>14.3f}{:>14.2f}{:>12.2f}\n", models::name_of(row.way),
                   row.frame_bytes, vfs, per_second(row.frames, row.wall_ns), per_second(row.frames, wall), cost,
                   count * 1e6 / per_ps, static_cast<double>(row.frame_bits) * 1e3 / per_ps,
                   static_cast<double>(row.dma_operations) / count);
    }
};

void whole_way() {
    fmt::print("{:<12}{:>7}{:>5}{:>16}{:>16}{:>7}{:>14}{:>14}{:>12}\n", "way", "bytes", "VFs", "CPU frames/s",
               "wall frames/s", "cost", "Mpps inside", "Gb/s inside", "TLPs/frame");
    for (const models::NicWay way :
         {models::NicWay::vf_to_wire, models::NicWay::wire_to_vf, models::NicWay::vf_to_vf}) {
        for (const std::uint32_t bytes : {64u, 1500u}) {
            Best few{way == models::NicWay::vf_to_vf ? 2u : 1u}, many{63};
            std::array<double, rounds> ratios{};
            for (double& ratio : ratios) {
                const double less = few.measure(way, bytes);
                ratio = many.measure(way, bytes) / less;
            }
            std::nth_element(ratios.begin(), ratios.begin() + rounds / 2, ratios.end());
            few.print({});
            many.print(fmt::format("{:.2f}", ratios[rounds / 2]));
            std::fflush(stdout);
        }
    }
}

void adapter_alone() {
    fmt::print(
        "\nThe adapter alone, over a bus that takes 500 ns and has no limits (rings of 256 for each function):\n");
    fmt::print("{:<12}{:>7}{:>5}{:>16}\n", "way", "bytes", "VFs", "frames/s here");
    for (const sriov_nic::NicBenchRow& row : sriov_nic::run_nic_bench(frames_alone, clock_ns)) {
        fmt::print("{:<12}{:>7}{:>5}{:>16.0f}\n", row.way, row.frame_bytes, row.vfs,
                   per_second(row.frames, row.wall_ns));
    }
}

}  // namespace

int bench_nic() try {
    fmt::print(
        "Virtual functions of the 82599 with behavioural drivers: descriptors, PCI Express packets, IOMMU, switch,\n"
        "interrupts. Frames for each second of one core's time and of time on the wall, best of {} rounds. The cost of "
        "a\n"
        "frame with 63 functions is in times of that with one (or two), of processor time, the median of rounds with\n"
        "one and the other by turns. All drivers together have the same number of buffers, 4096 for each "
        "direction.\nThey send the same frames again and again, do not look into those that come, and are called as "
        "often as the\nmoderated interrupts of ixgbevf would call them.\n\n",
        rounds);
    whole_way();
    const models::NicMemory memory = models::nic_memory(heap_bytes);
    fmt::print("\nmemory: {} KiB for each virtual function, {} KiB for adapter, link, IOMMU and the first one\n",
               (memory.function_bytes + 1023) / 1024, (memory.adapter_bytes + 1023) / 1024);
    adapter_alone();
    return 0;
} catch (const sim::UserError& error) {
    fmt::print(stderr, "verdigris: {}\n", error.what());
    return 2;
}

}  // namespace python
