#include "vmbus/storage/storage_qos.h"

#include <algorithm>

#include "sim/bits.h"
#include "sim/check.h"

namespace vmbus {

using Operation = BlockRequest::Operation;

TokenBucket::TokenBucket(std::uint64_t per_second, sim::Time burst) : rate_(per_second) {
    const auto kept =
        static_cast<sim::u128>(per_second) * static_cast<std::uint64_t>(burst.ps()) / sim::picoseconds_per_second;
    most_ = static_cast<std::int64_t>(std::clamp<sim::u128>(kept, 1, std::uint64_t{1} << 62));
    whole_ = most_;
}

void TokenBucket::settle(sim::Time now) {
    const auto elapsed = static_cast<std::uint64_t>((now - settled_).ps());
    const sim::u128 grown = static_cast<sim::u128>(elapsed) * rate_ + fraction_;
    const sim::u128 tokens = grown / sim::picoseconds_per_second;
    settled_ = now;
    fraction_ = static_cast<std::uint64_t>(grown % sim::picoseconds_per_second);
    if (tokens >= static_cast<sim::u128>(static_cast<sim::i128>(most_) - whole_)) {
        whole_ = most_;
        fraction_ = 0;
    } else {
        whole_ += static_cast<std::int64_t>(tokens);
    }
}

sim::Time TokenBucket::ready_at(sim::Time now) {
    if (ready(now)) return now;
    const auto missing = static_cast<sim::u128>(static_cast<sim::i128>(1) - whole_);
    const sim::u128 parts = missing * sim::picoseconds_per_second - fraction_;
    const sim::u128 wait = (parts + rate_ - 1) / rate_;
    return wait > static_cast<std::uint64_t>(sim::Time::never().ps())
               ? sim::Time::never()
               : now + sim::Time::ps(static_cast<std::int64_t>(wait));
}

void TokenBucket::take(sim::Time now, std::uint64_t tokens) {
    if (rate_ == 0) return;
    settle(now);
    whole_ -= static_cast<std::int64_t>(tokens);
}

QosGroup::QosGroup(const sim::Scope& scope, const Config& config)
    : scope_(scope),
      config_(config),
      timer_(scope.agenda(), scope.path() + ".tokens", [this] { dispatch(); }),
      registration_(scope.register_state(*this)) {
    state_.iops = TokenBucket{config.limit.iops, config.burst};
    state_.bytes = TokenBucket{config.limit.bytes_per_second, config.burst};
}

QosDisk* QosGroup::choose() {
    const sim::Time now = scope_.now();
    if (config_.in_flight != 0 && state_.in_flight >= config_.in_flight) return nullptr;
    if (!state_.iops.ready(now) || !state_.bytes.ready(now)) return nullptr;
    QosDisk* chosen = nullptr;
    std::uint32_t turn = 0;
    const auto count = static_cast<std::uint32_t>(disks_.size());
    for (std::uint32_t n = 0; n < count; ++n) {
        const std::uint32_t index = (state_.next + n) % count;
        QosDisk& disk = *disks_[index];
        if (disk.state_.waiting.empty() || !disk.state_.iops.ready(now) || !disk.state_.bytes.ready(now)) continue;
        const bool reserved = disk.config_.reserve_iops != 0 && disk.state_.reserve.ready(now);
        if (chosen == nullptr || reserved) {
            chosen = &disk;
            turn = index;
        }
        if (reserved) break;
    }
    if (chosen != nullptr) state_.next = (turn + 1) % count;
    return chosen;
}

void QosGroup::dispatch() {
    const sim::Time now = scope_.now();
    while (QosDisk* disk = choose()) {
        BlockRequest request = std::move(disk->state_.waiting.front());
        disk->state_.waiting.pop_front();
        const std::uint64_t cost = QosDisk::cost(request);
        const std::uint64_t bytes = QosDisk::moved(request);
        state_.iops.take(now, cost);
        state_.bytes.take(now, bytes);
        disk->state_.iops.take(now, cost);
        disk->state_.bytes.take(now, bytes);
        // Beyond its reserve it owes nothing.
        if (disk->state_.reserve.ready(now)) disk->state_.reserve.take(now, cost);
        disk->normalized_.add(cost);
        ++state_.in_flight;
        disk->below_.submit(std::move(request));
    }
    // A place in flight comes with a completion; for tokens there is the timer.
    timer_.disarm();
    if (config_.in_flight != 0 && state_.in_flight >= config_.in_flight) return;
    const sim::Time ours = std::max(state_.iops.ready_at(now), state_.bytes.ready_at(now));
    sim::Time next = sim::Time::never();
    for (QosDisk* disk : disks_) {
        if (disk->state_.waiting.empty()) continue;
        next = std::min(next, std::max({ours, disk->state_.iops.ready_at(now), disk->state_.bytes.ready_at(now)}));
    }
    if (!next.is_never()) timer_.arm(next);
}

QosDisk::QosDisk(const sim::Scope& scope, QosGroup& group, BlockDevice& below, const Config& config)
    : scope_(scope),
      group_(group),
      below_(below),
      config_(config),
      normalized_(scope.counter("normalized_ios", "count", "I/Os of 8 KiB that went on")),
      delayed_(scope.counter("delayed", "count", "requests that had to wait for the policy")),
      registration_(scope.register_state(*this)) {
    state_.iops = TokenBucket{config.limit.iops, config.burst};
    state_.bytes = TokenBucket{config.limit.bytes_per_second, config.burst};
    state_.reserve = TokenBucket{config.reserve_iops, config.burst};
    group_.disks_.push_back(this);
    below_.attach(this);
}

void QosDisk::submit(BlockRequest request) {
    if (request.operation == Operation::flush) {
        state_.flushes.push_back(request.tag);
        return below_.submit(std::move(request));
    }
    state_.waiting.push_back(std::move(request));
    group_.dispatch();
    if (!state_.waiting.empty()) ++delayed_;
}

void QosDisk::block_done(std::uint64_t tag, BlockStatus status, std::vector<std::byte> data) {
    const auto flush = std::find(state_.flushes.begin(), state_.flushes.end(), tag);
    if (flush != state_.flushes.end()) {
        state_.flushes.erase(flush);
    } else {
        VG_CHECK(group_.state_.in_flight > 0);
        --group_.state_.in_flight;
    }
    VG_CHECK(client_ != nullptr);
    client_->block_done(tag, status, std::move(data));
    group_.dispatch();
}

std::uint64_t QosDisk::cost(const BlockRequest& request) {
    return std::max<std::uint64_t>(1, (moved(request) + normalized_bytes - 1) / normalized_bytes);
}

std::uint64_t QosDisk::moved(const BlockRequest& request) {
    return request.operation == Operation::unmap ? 0 : request.length_bytes;
}

}  // namespace vmbus
