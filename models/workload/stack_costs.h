// What a guest's network stack takes of its processors; a timing profile has the figures (docs/timing.md).
#pragma once

#include "sim/time.h"

namespace models {

struct StackCosts {
    sim::Time system_call;          // into the kernel and back, with what a socket does besides moving bytes
    sim::Time copied_kibibyte;      // between a program and the kernel
    sim::Time wake_up;              // of a program that waits: the scheduler, another thread
    sim::Time tcp_sent;             // a segment, or a large send, down to the driver
    sim::Time tcp_received;         // a segment, or several put together, up to the socket
    sim::Time tcp_joined;           // each segment that the stack looks at to put it together with others
    sim::Time tcp_acknowledgement;  // a segment without data, either way
    sim::Time tcp_cut;              // each further segment of a large send that no adapter cuts
    sim::Time datagram_sent;        // UDP, and everything that is not TCP
    sim::Time datagram_received;
    sim::Time checksummed_kibibyte;  // that no adapter sums up
};

}  // namespace models
