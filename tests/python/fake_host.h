// A host that only acts: its guests follow a script, so that the face can be tested exactly and without a processor.
//
// The script is the guest's kernel file, one line an event: `AT_NS ACTION ARGUMENT`, with the actions
//   print TEXT      a console line                 state NAME     the guest's end
//   exit N          the debug-exit port            tick PERIOD_NS events for ever, at the host's leisure
// Typed text comes back on the console 10 ns later as `typed TEXT`.
#pragma once

#include <memory>

#include "models/host.h"

namespace fake {

std::unique_ptr<models::Host> make_host(sim::Simulation& simulation, const models::HostConfig& config);

}  // namespace fake
