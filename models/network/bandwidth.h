// Bandwidth of switch ports in integers: a token bucket for a maximum, and a start-time fair queue (Goyal, Vin, Cheng
// 1996) that shares an uplink among ports by weight.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>

#include "models/network/frame.h"
#include "models/network/switch_settings.h"
#include "sim/time.h"

namespace models {

// Exact: the fraction of a bit that a refill leaves over is kept.
class TokenBucket final {
public:
    TokenBucket() = default;
    TokenBucket(std::uint64_t bits_per_second, std::uint64_t burst_bytes)
        : rate_(bits_per_second), burst_bits_(burst_bytes * 8), bits_(static_cast<std::int64_t>(burst_bits_)) {}

    bool limits() const { return rate_ != 0; }
    // A frame may pass while the balance is not negative, and takes all its bits: so a frame larger than the burst
    // passes too, and is paid for afterwards.
    bool take(std::size_t bytes, sim::Time now);
    // When the next frame may pass.
    sim::Time ready_at(sim::Time now);

    bool operator==(const TokenBucket&) const = default;
    template <class Archive>
    void fields(Archive& archive) {
        archive(rate_, burst_bits_, bits_, fraction_, filled_);
    }

private:
    void fill(sim::Time now);

    std::uint64_t rate_ = 0;
    std::uint64_t burst_bits_ = 0;
    std::int64_t bits_ = 0;
    std::uint64_t fraction_ = 0;  // of a bit, in 1/10^12
    sim::Time filled_;
};

// Frames that wait for an uplink.
class FairQueue final {
public:
    static constexpr std::size_t bytes_per_port = 512 * 1024;

    // False if too much of that port waits already.
    bool push(PortId from, std::uint32_t weight, Frame&& frame);
    struct Item {
        PortId from = no_port;
        std::uint64_t start = 0;
        Frame frame;
        template <class Archive>
        void fields(Archive& archive) {
            archive(from, start, frame);
        }
    };
    std::optional<Item> pop();
    // The uplink had nothing to do: nobody is owed anything.
    void rest();
    bool empty() const { return frames_ == 0; }
    std::size_t size() const { return static_cast<std::size_t>(frames_); }

    template <class Archive>
    void fields(Archive& archive) {
        archive(flows_, virtual_time_, frames_);
    }

private:
    struct Flow {
        std::deque<Item> frames;
        std::uint64_t bytes = 0;
        std::uint64_t finish = 0;
        template <class Archive>
        void fields(Archive& archive) {
            archive(frames, bytes, finish);
        }
    };
    std::map<PortId, Flow> flows_;
    std::uint64_t virtual_time_ = 0;
    std::uint64_t frames_ = 0;
};

}  // namespace models
