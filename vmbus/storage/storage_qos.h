// Storage quality of service: limits and reserves for virtual disks, each alone or several under one policy. Requests
// are counted in normalized I/Os, one for each 8 KiB begun, and in bytes.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "sim/scope.h"
#include "sim/time.h"
#include "vmbus/storage/block_device.h"

namespace vmbus {

struct QosLimits {
    std::uint64_t iops = 0;              // normalized; 0: no limit
    std::uint64_t bytes_per_second = 0;  // 0: no limit
};

// Tokens come at a steady rate and are kept up to a burst's worth. Whoever finds one may go, and may leave a debt, so
// that the long-run rate is exact whatever the size of the requests.
class TokenBucket {
public:
    TokenBucket() = default;
    TokenBucket(std::uint64_t per_second, sim::Time burst);

    bool ready(sim::Time now) { return rate_ == 0 || (settle(now), whole_ >= 1); }
    // When it will be, if nothing is taken.
    sim::Time ready_at(sim::Time now);
    void take(sim::Time now, std::uint64_t tokens);

    template <class Archive>
    void fields(Archive& archive) {
        archive(whole_, fraction_, settled_);
    }

private:
    void settle(sim::Time now);

    std::uint64_t rate_ = 0;  // per second; 0: without limit
    std::int64_t most_ = 0;
    std::int64_t whole_ = 0;
    std::uint64_t fraction_ = 0;  // of a token, in units of 10^-12
    sim::Time settled_;
};

class QosDisk;

// A policy and the disks under it. The policy's limits are for all of them together.
class QosGroup {
public:
    struct Config {
        QosLimits limit;
        std::uint32_t in_flight =
            0;  // requests that the disks below get at a time, so that reserves decide; 0: no bound
        sim::Time burst = sim::Time::ms(100);
    };

    QosGroup(const sim::Scope& scope, const Config& config);

    template <class Archive>
    void fields(Archive& archive) {
        archive(state_, timer_);
    }

private:
    friend class QosDisk;
    struct State {
        TokenBucket iops;
        TokenBucket bytes;
        std::uint32_t in_flight = 0;
        std::uint32_t next = 0;  // whose turn it is

        template <class Archive>
        void fields(Archive& archive) {
            archive(iops, bytes, in_flight, next);
        }
    };

    void dispatch();
    // The next to go, those below their reserve first; null: nobody may now.
    QosDisk* choose();

    sim::Scope scope_;
    Config config_;
    std::vector<QosDisk*> disks_;
    State state_;
    sim::Timer timer_;
    sim::StateRegistration registration_;
};

// What stands before a disk. Flushes pass: they promise nothing about what still waits here.
class QosDisk final : public BlockDevice, private BlockClient {
public:
    struct Config {
        QosLimits limit;
        std::uint64_t reserve_iops = 0;  // it goes before others until it had as many
        sim::Time burst = sim::Time::ms(100);
    };
    static constexpr std::uint64_t normalized_bytes = 8192;

    QosDisk(const sim::Scope& scope, QosGroup& group, BlockDevice& below, const Config& config);

    Geometry geometry() const override { return below_.geometry(); }
    void attach(BlockClient* client) override { client_ = client; }
    void submit(BlockRequest request) override;

    template <class Archive>
    void fields(Archive& archive) {
        archive(state_);
    }

private:
    friend class QosGroup;
    struct State {
        std::deque<BlockRequest> waiting;
        std::vector<std::uint64_t> flushes;  // tags under way, not counted
        TokenBucket iops;
        TokenBucket bytes;
        TokenBucket reserve;

        template <class Archive>
        void fields(Archive& archive) {
            archive(waiting, flushes, iops, bytes, reserve);
        }
    };

    void block_done(std::uint64_t tag, BlockStatus status, std::vector<std::byte> data) override;
    static std::uint64_t cost(const BlockRequest& request);
    static std::uint64_t moved(const BlockRequest& request);

    sim::Scope scope_;
    QosGroup& group_;
    BlockDevice& below_;
    Config config_;
    BlockClient* client_ = nullptr;
    State state_;
    sim::Counter& normalized_;
    sim::Counter& delayed_;
    sim::StateRegistration registration_;
};

}  // namespace vmbus
