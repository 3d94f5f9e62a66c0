#include "sim/agenda.h"

#include <algorithm>
#include <utility>

namespace sim {

bool Agenda::run_next() {
    close();
    const bool device_first = top(Priority::device) <= top(Priority::processor);
    Heap& heap = heaps_[device_first ? 0 : 1];
    if (heap.empty()) return false;
    const Entry first = heap.front();
    first.timer->position_ = Timer::unarmed;
    open_ = &heap;
    now_ = floor_ = first.at;
    ++fired_;
    first.timer->expired_();
    close();
    return true;
}

// Nobody took the place of the entry that was fired.
void Agenda::close() {
    if (open_ == nullptr) return;
    Heap& heap = *std::exchange(open_, nullptr);
    const Entry last = heap.back();
    heap.pop_back();
    if (!heap.empty()) sift_down(heap, 0, last);
}

void Agenda::run_until(Time end) {
    struct Limit {
        Limit(Time& limit, Time end) : limit_(limit), before_(std::exchange(limit, end)) {}
        Limit(const Limit&) = delete;
        ~Limit() { limit_ = before_; }
        Time& limit_;
        Time before_;
    };
    const Limit here{limit_, end};
    while (next_event() <= end && !next_event().is_never()) run_next();
    now_ = floor_ = std::max(floor_, end);
}

void Agenda::insert(Timer& timer, Time at, std::uint64_t sequence) {
    Heap& heap = heaps_[static_cast<std::size_t>(timer.priority_)];
    if (open_ == &heap) {
        open_ = nullptr;
        return sift_down(heap, 0, Entry{at, sequence, &timer});
    }
    heap.emplace_back();
    sift_up(heap, heap.size() - 1, timer, at, sequence);
}

void Agenda::remove(Timer& timer) {
    Heap& heap = heaps_[static_cast<std::size_t>(timer.priority_)];
    const std::size_t hole = timer.position_;
    timer.position_ = Timer::unarmed;
    const Entry last = heap.back();
    heap.pop_back();
    if (hole == heap.size()) return;
    if (hole > 0 && last.before(heap[(hole - 1) / arity])) {
        sift_up(heap, hole, *last.timer, last.at, last.sequence);
    } else {
        sift_down(heap, hole, last);
    }
}

void Agenda::move(Timer& timer, Time at, std::uint64_t sequence) {
    Heap& heap = heaps_[static_cast<std::size_t>(timer.priority_)];
    const std::size_t hole = timer.position_;
    const Entry entry{at, sequence, &timer};
    if (hole > 0 && entry.before(heap[(hole - 1) / arity])) {
        sift_up(heap, hole, timer, at, sequence);
    } else {
        sift_down(heap, hole, entry);
    }
}

void Agenda::place(Heap& heap, std::size_t hole, const Entry& entry) {
    heap[hole] = entry;
    entry.timer->position_ = hole;
}

// Field by field: an entry that was made in memory of two words and is read as one of twice the size waits until all
// stores before are in the cache, those to other components' cold state too.
void Agenda::sift_up(Heap& heap, std::size_t hole, Timer& timer, Time at, std::uint64_t sequence) {
    Entry* const entries = heap.data();
    while (hole > 0) {
        const std::size_t parent = (hole - 1) / arity;
        if (entries[parent].at < at || (entries[parent].at == at && entries[parent].sequence < sequence)) break;
        place(heap, hole, entries[parent]);
        hole = parent;
    }
    entries[hole].at = at;
    entries[hole].sequence = sequence;
    entries[hole].timer = &timer;
    timer.position_ = hole;
}

void Agenda::sift_down(Heap& heap, std::size_t hole, const Entry& entry) {
    for (;;) {
        const std::size_t first = hole * arity + 1;
        if (first >= heap.size()) break;
        std::size_t least = first;
        for (std::size_t child = first + 1; child < std::min(first + arity, heap.size()); ++child) {
            if (heap[child].before(heap[least])) least = child;
        }
        if (!heap[least].before(entry)) break;
        place(heap, hole, heap[least]);
        hole = least;
    }
    place(heap, hole, entry);
}

Timer::Timer(Agenda& agenda, std::string name, std::function<void()> expired, Priority priority)
    : agenda_(agenda), name_(std::move(name)), expired_(std::move(expired)), priority_(priority) {}

Timer::~Timer() {
    disarm();
}

void Timer::arm(Time at) {
    if (at.is_never()) return disarm();
    at_ = std::max(at, agenda_.floor_);
    sequence_ = agenda_.next_sequence_++;
    if (armed()) return agenda_.move(*this, at_, sequence_);
    agenda_.insert(*this, at_, sequence_);
}

void Timer::disarm() {
    if (armed()) agenda_.remove(*this);
}

void Timer::restore(bool is_armed, Time at, std::uint64_t sequence) {
    disarm();
    at_ = at;
    sequence_ = sequence;
    if (is_armed) agenda_.insert(*this, at, sequence);
}

}  // namespace sim
