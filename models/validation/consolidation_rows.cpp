// Row 25: ten guests with a virtual function each, then sixty, that together receive what the wire carries.
#include <memory>
#include <vector>

#include "models/validation/guest_rig.h"
#include "models/validation/validation_row.h"
#include "models/workload/peer_sockets.h"
#include "models/workload/stream_flow.h"

namespace models {

namespace {

using sim::Time;

// igbvf begins with 8,000 interrupts a second (IGBVF_START_ITR), and with streams of full frames stays there.
constexpr Time interval = Time::us(125);
constexpr unsigned processors = 8;  // that the guests share

struct Crowd {
    std::int64_t megabits = 0;
    std::int64_t milliprocessors = 0;  // thousandths of a processor
};

Crowd crowd(unsigned guests) {
    GuestRigConfig config;
    config.guests = guests;
    config.path = NetworkPath::paired;
    config.between = Between::one_adapter;
    config.guest_processors = processors;
    config.moderation = Moderation::fixed;
    config.interval = interval;
    config.receive_buffer = 128 * 1024;  // RHEL 5 begins with 85 KiB and has no reason to go far beyond on a LAN
    config.timestamps = false;           // with them ten ports carry 9.41 Gb/s at most
    GuestRig rig(config);
    rig.start();
    PeerSockets far(rig.simulation().scope("far"), rig.peer().peer());
    std::vector<std::unique_ptr<StreamFlow>> flows;
    for (unsigned n = 0; n < guests; ++n) {
        flows.push_back(std::make_unique<StreamFlow>(
            rig.simulation().scope("flow" + std::to_string(n)), far, rig.stack(n),
            StreamFlow::Settings{.to = {GuestRig::address(n), static_cast<std::uint16_t>(8000 + n)}}));
        flows.back()->start();
    }
    rig.run_for(Time::ms(40));
    for (auto& flow : flows) flow->reset();
    const Time before = rig.use().all;
    const Time window = Time::ms(20);
    rig.run_for(window);
    std::uint64_t bytes = 0;
    for (auto& flow : flows) bytes += flow->throughput().bytes;
    return {static_cast<std::int64_t>(bytes * 8 / static_cast<std::uint64_t>(window / Time::us(1))),
            (rig.use().all - before) * 1000 / window};
}

}  // namespace

void add_consolidation_rows(ValidationRows& rows) {
    const char* source = "Dong et al., HPCA 2010, from memory: ten ports of 1 Gb/s, here one of 10";
    const Crowd few = crowd(10), many = crowd(60);
    const auto add = [&](const char* what, const char* unit, std::int64_t published, std::int64_t simulated,
                         std::int64_t tolerance) {
        rows.push_back({"25", what, unit, published, simulated, tolerance, Basis::predicted, source});
    };
    add("10 guests together", "Gb/s", 9'480, few.megabits, percent_of(9'480, 1));
    add("60 guests together", "Gb/s", 9'480, many.megabits, percent_of(9'480, 1));
    // Of one processor; the paravirtual guests' figure, for ours end their interrupts without an exit, too.
    add("each further guest", "% CPU", 1'760, (many.milliprocessors - few.milliprocessors) * 100 / 50, 500);
}

}  // namespace models
