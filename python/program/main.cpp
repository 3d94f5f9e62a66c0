// The executable `verdigris`: the face in front of the real host.
#include "models/host.h"
#include "python/command_line.h"
#include "python/program/bench_agenda.h"
#include "python/program/bench_nic.h"
#include "python/program/bench_scale.h"
#include "python/program/bench_vmbus.h"

int main(int argc, char** argv) {
    static constexpr python::Bench benches[] = {
        {"agenda", "the agenda against SystemC's event queues", &python::bench_agenda},
        {"vmbus", "packets through rings, and the synthetic network path in simulated time", &python::bench_vmbus},
        {"nic", "frames through virtual functions of the 82599", &python::bench_nic},
        {"scale", "1 to 1,024 partitions that share the same traffic; frames beside ns-3", &python::bench_scale},
    };
    return python::command_line(argc, argv, {&models::Host::create, benches});
}
