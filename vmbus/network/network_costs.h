// What the network service's work costs a processor beside that of rings (vmbus/costs.h). Assumptions, as there.
#pragma once

#include "sim/time.h"
#include "vmbus/costs.h"

namespace vmbus {

struct NetworkCosts {
    Costs ring;
    sim::Time interrupt = sim::Time::us(1);    // called by a guest's signal
    sim::Time per_frame = sim::Time::ns(300);  // a frame to the guest: headers, sections
    sim::Time per_frame_sent =
        sim::Time::ns(300);  // a frame from the guest: headers, rules, the way through the switch
};

}  // namespace vmbus
