// INS and OUTS with their repeat prefix, carried out by the root for a port that it answers.
#pragma once

#include <cstdint>

#include "hypervisor/tlfs_messages.h"
#include "models/intercepted_processor.h"
#include "models/io_port_map.h"

namespace models {

// How many elements one intercept moves at most; a longer instruction is intercepted again.
inline constexpr unsigned string_io_elements = 1024;

// Lets the processor go on: behind the instruction, at it again, or with an exception.
void string_io(InterceptedProcessor& processor, const hypervisor::HvX64IoPortInterceptMessage& message,
               IoPortMap& ports);

}  // namespace models
