// When functions look at their throttled interrupts again: one timer for all of them. With one for each the agenda
// would be as long as there are functions, for everybody.
#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <utility>

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

    ThrottleClock(sim::Agenda& agenda, std::string name)
        : agenda_(agenda), timer_(agenda, std::move(name), [this] { run(); }) {}
    ThrottleClock(const ThrottleClock&) = delete;
    void connect(unsigned function, Sleeper& sleeper) { sleepers_[function] = &sleeper; }
    // Who acts before any function at the same time: descriptors that the end of a throttle writes back come before the
    // interrupt that tells of them (82599 datasheet, 7.2.3.5).
    void connect_first(Sleeper& sleeper) { first_ = &sleeper; }

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

    template <class Archive>
    void fields(Archive& archive) {
        archive(due_, timer_);
    }

private:
    void arm() {
        if (due_.first() != timer_.deadline()) timer_.arm(due_.first());
    }
    void run() {
        running_ = true;
        if (first_ != nullptr) first_->wake();
        while (due_.first() <= agenda_.now()) {
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

    sim::Agenda& agenda_;
    Sleeper* first_ = nullptr;
    std::array<Sleeper*, functions> sleepers_{};
    DueList<functions> due_;
    bool running_ = false;
    sim::Timer timer_;
};

}  // namespace sriov_nic
