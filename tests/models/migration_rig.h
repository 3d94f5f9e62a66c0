// Two hosts in one world, each with a virtual switch, joined by a wire; a guest on the first that works, and a peer.
#pragma once

#include <doctest/doctest.h>

#include <memory>
#include <string>

#include "models/host.h"
#include "models/host_networks.h"
#include "models/migration/live_migration.h"
#include "models/network/wire.h"
#include "models/profiles.h"
#include "models/synthetic_devices.h"
#include "models/workload/guest_network.h"
#include "models/workload/memory_writer.h"
#include "models/workload/peer_sockets.h"
#include "models/workload/request_client.h"
#include "models/workload/request_server.h"
#include "models/workload/stream_flow.h"
#include "sim/simulation.h"

namespace migration_test {

using namespace models;
using sim::Time;

inline MacAddress mac_of(unsigned number) {
    return MacAddress::from_u64(0x0015'5d01'0000 + number);
}
inline IpAddress ip_of(unsigned number) {
    return IpAddress::v4(0x0a00'0000 + number);
}

// External ports of two switches at both ends of a wire.
class Trunk final {
public:
    Trunk(const sim::Scope& scope, VirtualSwitch& one, VirtualSwitch& two)
        : wire_(scope, {}), ends_{End{*this, one, 0}, End{*this, two, 1}} {
        for (End& end : ends_) end.port = end.network.connect("trunk", end.out, external_port());
        for (End& end : ends_) wire_.end(end.index).connect(end.in);
    }
    ~Trunk() {
        for (End& end : ends_) end.network.disconnect(end.port);
    }
    Trunk(const Trunk&) = delete;

private:
    struct End {
        struct Out final : FrameReceiver {
            explicit Out(End& e) : end(e) {}
            void receive(Frame&& frame) override { end.trunk.wire_.end(end.index).receive(std::move(frame)); }
            End& end;
        };
        struct In final : FrameReceiver {
            explicit In(End& e) : end(e) {}
            void receive(Frame&& frame) override { end.network.send(end.port, std::move(frame)); }
            End& end;
        };
        End(Trunk& t, VirtualSwitch& n, unsigned i) : trunk(t), network(n), index(i) {}
        Trunk& trunk;
        VirtualSwitch& network;
        unsigned index;
        Out out{*this};
        In in{*this};
        PortId port = no_port;
    };
    Wire wire_;
    std::array<End, 2> ends_;
};

struct World {
    static constexpr std::uint64_t guest_bytes = 64ull << 20;
    static constexpr std::uint64_t guest_pages = guest_bytes / page_bytes;

    explicit World(bool with_network = true, std::uint64_t other_bytes = 256ull << 20,
                   const std::string& other_switch = "rack") {
        HostConfig config;
        config.cores = 2;
        config.memory_bytes = 256ull << 20;
        config.profile = "one-nanosecond";
        config.name = "a";
        a = Host::create(simulation, config);
        config.name = "b";
        config.memory_bytes = other_bytes;
        b = Host::create(simulation, config);
        a->join(*b);
        profile = find_profile(config.profile);
        Network& near = a->networks().add_switch("rack", {});
        Network& far = b->networks().add_switch(other_switch, {});
        trunk = std::make_unique<Trunk>(simulation.scope("trunk"), near.ports(), far.ports());
        PeerSettings settings;
        settings.mac = mac_of(1);
        settings.ipv4 = ip_of(1);
        peer = std::make_unique<PeerSockets>(simulation.scope("peer_sockets"),
                                             a->networks().add_peer(near, "peer", settings, {}).peer());
        PartitionConfig partition;
        partition.name = "guest";
        partition.vps = 2;
        partition.memory_bytes = guest_bytes;
        partition.behavioural = true;
        guest = &a->add_partition(partition);
        if (!with_network) return;
        NetworkConfig adapter;
        adapter.name = "net";
        adapter.port = adapter_port(mac_of(2));
        guest->devices().add_network(near, adapter);
        GuestNetworkConfig stack;
        stack.host.mac = mac_of(2);
        stack.host.ipv4 = ip_of(2);
        network =
            std::make_unique<GuestNetwork>(simulation.scope("guest_network"), *guest->behavioural(), profile, stack);
    }
    ~World() {
        migration.reset();
        requests.reset();
        server.reset();
        stream.reset();
        writer.reset();
        network.reset();
        peer.reset();
        trunk.reset();
        for (Host* host : {a.get(), b.get()}) host->release();
        b.reset();
    }
    World(const World&) = delete;

    void run_for(Time time) {
        (void)a->run(
            a->now() + time, [] { return false; }, Time::never());
    }
    void write(std::uint64_t pages, std::uint64_t pages_per_second) {
        writer = std::make_unique<MemoryWriter>(
            simulation.scope("writer"), *guest->behavioural(),
            MemoryWriter::Settings{.pages = pages, .pages_per_second = pages_per_second, .cost = Time::us(1)});
        writer->start();
    }
    void communicate() {
        server =
            std::make_unique<RequestServer>(simulation.scope("server"), *peer, RequestServer::Settings{.port = 5000});
        RequestClient::Settings ask;
        ask.to = {ip_of(1), 5000};
        requests = std::make_unique<RequestClient>(simulation.scope("requests"), network->stack(), ask);
        requests->start();
        StreamFlow::Settings flow;
        flow.to = {ip_of(1), 6000};
        stream = std::make_unique<StreamFlow>(simulation.scope("stream"), network->stack(), *peer, flow);
        stream->start();
    }
    MigrationSettings settings() const {
        MigrationSettings settings;
        settings.costs = profile.migration_costs;
        return settings;
    }
    Guest& migrate(const MigrationSettings& settings) {
        Guest* prepared = b->prepare_partition(guest->movable()->config());
        REQUIRE(prepared != nullptr);
        try {
            migration = std::make_unique<LiveMigration>(simulation.scope("migration"), *guest->movable(),
                                                        *prepared->movable(), settings);
        } catch (const sim::UserError&) {
            prepared->movable()->give_up();
            throw;
        }
        return *prepared;
    }
    // Until the guest has arrived, or it stays.
    void run_until_over() {
        for (int n = 0; n < 2000 && !migration->over(); ++n) run_for(Time::ms(1));
    }

    sim::Simulation simulation{5};
    Profile profile;
    std::unique_ptr<Host> a, b;
    std::unique_ptr<Trunk> trunk;
    std::unique_ptr<PeerSockets> peer;
    Guest* guest = nullptr;
    std::unique_ptr<GuestNetwork> network;
    std::unique_ptr<MemoryWriter> writer;
    std::unique_ptr<RequestServer> server;
    std::unique_ptr<RequestClient> requests;
    std::unique_ptr<StreamFlow> stream;
    std::unique_ptr<LiveMigration> migration;
};

}  // namespace migration_test
