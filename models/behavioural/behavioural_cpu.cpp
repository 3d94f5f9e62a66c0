#include "models/behavioural/behavioural_cpu.h"

#include <utility>

#include "sim/check.h"

namespace models {

BehaviouralCpu::BehaviouralCpu(CpuOwner& owner, unsigned index) : owner_(owner), index_(index), queue_(*this) {
    add_own_needs(needs_);
    needs_.add(&owner, sizeof(void*));
    needs_.add_elements(handlers_, 4);
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

void BehaviouralCpu::add_own_needs(sim::WorkingSet& set) const {
    set.add(*this);
    queue_.add_needs(set);
}

// Of what is needed when it is at work: its own, the hypervisor's, each task's; and where it calls the host, what the
// calls and the ways there and back need, and the root.
const sim::WorkingSet* BehaviouralCpu::part(std::size_t n) const {
    if (n == 0) return &needs_;
    if (n <= hypervisor::BehaviouralProcessor::parts) return &vp_->needs(n - 1);
    n -= 1 + hypervisor::BehaviouralProcessor::parts;
    if (n < queue_.tasks()) return queue_.needs_of(n);
    if (!ahead_calls_host_) return nullptr;
    n -= queue_.tasks();
    return n < hypervisor::BehaviouralProcessor::call_parts ? &vp_->call_needs(n) : host_needs_;
}

// First where the parts are, and where what they name is; then all of that which has its place; then what says where
// other things are; then those, and what moves on. Nothing is looked into in the step in which it is asked for.
bool BehaviouralCpu::fetch_ahead(unsigned step) {
    // Without a partition there is nothing to do, and no memory to do it in.
    if (vp_ == nullptr) return false;
    using hypervisor::BehaviouralProcessor;
    const std::size_t parts = 1 + BehaviouralProcessor::parts + queue_.tasks() + BehaviouralProcessor::call_parts + 1;
    switch (step) {
        case 0:
            ahead_ = ahead_piece_ = 0;
            ahead_calls_host_ = std::exchange(called_host_, false);
            queue_.fetch_list();
            vp_->fetch_parts();
            return true;
        case 1:
            if (ahead_calls_host_) sim::prefetch(host_needs_);
            vp_->fetch_partition_parts();
            return true;
        case 2:
            for (std::size_t n = 0; n < parts; ++n) {
                if (const sim::WorkingSet* const set = part(n)) set->fetch_list();
            }
            return true;
        default:
            break;
    }
    // What ahead_ counts: each part for its places, a step, each part once more for its contents, a step.
    std::size_t room = sim::WorkingSet::at_once;
    for (; ahead_ < parts; ++ahead_, ahead_piece_ = 0) {
        const sim::WorkingSet* const set = part(ahead_);
        if (set != nullptr && set->fetch_some(ahead_piece_, room)) return true;
    }
    if (ahead_ == parts) {
        ++ahead_;
        return true;
    }
    for (; ahead_ < 2 * parts + 1; ++ahead_, ahead_piece_ = 0) {
        const sim::WorkingSet* const set = part(ahead_ - parts - 1);
        if (set != nullptr && set->fetch_some_contents(ahead_piece_, room)) return true;
    }
    if (ahead_ < 2 * parts + 3) {
        if (++ahead_ == 2 * parts + 3) queue_.fetch_places();
        return true;
    }
    queue_.fetch_next();
    vp_->fetch_next();
    if (ahead_calls_host_) owner_.expect_synthetic_interrupt(index_);
    return false;
}

void BehaviouralCpu::resume(std::uint32_t who, std::uint32_t step, std::uint64_t value) {
    owner_.enter(index_);
    owner_.resume(who, step, value);
    owner_.leave();
}

}  // namespace models
