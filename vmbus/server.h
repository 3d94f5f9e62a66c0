// A partition's bus at the host's end: speaks the control messages with the guest, keeps offers, relids, GPADLs and
// channels, and carries signals both ways. What the guest sends is hostile; what is wrong with it is refused, counted
// by reason and answered as Hyper-V does.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "sim/flat_map.h"
#include "sim/scope.h"
#include "vmbus/bus.h"
#include "vmbus/costs.h"
#include "vmbus/gpadl.h"
#include "vmbus/host_channel.h"
#include "vmbus/messages.h"
#include "vmbus/refusals.h"

namespace vmbus {

// Whoever answers the guest's sockets (hv_sock).
class SocketListener {
public:
    virtual ~SocketListener() = default;
    // The guest wants to connect. True: a channel for it is being offered, with Offer::socket_provider, the service as
    // its type and the endpoint as its instance; false: nobody listens there. Asked once for each pair that is offered.
    // How many a guest may have is the listener's to limit.
    virtual bool connect(const Guid& endpoint, const Guid& service) = 0;
    // Restoring a checkpoint made this channel of the listener's anew. Null: it is none of its own.
    virtual ChannelDevice* adopt(Channel& channel) {
        (void)channel;
        return nullptr;
    }
};

struct ServerConfig {
    std::uint32_t newest_version = version::v5_3;
    bool dedicated_interrupts = true;  // else guests before 5.0 set bits in the interrupt page as well
    // Pages in all GPADLs of the guest together. 2^18 describe 1 GiB.
    std::uint64_t gpadl_page_limit = std::uint64_t{1} << 18;
    Costs costs;
};

class Server final : public Bus {
public:
    Server(const sim::Scope& scope, GuestMemory& memory, GuestPort& port, const ServerConfig& config);
    ~Server() override;
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;

    // Bus
    Channel& offer(const Offer& offer, ChannelDevice& device) override;
    Channel& offer_sub_channel(Channel& primary, ChannelDevice& device) override;
    void rescind(Channel& channel) override;
    void needs_changed() override;

    // What arrived on the connection for messages.
    void guest_message(std::span<const std::byte> payload);
    // The guest signalled this connection.
    void guest_signal(std::uint32_t connection);
    // The partition was reset: nothing of the guest's is left, nothing is said to it.
    void reset();

    void set_socket_listener(SocketListener* listener) { sockets_ = listener; }

    // What the root needs of the bus and its devices when the guest is at work with them (sim/working_set.h).
    const sim::WorkingSet& needs() const { return needs_; }
    std::uint32_t version() const { return state_.version; }
    const Costs& costs() const { return config_.costs; }
    std::uint64_t gpadl_pages() const { return gpadl_words_; }
    std::size_t channel_count() const { return channels_.size(); }
    std::size_t queued_messages() const { return state_.outgoing.size() + state_.waiting.size(); }
    std::uint64_t refused(Refusal refusal) const { return refusals_[static_cast<std::size_t>(refusal)]->value(); }

    // Connections that guests know: for messages before and from 5.0, for signals before 1.1 and of a channel.
    static constexpr std::uint32_t message_connection_old = 1;
    static constexpr std::uint32_t message_connection = 4;
    static constexpr std::uint32_t shared_event_connection = 2;
    static constexpr std::uint32_t connection_of(std::uint16_t relid) { return message_sint << 12 | relid; }
    static constexpr std::uint32_t message_sint = 2;
    static constexpr std::uint16_t largest_relid = 2047;
    static constexpr std::uint16_t largest_old_relid = 255;  // before 2.4

    void save(sim::Writer& writer) const;
    void restore(sim::Reader& reader);

private:
    friend class HostChannel;
    using Message = std::vector<std::byte>;
    using GpadlKey = std::pair<std::uint32_t, std::uint32_t>;  // channel's id, number

    struct State {
        std::uint32_t version = version::none;  // none: not connected
        bool offers_made = false;
        std::uint32_t message_vp = 0;
        std::uint64_t interrupt_page = 0;
        std::array<std::uint64_t, 2> monitor_pages{};  // to the guest, to the host
        std::uint32_t next_channel = 1;
        sim::FlatMap<std::uint16_t, std::uint32_t> relids;  // to channels
        std::map<std::uint32_t, std::uint32_t> incomplete;  // GPADLs by number, to channels
        std::deque<Message> outgoing;                       // the guest's queue is full
        std::deque<Message> waiting;                        // from the guest, until it takes ours
        sim::Time retry;

        bool operator==(const State&) const = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(version, offers_made, message_vp, interrupt_page, monitor_pages, next_channel, relids, incomplete,
                    outgoing, waiting, retry);
        }
    };

    // server_requests.cpp: what guests ask for
    void handle(std::span<const std::byte> payload);
    void handle_contact(const message::InitiateContact& request);
    void handle_request_offers();
    void handle_open(const message::OpenChannel& request);
    std::uint32_t open(HostChannel& channel, const message::OpenChannel& request);
    void handle_close(const message::CloseChannel& request);
    void handle_gpadl_header(const message::GpadlHeader& request, std::span<const std::byte> ranges);
    void handle_gpadl_body(const message::GpadlBody& request, std::span<const std::byte> ranges);
    void gpadl_progress(HostChannel& channel, std::uint32_t number, Gpadl::Progress progress);
    void handle_gpadl_teardown(const message::GpadlTeardown& request);
    void handle_relid_released(const message::RelidReleased& request);
    void handle_unload();
    void handle_socket(const message::TlConnectRequest& request);
    void handle_modify(const message::ModifyChannel& request);

    // server_channels.cpp: the lives of channels
    HostChannel& add_channel(const Offer& offer, ChannelDevice& device, std::uint32_t primary);
    void make_offer(HostChannel& channel);
    void make_waiting_offers();
    void close(std::uint32_t id);
    void take_away(std::uint32_t id);
    void let_go(std::uint32_t id);
    void remove(std::uint32_t id);
    void disconnect();
    std::vector<std::uint32_t> sub_channels(std::uint32_t primary) const;
    std::vector<std::uint32_t> channel_ids() const;
    HostChannel* find(std::uint32_t id) const;
    HostChannel* by_relid(std::uint32_t relid) const;
    void erase_gpadl(const GpadlKey& key);
    void erase_gpadls(std::uint32_t channel);
    void attach_rings(HostChannel& channel);
    ChannelDevice* adopter(HostChannel& channel) const;

    // server_signals.cpp: messages and signals
    template <class T>
    void post(const T& message) {
        post_bytes(bytes_of(message));
    }
    void post_bytes(std::span<const std::byte> payload);
    void send_queued();
    bool overloaded() const;
    void signal_guest(HostChannel& channel);
    void signal_device(HostChannel& channel);
    void fault_later(HostChannel& channel, Refusal refusal, std::uint64_t detail);
    void end_faulty();
    void poll_room_of(HostChannel& channel);
    void poll_room();
    void start_monitor(HostChannel& channel);
    void arm_monitor();
    void look_at_monitor_page();
    bool test_and_clear_bit(std::uint64_t gpa, std::uint32_t bit);
    bool set_bit(std::uint64_t gpa, std::uint32_t bit);
    void take_interrupt_page();
    void refuse(Refusal refusal, std::uint64_t detail = 0);

    sim::Scope scope_;
    GuestMemory& memory_;
    GuestPort& port_;
    ServerConfig config_;
    sim::Counter& packets_in_;
    sim::Counter& packets_out_;
    sim::Counter& bytes_in_;
    sim::Counter& bytes_out_;
    sim::Counter& signals_in_;
    sim::Counter& signals_out_;
    sim::FlatMap<std::uint32_t, std::unique_ptr<HostChannel>> channels_;  // by id, in the order of their making
    std::map<GpadlKey, Gpadl> gpadls_;
    State state_;
    // What is above is needed for each packet; this, seldom.
    SocketListener* sockets_ = nullptr;
    std::map<std::pair<Guid, Guid>, ChannelDevice*> devices_;  // that have offered, by type and instance
    std::uint64_t gpadl_words_ = 0;
    sim::WorkingSet needs_;
    sim::Timer queue_timer_;    // the guest's queue was full
    sim::Timer fault_timer_;    // channels are to be taken away
    sim::Timer room_timer_;     // guests that do not tell of room
    sim::Timer monitor_timer_;  // the next look at the monitor page
    std::array<sim::Counter*, refusal_table.size()> refusals_{};
    std::array<sim::Counter*, message_table.size()> messages_{};
    sim::StateRegistration registration_;
};

}  // namespace vmbus
