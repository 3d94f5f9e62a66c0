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
    lately_.called_host = true;
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

bool BehaviouralCpu::expected() {
    if (std::exchange(foreseen_, false)) return true;
    if (gathered()) {
        all_.all().fetch();
        return true;
    }
    needs_.fetch();
    queue_.fetch_needs(lately_.tasks | all_of_.tasks);
    return false;
}

void BehaviouralCpu::add_own_needs(sim::WorkingSet& set) const {
    set.add_between(this, &vectors_);
    queue_.add_needs(set);
}

// Whether all that is needed is in one list. That is brought up to date when no set has changed for a while, and from
// time to time for what is not needed any more.
bool BehaviouralCpu::gathered() {
    constexpr unsigned review = 16;
    if (vp_ == nullptr) return false;
    lately_.tasks |= queue_.take_awake();
    const bool more = (lately_.tasks & ~all_of_.tasks) != 0 || (lately_.called_host && !all_of_.called_host);
    if (!gathered_ || more || !all_.current()) {
        if (!all_.settled()) return false;
        lately_.tasks |= all_of_.tasks;
        lately_.called_host |= all_of_.called_host;
        gather();
    } else if (++uses_ == review) {
        if (lately_ != all_of_) gather();
        lately_ = {};
        uses_ = 0;
    }
    return true;
}

void BehaviouralCpu::gather() {
    all_of_ = lately_;
    all_.restart();
    all_.add(needs_);
    vp_->gather(all_);
    queue_.gather(all_of_.tasks, all_);
    if (all_of_.called_host) {
        all_.add(call_needs_);
        vp_->gather_call(all_);
        if (host_needs_ != nullptr) all_.add(*host_needs_);
    }
    gathered_ = true;
}

// First the list; then all of that which has its place; then what that says where it is; then what moves on. Nothing is
// looked into in the step in which it is asked for.
bool BehaviouralCpu::fetch_ahead(unsigned step) {
    if (step == 0) {
        if (!gathered()) return false;
        all_.all().fetch_list();
        stage_ = Stage::lines;
        ahead_ = 0;
        foreseen_ = false;
        return true;
    }
    // What says where something is may be no more.
    if (!gathered_ || !all_.current()) return false;
    std::size_t room = sim::WorkingSet::at_once;
    switch (stage_) {
        case Stage::lines:
            if (all_.all().fetch_some(ahead_, room)) return true;
            break;
        case Stage::arrival:
        case Stage::their_arrival:
            break;
        case Stage::contents:
            if (all_.all().fetch_some_contents(ahead_, room)) return true;
            break;
        case Stage::places:
            queue_.fetch_places(all_of_.tasks);
            break;
        case Stage::next:
            queue_.fetch_next(all_of_.tasks);
            vp_->fetch_next();
            if (all_of_.called_host) owner_.expect_synthetic_interrupt(index_);
            foreseen_ = true;
            return false;
    }
    stage_ = static_cast<Stage>(static_cast<std::uint8_t>(stage_) + 1);
    return true;
}

void BehaviouralCpu::resume(std::uint32_t who, std::uint32_t step, std::uint64_t value) {
    owner_.enter(index_);
    owner_.resume(who, step, value);
    owner_.leave();
}

}  // namespace models
