// The agenda: every future event of the machine is an armed Timer in it, ordered by (time, priority, sequence).
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "sim/check.h"
#include "sim/time.h"

namespace sim {

// What goes first among events at the same instant. Devices act before processors run on, so that an interrupt due
// at t is seen by the instruction at t.
enum class Priority : std::uint8_t { device, processor };

class Timer;

class Agenda {
public:
    Agenda() = default;
    Agenda(const Agenda&) = delete;
    Agenda& operator=(const Agenda&) = delete;

    // The local time of whatever is acting: the event's own time, or, while a processor runs ahead within its quantum,
    // that processor's time.
    Time now() const { return now_; }

    // The earliest armed timer, and the earliest that is not a processor's: how far a processor may run.
    Time next_event() const { return std::min(top(Priority::device), top(Priority::processor)); }
    Time next_deadline() const { return top(Priority::device); }

    // Fires the earliest timer, whose time becomes now. False if none is armed.
    bool run_next();
    // Fires all timers up to and including `end`; now becomes `end` at last.
    void run_until(Time end);

    // A processor that acts within its quantum tells its own time here. It can't precede the event that runs it.
    void set_local_time(Time t) {
        VG_CHECK(t >= floor_);
        now_ = t;
    }

    std::uint64_t events_fired() const { return fired_; }

    template <class Archive>
    void fields(Archive& archive) {
        archive(now_, floor_, next_sequence_, fired_);
    }

private:
    friend class Timer;
    struct Entry {
        Time at;
        std::uint64_t sequence;
        Timer* timer;
        bool before(const Entry& other) const { return at != other.at ? at < other.at : sequence < other.sequence; }
    };
    using Heap = std::vector<Entry>;

    Time top(Priority p) const {
        const Heap& heap = heaps_[static_cast<std::size_t>(p)];
        return heap.empty() ? Time::never() : heap.front().at;
    }
    void insert(Timer& timer, Time at, std::uint64_t sequence);
    void remove(Timer& timer);
    void place(Heap& heap, std::size_t hole, const Entry& entry);
    void sift_up(Heap& heap, std::size_t hole, const Entry& entry);
    void sift_down(Heap& heap, std::size_t hole, const Entry& entry);

    std::array<Heap, 2> heaps_;
    Time now_;
    Time floor_;  // the time of the event that is being carried out
    std::uint64_t next_sequence_ = 0;
    std::uint64_t fired_ = 0;
};

// A named member of the component that owns it. Its deadline is state: saved and restored with the owner.
class Timer {
public:
    Timer(Agenda& agenda, std::string name, std::function<void()> expired, Priority priority = Priority::device);
    ~Timer();
    Timer(const Timer&) = delete;
    Timer& operator=(const Timer&) = delete;

    // Arms or re-arms. A time that has passed already means now.
    void arm(Time at);
    void arm_after(Time delay) { arm(agenda_.now() + delay); }
    void disarm();

    bool armed() const { return position_ != unarmed; }
    Time deadline() const { return armed() ? at_ : Time::never(); }
    const std::string& name() const { return name_; }

    template <class Archive>
    void fields(Archive& archive) {
        bool is_armed = armed();
        Time at = at_;
        std::uint64_t sequence = sequence_;
        archive(is_armed, at, sequence);
        if constexpr (Archive::reading) restore(is_armed, at, sequence);
    }

private:
    friend class Agenda;
    static constexpr std::size_t unarmed = ~std::size_t{0};
    void restore(bool armed, Time at, std::uint64_t sequence);

    Agenda& agenda_;
    std::string name_;
    std::function<void()> expired_;
    Time at_;
    std::uint64_t sequence_ = 0;
    std::size_t position_ = unarmed;  // in the agenda's heap
    Priority priority_;
};

}  // namespace sim
