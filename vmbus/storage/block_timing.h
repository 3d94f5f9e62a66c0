// A block device with a time model over a byte store: so many requests at once, each with the latency of its kind, and
// one link for their data.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <utility>
#include <vector>

#include "sim/scope.h"
#include "sim/time.h"
#include "vmbus/storage/block_device.h"
#include "vmbus/storage/byte_store.h"

namespace vmbus {

struct BlockTiming {
    sim::Time read_latency = sim::Time::us(80);
    sim::Time write_latency = sim::Time::us(20);
    sim::Time flush_latency = sim::Time::us(500);  // also what FUA adds to a write
    sim::Time unmap_latency = sim::Time::us(50);
    std::uint64_t bytes_per_second = 2'000'000'000;  // 0: data takes no time
    std::uint32_t queue_depth = 32;                  // requests that are served at the same time
};

class TimedDisk final : public BlockDevice {
public:
    TimedDisk(const sim::Scope& scope, ByteStore& store, BlockTiming timing);

    Geometry geometry() const override { return store_.geometry(); }
    void attach(BlockClient* client) override { client_ = client; }
    void submit(BlockRequest request) override;

    std::size_t outstanding() const { return state_.waiting.size() + state_.serving.size(); }

    template <class Archive>
    void fields(Archive& archive) {
        archive(state_, timer_);
    }

private:
    using Place = std::pair<sim::Time, std::uint64_t>;  // when it is done, and in which order it was begun
    struct State {
        std::deque<BlockRequest> waiting;
        std::map<Place, BlockRequest> serving;
        sim::Time link_free;
        std::uint64_t begun = 0;

        bool operator==(const State&) const = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(waiting, serving, link_free, begun);
        }
    };

    void start();
    void expired();
    sim::Time latency_of(const BlockRequest& request) const;
    BlockStatus carry_out(const BlockRequest& request, std::vector<std::byte>& data);

    sim::Scope scope_;
    ByteStore& store_;
    BlockTiming timing_;
    BlockClient* client_ = nullptr;
    State state_;
    sim::Timer timer_;
    sim::Counter& requests_;
    sim::Counter& bytes_read_;
    sim::Counter& bytes_written_;
    sim::StateRegistration registration_;
};

}  // namespace vmbus
