// A channel at a behavioural guest's end, and what the guest's driver is to it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <optional>
#include <span>
#include <vector>

#include "vmbus/messages.h"
#include "vmbus/packet.h"
#include "vmbus/ring.h"

namespace vmbus {

class BusClient;
class ClientChannel;

// A guest's driver, for each of its channels. Calls come at the time at which they happen.
class ChannelDriver {
public:
    virtual ~ChannelDriver() = default;
    // The answer to open().
    virtual void opened(ClientChannel& channel, std::uint32_t status) { (void)channel, (void)status; }
    // There may be packets, or room for them again.
    virtual void signalled(ClientChannel& channel) = 0;
    virtual void gpadl_created(ClientChannel& channel, std::uint32_t gpadl, std::uint32_t status) {
        (void)channel, (void)gpadl, (void)status;
    }
    virtual void gpadl_torn_down(ClientChannel& channel, std::uint32_t gpadl) { (void)channel, (void)gpadl; }
    virtual void target_changed(ClientChannel& channel, std::uint32_t status) { (void)channel, (void)status; }
    // The host took it away. Once this returns, the channel is gone; its rings' pages are free again.
    virtual void rescinded(ClientChannel& channel) { (void)channel; }
};

class ClientChannel final {
public:
    struct RingPages {
        std::uint32_t to_host = 4;  // a page of indices included
        std::uint32_t to_guest = 4;
    };

    ClientChannel(BusClient& bus, const message::OfferChannel& offer) : bus_(bus) {
        state_.offer = bytes_of_offer(offer);
    }
    ClientChannel(const ClientChannel&) = delete;
    ClientChannel& operator=(const ClientChannel&) = delete;

    message::OfferChannel offer() const;
    std::uint16_t relid() const { return offered<std::uint16_t>(offsetof(message::OfferChannel, relid)); }
    std::uint16_t sub_channel_index() const {
        return offered<std::uint16_t>(offsetof(message::OfferChannel, sub_channel_index));
    }
    // Which the guest signals.
    std::uint32_t connection() const { return offered<std::uint32_t>(offsetof(message::OfferChannel, connection)); }
    bool dedicated_interrupt() const {
        return (offered<std::uint16_t>(offsetof(message::OfferChannel, dedicated_interrupt)) & 1) != 0;
    }
    // In the page to the host, if its bit there stands for a signal.
    std::optional<std::uint8_t> monitor() const {
        const bool allocated = (offered<std::uint8_t>(offsetof(message::OfferChannel, monitor_allocated)) & 1) != 0;
        if (!allocated) return std::nullopt;
        return offered<std::uint8_t>(offsetof(message::OfferChannel, monitor_id));
    }
    bool is_open() const { return state_.phase == Phase::open; }
    std::uint32_t target_vp() const { return state_.target_vp; }
    BusClient& bus() { return bus_; }

    void bind(ChannelDriver& driver) { driver_ = &driver; }

    // Rings of new pages, then the channel itself; opened() tells. False: no memory, or not closed.
    bool open(RingPages pages, std::uint32_t target_vp, const UserData& user_data = {},
              ReadMode mode = ReadMode::batched);
    // At once as far as the driver is concerned; the host lets go of the rings' pages a little later.
    void close();
    // Interrupts to another virtual processor (from 4.1; target_changed() tells from 5.3).
    void change_target(std::uint32_t vp);

    // A buffer that the host may reach; gpadl_created() tells. The number.
    std::uint32_t make_gpadl(std::span<const GpaRange> ranges);
    std::uint32_t make_gpadl(std::span<const std::uint64_t> pages);
    void tear_down_gpadl(std::uint32_t gpadl);

    // As vmbus::Channel has them.
    [[nodiscard]] bool receive(Packet& packet);
    [[nodiscard]] bool send(std::uint64_t transaction, std::span<const std::byte> payload, bool wants_completion);
    [[nodiscard]] bool send_gpa_direct(std::uint64_t transaction, std::span<const GpaRange> ranges,
                                       std::span<const std::byte> payload);
    [[nodiscard]] bool complete(std::uint64_t transaction, std::span<const std::byte> payload);
    void flush();
    // What each packet and signal takes (sim/working_set.h); and so many bytes of packets each way will be there soon.
    void add_needs(sim::WorkingSet& set) const {
        constexpr std::size_t named = offsetof(message::OfferChannel, sub_channel_index);
        set.add(this, sizeof(void*) + sizeof driver_);
        set.add(&state_.offer[named], sizeof(message::OfferChannel) - named);
        set.add(state_.phase);
        rings_.add_needs(set);
    }
    void expect(std::uint32_t bytes) const;
    // What is wrong with what the host wrote.
    RingFault fault() const { return rings_.fault(); }

private:
    friend class BusClient;
    enum class Phase : std::uint8_t { closed, making_rings, opening, open };
    using OfferBytes = std::array<std::byte, sizeof(message::OfferChannel)>;
    struct State {
        OfferBytes offer{};
        Phase phase = Phase::closed;
        std::uint32_t target_vp = 0;
        std::uint32_t ring_gpadl = 0;
        std::uint32_t ring_split = 0;
        ReadMode mode = ReadMode::batched;
        UserData user_data{};
        std::vector<std::uint64_t> ring_pages;

        bool operator==(const State&) const = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(offer, phase, target_vp, ring_gpadl, ring_split, mode, user_data, ring_pages);
        }
    };

    static OfferBytes bytes_of_offer(const message::OfferChannel& offer);
    // One of its fields: not all of its bytes are touched for that.
    template <class T>
    T offered(std::size_t at) const {
        T field;
        std::memcpy(&field, &state_.offer[at], sizeof field);
        return field;
    }
    void attach_rings();
    void ring_created(std::uint32_t status);
    void open_answered(std::uint32_t status);
    void let_go_of_rings();
    void drop_rings();
    bool sent(RingWriter::Result result);
    void signal_if_due();

    BusClient& bus_;
    ChannelDriver* driver_ = nullptr;
    State state_;
    RingPair rings_{RingEnd::guest, ReadMode::batched};
};

}  // namespace vmbus
