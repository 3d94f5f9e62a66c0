// When functions look at their throttled interrupts again: one timer for all of them. With one for each the agenda
// would be as long as there are functions, for everybody.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "sim/agenda.h"
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
        : agenda_(agenda), timer_(agenda, std::move(name), [this] { run(); }) {
        at_.fill(sim::Time::never());
    }
    ThrottleClock(const ThrottleClock&) = delete;
    void connect(unsigned function, Sleeper& sleeper) { sleepers_[function] = &sleeper; }
    // Who acts before any function at the same time: descriptors that the end of a throttle writes back come before the
    // interrupt that tells of them (82599 datasheet, 7.2.3.5).
    void connect_first(Sleeper& sleeper) { first_ = &sleeper; }

    // The function is woken at `at`, or before if it has asked for that.
    void wake_at(unsigned function, sim::Time at) {
        if (at_[function] <= at) return;
        forget(function);
        at_[function] = at;
        std::size_t place = count_++;
        for (; place > 0 && at_[order_[place - 1]] > at; --place) order_[place] = order_[place - 1];
        order_[place] = static_cast<std::uint8_t>(function);
        if (place == 0 && !running_) arm();
    }
    void forget(unsigned function) {
        if (at_[function].is_never()) return;
        at_[function] = sim::Time::never();
        const auto end = order_.begin() + count_;
        const auto place = std::find(order_.begin(), end, function);
        std::move(place + 1, end, place);
        --count_;
        if (!running_) arm();
    }

    template <class Archive>
    void fields(Archive& archive) {
        archive(at_, order_, count_, timer_);
    }

private:
    void arm() {
        const sim::Time first = count_ == 0 ? sim::Time::never() : at_[order_[0]];
        if (first != timer_.deadline()) timer_.arm(first);
    }
    void run() {
        running_ = true;
        if (first_ != nullptr) first_->wake();
        while (count_ != 0 && at_[order_[0]] <= agenda_.now()) {
            const unsigned function = order_[0];
            forget(function);
            sleepers_[function]->wake();
        }
        running_ = false;
        arm();
    }

    sim::Agenda& agenda_;
    Sleeper* first_ = nullptr;
    std::array<Sleeper*, functions> sleepers_{};
    std::array<sim::Time, functions> at_;          // never: sleeps without end
    std::array<std::uint8_t, functions> order_{};  // the first to wake first; at the same time who asked first
    std::uint32_t count_ = 0;
    bool running_ = false;
    sim::Timer timer_;
};

}  // namespace sriov_nic
