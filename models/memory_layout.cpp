#include "models/memory_layout.h"

#include <fmt/format.h>

#include <algorithm>

#include "sim/bits.h"
#include "sim/check.h"

namespace models {

MemoryLayout MemoryLayout::of_size(std::uint64_t ram_bytes) {
    if (ram_bytes % 4096 != 0) {
        throw sim::UserError(
            fmt::format("guest memory of {} bytes: give a size that is a multiple of 4 KiB", ram_bytes));
    }
    if (ram_bytes < least_bytes) {
        throw sim::UserError(
            fmt::format("guest memory of {} KiB: a guest needs at least {} MiB", ram_bytes >> 10, least_bytes >> 20));
    }
    MemoryLayout layout;
    layout.low_ram = {0, std::min(ram_bytes, gap_first)};
    layout.high_ram = {four_gib, ram_bytes - layout.low_ram.length};
    layout.low_window = {gap_first, low_window_end - gap_first};
    const std::uint64_t largest = address_space_end - high_window_bytes - four_gib + gap_first;
    if (ram_bytes > largest) {
        throw sim::UserError(fmt::format("guest memory of {} GiB does not fit: a guest has at most {} GiB",
                                         ram_bytes >> 30, largest >> 30));
    }
    layout.high_window = {sim::align_up(layout.high_ram.end(), high_window_align), high_window_bytes};
    return layout;
}

std::vector<MemoryMapEntry> MemoryLayout::memory_map() const {
    constexpr std::uint64_t one_mib = 1u << 20;
    std::vector<MemoryMapEntry> map = {
        {0, conventional_end, MemoryType::ram},
        {firmware_tables.first, firmware_tables.length, MemoryType::reserved},
        {one_mib, low_ram.end() - one_mib, MemoryType::ram},
    };
    if (high_ram.length != 0) map.push_back({high_ram.first, high_ram.length, MemoryType::ram});
    return map;
}

}  // namespace models
