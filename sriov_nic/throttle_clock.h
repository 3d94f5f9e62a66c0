// When functions look at their throttled interrupts again, and the transmit side at descriptors that wait for the same
// moments: the adapter's clock on the bus, one for all of them. With a timer for each the agenda would be as long as
// there are functions, for everybody.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>

#include "sim/agenda.h"
#include "sim/prefetch.h"
#include "sriov_nic/due_list.h"
#include "sriov_nic/ports.h"

namespace sriov_nic {

class ThrottleClock final {
public:
    // Who is called, by number.
    struct Sleeper {
        virtual void wake() = 0;

    protected:
        ~Sleeper() = default;
    };

    // `quantum`: what throttles count in.
    ThrottleClock(const sim::Agenda& agenda, BusPort& bus, sim::Time quantum)
        : agenda_(agenda), bus_(bus), quantum_(quantum) {}
    ThrottleClock(const ThrottleClock&) = delete;
    void connect(unsigned function, Sleeper& sleeper) { sleepers_[function] = &sleeper; }
    // Who acts before any function at the same time: descriptors that the end of a throttle writes back come before the
    // interrupt that tells of them (82599 datasheet, 7.2.3.5).
    void connect_first(Sleeper& sleeper) { first_ = &sleeper; }
    // He is woken at `at`, once, and no more when he would have been before. Never: not at all.
    void wake_first_at(sim::Time at) {
        first_at_ = at;
        if (!running_) arm();
    }
    sim::Time first_at() const { return first_at_; }
    sim::Time quantum() const { return quantum_; }

    // The function is woken at `at`, or before if it has asked for that.
    void wake_at(unsigned function, sim::Time at) {
        if (due_.at(function) <= at) return;
        due_.put(function, at);
        if (!running_) arm();
    }
    void forget(unsigned function) {
        due_.remove(function);
        if (!running_) arm();
    }

    // The bus says that the time has come.
    void run() {
        running_ = true;
        armed_ = sim::Time::never();
        const sim::Time now = agenda_.now();
        if (first_at_ <= now) {
            first_at_ = sim::Time::never();
            first_->wake();
        }
        while (due_.first() <= now) {
            const unsigned function = due_.front();
            due_.remove(function);
            sleepers_[function]->wake();
            // Who wakes next, the simulating computer may fetch meanwhile.
            if (due_.size() != 0) {
                const auto* const next = reinterpret_cast<const std::byte*>(sleepers_[due_.front()]);
                for (unsigned line = 0; line < 4; ++line) sim::prefetch(next + 64 * line);
            }
        }
        running_ = false;
        arm();
    }

    // The bus keeps the time that it was told.
    template <class Archive>
    void fields(Archive& archive) {
        archive(due_, first_at_, armed_);
    }

private:
    void arm() {
        const sim::Time next = std::min(first_at_, due_.first());
        if (next != armed_) bus_.wake_at(armed_ = next);
    }

    const sim::Agenda& agenda_;
    BusPort& bus_;
    sim::Time quantum_;
    Sleeper* first_ = nullptr;
    sim::Time first_at_ = sim::Time::never();
    std::array<Sleeper*, functions> sleepers_{};
    DueList<functions> due_;
    sim::Time armed_ = sim::Time::never();  // on the bus
    bool running_ = false;
};

}  // namespace sriov_nic
