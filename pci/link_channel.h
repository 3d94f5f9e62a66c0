// One direction of a link: when the bytes of a packet have crossed it. Packets go one behind the other, so that this is
// arithmetic; a packet that arrives damaged is asked for again and everything from it on is sent anew (PCIe 6.0, 3.6).
#pragma once

#include <cstdint>

#include "pci/link_rate.h"
#include "sim/random.h"
#include "sim/time.h"

namespace pci {

// Errors are injected by the seeded stream of the link.
struct LinkErrors {
    std::uint64_t one_in_packets = 0;  // mean; 0: none
    sim::Time replay_delay;            // from the damaged packet's end to the first byte of its replay
    sim::Time retrain_delay;           // after four replays of one packet (3.6.2.1)

    bool operator==(const LinkErrors&) const = default;
};

class LinkChannel final {
public:
    LinkChannel(const ByteRate& rate, const LinkErrors& errors) : byte_time_(rate.byte_time()), errors_(errors) {}

    // Bytes that may start at `from` at the earliest. The time when the last one has left, unless packets are damaged.
    sim::Time send(sim::Time from, WireBytes wire) {
        // Whether it is busy until then nobody can guess: there is no branch.
        const std::int64_t ahead = (state_.free_at - from).ps();
        const std::int64_t busy = ~(ahead >> 63);  // all ones or none
        state_.free_at = from + sim::Time::ps(ahead & busy);
        state_.fraction &= static_cast<std::uint64_t>(busy);
        occupy(wire.bytes);
        state_.bytes += wire.bytes;
        state_.packets += wire.packets;
        return state_.free_at;
    }
    bool has_errors() const { return errors_.one_in_packets != 0; }
    // What send() has just taken, with the replays of those that were. The time when the last byte has left for good.
    sim::Time replay(WireBytes wire, sim::Random& random);

    sim::Time free_at() const { return state_.free_at; }
    std::uint64_t bytes() const { return state_.bytes; }
    std::uint64_t packets() const { return state_.packets; }
    std::uint64_t replays() const { return state_.replays; }
    std::uint64_t retrains() const { return state_.retrains; }

    struct State {
        sim::Time free_at;
        std::uint64_t fraction = 0;  // of a picosecond, in 2^-16
        std::uint64_t bytes = 0;
        std::uint64_t packets = 0;
        std::uint64_t replays = 0;
        std::uint64_t retrains = 0;
        bool operator==(const State&) const = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(free_at, fraction, bytes, packets, replays, retrains);
        }
    };
    template <class Archive>
    void fields(Archive& archive) {
        archive(state_);
    }

private:
    void occupy(std::uint64_t bytes) {
        const std::uint64_t total = bytes * byte_time_ + state_.fraction;
        state_.free_at += sim::Time::ps(static_cast<std::int64_t>(total >> 16));
        state_.fraction = total & 0xffff;
    }

    std::uint64_t byte_time_;
    LinkErrors errors_;
    State state_;
};

inline sim::Time LinkChannel::replay(WireBytes wire, sim::Random& random) {
    const std::uint64_t mean = wire.bytes / wire.packets;
    unsigned attempts = 0;
    for (std::uint32_t packet = 0; packet < wire.packets;) {
        if (!random.one_in(errors_.one_in_packets)) {
            attempts = 0;
            ++packet;
            continue;
        }
        ++state_.replays;
        state_.free_at += errors_.replay_delay;
        if (++attempts == 4) {
            attempts = 0;
            ++state_.retrains;
            state_.free_at += errors_.retrain_delay;
        }
        occupy(mean);
    }
    return state_.free_at;
}

}  // namespace pci
