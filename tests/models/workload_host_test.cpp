// Workloads of behavioural guests in real partitions: over the bus, the root's service and the virtual switch.
#include <doctest/doctest.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "models/host.h"
#include "models/host_networks.h"
#include "models/profiles.h"
#include "models/synthetic_devices.h"
#include "models/workload/guest_network.h"
#include "models/workload/peer_sockets.h"
#include "models/workload/request_client.h"
#include "models/workload/request_id.h"
#include "models/workload/request_server.h"
#include "models/workload/stream_flow.h"
#include "sim/simulation.h"

namespace workload_host_test {

namespace {

using namespace models;
using sim::Time;

MacAddress mac_of(unsigned number) {
    return MacAddress::from_u64(0x0015'5d01'0000 + number);
}
IpAddress ip_of(unsigned number) {
    return IpAddress::v4(0x0a00'0000 + number);
}

// Two behavioural guests and a peer on a virtual switch.
struct Machine {
    explicit Machine(unsigned cores = 3) {
        HostConfig config;
        config.cores = cores;
        config.memory_bytes = 256ull << 20;
        host = Host::create(simulation, config);
        network = &host->networks().add_switch("rack", {});
        PeerSettings settings;
        settings.mac = mac_of(1);
        settings.ipv4 = ip_of(1);
        peer = &host->networks().add_peer(*network, "peer", settings, {});
        peer_sockets = std::make_unique<PeerSockets>(simulation.scope("peer_sockets"), peer->peer());
        const Profile profile = find_profile(config.profile);
        for (unsigned n = 2; n < 4; ++n) {
            PartitionConfig partition;
            partition.name = "guest" + std::to_string(n);
            partition.memory_bytes = 64ull << 20;
            partition.behavioural = true;
            Guest& guest = host->add_partition(partition);
            NetworkConfig adapter;
            adapter.name = "net";
            adapter.port = adapter_port(mac_of(n));
            guest.devices().add_network(*network, adapter);
            GuestNetworkConfig stack;
            stack.host.mac = mac_of(n);
            stack.host.ipv4 = ip_of(n);
            stacks.push_back(std::make_unique<GuestNetwork>(simulation.scope("guest_network" + std::to_string(n)),
                                                            *guest.behavioural(), profile, stack));
        }
    }
    ~Machine() {
        workloads.clear();
        servers.clear();
        stacks.clear();
        peer_sockets.reset();
    }
    void run_for(Time time) {
        (void)host->run(
            host->now() + time, [] { return false; }, Time::never());
    }
    RequestClient& ask(unsigned from, Sockets& at, unsigned number, RequestClient::Settings settings = {}) {
        const auto port = static_cast<std::uint16_t>(5000 + servers.size());
        const std::string name = "asks" + std::to_string(servers.size());
        servers.push_back(std::make_unique<RequestServer>(simulation.scope(name + ".server"), at,
                                                          RequestServer::Settings{.port = port}));
        settings.to = {ip_of(number), port};
        auto client = std::make_unique<RequestClient>(simulation.scope(name), stacks[from]->stack(), settings);
        RequestClient& kept = *client;
        workloads.push_back(std::move(client));
        kept.start();
        return kept;
    }

    sim::Simulation simulation{3};
    std::unique_ptr<Host> host;
    Network* network = nullptr;
    NetworkPeer* peer = nullptr;
    std::unique_ptr<PeerSockets> peer_sockets;
    std::vector<std::unique_ptr<GuestNetwork>> stacks;
    std::vector<std::unique_ptr<RequestServer>> servers;
    std::vector<std::unique_ptr<Workload>> workloads;
};

TEST_CASE("requests over the synthetic path: where their time goes, and the processors'") {
    Machine m;
    m.simulation.journeys().switch_on(&request_in_frame);
    RequestClient& client = m.ask(0, m.stacks[1]->stack(), 3);
    m.run_for(Time::ms(20));
    CHECK(m.stacks[0]->driver().path() == "synthetic");
    client.reset();
    const auto before = m.host->processor_times();
    m.run_for(Time::ms(20));
    const auto after = m.host->processor_times();
    CHECK(client.latency().count() > 100);
    CHECK(client.failures() == 0);
    const auto sums = client.attribution();
    CHECK(sums.count == client.latency().count());
    CHECK(static_cast<std::uint64_t>(sums.total.ps()) == client.latency().sum());
    Time sum;
    for (const auto& [cause, part] : sums.causes) {
        sum += part.time;
    }
    CHECK(sum == sums.total);
    for (const char* cause : {"client.stack", "server.stack", "client.driver", "server.driver", "vmbus.signal",
                              "root.network", "interrupt.delivery"}) {
        CAPTURE(cause);
        CHECK(sums.causes.contains(cause));
    }
    std::map<std::string, Time> taken;
    for (std::size_t lp = 0; lp < after.size(); ++lp) {
        Time all;
        for (const auto& [cause, time] : after[lp]) {
            all += time;
            const auto was = before[lp].find(cause);
            taken[cause] += time - (was == before[lp].end() ? Time::zero() : was->second);
        }
        CHECK(all == m.host->now());
    }
    // Each request and each answer: two system calls, one wake-up, a segment down and one up.
    const Profile profile = find_profile("sandy-bridge-ep");
    const auto messages = static_cast<std::int64_t>(client.latency().count());
    const auto about = [&](const char* cause, Time each) {
        CAPTURE(cause);
        CHECK(taken[cause] >= each * (messages - 2));
        CHECK(taken[cause] <= each * (messages + 2));
    };
    for (const std::string guest : {"guest.guest2.", "guest.guest3."}) {
        about((guest + "stack.system_call").c_str(), profile.stack_costs.system_call * 2);
        about((guest + "stack.wake_up").c_str(), profile.stack_costs.wake_up);
        about((guest + "stack.tcp").c_str(),
              profile.stack_costs.tcp_sent + profile.stack_costs.tcp_received + profile.stack_costs.tcp_joined);
    }
    for (const char* cause : {"root.network", "hypervisor.exit.hypercall", "hypervisor.switch", "idle"}) {
        CAPTURE(cause);
        CHECK(taken[cause] > Time::zero());
    }
}

TEST_CASE("streams over the synthetic path, and a peer that answers") {
    Machine m;
    StreamFlow::Settings settings;
    settings.to = {ip_of(3), 6000};
    m.workloads.push_back(
        std::make_unique<StreamFlow>(m.simulation.scope("flow"), m.stacks[0]->stack(), m.stacks[1]->stack(), settings));
    StreamFlow& flow = static_cast<StreamFlow&>(*m.workloads.back());
    RequestClient& client = m.ask(0, *m.peer_sockets, 1);
    m.run_for(Time::ms(10));
    flow.start();
    m.run_for(Time::ms(10));
    flow.reset();
    m.run_for(Time::ms(10));
    CHECK(flow.throughput().bits_per_second() > 2'000'000'000);
    CHECK(client.latency().count() > 100);
    CHECK(client.attribution().count == 0);  // nobody asked for it
}

TEST_CASE("a machine with workloads is saved at any time") {
    for (const std::int64_t at : {3'000, 12'345, 14'001}) {
        CAPTURE(at);
        Machine straight, resumed;
        for (Machine* m : {&straight, &resumed}) {
            m->simulation.journeys().switch_on(&request_in_frame);
            RequestClient::Settings settings;
            settings.connections = 3;
            settings.think = Time::us(30);
            m->ask(0, m->stacks[1]->stack(), 3, settings);
            m->ask(1, *m->peer_sockets, 1);
        }
        straight.run_for(Time::us(at));
        resumed.simulation.restore(straight.simulation.save());
        straight.run_for(Time::ms(3));
        resumed.run_for(Time::ms(3));
        CHECK(straight.simulation.trace().hash() == resumed.simulation.trace().hash());
        for (std::size_t n = 0; n < straight.workloads.size(); ++n) {
            CHECK(straight.workloads[n]->latency() == resumed.workloads[n]->latency());
            CHECK(straight.workloads[n]->attribution() == resumed.workloads[n]->attribution());
        }
    }
}

TEST_CASE("a guest whose memory does not hold its drivers' buffers is told so at once, and nothing less comes up") {
    struct Row {
        const char* name;
        std::uint64_t mib;
        NetworkPath path;
        std::uint16_t channels;
        unsigned adapters;
        const char* refusal;  // of the last
    };
    const Row rows[] = {
        {"small", 32, NetworkPath::synthetic, 1, 1,
         "partition small: a synthetic network adapter takes 19 MiB of memory, and of its 32 MiB 15 are left: give it "
         "36 MiB"},
        {"as-told", 36, NetworkPath::synthetic, 1, 1, nullptr},
        {"channels", 36, NetworkPath::synthetic, 4, 1,
         "partition channels: a synthetic network adapter takes 22 MiB of memory, and of its 36 MiB 19 are left: give "
         "it 40 MiB"},
        {"two", 64, NetworkPath::synthetic, 1, 2,
         "partition two: a guest that executes no instructions drives one synthetic network adapter and one SCSI "
         "controller, not two"},
        {"function", 35, NetworkPath::paired, 1, 1,
         "partition function: a virtual function takes 2 MiB of memory, and of its 35 MiB 0 are left: give it 36 MiB"},
        {"emulated", 32, NetworkPath::emulated, 1, 1, nullptr},
    };
    for (const Row& row : rows) {
        CAPTURE(row.name);
        sim::Simulation simulation{3};
        HostConfig config;
        config.cores = 2;
        config.memory_bytes = 128ull << 20;
        const auto host = Host::create(simulation, config);
        Network& network = host->networks().add_switch("rack", {});
        PartitionConfig partition;
        partition.name = row.name;
        partition.vps = 4;
        partition.memory_bytes = row.mib << 20;
        partition.behavioural = true;
        Guest& guest = host->add_partition(partition);
        std::vector<std::unique_ptr<GuestNetwork>> stacks;
        std::string refusal;
        for (unsigned n = 0; n < row.adapters; ++n) {
            const std::string name = "net" + std::to_string(n);
            NetworkConfig adapter;
            adapter.name = name;
            adapter.port = adapter_port(mac_of(n));
            GuestNetworkConfig stack;
            stack.path = row.path;
            stack.channels = row.channels;
            stack.host.mac = mac_of(n);
            stack.host.ipv4 = ip_of(n);
            if (row.path != NetworkPath::emulated) guest.devices().add_network(network, adapter);
            try {
                stacks.push_back(std::make_unique<GuestNetwork>(simulation.scope(name), *guest.behavioural(),
                                                                find_profile(config.profile), stack));
            } catch (const sim::UserError& error) {
                refusal = error.what();
            }
        }
        CHECK(refusal == (row.refusal == nullptr ? "" : row.refusal));
        (void)host->run(
            Time::ms(50), [] { return false; }, Time::never());
        for (const auto& stack : stacks) {
            CHECK((row.adapters == 2 || stack->driver().is_up()));
        }
        stacks.clear();
    }
}

}  // namespace

}  // namespace workload_host_test
