#include "models/scale/scale_host.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <string>
#include <vector>

#include "models/host.h"
#include "models/host_networks.h"
#include "models/legacy/generation1_partition.h"
#include "models/pci/adapter_cable.h"
#include "models/pci/partition_pci.h"
#include "models/profiles.h"
#include "models/synthetic_devices.h"
#include "models/workload/datagram_flow.h"
#include "models/workload/guest_network.h"
#include "models/workload/peer_sockets.h"
#include "models/workload/request_client.h"
#include "models/workload/request_server.h"
#include "sim/check.h"
#include "sim/simulation.h"

namespace models {

namespace {

using sim::Time;

constexpr unsigned functions_each = 63;
constexpr std::uint16_t server_port = 5201;
constexpr std::uint64_t page_bytes_each = 64 * 1024;
constexpr std::uint64_t root_bytes = std::uint64_t{256} << 20;
constexpr Time broadcast_spacing = Time::us(200);
constexpr Time boot_step = Time::ms(50);
constexpr unsigned most_boot_steps = 200;

// Adapter `a` and its server are 10.a.0.1, its partitions 10.a.1.1 and so on.
IpAddress server_address(unsigned adapter) {
    return IpAddress::v4(0x0a00'0001 + (adapter << 16));
}
IpAddress guest_address(unsigned adapter, unsigned number) {
    return IpAddress::v4(0x0a00'0001 + (adapter << 16) + ((1 + number / 250) << 8) + number % 250);
}
MacAddress guest_mac(unsigned number) {
    return MacAddress::from_u64(0x0215'5d00'0000 + number);
}
MacAddress adapter_mac(unsigned adapter) {
    return MacAddress::from_u64(0x0215'5e00'0000 + adapter);
}
MacAddress server_mac(unsigned adapter) {
    return MacAddress::from_u64(0x0215'5f00'0000 + adapter);
}

}  // namespace

std::string_view name_of(ScaleTraffic traffic) {
    return traffic == ScaleTraffic::pages ? "pages" : traffic == ScaleTraffic::uploads ? "uploads" : "requests";
}

std::string_view name_of(ScalePath path) {
    return path == ScalePath::emulated ? "emulated" : path == ScalePath::synthetic ? "synthetic" : "vf";
}

struct ScaleHost::Machine {
    // An adapter on its wire, the switch in front of it, the server behind it.
    struct Trunk final : HostDevice {
        Trunk(sim::Simulation& simulation, Host& host, const HostAdapterConfig& config, unsigned number)
            : network(host.networks().add_switch(config.name + "-switch", {})),
              rack(host.networks().add_switch(config.name + "-rack", {})),
              adapter(simulation.scope("host.pci." + config.name), host.pci(), host.pci().processor(), config),
              cable(simulation.scope("host.pci." + config.name + ".cable"), adapter, rack) {
            adapter.connect_switch(network.ports(), config.name);
            PeerSettings server;
            server.mac = server_mac(number);
            server.ipv4 = server_address(number);
            server.ipv4_prefix_length = 16;
            peer = &host.networks().add_peer(rack, config.name + "-server", server, {});
        }
        pci::Function& function() override { return adapter.function(); }

        Network& network;
        Network& rack;
        HostAdapter adapter;
        AdapterCable cable;
        NetworkPeer* peer = nullptr;
    };
    // Users end before what they use.
    struct Server {
        Server(const sim::Scope& scope, Peer& peer)
            : sockets(scope.child("sockets"), peer),
              answers(scope.child("server"), sockets, RequestServer::Settings{.port = server_port}) {}
        PeerSockets sockets;
        RequestServer answers;
    };
    struct Member {
        Guest* guest = nullptr;
        unsigned trunk = 0;
        VfPairing* pairing = nullptr;
        std::unique_ptr<GuestNetwork> network;
        std::vector<std::unique_ptr<RequestClient>> programs;
        std::unique_ptr<DatagramFlow> flow;
    };

    explicit Machine(const ScaleSettings& s) : settings(s) {
        if (s.partitions == 0 || s.requests_per_second == 0) {
            throw sim::UserError("bench scale: it takes at least one partition and one request");
        }
        HostConfig config;
        config.cores = s.cores;
        config.memory_bytes =
            s.memory_bytes != 0 ? s.memory_bytes : s.partitions * (s.partition_bytes + extra_bytes()) + root_bytes;
        host = Host::create(simulation, config);
        const unsigned count = (s.partitions + functions_each - 1) / functions_each;
        for (unsigned n = 0; n < count; ++n) add_trunk(n);
        for (unsigned n = 0; n < s.partitions; ++n) add_partition(n);
    }
    ~Machine() {
        members.clear();
        servers.clear();
    }

    // What the hypervisor holds for a partition.
    static constexpr std::uint64_t extra_bytes() { return std::uint64_t{2} << 20; }

    void add_trunk(unsigned number) {
        HostAdapterConfig config;
        config.name = fmt::format("nic{}", number);
        config.mac = adapter_mac(number);
        config.vfs = functions_each;
        trunks.push_back(&host->pci().keep(std::make_unique<Trunk>(simulation, *host, config, number)));
        servers.push_back(
            std::make_unique<Server>(simulation.scope(config.name + "-server"), trunks.back()->peer->peer()));
    }

    void add_partition(unsigned number) {
        const bool legacy = settings.path == ScalePath::emulated;
        PartitionConfig config;
        config.name = fmt::format("guest{}", number);
        config.generation = legacy ? 1 : 2;
        config.vps = number == 0 ? settings.first_vps : 1;
        config.memory_bytes = settings.partition_bytes;
        config.behavioural = true;
        Member& one = members.emplace_back();
        one.guest = &host->add_partition(config);
        one.trunk = static_cast<unsigned>(number % trunks.size());
        Trunk& trunk = *trunks[one.trunk];
        const MacAddress mac = guest_mac(number);
        NetworkConfig adapter;
        adapter.name = config.name + "-net";
        adapter.port = adapter_port(mac);
        GuestNetworkConfig network;
        network.host.mac = mac;
        network.host.ipv4 = guest_address(one.trunk, number / static_cast<unsigned>(trunks.size()));
        network.host.ipv4_prefix_length = 16;
        network.channels = static_cast<std::uint16_t>(config.vps);
        if (legacy) {
            network.path = NetworkPath::emulated;
            (void)one.guest->generation1()->add_network(trunk.network, adapter);
        } else {
            adapter.channels = static_cast<std::uint16_t>(std::min(config.vps, 8u));
            SyntheticNic& nic = one.guest->devices().add_network(trunk.network, adapter);
            if (settings.path == ScalePath::vf) {
                network.path = NetworkPath::paired;
                VfSource& source = trunk.adapter.reserve_vf(mac, sriov_nic::VfKind::hyper_v);
                one.pairing = &one.guest->pci().pair("vf", nic, source);
                one.pairing->offer();
            }
        }
        one.network = std::make_unique<GuestNetwork>(simulation.scope(config.name + ".network"),
                                                     *one.guest->behavioural(), profile, network);
    }

    void run_for(Time time) {
        (void)host->run(
            host->now() + time, [] { return false; }, Time::never());
    }

    bool is_up(const Member& one) const {
        return one.network->driver().is_up() && (one.pairing == nullptr || one.pairing->traffic_on_vf());
    }
    void come_up() {
        for (unsigned step = 0; step < most_boot_steps; ++step) {
            run_for(boot_step);
            if (std::ranges::all_of(members, [this](const Member& one) { return is_up(one); })) return;
        }
        const auto late = std::ranges::find_if(members, [this](const Member& one) { return !is_up(one); });
        throw sim::UserError(fmt::format("bench scale: the adapter of {} does not come up", late->guest->name()));
    }

    TcpEndpoint server_of(const Member& one) const { return {server_address(one.trunk), server_port}; }

    // Evenly spaced, so that programs of one partition come no closer together than those of many. They begin one after
    // the other: the first thing that a partition does is a broadcast to all others.
    void ask() {
        const std::uint64_t rate = settings.requests_per_second;
        const std::size_t count = std::max<std::size_t>(settings.programs, members.size());
        const Time interval = Time::s(1) / static_cast<std::int64_t>(rate);
        std::int64_t intervals = broadcast_spacing / interval + 1;
        while (std::gcd(intervals, static_cast<std::int64_t>(count)) != 1) ++intervals;
        for (std::size_t n = 0; n < count; ++n) {
            Member& one = members[n % members.size()];
            const auto number = static_cast<std::uint16_t>(n / members.size());
            RequestClient::Settings asks;
            asks.to = server_of(one);
            asks.datagrams = settings.traffic == ScaleTraffic::requests;
            asks.local_port = static_cast<std::uint16_t>(asks.local_port + number);
            if (settings.traffic == ScaleTraffic::pages) asks.answer = Choice{page_bytes_each};
            if (settings.traffic == ScaleTraffic::uploads) asks.request = Choice{page_bytes_each};
            asks.arrivals.kind = ArrivalKind::constant;
            asks.arrivals.per_kilosecond = rate * 1000 / count;
            programs.push_back(one.programs
                                   .emplace_back(std::make_unique<RequestClient>(
                                       simulation.scope(fmt::format("{}.asks{}", one.guest->name(), number)),
                                       one.network->stack(), asks))
                                   .get());
        }
        start_spacing = interval * intervals;
        start_timer.arm(simulation.agenda().now());
        run_for(start_spacing * static_cast<std::int64_t>(count));
    }
    void start_next() {
        programs[started++]->start();
        if (started < programs.size()) start_timer.arm_after(start_spacing);
    }
    void flood(unsigned senders) {
        constexpr std::uint16_t sink_port = 7000;
        for (unsigned n = 0; n < std::min<std::size_t>(senders, members.size()); ++n) {
            Member& one = members[n];
            DatagramFlow::Settings sends;
            sends.to = {server_address(one.trunk), static_cast<std::uint16_t>(sink_port + n)};
            sends.frame_bytes = Choice{64};
            one.flow = std::make_unique<DatagramFlow>(simulation.scope(one.guest->name() + ".sends"),
                                                      one.network->stack(), servers[one.trunk]->sockets, sends);
            one.flow->start();
        }
    }

    ScaleSettings settings;
    const Profile profile = find_profile("sandy-bridge-ep");
    sim::Simulation simulation{1};
    std::unique_ptr<Host> host;
    std::vector<Trunk*> trunks;
    std::vector<std::unique_ptr<Server>> servers;
    std::vector<Member> members;
    std::vector<RequestClient*> programs;  // in the order in which they begin
    Time start_spacing;
    std::size_t started = 0;
    sim::Timer start_timer{simulation.agenda(), "scale.start", [this] { start_next(); }};
};

ScaleHost::ScaleHost(const ScaleSettings& settings) : machine_(std::make_unique<Machine>(settings)) {}
ScaleHost::~ScaleHost() = default;

void ScaleHost::start() {
    machine_->come_up();
    machine_->ask();
}

void ScaleHost::start_flood(unsigned senders) {
    machine_->come_up();
    machine_->flood(senders);
}

void ScaleHost::run_for(Time time) {
    machine_->run_for(time);
}

ScaleHost::Counts ScaleHost::counts() const {
    Counts all;
    all.events = machine_->simulation.agenda().events_fired();
    for (const auto& one : machine_->members) {
        std::uint64_t answered = 0;
        for (const auto& program : one.programs) {
            answered += program->latency().count();
            all.failures += program->failures();
        }
        all.requests += answered;
        all.partitions_served += answered != 0 ? 1 : 0;
        if (one.flow) all.frames += one.flow->latency().count();
    }
    return all;
}

Time ScaleHost::now() const {
    return machine_->host->now();
}

unsigned ScaleHost::adapters() const {
    return static_cast<unsigned>(machine_->trunks.size());
}

unsigned ScaleHost::functions_in_use() const {
    return static_cast<unsigned>(std::ranges::count_if(
        machine_->members, [](const auto& one) { return one.pairing != nullptr && one.pairing->traffic_on_vf(); }));
}

}  // namespace models
