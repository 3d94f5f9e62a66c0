// What the drivers of behavioural guests take of their processors; a timing profile has the figures (docs/timing.md).
#pragma once

#include "sim/time.h"
#include "vmbus/costs.h"

namespace models {

struct DriverCosts {
    vmbus::Costs bus;       // rings, messages, signals, copying
    sim::Time interrupt;    // an interrupt and the beginning of a poll
    sim::Time frame;        // in the synthetic adapter's driver
    sim::Time poll;         // of a virtual function's queue pair, without its frames
    sim::Time sent;         // a frame of a virtual function's, its completion included
    sim::Time received;     // one that came
    sim::Time descriptor;   // each further descriptor of a frame
    sim::Time polled_sent;  // the same two of a driver that only polls
    sim::Time polled_received;
    sim::Time idle_poll;     // what such a driver takes to see that there is nothing
    sim::Time legacy_frame;  // in the emulated adapter's driver, without its accesses to registers
};

}  // namespace models
