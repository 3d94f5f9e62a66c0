// One channel of a behavioural guest's network adapter: its ring, the frames that wait, and the task that moves both.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "sim/queue.h"
#include "vmbus/network/network_client.h"

namespace vmbus {

class NetworkClient::Queue final : public sim::Task {
public:
    Queue(NetworkClient& client, const sim::Scope& scope, std::uint16_t index, sim::Processor& processor);

    std::uint16_t index() const { return index_; }
    ClientChannel* channel() const { return channel_; }
    bool is_open() const { return channel_ != nullptr && channel_->is_open(); }
    void opened(ClientChannel& channel);
    // The channel is no more, and what it had under way.
    void closed();
    void signalled();

    // False: too many wait.
    [[nodiscard]] bool push(OutgoingFrame&& frame);
    // Both go on the ring in their order as soon as there is room.
    void send(nvsp::MessageType type, std::span<const std::byte> message, bool wants_completion);
    void send_direct(nvsp::MessageType type, GpaRange range, std::span<const std::byte> message);
    void drain();
    // Nothing that was sent waits for its completion.
    bool idle() const { return state_.pending.empty() && state_.outgoing.empty() && state_.sending.empty(); }

    const ClientCount& sent() const { return state_.sent; }
    const ClientCount& received() const { return state_.received; }

    std::optional<sim::Time> begin() override;
    void finish() override;
    void account(sim::Account& account) const override;
    void fetch_ahead() const override;

    void find_channel() { channel_ = state_.relid != 0 ? client_.bus_.find(state_.relid) : nullptr; }
    template <class Archive>
    void fields(Archive& archive) {
        archive(state_);
    }

private:
    enum class Work : std::uint8_t { none, packets, frames, drain };

    // Something that goes on the ring.
    struct Outgoing {
        bool completion = false;
        bool wants_completion = false;
        std::uint64_t transaction = 0;
        std::vector<std::byte> payload;
        std::optional<GpaRange> range;

        template <class Archive>
        void fields(Archive& archive) {
            archive(completion, wants_completion, transaction, payload, range);
        }
    };
    // Something that the host has not completed.
    struct Pending {
        nvsp::MessageType type{};  // of the request; send_rndis_packet with no frames: a control message
        std::uint32_t section = nvsp::no_section;
        std::vector<std::uint64_t> pages;
        std::uint32_t frames = 0;
        std::uint64_t bytes = 0;

        template <class Archive>
        void fields(Archive& archive) {
            archive(type, section, pages, frames, bytes);
        }
    };
    struct Taken {
        PacketType type{};
        std::uint64_t transaction = 0;
        std::vector<std::byte> payload;
        std::vector<std::pair<std::uint32_t, std::uint32_t>> ranges;  // offset, length

        template <class Archive>
        void fields(Archive& archive) {
            archive(type, transaction, payload, ranges);
        }
    };
    // One packet of frames being put together.
    struct Bundle {
        std::uint32_t section = nvsp::no_section;
        std::vector<std::byte> copied;  // into the section
        std::vector<std::byte> direct;  // stays in pages
        std::size_t first = 0;
        std::uint32_t frames = 0;
        std::uint64_t bytes = 0;
    };
    struct State {
        std::uint16_t relid = 0;
        bool called = false;
        sim::Time called_at;
        sim::Time begun_at;    // of the piece
        bool blocked = false;  // no room on the ring, no section, no page
        bool frames_next = false;
        Work work = Work::none;
        std::vector<Taken> taken;
        std::vector<OutgoingFrame> sending;
        sim::Queue<OutgoingFrame> backlog;
        sim::Queue<Outgoing> outgoing;
        std::map<std::uint64_t, Pending> pending;
        std::uint64_t last_transaction = 0;
        std::optional<IncomingFrame> partial;  // a coalesced frame, as far as it has come
        ClientCount sent;
        ClientCount received;

        template <class Archive>
        void fields(Archive& archive) {
            archive(relid, called, called_at, begun_at, blocked, frames_next, work, taken, sending, backlog, outgoing,
                    pending, last_transaction, partial, sent, received);
        }
    };

    // Of the piece that has begun, for account().
    struct Parts {
        sim::Time interrupt, message, packets, copying, frames, signal;
        sim::Time sum() const { return interrupt + message + packets + copying + frames + signal; }
    };

    bool begin_packets();
    bool begin_frames();
    void finish_packets();
    void finish_frames();
    void take_completion(const Taken& packet);
    void take_frames(const Taken& packet, std::vector<IncomingFrame>& frames);
    bool add(Bundle& bundle, const OutgoingFrame& frame, bool last);
    bool emit(Bundle& bundle);
    void free_resources(const Pending& pending);

    NetworkClient& client_;
    std::uint16_t index_;
    ClientChannel* channel_ = nullptr;
    State state_;
    Parts parts_;
    std::uint32_t last_offset_ = 0;  // of what the host has sent: the next will mostly be there too
    sim::Counter& frames_sent_;
    sim::Counter& bytes_sent_;
    sim::Counter& frames_received_;
    sim::Counter& bytes_received_;
    sim::TaskSlot slot_;
};

}  // namespace vmbus
