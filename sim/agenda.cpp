#include "sim/agenda.h"

#include <algorithm>
#include <utility>

#include "sim/prefetch.h"

namespace sim {

bool Agenda::run_next() {
    const bool any = fire_until(Time::never());
    close();
    return any;
}

// The earliest timer, unless it is armed for later than `end`.
bool Agenda::fire_until(Time end) {
    close();
    if (!heaps_[foreseen].empty()) look_ahead();
    const Time device = top_device(), processor = top_processor();
    const Time first = std::min(device, processor);
    if (first > end || first.is_never()) return false;
    Heap& heap = heaps_[device > processor ? of_processors : foreseen_first() ? foreseen : of_devices];
    if (&heap == &heaps_[foreseen]) told_ = nullptr;
    Timer& timer = *heap.front().timer;
    timer.position_ = Timer::unarmed;
    open_ = &heap;
    others_ = unknown;
    now_ = floor_ = first;
    ++fired_;
    timer.expired_();
    return true;
}

// Of a device's timers the first is one that is foreseen.
bool Agenda::foreseen_first() const {
    const Heap &plain = heaps_[of_devices], &other = heaps_[foreseen];
    if (plain.empty() || other.empty()) return plain.empty();
    return plain.front().after(other.front().at, other.front().sequence);
}

// No later than one of the first few.
bool Agenda::comes_near(Time at) const {
    const Heap& heap = heaps_[of_devices];
    return heap.size() <= arity ||
           std::any_of(heap.begin() + 1, heap.begin() + 1 + arity, [at](const Entry& entry) { return entry.at >= at; });
}

// One part of what the next one needs: what is fetched all at once is waited for.
void Agenda::look_ahead() {
    const Entry& next = heaps_[foreseen].front();
    if (told_ == next.timer) {
        if (!all_told_) all_told_ = !told_->foresight_->fetch_ahead(step_++);
    } else if (comes_near(next.at)) {
        told_ = next.timer;
        step_ = 0;
        all_told_ = false;
        prefetch(told_->foresight_);
    }
}

// Nobody took the place of the entry that was fired.
void Agenda::close() {
    if (open_ == nullptr) return;
    Heap& heap = *std::exchange(open_, nullptr);
    const Entry& last = heap.back();
    Timer& timer = *last.timer;
    const Time at = last.at;
    const std::uint64_t sequence = last.sequence;
    heap.pop_back();
    if (!heap.empty()) sift_down(heap, 0, timer, at, sequence);
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
    while (fire_until(end)) {
    }
    now_ = floor_ = std::max(floor_, end);
}

void Agenda::insert(Timer& timer, Time at, std::uint64_t sequence) {
    others_ = std::min(others_, at);
    Heap& heap = heap_of(timer);
    if (open_ == &heap) {
        open_ = nullptr;
        return sift_down(heap, 0, timer, at, sequence);
    }
    heap.emplace_back();
    sift_up(heap, heap.size() - 1, timer, at, sequence);
}

void Agenda::remove(Timer& timer) {
    Heap& heap = heap_of(timer);
    const std::size_t hole = timer.position_;
    timer.position_ = Timer::unarmed;
    if (told_ == &timer) told_ = nullptr;
    const Entry last = heap.back();
    heap.pop_back();
    if (hole != heap.size()) sift(heap, hole, *last.timer, last.at, last.sequence);
}

void Agenda::move(Timer& timer, Time at, std::uint64_t sequence) {
    others_ = std::min(others_, at);
    sift(heap_of(timer), timer.position_, timer, at, sequence);
}

void Agenda::sift(Heap& heap, std::size_t hole, Timer& timer, Time at, std::uint64_t sequence) {
    if (hole > 0 && heap[(hole - 1) / arity].after(at, sequence)) {
        sift_up(heap, hole, timer, at, sequence);
    } else {
        sift_down(heap, hole, timer, at, sequence);
    }
}

// Field by field: an entry that was made in memory of two words and is read as one of twice the size waits until all
// stores before are in the cache, those to other components' cold state too.
void Agenda::put(Entry& place, std::size_t position, Timer& timer, Time at, std::uint64_t sequence) {
    place.at = at;
    place.sequence = sequence;
    place.timer = &timer;
    timer.position_ = position;
}

void Agenda::sift_up(Heap& heap, std::size_t hole, Timer& timer, Time at, std::uint64_t sequence) {
    Entry* const entries = heap.data();
    while (hole > 0) {
        const std::size_t parent = (hole - 1) / arity;
        const Entry& above = entries[parent];
        if (!above.after(at, sequence)) break;
        put(entries[hole], hole, *above.timer, above.at, above.sequence);
        hole = parent;
    }
    put(entries[hole], hole, timer, at, sequence);
}

void Agenda::sift_down(Heap& heap, std::size_t hole, Timer& timer, Time at, std::uint64_t sequence) {
    Entry* const entries = heap.data();
    const std::size_t size = heap.size();
    for (std::size_t child = arity * hole + 1; child < size; child = arity * hole + 1) {
        std::size_t least = child;
        const std::size_t end = std::min(child + arity, size);
        while (++child < end) {
            if (entries[least].after(entries[child].at, entries[child].sequence)) least = child;
        }
        const Entry& below = entries[least];
        if (below.after(at, sequence)) break;
        put(entries[hole], hole, *below.timer, below.at, below.sequence);
        hole = least;
    }
    put(entries[hole], hole, timer, at, sequence);
}

Timer::Timer(Agenda& agenda, std::string name, std::function<void()> expired, Priority priority)
    : agenda_(agenda), expired_(std::move(expired)), priority_(priority), name_(std::move(name)) {}

Timer::~Timer() {
    disarm();
    set_foresight(nullptr);
}

void Timer::set_foresight(Foresight* foresight) {
    VG_CHECK(foresight == nullptr || priority_ == Priority::device);
    const bool was_armed = armed();
    if (was_armed) agenda_.remove(*this);
    foresight_ = foresight;
    if (was_armed) agenda_.insert(*this, at_, sequence_);
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
