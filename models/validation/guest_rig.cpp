#include "models/validation/guest_rig.h"

#include <algorithm>
#include <utility>

#include "models/behavioural/failover_driver.h"
#include "models/pci/adapter_cable.h"
#include "models/pci/host_adapter.h"
#include "models/pci/host_pci.h"
#include "models/pci/partition_pci.h"
#include "models/synthetic_devices.h"
#include "models/validation/root_port.h"
#include "sim/check.h"

namespace models {

namespace {

constexpr unsigned first_partition = 2;  // the root is 1
constexpr std::uint64_t guest_bytes = std::uint64_t{64} << 20, plain_bytes = std::uint64_t{8} << 20;

MacAddress adapter_mac(unsigned number) {
    return MacAddress::from_u64(0x0015'5d03'0000 + number);
}
const MacAddress peer_mac = MacAddress::from_u64(0x0015'5d04'0000);

// The adapter and its cable into the rack.
struct CabledAdapter final : HostDevice {
    CabledAdapter(const sim::Scope& scope, HostPci& pci, const HostAdapterConfig& config, Network& rack)
        : adapter(scope, pci, pci.processor(), config), cable(scope.child("cable"), adapter, rack) {}
    pci::Function& function() override { return adapter.function(); }

    HostAdapter adapter;
    AdapterCable cable;
};

}  // namespace

MacAddress GuestRig::mac(unsigned guest) {
    return MacAddress::from_u64(0x0015'5d02'0000 + guest);
}
IpAddress GuestRig::address(unsigned guest) {
    return IpAddress::v4(0x0a00'0100 + guest);
}
IpAddress GuestRig::peer_address() {
    return IpAddress::v4(0x0a00'0001);
}

// Logical processor 0 has the adapters' receive work; then those of the services, by partition and channel; then the
// guests'.
unsigned GuestRig::root_processors() const {
    return config_.guest_processors != 0 ? first_partition : first_partition + config_.guests * config_.channels;
}

GuestRig::GuestRig(const GuestRigConfig& config)
    : config_(config), profile_(find_profile(config.profile)), guests_(config.guests) {
    HostConfig host;
    host.profile = config.profile;
    host.cores =
        root_processors() + (config.guest_processors != 0 ? config.guest_processors : config.guests * config.vps);
    host.memory_bytes = std::uint64_t{8} << 30;
    host_ = Host::create(simulation_, host);
    if (config.between != Between::wire) {
        rack_ = &host_->networks().add_switch("rack", {});
        PeerSettings settings;
        settings.mac = peer_mac;
        settings.ipv4 = peer_address();
        settings.ipv4_prefix_length = 16;
        settings.tcp.timestamps = config.timestamps;
        // Nothing of what the peer's own stack wants to send is lost before it has left.
        WireSettings cable;
        cable.queue_bytes = std::size_t{64} << 20;
        peer_ = &host_->networks().add_peer(*rack_, "peer", settings, cable);
    }
    for (unsigned number = 0; number < config.guests; ++number) add_guest(number);
    if (config.between == Between::wire) join_by_wire();
}

GuestRig::~GuestRig() {
    ports_.clear();
    for (Member& member : guests_) {
        member.network.reset();
        member.bare.reset();
    }
}

std::uint64_t GuestRig::affinity_of(unsigned guest) const {
    const unsigned count = config_.guest_processors != 0 ? config_.guest_processors : config_.vps;
    const unsigned first = root_processors() + (config_.guest_processors != 0 ? 0 : guest * config_.vps);
    return ((std::uint64_t{1} << count) - 1) << first;
}

Guest& GuestRig::add_partition(const std::string& name, unsigned vps, std::uint64_t memory_bytes,
                               std::uint64_t affinity) {
    PartitionConfig partition;
    partition.name = name;
    partition.vps = vps;
    partition.memory_bytes = memory_bytes;
    partition.behavioural = true;
    partition.affinity = affinity;
    return host_->add_partition(partition);
}

Network& GuestRig::add_switch(const std::string& name) {
    SwitchSettings settings;
    settings.costs = profile_.service_costs.switching;
    return host_->networks().add_switch(name, settings);
}

void GuestRig::add_guest(unsigned number) {
    Member& member = guests_[number];
    const std::string name = "guest" + std::to_string(number);
    const std::uint64_t affinity = affinity_of(number);
    member.guest = &add_partition(name, config_.vps, guest_bytes, affinity);
    // The partition behind has its services where this one's second channel is, and so on.
    for (unsigned channel = 1; channel < config_.channels; ++channel) {
        member.root.push_back(&add_partition(name + "-channel" + std::to_string(channel), 1, plain_bytes, affinity));
    }
    HostPci& pci = host_->pci();
    const bool first = number == 0;
    if (first || config_.between != Between::one_adapter) {
        member.network_switch = &add_switch("switch" + std::to_string(number));
    } else {
        member.network_switch = guests_[0].network_switch;
    }
    NetworkConfig adapter;
    adapter.name = name + "-net";
    adapter.port = adapter_port(mac(number));
    adapter.channels = config_.channels;
    SyntheticNic& nic = member.guest->devices().add_network(*member.network_switch, adapter);

    CabledAdapter* cabled = nullptr;
    if (config_.between != Between::wire && (first || config_.between == Between::adapters)) {
        HostAdapterConfig settings;
        settings.name = "nic" + std::to_string(number);
        settings.mac = adapter_mac(number);
        settings.vfs = config_.between == Between::one_adapter ? config_.guests : 1;
        cabled = &pci.keep(
            std::make_unique<CabledAdapter>(simulation_.scope("host.pci." + settings.name), pci, settings, *rack_));
        cabled->adapter.connect_switch(member.network_switch->ports(), settings.name);
        adapters_.push_back(&cabled->adapter);
    }
    if (config_.between != Between::wire) {
        HostAdapter& behind = *adapters_.back();
        if (config_.path == NetworkPath::paired) {
            member.pairing = &member.guest->pci().pair(name + "-vf", nic,
                                                       behind.reserve_vf(mac(number), sriov_nic::VfKind::hyper_v));
            member.pairing->offer();
        } else {
            behind.add_host_address(mac(number));
        }
    }
    add_software(number);
}

void GuestRig::add_software(unsigned number) {
    Member& member = guests_[number];
    BehaviouralGuest& guest = *member.guest->behavioural();
    const sim::Scope scope = simulation_.scope("network.guest" + std::to_string(number));
    if (number < config_.users.size()) {
        const auto synthetic = SyntheticDriver::config(profile_.driver_costs, config_.channels);
        NetworkDriverUser& user = *config_.users[number];
        if (config_.path == NetworkPath::synthetic) {
            member.bare = std::make_unique<SyntheticDriver>(scope, guest, user, synthetic);
            return;
        }
        VfDriver::Config function = VfDriver::config(profile_.driver_costs, Screen::memory.end());
        function.vectors.polling = config_.polling;
        member.bare = std::make_unique<FailoverDriver>(scope, guest, user, synthetic, function);
        return;
    }
    GuestNetworkConfig stack;
    stack.path = config_.path;
    stack.host.mac = mac(number);
    stack.host.ipv4 = address(number);
    stack.host.ipv4_prefix_length = 16;
    stack.host.tcp.timestamps = config_.timestamps;
    stack.send_buffer = config_.send_buffer;
    stack.host.tcp.receive_buffer = config_.receive_buffer;
    stack.channels = config_.channels;
    stack.moderation = config_.moderation;
    stack.interval = config_.interval;
    stack.polling = config_.polling;
    member.network = std::make_unique<GuestNetwork>(scope, guest, profile_, stack);
}

NetworkDriver& GuestRig::driver(unsigned guest) {
    Member& member = guests_.at(guest);
    return member.bare ? *member.bare : member.network->driver();
}

void GuestRig::join_by_wire() {
    VG_CHECK(guests_.size() == 2);
    WireSettings settings;
    settings.bits_per_second = config_.wire_bits_per_second;
    settings.queue_bytes = std::size_t{64} << 20;  // the root takes what a guest sends at once; nobody drops it there
    wire_ = std::make_unique<Wire>(simulation_.scope("wire"), settings);
    for (unsigned end = 0; end < 2; ++end) {
        Member& member = guests_[end];
        std::vector<sim::Processor*> processors{&member.guest->devices().service_host().processor};
        for (Guest* beside : member.root) {
            processors.push_back(&beside->devices().service_host().processor);
        }
        ports_.push_back(
            std::make_unique<RootPort>(member.network_switch->ports(), wire_->end(end), processors, config_.queues));
    }
}

std::uint64_t GuestRig::frames_on_wire(unsigned guest) const {
    return adapters_.at(std::min<std::size_t>(guest, adapters_.size() - 1))->statistics().sent.packets;
}

void GuestRig::run_for(sim::Time time) {
    (void)host_->run(
        host_->now() + time, [] { return false; }, sim::Time::never());
}

void GuestRig::start() {
    const std::string_view wanted = config_.path == NetworkPath::paired ? "virtual function" : "synthetic";
    for (unsigned tries = 0; tries < 100; ++tries) {
        run_for(sim::Time::ms(5));
        bool up = true;
        for (unsigned guest = 0; guest < config_.guests; ++guest) {
            up = up && driver(guest).is_up() && driver(guest).path() == wanted;
        }
        if (up) return run_for(sim::Time::ms(2));
    }
    VG_CHECK(false, "an adapter does not come up");
}

// --- What processors do ------------------------------------------------------------------------------------------

ProcessorUse GuestRig::use_of(unsigned first, unsigned count) const {
    const auto all = host_->processor_times();
    ProcessorUse sum;
    for (unsigned lp = first; lp < first + count; ++lp) {
        for (const auto& [cause, time] : all[lp]) {
            if (cause == "idle") continue;
            sum.all += time;
            if (cause != "hypervisor.exit.halt" && cause != "hypervisor.switch") sum.guest += time;
        }
    }
    return sum;
}

ProcessorUse GuestRig::use(unsigned guest) const {
    return use_of(root_processors() + guest * config_.vps, config_.vps);
}

ProcessorUse GuestRig::use() const {
    return use_of(0, host_->config().cores);
}

std::int64_t GuestRig::millicycles_per_byte(sim::Time time, std::uint64_t bytes) const {
    if (bytes == 0) return 0;
    const sim::u128 millicycles =
        static_cast<sim::u128>(time.ps()) * profile_.core_hz * 1000 / sim::picoseconds_per_second;
    return static_cast<std::int64_t>(millicycles / bytes);
}

}  // namespace models
