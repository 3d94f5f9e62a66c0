#include "vmbus/storage/block_timing.h"

#include <algorithm>

#include "sim/bits.h"
#include "sim/check.h"

namespace vmbus {

using Operation = BlockRequest::Operation;

TimedDisk::TimedDisk(const sim::Scope& scope, ByteStore& store, BlockTiming timing)
    : scope_(scope),
      store_(store),
      timing_(timing),
      timer_(scope.agenda(), scope.path() + ".done", [this] { expired(); }),
      requests_(scope.counter("requests", "count", "requests done")),
      bytes_read_(scope.counter("bytes_read", "byte", "data read")),
      bytes_written_(scope.counter("bytes_written", "byte", "data written")),
      registration_(scope.register_state(*this)) {
    VG_CHECK(timing_.queue_depth >= 1);
}

void TimedDisk::submit(BlockRequest request) {
    VG_CHECK(request.operation != Operation::write || request.data.size() == request.length_bytes);
    state_.waiting.push_back(std::move(request));
    start();
}

void TimedDisk::start() {
    while (!state_.waiting.empty() && state_.serving.size() < timing_.queue_depth) {
        BlockRequest request = std::move(state_.waiting.front());
        state_.waiting.pop_front();
        sim::Time done = scope_.now() + latency_of(request);
        const bool moves = request.operation == Operation::read || request.operation == Operation::write;
        if (moves && timing_.bytes_per_second != 0) {
            // It waits for the link, then has it for as long as its data takes.
            done = std::max(done, state_.link_free) +
                   sim::first_time_of_cycle(request.length_bytes, timing_.bytes_per_second);
            state_.link_free = done;
        }
        state_.serving.emplace(Place{done, state_.begun++}, std::move(request));
    }
    if (!state_.serving.empty()) timer_.arm(state_.serving.begin()->first.first);
}

void TimedDisk::expired() {
    while (!state_.serving.empty() && state_.serving.begin()->first.first <= scope_.now()) {
        const auto node = state_.serving.extract(state_.serving.begin());
        std::vector<std::byte> data;
        const BlockStatus status = carry_out(node.mapped(), data);
        ++requests_;
        VG_CHECK(client_ != nullptr);
        client_->block_done(node.mapped().tag, status, std::move(data));
    }
    start();
}

sim::Time TimedDisk::latency_of(const BlockRequest& request) const {
    switch (request.operation) {
        case Operation::read:
            return timing_.read_latency;
        case Operation::write:
            return timing_.write_latency + (request.force_unit_access ? timing_.flush_latency : sim::Time{});
        case Operation::flush:
            return timing_.flush_latency;
        case Operation::unmap:
            break;
    }
    return timing_.unmap_latency;
}

// The store sees each request at the time at which it is done: what was never acknowledged need not be there.
BlockStatus TimedDisk::carry_out(const BlockRequest& request, std::vector<std::byte>& data) {
    if (request.operation == Operation::flush) return store_.flush();
    const Geometry geometry = store_.geometry();
    const std::uint64_t sector = geometry.logical_sector_bytes;
    if (request.offset_bytes % sector != 0 || request.length_bytes % sector != 0 ||
        request.offset_bytes > geometry.size_bytes ||
        request.length_bytes > geometry.size_bytes - request.offset_bytes) {
        return BlockStatus::out_of_range;
    }
    if (request.operation == Operation::read) {
        data.resize(request.length_bytes);
        bytes_read_.add(request.length_bytes);
        const BlockStatus status = store_.read(request.offset_bytes, data);
        if (status != BlockStatus::success) data.clear();
        return status;
    }
    if (geometry.read_only) return BlockStatus::read_only;
    if (request.operation == Operation::unmap) return store_.unmap(request.offset_bytes, request.length_bytes);
    bytes_written_.add(request.length_bytes);
    const BlockStatus status = store_.write(request.offset_bytes, request.data);
    return status == BlockStatus::success && request.force_unit_access ? store_.flush() : status;
}

}  // namespace vmbus
