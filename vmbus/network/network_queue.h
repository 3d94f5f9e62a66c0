// One channel of a network adapter, the host's side: its ring, the frames that wait for it, and the task that moves
// both.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "sim/queue.h"
#include "vmbus/network/network_provider.h"

namespace vmbus {

class NetworkProvider::Queue final : public sim::Task {
public:
    Queue(NetworkProvider& provider, const sim::Scope& scope, std::uint16_t index, sim::Processor& processor);

    std::uint16_t index() const { return index_; }
    bool is_open() const { return state_.open; }
    Channel* channel() const { return channel_; }
    void set_channel(Channel* channel) { channel_ = channel; }

    void opened(Channel& channel);
    // Everything that was under way is gone.
    void closed();
    void signalled();
    void wake() { slot_.wake(); }

    // False: too many wait already.
    [[nodiscard]] bool push(IncomingFrame&& frame);
    // What waits is dropped.
    void drop_backlog(NetworkDrop reason);

    // These go on the ring in their order as soon as there is room.
    void complete(std::uint64_t transaction, std::span<const std::byte> payload);
    void send_inband(std::uint64_t transaction, std::span<const std::byte> message, bool wants_completion);
    // An RNDIS control message to the guest. It needs a section of the receive buffer.
    void send_control(std::vector<std::byte> message);
    // Puts on the ring what waits, as far as there is room.
    void drain();

    // The guest broke the protocol: the channel goes.
    void fault(std::string_view reason);

    std::optional<sim::Time> begin() override;
    void finish() override;
    void account(sim::Account& account) const override { account.add("root.network", cost_); }

    // For whoever fetches what it needs before it is woken (sim/working_set.h).
    void add_needs(sim::WorkingSet& set) const {
        slot_.add_needs(set);
        set.add(*this);
        set.add(&frames_sent_, 4 * sizeof(sim::Counter));
        set.add_elements(state_.backlog);
        set.add_elements(state_.outgoing);
    }

    template <class Archive>
    void fields(Archive& archive) {
        archive(state_);
    }

private:
    enum class Work : std::uint8_t { none, packets, frames, notices, drain };
    enum class Fault : std::uint8_t { none, packet_form, unknown_completion, unknown_message };

    // Something that goes on the ring.
    struct Outgoing {
        bool completion = true;  // else an inband message
        bool wants_completion = false;
        std::uint64_t transaction = 0;
        std::vector<std::byte> payload;

        template <class Archive>
        void fields(Archive& archive) {
            archive(completion, wants_completion, transaction, payload);
        }
    };
    // What was taken and is being worked on.
    struct Piece {
        Work work = Work::none;
        Fault fault = Fault::none;
        std::vector<OutgoingFrame> sent;        // packets: from the guest
        std::vector<Outgoing> completions;      // packets: of those frames
        std::vector<std::uint64_t> returned;    // packets: transactions whose sections come back
        std::optional<Request> request;         // packets: at most one, the last
        std::vector<IncomingFrame> to_deliver;  // frames
        std::uint32_t sent_malformed = 0;
        std::uint32_t sent_unsupported = 0;
        std::uint32_t sent_not_enabled = 0;
        std::uint32_t sent_too_long = 0;
        std::uint32_t sent_not_ready = 0;

        template <class Archive>
        void fields(Archive& archive) {
            archive(work, fault, sent, completions, returned, request, to_deliver, sent_malformed, sent_unsupported,
                    sent_not_enabled, sent_too_long, sent_not_ready);
        }
    };
    struct State {
        bool open = false;
        bool called = false;   // signalled since the last piece
        sim::Time called_at;   // the last time
        bool blocked = false;  // the ring had no room
        bool frames_next = false;
        sim::Queue<IncomingFrame> backlog;
        sim::Queue<Outgoing> outgoing;
        sim::Queue<std::vector<std::byte>> control;
        Piece piece;

        template <class Archive>
        void fields(Archive& archive) {
            archive(open, called, called_at, blocked, frames_next, backlog, outgoing, control, piece);
        }
    };
    // So much may wait for room before nothing more is taken from the guest.
    static constexpr std::size_t most_waiting = 64;

    bool begin_packets(sim::Time& cost);
    bool begin_frames(sim::Time& cost);
    // Answers whether more packets may follow in the same piece.
    bool take(Packet& packet, std::size_t& bytes);
    void take_rndis(const Packet& packet, const nvsp::SendRndisPacket& message, std::size_t& bytes);
    std::optional<std::vector<std::byte>> gather(const Packet& packet, const nvsp::SendRndisPacket& message);
    void finish_packets();
    void finish_frames();
    bool deliver(std::vector<std::uint32_t>& sections, std::vector<TransferRange>& ranges);
    // For sim/journey.h: frames that waited until now, after a call at that time.
    template <class Frames>
    void mark_begun(const Frames& frames, sim::Time called) const;
    bool can_take() const;
    Channel& buffers();

    NetworkProvider& provider_;
    std::uint16_t index_;
    Channel* channel_ = nullptr;
    State state_;
    sim::Time cost_;  // of the piece that has begun
    sim::Counter& frames_sent_;
    sim::Counter& bytes_sent_;
    sim::Counter& frames_received_;
    sim::Counter& bytes_received_;
    sim::TaskSlot slot_;
};

}  // namespace vmbus
