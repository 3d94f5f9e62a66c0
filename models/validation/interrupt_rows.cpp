// Row 21: what exits for interrupts take from a guest with a network function of its own: the rate of a stream of small
// writes against that of the same guest without a hypervisor.
#include "models/validation/guest_rig.h"
#include "models/validation/validation_row.h"
#include "models/workload/peer_sockets.h"
#include "models/workload/stream_flow.h"

namespace models {

namespace {

using sim::Time;

std::uint64_t stream_rate(const char* profile) {
    GuestRigConfig config;
    config.profile = profile;
    config.guests = 1;
    config.path = NetworkPath::paired;
    config.moderation = Moderation::fixed;
    config.interval = Time::us(20);  // the paper counts 48,802 interrupts a second
    GuestRig rig(config);
    rig.start();
    PeerSockets far(rig.simulation().scope("far"), rig.peer().peer());
    StreamFlow flow(rig.simulation().scope("flow"), rig.stack(0), far,
                    {.to = {GuestRig::peer_address(), 6003}, .write_bytes = 256});
    flow.start();
    rig.run_for(Time::ms(10));
    flow.reset();
    rig.run_for(Time::ms(20));
    return flow.throughput().bits_per_second();
}

}  // namespace

void add_exitless_interrupt_rows(ValidationRows& rows) {
    const char* source = "ELI (Gordon et al., ASPLOS 2012): netperf with messages of 256 B";
    const std::uint64_t bare = stream_rate("sandy-bridge-ep:bare-metal");
    const auto add = [&](const char* what, std::int64_t published, const char* profile) {
        rows.push_back({"21", what, "% of bare metal", published,
                        static_cast<std::int64_t>(stream_rate(profile) * 100'000 / bare), 5'000, Basis::predicted,
                        source});
    };
    add("interrupts with exits, 60 to 65", 62'500, "sandy-bridge-ep");
    add("interrupts without, 97 to 100", 98'500, "sandy-bridge-ep:posted");
}

}  // namespace models
