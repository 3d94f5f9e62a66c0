// What a processor waits for a register of a PCI device.
#pragma once

#include "sim/time.h"

namespace models {

struct MmioCosts {
    sim::Time read;   // the request's way to the device and the completion's back
    sim::Time write;  // posted: until it has left the processor
};

}  // namespace models
