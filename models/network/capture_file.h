// Reads captures: classic pcap (microseconds and nanoseconds, either byte order) and pcapng. Pure: bytes in, frames
// out. A file that is not sound is a sim::UserError.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "sim/time.h"

namespace models {

struct CapturedFrame {
    sim::Time at;  // since the first frame; not before it, whatever the file says
    std::vector<std::byte> bytes;
    bool operator==(const CapturedFrame&) const = default;
};

// The Ethernet frames in the order of the file. Those of other link types are left out.
std::vector<CapturedFrame> read_capture(std::span<const std::byte> file);
std::vector<CapturedFrame> read_capture_file(const std::string& path);

}  // namespace models
