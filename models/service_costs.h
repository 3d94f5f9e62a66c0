// What the root's services take of its processors, and the drivers of behavioural guests of theirs.
#pragma once

#include "sim/time.h"
#include "vmbus/costs.h"
#include "vmbus/network/network_costs.h"

namespace models {

// What switching takes of a root processor's time.
struct SwitchCosts {
    sim::Time per_frame;
    sim::Time per_byte;
    sim::Time per_segment;  // each further one of a large send
};

struct ServiceCosts {
    vmbus::Costs bus;
    vmbus::NetworkCosts network;
    SwitchCosts switching;  // what comes from a wire
    sim::Time storage_request;
    sim::Time remote_kibibyte;  // copying, besides, where the guest's memory is another node's than the processor
    // Of a behavioural guest.
    sim::Time guest_network_interrupt;
    sim::Time guest_network_frame;
    sim::Time guest_storage_request;
};

}  // namespace models
