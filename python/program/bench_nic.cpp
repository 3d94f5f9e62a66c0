#include "python/program/bench_nic.h"

#include <fmt/format.h>
#include <malloc.h>

#include <algorithm>
#include <cstdio>
#include <ctime>

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

constexpr std::uint64_t frames = 200'000, frames_alone = 100'000;
constexpr unsigned attempts = 2;  // the better one counts

double per_second(std::uint64_t count, std::uint64_t ns) {
    return static_cast<double>(count) * 1e9 / static_cast<double>(ns);
}

// Times more than the row before, with fewer functions.
std::string ratio(double now, double before) {
    return before == 0 ? std::string{} : fmt::format("{:.2f}", before / now);
}

void whole_way() {
    fmt::print("{:<12}{:>7}{:>5}{:>16}{:>7}{:>14}{:>14}{:>12}\n", "way", "bytes", "VFs", "frames/s here", "cost",
               "Mpps inside", "Gb/s inside", "TLPs/frame");
    for (const models::NicWay way :
         {models::NicWay::vf_to_wire, models::NicWay::wire_to_vf, models::NicWay::vf_to_vf}) {
        for (const std::uint32_t bytes : {64u, 1500u}) {
            double before = 0;
            for (const unsigned vfs : {way == models::NicWay::vf_to_vf ? 2u : 1u, 63u}) {
                models::NicPathRow row;
                for (unsigned i = 0; i < attempts; ++i) {
                    const auto one = models::run_nic_path(way, bytes, vfs, frames, clock_ns, models::even_rings(vfs));
                    if (i == 0 || one.wall_ns < row.wall_ns) row = one;
                }
                const auto per_ps = static_cast<double>(row.simulated_ps);
                const double rate = per_second(row.frames, row.wall_ns);
                fmt::print("{:<12}{:>7}{:>5}{:>16.0f}{:>7}{:>14.3f}{:>14.2f}{:>12.2f}\n", models::name_of(way), bytes,
                           vfs, rate, ratio(rate, before), static_cast<double>(row.frames) * 1e6 / per_ps,
                           static_cast<double>(row.frame_bits) * 1e3 / per_ps,
                           static_cast<double>(row.dma_operations) / static_cast<double>(row.frames));
                std::fflush(stdout);
                before = rate;
            }
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
        "interrupts. Frames for each second of one core's time. The cost of a frame with 63 functions is in times of\n"
        "that with one (or two); all drivers together have the same number of buffers, 4096 for each direction.\n\n");
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
