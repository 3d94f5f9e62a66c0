// An Intel 82599 in the host, as the root uses it: behind a root port on a link in time, its physical function driven
// by the root, its queue pair the uplink of a virtual switch, its connector on a wire, and virtual functions for
// partitions.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "models/host_networks.h"
#include "models/network/addresses.h"
#include "models/network/queue_placement.h"
#include "models/network/wire.h"
#include "models/pci/physical_queue.h"
#include "models/pci/vf_pairing.h"
#include "pci/link.h"
#include "sriov_nic/adapter.h"

namespace models {

struct HostAdapterConfig {
    std::string name;
    MacAddress mac;
    unsigned vfs = 1;              // 1 to 63; to 31 with four queues for each
    unsigned queues_per_pool = 2;  // or 4: of each virtual function, and of each address with queues of its own
    sim::Time cable = sim::Time::ns(25);
    unsigned node = 0;  // NUMA: where it stands
    // So many addresses of the host's synthetic adapters have queues of their own: one each (VMQ), or as many as a pool
    // has, by the hash of RSS (VMMQ).
    unsigned vmqs = 0;
    unsigned queues_per_vmq = 1;
    sim::Time rebalance;  // dynamic VMQ: how often queues are moved by their load; zero: they stay
};

class HostAdapter final : public HostDevice,
                          private sriov_nic::Wire,
                          private RootInterrupts,
                          private sriov_nic::FrameWatcher,
                          private sim::Task {
public:
    // `processors`: of the root, those that serve the adapter's queues; the first has all that is not an address' own.
    HostAdapter(const sim::Scope& scope, HostPci& host, std::span<sim::Processor* const> processors,
                const HostAdapterConfig& config);
    HostAdapter(const sim::Scope& scope, HostPci& host, sim::Processor& processor, const HostAdapterConfig& config)
        : HostAdapter(scope, host, std::array{&processor}, config) {}
    ~HostAdapter() override;
    HostAdapter(const HostAdapter&) = delete;

    pci::Function& function() override { return adapter_.physical(); }
    const std::string& name() const { return config_.name; }
    unsigned vfs() const { return config_.vfs; }
    const sriov_nic::Statistics& statistics() { return adapter_.controller().statistics(); }
    const sriov_nic::FunctionStatistics& vf_statistics(unsigned vf) { return statistics().functions[vf]; }

    // The uplink of this switch; once.
    void connect_switch(VirtualSwitch& network, std::string_view port_name);
    PortId uplink() const { return uplink_; }
    // What stands at the cable's other end takes frames here, and gives them to from_wire() when their last bit comes.
    void connect_wire(FrameReceiver& beyond) { beyond_ = &beyond; }
    FrameReceiver& from_wire() { return arriving_; }

    // From now on each virtual function that is reserved writes `<name>-vf<number>.pcapng`, as its partition sees it,
    // and what passes the connector is in `<name>-port.pcapng`, at the time of its last bit.
    void capture(Captures& captures);

    // A synthetic adapter on the switch: virtual functions reach its address through the physical function. It gets
    // queues of its own if there are any left, and `queues`.
    void add_host_address(const MacAddress& mac, bool queues = false);
    // It is elsewhere now, and its queues are for the next one.
    void remove_host_address(const MacAddress& mac);
    // Where queues are served now, by number of the processors: the physical function's first, then the addresses'.
    std::vector<std::uint32_t> queue_processors();

    // A virtual function for a synthetic adapter of that address, the first that nobody has; sim::UserError if there is
    // none left.
    VfSource& reserve_vf(const MacAddress& mac, sriov_nic::VfKind kind);
    // Its partition is elsewhere, and it has come back: it is for the next one.
    void release_vf(unsigned number);
    // How many are reserved, and the number of the next one.
    unsigned reserved() const { return static_cast<unsigned>(std::ranges::count(taken_, true)); }
    unsigned next_vf() const { return static_cast<unsigned>(std::ranges::find(taken_, false) - taken_.begin()); }

    void save(sim::Writer& writer) const;
    void restore(sim::Reader& reader);

private:
    struct ToController final : FrameReceiver {
        explicit ToController(HostAdapter& a) : adapter(a) {}
        void receive(Frame&& frame) override;
        HostAdapter& adapter;
    };
    // One virtual function, on its way to and from its partition.
    class Vf final : public VfSource {
    public:
        Vf(HostAdapter& adapter, unsigned number, const MacAddress& mac, sriov_nic::VfKind kind)
            : adapter_(adapter), number_(number), mac_(mac), kind_(kind) {}
        HostFunction start_vf() override;
        void steer_to_vf(bool to_vf) override;
        void stop_vf() override;
        FrameCounts counts() const override;

    private:
        HostAdapter& adapter_;
        unsigned number_;
        MacAddress mac_;
        sriov_nic::VfKind kind_;
    };
    // A frame on the cable.
    struct OnCable {
        sim::Time at;
        std::vector<std::byte> bytes;
        template <class Archive>
        void fields(Archive& archive) {
            archive(at, bytes);
        }
    };

    void transmit(std::span<const std::byte> frame, sim::Time start, sim::Time end) override;
    void sent(unsigned pool, std::span<const std::byte> frame) override;
    void received(unsigned pool, std::span<const std::byte> frame) override;
    void message(std::uint32_t number) override;
    std::optional<sim::Time> begin() override;
    void finish() override;
    void account(sim::Account& account) const override { account.rest("adapter"); }
    void arrived();
    void rebalance();
    // Those that are somebody's, with the address' number from 1 on and their own.
    template <class Function>
    void for_each_vmq(Function function);
    void start();
    void open_vmqs(const sim::Scope& scope, std::span<sim::Processor* const> processors);
    void enable_messages();
    HostFunction virtual_function(unsigned vf, sriov_nic::VfKind kind) const;

    sim::Scope scope_;
    HostPci& host_;
    HostAdapterConfig config_;
    pci::Bus& bus_;
    pci::Link link_;
    sriov_nic::Profile profile_;
    sriov_nic::Adapter adapter_;
    sriov_nic::PhysicalDriver driver_;
    HostFunction physical_;
    std::uint64_t vf_registers_ = 0;  // host addresses of the VF BARs
    std::uint64_t vf_msix_ = 0;
    std::uint16_t first_vf_ = 0;
    std::uint16_t vf_stride_ = 0;
    RootDmaAreas areas_;
    PhysicalQueue queue_;
    std::vector<std::unique_ptr<PhysicalQueue>> vmqs_;  // queues_per_vmq for each address
    std::vector<sriov_nic::MacKey> vmq_addresses_;      // whose queues they are; 0: nobody's
    QueuePlacement placement_;
    sim::Timer rebalance_timer_;
    sim::Counter& moves_;
    ToController arriving_;
    FrameReceiver* beyond_ = nullptr;
    bool switched_ = false;
    PortId uplink_ = no_port;
    std::vector<std::unique_ptr<Vf>> reserved_;  // ever: pairings look at them when their partition is elsewhere
    std::vector<bool> taken_;                    // by number
    Captures* captures_ = nullptr;
    PcapngFile::Interface* port_capture_ = nullptr;
    std::vector<PcapngFile::Interface*> vf_captures_;  // of those reserved
    std::deque<OnCable> on_cable_;
    sim::Timer cable_timer_;
    bool causes_ = false;  // the driver is to look at the other causes
    sim::TaskSlot slot_;
    sim::StateRegistration registration_;
};

}  // namespace models
