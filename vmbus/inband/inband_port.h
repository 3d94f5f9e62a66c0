// The host's end of a channel for protocols that speak in inband packets, one message each. Every message costs a
// processor of the root time: it is taken from the ring, costs, and is then handled; what is sent costs before it
// appears on the ring. While something waits for room on the ring nothing more is taken from the guest, so what a guest
// can pile up here is bounded by its own ring.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "sim/processor.h"
#include "sim/scope.h"
#include "vmbus/bus.h"
#include "vmbus/costs.h"

namespace vmbus {

// What a service of the root needs of its surroundings.
struct ServiceHost {
    Bus& bus;
    sim::Processor& processor;
    Costs costs;
};

// The device behind an InbandPort.
class InbandDevice {
public:
    // The guest has opened the channel. Messages may be sent from here on.
    virtual void opened() = 0;
    // It is closed; what was not sent yet is dropped.
    virtual void closed() = 0;
    virtual void received(std::span<const std::byte> message, std::uint64_t transaction) = 0;
    // What handling this message costs beside what every message does. It may be anything that a guest sends.
    virtual sim::Time cost_of(std::span<const std::byte> message) const {
        (void)message;
        return sim::Time::zero();
    }
    // A message that wants a completion. False: an empty one is sent and received() follows. True: the device has
    // handled it and completes it itself.
    virtual bool requested(std::span<const std::byte> message, std::uint64_t transaction) {
        (void)message, (void)transaction;
        return false;
    }

protected:
    ~InbandDevice() = default;
};

// What waits to be sent, or to be handled.
struct InbandMessage {
    bool completion = false;  // is one, or wants one
    std::uint64_t transaction = 0;
    std::vector<std::byte> bytes;

    bool operator==(const InbandMessage&) const = default;
    template <class Archive>
    void fields(Archive& archive) {
        archive(completion, transaction, bytes);
    }
};

class InbandPort final : public ChannelDevice, public sim::Task {
public:
    // Whether the device is there from the beginning, or comes and goes.
    enum class Offered : std::uint8_t { at_once, later };
    InbandPort(const sim::Scope& scope, const ServiceHost& host, const Offer& offer, InbandDevice& device,
               Offered offered = Offered::at_once);

    // The channel comes, and goes by rescission. The device's closed() is called within rescind() if it was open.
    void offer();
    void rescind();
    bool offered() const { return offered_; }

    // Appears on the ring after what was sent before, as soon as there is room. Dropped while the channel is closed.
    void send(std::vector<std::byte> message, std::uint64_t transaction = 0);
    // The same, for a message that requested() has kept.
    void complete(std::vector<std::byte> message, std::uint64_t transaction);
    // The guest broke the protocol: the channel goes. For use in received(), which should do nothing after it.
    void fault(std::string_view reason);

    bool is_open() const { return state_.open; }
    // Messages that wait to be sent.
    std::size_t waiting() const { return state_.outgoing.size(); }
    Channel& channel() { return *channel_; }

    std::uint32_t open(Channel& channel, std::span<const std::byte, 120> user_data) override;
    void closed(Channel& channel) override;
    void signalled(Channel& channel) override;
    void released(Channel& channel) override;
    void adopted(Channel& channel) override { channel_ = &channel; }
    std::optional<sim::Time> begin() override;
    void finish() override;
    void account(sim::Account& account) const override { account.rest("services"); }

    template <class Archive>
    void fields(Archive& archive) {
        archive(offered_, state_);
    }

private:
    enum class Piece : std::uint8_t { none, send, receive };
    struct State {
        bool open = false;
        bool faulted = false;  // the guest broke the protocol; closed() is to come
        bool blocked = false;  // the ring had no room
        Piece piece = Piece::none;
        std::optional<InbandMessage> incoming;  // at work
        std::deque<InbandMessage> outgoing;

        bool operator==(const State&) const = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(open, faulted, blocked, piece, incoming, outgoing);
        }
    };

    void queue(InbandMessage message);
    void send_first();
    void handle_incoming();

    sim::Scope scope_;
    Bus& bus_;
    Offer offer_;
    InbandDevice& device_;
    Costs costs_;
    bool offered_ = false;
    State state_;
    sim::Counter& received_;
    sim::Counter& sent_;
    sim::Counter& ignored_;
    sim::Counter& faults_;
    sim::TaskSlot slot_;
    Channel* channel_ = nullptr;  // the last one that was offered
};

// An offer of the kind that every device here makes: packets of a message pipe.
Offer message_pipe_offer(const Guid& type, const Guid& instance);

// The header of a message pipe: what kind, how many bytes follow.
namespace pipe {
inline constexpr std::uint32_t data = 1;
inline constexpr std::size_t header_bytes = 8;
inline constexpr std::uint32_t byte_mode = 0;
inline constexpr std::uint32_t message_mode = 4;

std::vector<std::byte> wrap(std::span<const std::byte> message);
// The message inside; nothing if it is not a data message or longer than the packet.
std::optional<std::span<const std::byte>> unwrap(std::span<const std::byte> packet);
}  // namespace pipe

}  // namespace vmbus
