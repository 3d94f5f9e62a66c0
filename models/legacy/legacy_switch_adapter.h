// A legacy adapter on a port of the virtual switch: whole frames with their checksums both ways, as on a cable. Handing
// a frame over is work on one of the root's processors, as with a synthetic adapter.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "models/legacy/dec21140.h"
#include "models/network/virtual_switch.h"
#include "sim/processor.h"
#include "vmbus/network/rndis_device.h"

namespace models {

// Assumptions, the same as of the synthetic service.
struct LegacyNetworkCosts {
    sim::Time per_frame = sim::Time::ns(300);
    sim::Time per_kibibyte = sim::Time::ns(100);
};

class LegacySwitchAdapter final : public FramePort, private SwitchPort, private sim::Task {
public:
    // Frames that wait for the root's processor, each way together. What comes beyond is dropped and counted.
    static constexpr std::size_t most_waiting = 256;

    // The adapter takes no offloads: what `settings` says of them is overruled.
    LegacySwitchAdapter(const sim::Scope& scope, VirtualSwitch& network, std::string_view port_name,
                        PortSettings settings, sim::Processor& processor, const LegacyNetworkCosts& costs = {});
    ~LegacySwitchAdapter();
    LegacySwitchAdapter(const LegacySwitchAdapter&) = delete;

    // The adapter; before any frame comes.
    void connect(Dec21140& adapter) { adapter_ = &adapter; }
    PortId port() const { return port_; }
    // As a driver counts them.
    const vmbus::TrafficCount& from_guest() const { return state_.from_guest; }
    const vmbus::TrafficCount& to_guest() const { return state_.to_guest; }
    void set_link(bool up) { adapter_->set_link(up); }

    // What waits is forgotten.
    void clear();

    struct Passage {
        bool to_guest = false;
        std::vector<std::byte> bytes;

        bool operator==(const Passage&) const = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(to_guest, bytes);
        }
    };
    struct State {
        std::deque<Passage> waiting;
        bool at_work = false;  // with the first of them
        vmbus::TrafficCount from_guest;
        vmbus::TrafficCount to_guest;

        template <class Archive>
        void fields(Archive& archive) {
            archive(waiting, at_work, from_guest, to_guest);
        }
    };
    template <class Archive>
    void fields(Archive& archive) {
        archive(state_);
    }

private:
    // FramePort: from the guest.
    void transmit(std::span<const std::byte> frame) override;
    // SwitchPort: to the guest.
    void receive(Frame&& frame) override;
    // sim::Task
    std::optional<sim::Time> begin() override;
    void finish() override;
    void account(sim::Account& account) const override { account.add("root.network", cost_); }
    void add(Passage&& passage, vmbus::TrafficCount& count);

    sim::Scope scope_;
    VirtualSwitch& network_;
    LegacyNetworkCosts costs_;
    sim::Counter& busy_;
    Dec21140* adapter_ = nullptr;
    State state_;
    sim::Time cost_;  // of the piece that has begun
    sim::TaskSlot slot_;
    PortId port_;
};

}  // namespace models
