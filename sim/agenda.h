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

// Whoever will need much when a timer fires, and of whom the simulating computer's caches hold nothing any more: he is
// told when his is the next one of all such timers and comes near the front of the agenda, and has what he needs
// fetched while others act. Nothing that is simulated may follow from it.
class Foresight {
public:
    // Called before each of the events from then on, with 0, 1, ...: a part of it each time. False: there is no more.
    virtual bool fetch_ahead(unsigned step) = 0;

protected:
    ~Foresight() = default;
};

class Agenda {
public:
    Agenda() = default;
    Agenda(const Agenda&) = delete;
    Agenda& operator=(const Agenda&) = delete;

    // The local time of whatever is acting: the event's own time, or, while a processor runs ahead within its quantum,
    // that processor's time.
    Time now() const { return now_; }

    // The earliest armed timer, and the earliest that is not a processor's: how far a processor may run.
    Time next_event() const { return std::min(top_device(), top_processor()); }
    Time next_deadline() const { return top_device(); }

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
        // Times are mostly different: that is what is asked first, so that who is later need not be guessed.
        bool after(Time other, std::uint64_t its_sequence) const {
            return at != other ? at > other : sequence > its_sequence;
        }
    };
    using Heap = std::vector<Entry>;

    // A four-ary heap: half the depth of a binary one, and its children share a cache line or two.
    static constexpr std::size_t arity = 4;

    // By priority; a device's timers with a foresight lie apart, so that it is known which of them is next.
    static constexpr std::size_t of_devices = 0, of_processors = 1, foreseen = 2;
    Heap& heap_of(const Timer& timer);
    Time top(const Heap& heap) const {
        if (heap.empty()) return Time::never();
        return open_ == &heap ? top_below(heap) : heap.front().at;
    }
    Time top_device() const { return std::min(top(heaps_[of_devices]), top(heaps_[foreseen])); }
    Time top_processor() const { return top(heaps_[of_processors]); }
    // Whether a device's timer that is armed for `at` now will be the next to fire: then it has.
    bool next_is(Time at) {
        if (at >= others_) {
            if (others_ != unknown) return false;
            others_ = std::min(top_device(), top_processor());
            if (at >= others_) return false;
        }
        if (at < floor_ || at > limit_) return false;
        now_ = floor_ = at;
        ++fired_;
        return true;
    }
    static Time top_below(const Heap& heap) {
        static_assert(arity == 4);
        if (heap.size() > arity) {
            return std::min(std::min(heap[1].at, heap[2].at), std::min(heap[3].at, heap[4].at));
        }
        Time first = Time::never();
        for (std::size_t i = 1; i < std::min(heap.size(), arity + 1); ++i) first = std::min(first, heap[i].at);
        return first;
    }
    bool fire_until(Time end);
    bool foreseen_first() const;
    bool comes_near(Time at) const;
    void look_ahead();
    void close();
    void insert(Timer& timer, Time at, std::uint64_t sequence);
    void remove(Timer& timer);
    void move(Timer& timer, Time at, std::uint64_t sequence);
    static void put(Entry& place, std::size_t position, Timer& timer, Time at, std::uint64_t sequence);
    static void sift(Heap& heap, std::size_t hole, Timer& timer, Time at, std::uint64_t sequence);
    static void sift_up(Heap& heap, std::size_t hole, Timer& timer, Time at, std::uint64_t sequence);
    static void sift_down(Heap& heap, std::size_t hole, Timer& timer, Time at, std::uint64_t sequence);

    std::array<Heap, 3> heaps_;
    // Whose first entry has just been fired and is a hole: mostly its timer is armed again, and the entry takes its
    // place. Until then nothing goes before it, as nothing did.
    Heap* open_ = nullptr;
    Timer* told_ = nullptr;  // who is next of those that are foreseen, since his foresight is told
    unsigned step_ = 0;
    bool all_told_ = false;
    Time now_;
    Time floor_;                 // the time of the event that is being carried out
    Time limit_ = Time::ps(-1);  // of run_until; before all times outside
    // While one that was fired acts: no other is armed for before. Asked for by few, it is found when it is asked for.
    static constexpr Time unknown = Time::ps(-1);
    Time others_ = unknown;
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
    // In what it has fired, instead of arming it for `at` and returning: true where it would be the next to fire, and
    // within run_until. Then all is as if it had been, without the way through the heap.
    [[nodiscard]] bool go_on(Time at) {
        if (armed() || priority_ != Priority::device || !agenda_.next_is(at)) return false;
        at_ = at;
        sequence_ = agenda_.next_sequence_++;
        return true;
    }
    void disarm();
    // Who is told that it will fire, which is a device's; null: nobody.
    void set_foresight(Foresight* foresight);

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
    std::function<void()> expired_;
    Time at_;
    std::uint64_t sequence_ = 0;
    std::size_t position_ = unarmed;  // in the agenda's heap
    Priority priority_;
    Foresight* foresight_ = nullptr;  // no state: what it does has no effect
    std::string name_;                // last: whoever fires it does not need it
};

inline Agenda::Heap& Agenda::heap_of(const Timer& timer) {
    return heaps_[timer.foresight_ != nullptr ? foreseen : static_cast<std::size_t>(timer.priority_)];
}

}  // namespace sim
