// How fast frames go through the adapter, in time of the computer that simulates: behavioural drivers, and a bus that
// takes a fixed time and no limits.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

namespace sriov_nic {

struct NicBenchRow {
    std::string_view way;           // "VF to wire", "wire to VF", "VF to VF"
    std::uint32_t frame_bytes = 0;  // with FCS
    unsigned vfs = 0;
    std::uint64_t frames = 0;
    std::uint64_t wall_ns = 0;
    std::uint64_t simulated_ps = 0;
    std::uint64_t events = 0;  // of the agenda

    std::uint64_t frames_per_second() const { return wall_ns == 0 ? 0 : frames * 1'000'000'000 / wall_ns; }
};

// About so many frames for each row. `clock_ns` reads the computer's clock: the simulated world has none.
std::vector<NicBenchRow> run_nic_bench(std::uint64_t frames, const std::function<std::uint64_t()>& clock_ns);

}  // namespace sriov_nic
