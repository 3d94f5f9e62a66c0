// Behavioural guests as the published measurements had them: each on a virtual switch, with processors of its own, so
// that what is measured is the path and not who else runs. The switches are joined by adapters and a rack, as those of
// two hosts are, or by a faster wire, or all guests are on one.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "models/behavioural/vf_moderation.h"
#include "models/host.h"
#include "models/host_networks.h"
#include "models/pci/vf_pairing.h"
#include "models/profiles.h"
#include "models/workload/guest_network.h"
#include "models/workload/stream_flow.h"
#include "sim/simulation.h"

namespace models {

enum class Between : std::uint8_t {
    adapters,     // each guest is behind an 82599 of its own, all on one rack
    one_adapter,  // all are behind the same 82599
    wire,         // two guests, on two switches that a wire joins
};

struct GuestRigConfig {
    std::string profile = "sandy-bridge-ep";
    unsigned guests = 2;
    unsigned vps = 1;            // of each guest
    std::uint16_t channels = 1;  // of each synthetic adapter, each with a processor of the root's
    NetworkPath path = NetworkPath::synthetic;
    Between between = Between::adapters;
    std::uint64_t wire_bits_per_second = 40'000'000'000;
    unsigned queues = 1;     // in which frames come from that wire: one, or as many as channels
    bool timestamps = true;  // of TCP
    // Of connections: about where Linux' autotuning stays as long as round trips are short.
    std::uint64_t send_buffer = 512 * 1024;
    std::uint32_t receive_buffer = 1024 * 1024;
    Moderation moderation = Moderation::adaptive;
    sim::Time interval;  // the least time between interrupts, where it is fixed
    bool polling = false;
    unsigned guest_processors = 0;  // that all guests share; 0: each virtual processor has one
    // What stands above each guest's driver instead of a network stack; a driver that polls costs what DPDK's does.
    std::vector<NetworkDriverUser*> users;
};

// Time of processors that were not idle: in all, and as the guest's own accounts have it, which see neither its halts
// nor the hypervisor's switches.
struct ProcessorUse {
    sim::Time guest;
    sim::Time all;
};

class HostAdapter;
class RootPort;

class GuestRig {
public:
    explicit GuestRig(const GuestRigConfig& config);
    ~GuestRig();
    GuestRig(const GuestRig&) = delete;

    sim::Simulation& simulation() { return simulation_; }
    Host& host() { return *host_; }
    const Profile& profile() const { return profile_; }
    GuestStack& stack(unsigned guest) { return guests_.at(guest).network->stack(); }
    NetworkDriver& driver(unsigned guest);
    static MacAddress mac(unsigned guest);
    VfPairing& pairing(unsigned guest) { return *guests_.at(guest).pairing; }
    static IpAddress address(unsigned guest);
    // Beyond the adapter's wire.
    NetworkPeer& peer() { return *peer_; }
    static IpAddress peer_address();

    // That the guest's adapter has sent, by whatever path.
    std::uint64_t frames_on_wire(unsigned guest) const;

    void run_for(sim::Time time);
    // Until all adapters are up, on the virtual function if they are paired.
    void start();

    ProcessorUse use(unsigned guest) const;
    // Of all processors, the root's included.
    ProcessorUse use() const;
    // Thousandths of a cycle for each byte.
    std::int64_t millicycles_per_byte(sim::Time time, std::uint64_t bytes) const;

private:
    struct Member {
        Guest* guest = nullptr;
        Network* network_switch = nullptr;
        VfPairing* pairing = nullptr;
        std::unique_ptr<GuestNetwork> network;
        std::unique_ptr<NetworkDriver> bare;
        std::vector<Guest*> root;  // partitions whose services run where this guest's further channels do
    };
    Guest& add_partition(const std::string& name, unsigned vps, std::uint64_t memory_bytes, std::uint64_t affinity);
    Network& add_switch(const std::string& name);
    void add_guest(unsigned number);
    void add_software(unsigned number);
    void join_by_wire();
    std::uint64_t affinity_of(unsigned guest) const;
    // The first logical processor that is a guest's.
    unsigned root_processors() const;
    ProcessorUse use_of(unsigned first, unsigned count) const;

    GuestRigConfig config_;
    Profile profile_;
    sim::Simulation simulation_{1};
    std::unique_ptr<Host> host_;
    Network* rack_ = nullptr;
    NetworkPeer* peer_ = nullptr;
    std::vector<Member> guests_;
    std::vector<HostAdapter*> adapters_;
    std::unique_ptr<Wire> wire_;
    std::vector<std::unique_ptr<RootPort>> ports_;
};

}  // namespace models
