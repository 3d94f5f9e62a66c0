// What an adapter of the 82599's kind is to do to a frame, as its descriptors say it (82599 datasheet, 7.2.3.2.3 and
// 7.2.3.2.4).
#pragma once

#include <cstdint>

#include "vmbus/network/network_port.h"

namespace models {

struct VfOffload {
    bool needed = false;        // the device has to do something
    std::uint32_t macip = 0;    // of the context descriptor: tag, lengths of the headers
    std::uint32_t mode = 0;     // protocols
    std::uint32_t mss = 0;      // segment, length of the TCP header
    std::uint32_t command = 0;  // of the data descriptors
    std::uint32_t options = 0;  // of the first one, with the payload's length
};

// The frame gets the sums of its pseudo headers, which the device adds to.
VfOffload vf_offload(vmbus::OutgoingFrame& frame);

}  // namespace models
