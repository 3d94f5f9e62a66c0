// The host's side of a synthetic network adapter: its channels, the NVSP and RNDIS spoken on them, and the frames
// between the guest's driver and a switch. Each channel is a task of a processor of the root's: work is taken from the
// ring or the switch, costs time, and has its effects when that time has passed.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "sim/processor.h"
#include "sim/scope.h"
#include "vmbus/bus.h"
#include "vmbus/network/network_costs.h"
#include "vmbus/network/network_port.h"
#include "vmbus/network/nvsp.h"
#include "vmbus/network/receive_buffer.h"
#include "vmbus/network/rndis_device.h"

namespace vmbus {

// Why a frame was not passed on; each that was not counts for one of them.
enum class NetworkDrop : std::uint8_t {
    // For the guest.
    not_ready,     // no driver has its adapter up
    link_down,     // in both directions
    filtered,      // the guest doesn't want such
    too_long,      // for a section, and it may not take several; or longer than agreed
    no_checksum,   // its checksums are absent, and the guest would not know
    backlog_full,  // more than may wait for the processor
    no_sections,   // the guest has all of the receive buffer
    ring_full,     // the guest doesn't take packets from its ring
    no_buffer,     // the receive buffer has gone
    closed,        // the channel closed while it waited
    // From the guest.
    malformed,
    unsupported,
    offload_not_enabled,
};
inline constexpr std::size_t network_drop_count = 13;

class NetworkProvider final : public ChannelDevice, public NetworkAdapter {
public:
    struct Config {
        Guid instance;
        RndisDevice::Config adapter;  // its `queues` is how many channels there may be, 1 to 64
        std::uint32_t highest_version = nvsp::version_6_1;
        std::uint32_t largest_frame = 9014 + 202;  // with the Ethernet header; 9216 as in Hyper-V
        std::uint32_t send_section_bytes = 6144;
        std::uint32_t batch = 64;      // packets or frames in one piece of work
        std::uint32_t backlog = 1024;  // frames of a channel's that wait for the processor
        std::uint64_t bits_per_second = 10'000'000'000;
        bool link_up = true;
        NetworkCosts costs;
        std::vector<NetworkCosts> costs_of_queue;  // where they differ: queues beyond the last have `costs`
    };
    static constexpr std::uint16_t largest_channel_count = 64;
    using ProcessorOfQueue = std::function<sim::Processor&(std::uint16_t)>;

    // Offers the adapter on the bus.
    NetworkProvider(const sim::Scope& scope, Bus& bus, NetworkPort& port, const Config& config,
                    const ProcessorOfQueue& processor);
    ~NetworkProvider() override;
    NetworkProvider(const NetworkProvider&) = delete;
    NetworkProvider& operator=(const NetworkProvider&) = delete;

    // NetworkAdapter: the switch's side.
    void receive(std::span<IncomingFrame> frames) override;
    void set_link(bool up) override;
    void set_link_speed(std::uint64_t bits_per_second) override;
    void network_changed() override;

    // A virtual function with this serial number and the adapter's address belongs to it from now on. The guest is
    // told as soon as its driver can be; the function itself should be offered after this.
    void associate_vf(std::uint32_t serial);
    void revoke_vf();
    // What NetworkPort::switch_data_path() left open is done.
    void data_path_switched();
    bool data_path_is_vf() const { return state_.data_path_is_vf; }

    // What is agreed with the driver: 0 before.
    std::uint32_t version() const { return state_.version; }
    bool ready() const { return rndis_.operational() && state_.receive_buffer.established(); }
    const RndisDevice& adapter() const { return rndis_; }
    const ReceiveBuffer& receive_buffer() const { return state_.receive_buffer; }
    std::uint16_t open_channels() const;
    const TrafficCount& from_guest() const { return state_.from_guest; }
    const TrafficCount& to_guest() const { return state_.to_guest; }
    std::uint64_t dropped(NetworkDrop reason) const;

    // ChannelDevice.
    std::uint32_t open(Channel& channel, std::span<const std::byte, 120> user_data) override;
    void closed(Channel& channel) override;
    void signalled(Channel& channel) override;
    void released(Channel& channel) override;
    void add_needs(const Channel& channel, sim::WorkingSet& set) const override;
    ChannelDevice& adopt_sub_channel(Channel& primary_channel, Channel& sub_channel) override;

    void save(sim::Writer& writer) const;
    void restore(sim::Reader& reader);

private:
    class Queue;
    friend class Queue;
    const NetworkCosts& costs_of(std::uint16_t queue) const {
        return queue < config_.costs_of_queue.size() ? config_.costs_of_queue[queue] : config_.costs;
    }
    // What the host sends carries a transaction that no section has.
    static constexpr std::uint64_t vf_association_transaction = 0x8000'0000'0000'0000;

    // What the guest must be told as soon as there is time and room.
    enum class Notice : std::uint8_t { link, speed, network, offloads, virtual_function, send_table };
    static constexpr std::size_t notice_count = 6;

    struct State {
        // Agreed with the driver; gone when the primary channel closes.
        std::uint32_t version = 0;
        std::uint16_t ndis_version = 0;
        std::uint64_t capabilities = 0;
        std::uint32_t frame_bytes = 1514;
        ReceiveBuffer receive_buffer;
        std::uint32_t send_gpadl = 0;
        std::uint64_t send_buffer_bytes = 0;
        std::uint16_t send_buffer_id = 0;
        std::uint16_t sub_channels = 0;  // granted
        std::uint16_t packet_id = 0;
        std::uint8_t notices = 0;  // bits: Notice
        bool announced_link = true;
        std::optional<std::uint32_t> announced_vf;
        bool switching = false;  // a switch of the data path that the port has not done yet
        bool switching_to_vf = false;
        std::optional<std::uint64_t> switch_transaction;  // to be completed then
        // The host's.
        bool data_path_is_vf = false;
        bool link_up = true;
        std::uint64_t bits_per_second = 0;
        std::optional<std::uint32_t> vf;  // its serial number
        TrafficCount from_guest;
        TrafficCount to_guest;

        template <class Archive>
        void fields(Archive& archive) {
            archive(version, ndis_version, capabilities, frame_bytes, receive_buffer, send_gpadl, send_buffer_bytes,
                    send_buffer_id, sub_channels, packet_id, notices, announced_link, announced_vf, switching,
                    switching_to_vf, switch_transaction, data_path_is_vf, link_up, bits_per_second, vf, from_guest,
                    to_guest);
        }
    };

    // network_messages.cpp: what a message does.
    struct Request {
        std::uint64_t transaction = 0;
        bool wants_completion = false;
        bool rndis = false;            // `bytes` is an RNDIS control message
        std::vector<std::byte> bytes;  // else an NVSP message

        template <class Archive>
        void fields(Archive& archive) {
            archive(transaction, wants_completion, rndis, bytes);
        }
    };
    void handle(Queue& queue, const Request& request);
    void handle_rndis(Queue& queue, const Request& request);
    void initialize(Queue& queue, const Request& request);
    void take_receive_buffer(Queue& queue, const Request& request);
    void take_send_buffer(Queue& queue, const Request& request);
    void allocate_sub_channels(Queue& queue, const Request& request);
    void switch_data_path(Queue& queue, const Request& request);
    void finish_switch();
    void revoke_receive_buffer();
    void apply(const RndisDevice::Changes& changes);

    // network_provider.cpp
    Queue& queue_of(const Channel& channel) const;
    Queue& primary() { return *queues_.front(); }
    std::uint16_t choose_queue(const IncomingFrame& frame) const;
    std::optional<NetworkDrop> refusal(const IncomingFrame& frame) const;
    void give_notice(Notice notice);
    void send_notices();
    void indicate(std::uint32_t status, std::span<const std::byte> buffer = {});
    void forget_driver();
    void count_drop(NetworkDrop reason, std::uint64_t frames = 1);
    bool has_capability(std::uint64_t capability) const { return (state_.capabilities & capability) != 0; }
    bool may_have_vf() const { return state_.version >= nvsp::version_4 && has_capability(nvsp::capability::sriov); }
    RndisDevice::Surroundings surroundings() const;

    sim::Scope scope_;
    Bus& bus_;
    NetworkPort& port_;
    Config config_;
    State state_;
    RndisDevice rndis_;
    std::vector<std::unique_ptr<Queue>> queues_;
    std::array<sim::Counter*, network_drop_count> drops_{};
    sim::Counter& faults_;
    sim::StateRegistration registration_;
};

}  // namespace vmbus
