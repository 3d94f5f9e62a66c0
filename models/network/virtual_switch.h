// The extensible virtual switch of a root partition. Ports hand frames in with send(); the switch hands them out
// through FrameReceiver at the same instant, unless a bandwidth limit holds them back. Whoever does the switching work
// charges it: cost(). Every frame that is dropped is counted under one DropReason at one port.
//
//   send ─ checks, VLAN, guards, ACL, maximum ─ ingress extensions ─ learn ─ choose ─ mirror
//        ─ per destination: egress extensions, ACL, tag ─ uplink's share ─ cut, checksums, coalesce ─ receive
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "models/network/bandwidth.h"
#include "models/network/coalescing.h"
#include "models/network/frame.h"
#include "models/network/headers.h"
#include "models/network/mac_table.h"
#include "models/network/nvgre.h"
#include "models/network/queue_placement.h"
#include "models/network/switch_acl.h"
#include "models/network/switch_extension.h"
#include "models/network/switch_settings.h"
#include "models/service_costs.h"
#include "sim/agenda.h"
#include "sim/queue.h"
#include "sim/scope.h"
#include "sim/working_set.h"

namespace models {

// A port's owner. It may send() from within receive(): such a frame is switched after the present one.
using SwitchPort = FrameReceiver;

struct SwitchSettings {
    MacTableSettings learning;
    QueuePlacementSettings queues;
    SwitchCosts costs;
    std::uint32_t waiting_bytes = 1024 * 1024;  // for a port's maximum bandwidth
};

// An uplink as a physical adapter takes frames: of every VLAN, uncut, checksums unfilled.
PortSettings external_port(std::uint64_t uplink_bps = 0, std::uint32_t maximum_frame_bytes = 1518 + 160);
// An adapter of a partition, or of the root itself.
PortSettings adapter_port(const MacAddress& mac, PortKind kind = PortKind::virtual_machine);

class VirtualSwitch final : private NvgreOutput {
public:
    VirtualSwitch(const sim::Scope& scope, const SwitchSettings& settings = {});
    ~VirtualSwitch();

    // Numbers count from 1 and are not given twice. The name is that of the statistics.
    PortId connect(std::string_view name, SwitchPort& owner, const PortSettings& settings);
    void disconnect(PortId port);
    bool connected(PortId port) const { return ports_.contains(port); }
    void configure(PortId port, const PortSettings& settings);
    const PortSettings& settings(PortId port) const;

    // What a frame from or to that port needs of it (sim/working_set.h).
    void add_needs(PortId port, sim::WorkingSet& set) const;

    void send(PortId from, Frame&& frame);
    // Between these, frames for ports that want it are coalesced. Batches may be nested.
    void begin_batch() { ++batch_depth_; }
    void end_batch();

    sim::Time cost(const Frame& frame) const;
    // Whose receive queue a frame from that port belongs to; no_port if there is no single adapter that it goes to.
    PortId destination_port(PortId from, const Frame& frame) const;
    QueuePlacement& queues() { return queues_; }

    void add_extension(SwitchExtension& extension);
    // Sees what the port's owner sends (`in`) and gets (`out`), dropped frames included.
    void observe(PortId port, FrameObserver& observer);

    // Network virtualization: this host's provider address is behind that external port.
    void set_provider(PortId external, const ProviderSettings& provider);
    void add_record(const LookupRecord& record) { nvgre_.add_record(record); }
    void remove_record(std::uint32_t virtual_subnet, const IpAddress& customer_address) {
        nvgre_.remove_record(virtual_subnet, customer_address);
    }

    std::uint64_t dropped(PortId port, DropReason reason) const;
    std::uint64_t dropped(PortId port) const;
    PortAcl::Meter meter(PortId port, std::size_t rule) const;
    const MacTable& mac_table() const { return macs_; }
    // Frames that wait for a bandwidth or in a batch.
    std::size_t waiting() const;

    template <class Archive>
    void fields(Archive& archive) {
        archive(macs_, queues_, nvgre_, provider_port_, next_port_);
        std::uint64_t count = ports_.size();
        archive(count);
        check_restored(count == ports_.size());
        for (auto& [id, port] : ports_) {
            PortId saved = id;
            archive(saved);
            check_restored(saved == id);
            archive(*port);
        }
        if constexpr (Archive::reading) settings_changed();
    }

private:
    // A frame that passed its port's own policies.
    struct Passage {
        PortId from = no_port;
        NetworkId network;
        Frame frame;
        template <class Archive>
        void fields(Archive& archive) {
            archive(from, network, frame);
        }
    };
    struct Port {
        Port(VirtualSwitch& owner, PortId port, std::string_view name, SwitchPort& receives, const PortSettings& set);
        PortId id;
        sim::Scope scope;
        SwitchPort& receiver;
        sim::Counter& in_frames;
        sim::Counter& in_bytes;
        sim::Counter& out_frames;
        sim::Counter& out_bytes;
        bool gone = false;  // disconnected; its memory is kept until nothing is under way
        std::vector<FrameObserver*> observers;
        PortSettings settings;
        PortAcl acl;
        TokenBucket bucket;
        sim::Queue<Passage> waiting;  // for the bucket
        std::uint64_t waiting_bytes = 0;
        // What is above is needed for each frame.
        std::array<std::uint64_t, drop_reasons> drops{};
        sim::Timer bucket_timer;
        FairQueue uplink;
        sim::Time uplink_free;
        sim::Timer uplink_timer;
        Coalescer coalescer;

        template <class Archive>
        void fields(Archive& archive) {
            archive(settings, drops, acl, bucket, waiting, waiting_bytes, bucket_timer, uplink, uplink_free,
                    uplink_timer, coalescer);
        }
    };
    struct Destinations {
        std::vector<PortId> ports;
        std::set<IpAddress> hosts;
        bool empty() const { return ports.empty() && hosts.empty(); }
    };
    // While one lives, send() only queues; the outermost switches what was queued.
    class Busy;

    // virtual_switch.cpp: ports and the way in
    void settings_changed();
    void remove_leaving();
    static void check_restored(bool same_ports);
    void switch_frame(PortId from, Frame&& frame);
    std::optional<DropReason> admit(Port& port, Frame& frame, NetworkId& network);
    static bool sound_offloads(Frame& frame, const Headers& headers);
    static std::optional<DropReason> guard(const Port& port, const Frame& frame, const Headers& headers);
    void limit(Port& port, Passage&& passage);
    void bucket_ready(Port& port);
    void drop(Port& port, DropReason reason);
    Port* find(PortId id);
    const Port* find(PortId id) const { return const_cast<VirtualSwitch*>(this)->find(id); }

    // switch_forwarding.cpp: destinations and the way out
    void enter(Port& port, Passage&& passage);
    bool enter_from_provider(Port& port, Passage& passage);
    void forward(Port& port, Passage&& passage);
    bool pass_ingress_extensions(Passage& passage);
    void pass_egress_extensions(const Passage& passage, std::vector<PortId>& ports);
    void learn(const Port& port, const Passage& passage, const Headers& headers);
    void choose(const Port& port, const Passage& passage, const Headers& headers, Destinations& destinations) const;
    PortId owner_of(const NetworkId& network, const MacAddress& mac) const;
    bool is_member(const Port& port, const NetworkId& network) const;
    bool answer_for_tenant(Port& port, const Passage& passage, const Headers& headers);
    void mirror(const Passage& passage, PortId except);
    void encapsulate(Port& from, const std::set<IpAddress>& hosts, const Passage& passage);
    void leave(Port& port, Passage&& passage);
    static void set_tag(const Port& port, const NetworkId& network, Frame& frame);
    void share_uplink(Port& port, PortId from, Frame&& frame);
    void uplink_ready(Port& port);
    void deliver(Port& port, Frame&& frame);
    void hand_over(Port& port, Frame&& frame);
    void send_provider_frame(Frame&& frame) override;
    void provider_unresolved() override;

    sim::Scope scope_;
    SwitchSettings settings_;
    sim::Counter& copies_;
    sim::Counter& answered_;
    sim::Counter& encapsulated_;
    sim::Counter& decapsulated_;
    std::map<PortId, std::unique_ptr<Port>> ports_;
    std::vector<Port*> table_;  // by number; null: gone
    PortId next_port_ = 1;
    MacTable macs_;
    QueuePlacement queues_;
    NvgreEndpoint nvgre_;
    PortId provider_port_ = no_port;
    PortId encapsulating_for_ = no_port;
    std::vector<SwitchExtension*> extensions_;           // in the order of the ingress path
    std::vector<std::pair<MacAddress, PortId>> owners_;  // of adapters' own addresses, in order
    std::vector<PortId> monitors_;
    std::vector<PortId> leaving_;
    unsigned busy_ = 0;
    sim::Queue<std::pair<PortId, Frame>> pending_;
    unsigned batch_depth_ = 0;
    std::vector<PortId> coalescing_;  // in order: who has frames that wait for the batch's end
    sim::StateRegistration registration_;
};

}  // namespace models
