#include "python/program/bench_nic.h"

#include <fmt/format.h>

#include <chrono>
#include <cstdio>

#include "models/validation/nic_path.h"
#include "sim/check.h"

namespace python {

namespace {

std::uint64_t clock_ns() {
    const auto now = std::chrono::steady_clock::now().time_since_epoch();
    return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(now).count());
}

constexpr std::uint64_t frames = 300'000;

}  // namespace

int bench_nic() try {
    fmt::print(
        "Virtual functions of the 82599 with behavioural drivers: descriptors, PCI Express packets, IOMMU, switch,\n"
        "interrupts, on one core.\n\n");
    fmt::print("{:<12}{:>7}{:>5}{:>16}{:>14}{:>14}{:>12}\n", "way", "bytes", "VFs", "frames/s here", "Mpps inside",
               "Gb/s inside", "TLPs/frame");
    for (const models::NicWay way :
         {models::NicWay::vf_to_wire, models::NicWay::wire_to_vf, models::NicWay::vf_to_vf}) {
        for (const std::uint32_t bytes : {64u, 1500u}) {
            for (const unsigned vfs : {way == models::NicWay::vf_to_vf ? 2u : 1u, 63u}) {
                const models::NicPathRow row = models::run_nic_path(way, bytes, vfs, frames, clock_ns);
                const auto per_ps = static_cast<double>(row.simulated_ps);
                fmt::print("{:<12}{:>7}{:>5}{:>16.0f}{:>14.3f}{:>14.2f}{:>12.2f}\n", models::name_of(way), bytes, vfs,
                           static_cast<double>(row.frames) * 1e9 / static_cast<double>(row.wall_ns),
                           static_cast<double>(row.frames) * 1e6 / per_ps,
                           static_cast<double>(row.frame_bits) * 1e3 / per_ps,
                           static_cast<double>(row.dma_operations) / static_cast<double>(row.frames));
                std::fflush(stdout);
            }
        }
    }
    return 0;
} catch (const sim::UserError& error) {
    fmt::print(stderr, "verdigris: {}\n", error.what());
    return 2;
}

}  // namespace python
