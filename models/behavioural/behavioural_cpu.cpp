#include "models/behavioural/behavioural_cpu.h"

#include <utility>

#include "sim/check.h"

namespace models {

BehaviouralCpu::BehaviouralCpu(CpuOwner& owner, unsigned index) : owner_(owner), index_(index), queue_(*this) {
    needs_.add(*this);
    needs_.add(&owner, sizeof(void*));
    needs_.add_content(handlers_);
    queue_.add_needs(needs_);
}

std::uint8_t BehaviouralCpu::allocate_vector(InterruptHandler& handler) {
    constexpr unsigned first = synthetic_vector + 1, last = 0xef;  // what is above is the kernel's own
    for (unsigned vector = first; vector <= last; ++vector) {
        const std::uint64_t bit = std::uint64_t{1} << vector % 64;
        if ((vectors_[vector / 64] & bit) != 0) continue;
        vectors_[vector / 64] |= bit;
        handlers_[static_cast<std::uint8_t>(vector)] = &handler;
        return static_cast<std::uint8_t>(vector);
    }
    VG_CHECK(false, "a processor of a behavioural guest has no vector left");
    return 0;
}

void BehaviouralCpu::release_vector(std::uint8_t vector) {
    vectors_[vector / 64] &= ~(std::uint64_t{1} << vector % 64);
    handlers_.erase(vector);
}

void BehaviouralCpu::charge(sim::Cause cause, sim::Time time) {
    if (vp_ != nullptr && time > sim::Time::zero()) vp_->charge(cause, time);
}

void BehaviouralCpu::charge_then(sim::Cause cause, sim::Time time, ContinuationId who, std::uint32_t step,
                                 std::uint64_t value) {
    if (vp_ != nullptr) vp_->charge(cause, time, who, step, value);
}

std::uint16_t BehaviouralCpu::post_message(std::uint32_t connection, std::span<const std::byte> payload) {
    if (vp_ != nullptr) vp_->call_post_message(connection, payload);
    return 0;
}

std::uint16_t BehaviouralCpu::signal_event(std::uint32_t connection, std::uint16_t flag) {
    called_host_ = true;
    if (vp_ != nullptr) vp_->call_signal_event(connection, flag);
    return 0;
}

void BehaviouralCpu::finish() {
    owner_.enter(index_);
    queue_.finish();
    owner_.leave();
}

void BehaviouralCpu::interrupt(std::uint8_t vector) {
    owner_.enter(index_);
    if (vector == synthetic_vector) {
        owner_.synthetic_interrupt(index_);
    } else if (const auto handler = handlers_.find(vector); handler != handlers_.end()) {
        handler->second->interrupt();
    }
    owner_.leave();
}

void BehaviouralCpu::expected() {
    needs_.fetch();
    queue_.fetch_needs();
}

// Of what is needed when it is at work: its own, the hypervisor's, each task's; and where it calls the host, what the
// ways there and back need, and the root.
const sim::WorkingSet* BehaviouralCpu::part(std::size_t n) const {
    if (n == 0) return &needs_;
    if (n <= hypervisor::BehaviouralProcessor::parts) return &vp_->needs(n - 1);
    n -= 1 + hypervisor::BehaviouralProcessor::parts;
    if (n < queue_.tasks()) return queue_.needs_of(n);
    if (!ahead_calls_host_) return nullptr;
    return n == queue_.tasks() ? &vp_->port_needs() : host_needs_;
}

// First all that has its place, then what that points to, then what moves on; of each part a step before where it is.
bool BehaviouralCpu::fetch_ahead(unsigned step) {
    // Without a partition there is nothing to do, and no memory to do it in.
    if (vp_ == nullptr) return false;
    const std::size_t tasks = queue_.tasks(), parts = 1 + hypervisor::BehaviouralProcessor::parts + tasks + 2;
    if (step == 0) {
        ahead_ = ahead_piece_ = 0;
        ahead_calls_host_ = std::exchange(called_host_, false);
        queue_.fetch_list();
        return true;
    }
    while (ahead_ < 2 * parts) {
        const sim::WorkingSet* const set = part(ahead_ % parts);
        const bool more =
            set != nullptr && (ahead_ < parts ? set->fetch_some(ahead_piece_) : set->fetch_some_contents(ahead_piece_));
        if (more) return true;
        ahead_piece_ = 0;
        if (const sim::WorkingSet* const next = part(++ahead_ % parts)) next->fetch_list();
        if (set != nullptr && !set->empty()) return true;
    }
    for (std::size_t task = 0; task < tasks; ++task) queue_.fetch_next_of(task);
    if (ahead_calls_host_) owner_.expect_synthetic_interrupt(index_);
    return false;
}

void BehaviouralCpu::resume(std::uint32_t who, std::uint32_t step, std::uint64_t value) {
    owner_.enter(index_);
    owner_.resume(who, step, value);
    owner_.leave();
}

}  // namespace models
