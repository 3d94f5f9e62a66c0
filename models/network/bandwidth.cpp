#include "models/network/bandwidth.h"

#include <algorithm>
#include <utility>

#include "sim/bits.h"

namespace models {

namespace {
constexpr std::uint64_t ps_per_s = sim::picoseconds_per_second;
// A byte of weight 1 in virtual time; weights up to 100 lose little, and 10^14 bytes fit.
constexpr std::uint64_t virtual_byte = 1 << 16;
}  // namespace

void TokenBucket::fill(sim::Time now) {
    const auto elapsed = static_cast<std::uint64_t>((now - filled_).ps());
    filled_ = now;
    const sim::u128 sum = static_cast<sim::u128>(rate_) * elapsed + fraction_;
    const sim::u128 whole = sum / ps_per_s;
    const std::int64_t room = static_cast<std::int64_t>(burst_bits_) - bits_;
    if (whole >= static_cast<sim::u128>(room)) {
        bits_ = static_cast<std::int64_t>(burst_bits_);
        fraction_ = 0;
    } else {
        bits_ += static_cast<std::int64_t>(whole);
        fraction_ = static_cast<std::uint64_t>(sum % ps_per_s);
    }
}

bool TokenBucket::take(std::size_t bytes, sim::Time now) {
    if (!limits()) return true;
    fill(now);
    if (bits_ < 0) return false;
    bits_ -= static_cast<std::int64_t>(bytes * 8);
    return true;
}

sim::Time TokenBucket::ready_at(sim::Time now) {
    if (!limits()) return now;
    fill(now);
    if (bits_ >= 0) return now;
    const sim::u128 missing = static_cast<sim::u128>(-bits_) * ps_per_s - fraction_;
    return now + sim::Time::ps(static_cast<std::int64_t>((missing + rate_ - 1) / rate_));
}

bool FairQueue::push(PortId from, std::uint32_t weight, Frame&& frame) {
    Flow& flow = flows_[from];
    if (flow.bytes + frame.size() > bytes_per_port) return false;
    ++frames_;
    const std::uint64_t start = std::max(virtual_time_, flow.finish);
    flow.finish = start + frame.size() * virtual_byte / std::clamp<std::uint32_t>(weight, 1, 100);
    flow.bytes += frame.size();
    flow.frames.push_back({from, start, std::move(frame)});
    return true;
}

std::optional<FairQueue::Item> FairQueue::pop() {
    Flow* first = nullptr;
    for (auto& [port, flow] : flows_) {
        if (flow.frames.empty()) continue;
        if (first == nullptr || flow.frames.front().start < first->frames.front().start) first = &flow;
    }
    if (first == nullptr) return std::nullopt;
    Item item = std::move(first->frames.front());
    first->frames.pop_front();
    first->bytes -= item.frame.size();
    --frames_;
    virtual_time_ = item.start;
    return item;
}

void FairQueue::rest() {
    if (!empty()) return;
    flows_.clear();
    virtual_time_ = 0;
}

}  // namespace models
