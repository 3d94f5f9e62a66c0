// Which pages of a private anonymous mapping have ever been touched, as this computer's kernel knows it: of all others
// it is certain that they are zeros, and they need not be looked at. (To look at one costs a page fault and an entry in
// a page table: of a mapping of 4 TiB, minutes and 8 GiB.)
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace models {

// From the start of the mapping; pages of 4 KiB, in a row.
struct TouchedRun {
    std::uint64_t first_byte;
    std::uint64_t end_byte;

    bool operator==(const TouchedRun&) const = default;
};

// What is asked, in this order. Each may be missing: then the next is.
enum class TouchedSource : std::uint8_t {
    scan,     // ioctl PAGEMAP_SCAN, Linux 6.7: its time goes with what was touched
    entries,  // /proc/self/pagemap, eight bytes for each page of the mapping
    nobody,   // every page may have been touched
};

// In the order of their addresses. `base` and `bytes` are multiples of 4 KiB.
std::vector<TouchedRun> touched_memory(const std::byte* base, std::uint64_t bytes,
                                       TouchedSource first_asked = TouchedSource::scan);

}  // namespace models
