// A channel at the host's end: its state on the bus and its rings.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "sim/time.h"
#include "vmbus/channel.h"
#include "vmbus/messages.h"
#include "vmbus/ring.h"

namespace vmbus {

class Server;

enum class ChannelPhase : std::uint8_t {
    unoffered,  // the guest does not know of it
    offered,    // it has a relid
    open,
    rescinded,  // taken away; the guest has not let go of the relid yet
};

class HostChannel final : public Channel {
public:
    HostChannel(Server& server, ChannelDevice* device, std::uint32_t id, const Offer& offer, std::uint32_t primary);
    HostChannel(const HostChannel&) = delete;
    HostChannel& operator=(const HostChannel&) = delete;

    // Channel
    const Offer& offer() const override { return state_.offer; }
    std::uint16_t relid() const override { return state_.relid; }
    bool is_open() const override { return state_.phase == ChannelPhase::open && !state_.faulty; }
    std::uint32_t target_vp() const override { return state_.target_vp; }
    GuestMemory& memory() override;
    [[nodiscard]] bool receive(Packet& packet) override;
    [[nodiscard]] bool send(std::uint64_t transaction, std::span<const std::byte> payload,
                            bool wants_completion) override;
    [[nodiscard]] bool send_transfer_pages(std::uint64_t transaction, std::uint16_t page_set,
                                           std::span<const TransferRange> ranges,
                                           std::span<const std::byte> payload) override;
    [[nodiscard]] bool complete(std::uint64_t transaction, std::span<const std::byte> payload) override;
    void flush() override;
    std::uint64_t gpadl_size(std::uint32_t gpadl) const override;
    [[nodiscard]] bool gpadl_read(std::uint32_t gpadl, std::uint64_t at, std::span<std::byte> out) override;
    [[nodiscard]] bool gpadl_write(std::uint32_t gpadl, std::uint64_t at, std::span<const std::byte> data) override;
    void add_needs(sim::WorkingSet& set) const override;
    void fault(std::string_view reason) override;

private:
    friend class Server;
    struct State {
        std::uint32_t primary = 0;  // 0: it is one
        ChannelPhase phase = ChannelPhase::unoffered;
        bool withheld = false;  // not offered until the guest resets the bus
        bool ending = false;    // its device has let go of it: gone once the guest has, too
        bool faulty = false;    // about to be taken away
        bool polled = false;    // waits for room without being told
        std::uint16_t relid = 0;
        std::optional<std::uint8_t> monitor;
        sim::Time monitor_check;  // when the host looks next
        std::uint32_t open_id = 0;
        std::uint32_t ring_gpadl = 0;
        std::uint32_t ring_split = 0;  // page at which the ring to the guest begins
        std::uint32_t target_vp = 0;
        Offer offer;

        bool operator==(const State&) const = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(primary, offer, phase, withheld, ending, faulty, polled, relid, monitor, monitor_check, open_id,
                    ring_gpadl, ring_split, target_vp);
        }
    };

    bool sent(RingWriter::Result result, PacketType type, std::size_t bytes, std::uint64_t transaction);
    void signal_if_due();
    void ring_failed();

    Server& server_;
    ChannelDevice* device_;
    const std::uint32_t id_;
    RingPair rings_{RingEnd::host, ReadMode::batched};
    State state_;
};

}  // namespace vmbus
