// Two behavioural hosts with a wire between them, whose two directions may be impaired.
#pragma once

#include <memory>
#include <optional>

#include "models/network/impairment.h"
#include "models/network/peer/peer.h"
#include "models/network/wire.h"
#include "sim/simulation.h"

namespace network_test {

using namespace models;

inline PeerSettings host(unsigned number) {
    PeerSettings settings;
    settings.mac = MacAddress::from_u64(0x0015'5d00'0000 + number);
    settings.ipv4 = IpAddress::v4(0x0a00'0000 + number);
    settings.ipv6 = ip_address("fd00::" + std::to_string(number));
    return settings;
}

struct TwoHosts {
    explicit TwoHosts(std::uint64_t seed = 1, const ImpairmentSettings& bad = {}, const PeerSettings& first = host(1),
                      const PeerSettings& second = host(2), const WireSettings& link = {})
        : simulation(seed),
          wire(simulation.scope("wire"), link),
          bad_forth(simulation.scope("forth"), bad, wire.end(0)),
          bad_back(simulation.scope("back"), bad, wire.end(1)),
          a(simulation.scope("a"), first, bad_forth),
          b(simulation.scope("b"), second, bad_back) {
        wire.end(0).connect(a);
        wire.end(1).connect(b);
    }
    std::uint64_t counter(const std::string& name) const {
        return simulation.statistics().all().at(name).counter.value();
    }
    void run_for(sim::Time time) { simulation.agenda().run_until(simulation.agenda().now() + time); }
    // True if it ended within that time.
    bool run_until_end_of(const Peer& peer, TcpConnectionId id, sim::Time limit) {
        const sim::Time end = simulation.agenda().now() + limit;
        while (!peer.tcp().result(id)) {
            if (simulation.agenda().next_event() > end) return false;
            simulation.agenda().run_next();
        }
        return true;
    }

    mutable sim::Simulation simulation;
    Wire wire;
    Impairment bad_forth;
    Impairment bad_back;
    Peer a;
    Peer b;
};

}  // namespace network_test
