#include "models/behavioural/behavioural_cpu.h"

#include "sim/check.h"

namespace models {

BehaviouralCpu::BehaviouralCpu(CpuOwner& owner, unsigned index) : owner_(owner), index_(index), queue_(*this) {
    needs_.add(*this);
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
    queue_.fetch_ahead();
}

void BehaviouralCpu::resume(std::uint32_t who, std::uint32_t step, std::uint64_t value) {
    owner_.enter(index_);
    owner_.resume(who, step, value);
    owner_.leave();
}

}  // namespace models
