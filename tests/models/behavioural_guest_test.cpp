// A guest that executes no instructions in a real partition: its bus, its interrupts, its exits, to the picosecond.
#include "models/behavioural/behavioural_guest.h"

#include <doctest/doctest.h>

#include <memory>
#include <string>
#include <vector>

#include "models/host.h"
#include "sim/simulation.h"
#include "vmbus/integration/ic_service.h"

using models::BehaviouralGuest;
using models::Host;
using sim::Time;

namespace {

struct OneBehavioural {
    explicit OneBehavioural(unsigned cores = 1, unsigned vps = 1) {
        models::HostConfig config;
        config.cores = cores;
        config.memory_bytes = 256ull << 20;
        config.profile = "one-nanosecond";
        host = Host::create(simulation, config);
        models::PartitionConfig partition;
        partition.name = "worker";
        partition.vps = vps;
        partition.memory_bytes = 64ull << 20;
        partition.behavioural = true;
        guest = &host->add_partition(partition);
    }
    BehaviouralGuest& software() { return *guest->behavioural(); }
    void run(Time until) {
        host->run(
            until, [] { return false; }, Time::never());
    }
    std::uint64_t count(const std::string& name) const {
        const auto& all = const_cast<sim::Simulation&>(simulation).statistics().all();
        const auto found = all.find(name);
        return found == all.end() ? ~std::uint64_t{0} : found->second.counter.value();
    }

    sim::Simulation simulation{7};
    std::unique_ptr<Host> host;
    models::Guest* guest = nullptr;
};

}  // namespace

TEST_CASE("a behavioural guest connects to its bus, and is offered what its partition has") {
    OneBehavioural m;
    m.run(Time::ms(10));
    CHECK(m.software().connected());
    CHECK(m.software().bus().version() == vmbus::version::v5_3);
    CHECK(m.guest->state() == models::GuestState::halted_forever);
}
