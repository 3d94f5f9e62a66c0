// Queues and their registers, descriptor fetches, completion and write-back.
#include "sriov_nic/transmit.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace sriov_nic {

Transmit::Transmit(Core& core, LoopbackTarget& loopback)
    : core_(core),
      loopback_(loopback),
      memory_(core.profile.transmit_buffer_bytes),
      frames_(std::bit_ceil(core.profile.transmit_buffer_bytes / PacketMemory::least_bytes)),
      egress_(core.scope.agenda(), core.scope.path() + ".egress", [this] { pump(); }),
      rate_timer_(core.scope.agenda(), core.scope.path() + ".rate", [this] { enables_changed(); }) {
    core_.throttle_clock.connect_first(*this);
    reset();
}

void Transmit::reset() {
    // Whoever resets it lets the bus forget what is in flight.
    slots_ = {};
    free_slots_ = core_.profile.data_reads_in_flight >= slots_.size()
                      ? ~std::uint64_t{0}
                      : (std::uint64_t{1} << core_.profile.data_reads_in_flight) - 1;
    for (Queue& q : queues_) {
        const std::uint32_t epoch = q.epoch + 1;
        q = {};
        q.epoch = epoch;
    }
    told_ = {};
    fetch_ = ready_ = {};
    flush_.clear();
    frames_.clear();
    finish_ = frames_.first();
    memory_.clear();
    cutting_ = {};
    last_pool_ = 0;
    last_of_pool_ = {};
    share_ = {};
    credit_ = {};
    wire_free_ = loopback_free_ = paused_until_ = too_early_until_ = {};
    egress_.disarm();
    core_.throttle_clock.wake_first_at(sim::Time::never());
    rate_timer_.disarm();
}

std::uint32_t Transmit::read(unsigned queue, TxRegister which) const {
    const Queue& q = queues_[queue];
    switch (which) {
        case TxRegister::tdbal:
            return static_cast<std::uint32_t>(q.base);
        case TxRegister::tdbah:
            return static_cast<std::uint32_t>(q.base >> 32);
        case TxRegister::tdlen:
            return std::uint32_t{q.size} * descriptor_bytes;
        case TxRegister::dca_txctrl:
            return q.dca;
        case TxRegister::tdh:
            return q.head;
        case TxRegister::tdt:
            return q.tail;
        case TxRegister::txdctl:
            return q.control;
        case TxRegister::tdwbal:
            return static_cast<std::uint32_t>(q.head_address) | (q.reports_head ? 1 : 0);
        case TxRegister::tdwbah:
            return static_cast<std::uint32_t>(q.head_address >> 32);
    }
    return 0;
}

void Transmit::write(unsigned queue, TxRegister which, std::uint32_t value) {
    Queue& q = queues_[queue];
    const auto low = [value](std::uint64_t old) { return (old & ~std::uint64_t{0xffff'ffff}) | value; };
    const auto high = [value](std::uint64_t old) { return (old & 0xffff'ffff) | std::uint64_t{value} << 32; };
    switch (which) {
        case TxRegister::tdbal:
            q.base = low(q.base) & (ring_bits::base_low | ~std::uint64_t{0xffff'ffff});
            break;
        case TxRegister::tdbah:
            q.base = high(q.base);
            break;
        case TxRegister::tdlen:
            // A running ring keeps its size: nothing says what else would happen.
            if ((q.control & txdctl::enable) != 0 && q.size != 0) break;
            q.size = static_cast<std::uint16_t>((value & ring_bits::length) / descriptor_bytes);
            if ((q.control & txdctl::enable) != 0 && q.size != 0) q.head %= q.size;
            break;
        case TxRegister::dca_txctrl:
            q.dca = value;
            break;
        case TxRegister::tdh:
            if ((q.control & txdctl::enable) == 0) q.head = static_cast<std::uint16_t>(value & ring_bits::index);
            break;
        case TxRegister::tdt:
            q.tail = static_cast<std::uint16_t>(value & ring_bits::index);
            if (q.tail < q.size) {
                const std::uint32_t at = ring_index(q, q.fetched);
                told_[queue].doorbells.ring(q.fetched + (q.tail >= at ? q.tail - at : q.tail + q.size - at),
                                            core_.scope.now());
            }
            evaluate(queue);
            pump();
            break;
        case TxRegister::txdctl: {
            const bool was = (q.control & txdctl::enable) != 0;
            q.control = value & ~txdctl::software_flush;
            if (((value & txdctl::enable) != 0) != was) enable(queue);
            if ((value & txdctl::software_flush) != 0 && was && q.reports != 0) write_back(queue);
            evaluate(queue);
            pump();
            break;
        }
        case TxRegister::tdwbal:
            q.reports_head = (value & 1) != 0;
            q.head_address = low(q.head_address) & ~std::uint64_t{3};
            break;
        case TxRegister::tdwbah:
            q.head_address = high(q.head_address);
            break;
    }
}

// Switched on or off, or reset: what was on chip is forgotten, frames already cut go their way.
void Transmit::enable(unsigned queue) {
    Queue& q = queues_[queue];
    if (cutting_.active && cutting_.queue == queue) {
        Frame& f = frames_[cutting_.frame];
        f.dropped = f.cut = true;
        cutting_.active = false;
    }
    ++q.epoch;
    if (q.size != 0) q.head %= q.size;
    q.first = q.head;
    q.fetched = q.started = q.done = q.written = 0;
    q.ends = q.reports = q.fetching = 0;
    q.taken = q.rest = 0;
    q.in_packet = q.stopped = false;
    told_[queue].forget();
    flush_.remove(queue);
}

bool Transmit::running(unsigned queue) const {
    const Queue& q = queues_[queue];
    if ((q.control & txdctl::enable) == 0 || q.stopped || q.size == 0) return false;
    if ((core_.registers[reg::dmatxctl] & dmatxctl::enable) == 0) return false;
    if (!core_.bridge.virtualization()) return true;
    const unsigned pool = core_.pool_of(queue);
    return (core_.registers[reg::vfte + 4 * (pool >> 5)] >> (pool & 31) & 1) != 0;
}

void Transmit::enables_changed() {
    for (unsigned q = 0; q < queues; ++q) {
        if ((queues_[q].control & txdctl::enable) != 0) evaluate(q);
    }
    pump();
}

// Whether descriptors are to be fetched (7.2.3.4) and whether frames can be cut.
void Transmit::evaluate(unsigned queue) {
    Queue& q = queues_[queue];
    const bool on = running(queue);
    set(ready_, queue, on && (q.in_packet || q.ends != 0));
    q.no_room = false;
    if (!on || q.fetching != 0) return set(fetch_, queue, false);
    const std::uint32_t size = q.size;
    const std::uint32_t at = ring_index(q, q.fetched);
    const std::uint32_t waiting = q.tail >= size ? 0 : q.tail >= at ? q.tail - at : q.tail + size - at;
    std::uint64_t on_chip = q.fetched - q.written;
    const std::uint64_t idle = q.fetched - q.started;
    const bool incomplete = q.ends == 0 && !q.in_packet;
    if (incomplete && on_chip == cache_size) {
        if (idle == cache_size) {
            // No packet has more descriptors than fit (7.2.3.3).
            q.stopped = true;
            ++core_.statistics.malformed;
            set(ready_, queue, false);
        } else if (q.done == q.started && q.reports != 0) {
            flush_.put(queue, core_.scope.now());
        } else if (q.done == q.started) {
            // Nobody wants to hear of them, and the threshold is beyond what fits.
            q.written = q.done;
            q.head = ring_index(q, q.written);
            on_chip = q.fetched - q.written;
        }
    }
    const bool below = idle < txdctl::prefetch(q.control) && waiting >= txdctl::host(q.control);
    const bool wanted = waiting != 0 && (incomplete || idle == 0 || below);
    q.no_room = wanted && on_chip >= cache_size;
    set(fetch_, queue, wanted && !q.no_room);
}

void Transmit::fetch_descriptors() {
    for (unsigned word = 0; word < 2; ++word) {
        for (std::uint64_t left = fetch_[word]; left != 0; left &= left - 1) {
            if (!fetch(word * 64 + static_cast<unsigned>(std::countr_zero(left)))) return;
        }
    }
}

bool Transmit::fetch(unsigned queue) {
    Queue& q = queues_[queue];
    const std::uint32_t size = q.size;
    const std::uint32_t at = ring_index(q, q.fetched);
    const std::uint32_t waiting = q.tail >= at ? q.tail - at : size - at;  // up to the ring's end
    const auto room = static_cast<std::uint32_t>(cache_size - (q.fetched - q.written));
    const std::uint32_t n = std::min({waiting, room, core_.profile.transmit_descriptors});
    if (!core_.bus.read(core_.function_of(queue), q.base + std::uint64_t{at} * descriptor_bytes, n * descriptor_bytes,
                        cookie_of(Fetch::transmit_descriptors, q.epoch, queue))) {
        core_.bus_full = true;
        return false;
    }
    q.fetching = static_cast<std::uint8_t>(n);
    told_[queue].asked = core_.scope.now();
    set(fetch_, queue, false);
    return true;
}

void Transmit::descriptors_read(unsigned queue, std::uint32_t epoch, bool ok, std::span<const std::byte> data) {
    Queue& q = queues_[queue];
    if (epoch != (q.epoch & epoch_mask) || q.fetching == 0) return;
    const std::uint32_t n = q.fetching;
    q.fetching = 0;
    if (!ok || data.size() != std::size_t{n} * descriptor_bytes) {
        ++core_.statistics.dma_errors;
        q.stopped = true;
    } else {
        for (std::uint32_t i = 0; i < n; ++i) {
            Descriptor d;
            std::memcpy(&d, &data[std::size_t{i} * descriptor_bytes], descriptor_bytes);
            q.cache[(q.fetched + i) % cache_size] = d;
            if (!tx::is_context(d) && (tx::command_of(d) & tx::end_of_packet) != 0) ++q.ends;
        }
        told_[queue].came(q.fetched, q.fetched + n, core_.scope.now());
        q.fetched += n;
        next_[queue].at = &q.cache[q.fetched % cache_size];
    }
    evaluate(queue);
    pump();
}

void Transmit::data_read(unsigned slot, bool ok, std::span<const std::byte> data) {
    if (slot >= slots_.size() || slots_[slot].bytes == 0) return;
    Slot& s = slots_[slot];
    Frame& f = frames_[s.frame];
    --f.outstanding;
    f.read = core_.scope.now();
    if (ok && data.size() == s.bytes) {
        std::memcpy(memory_.at(s.place), data.data(), data.size());
    } else {
        f.dropped = true;
        ++core_.statistics.dma_errors;
        Queue& q = queues_[f.queue];
        // Of a packet whose data cannot be read nothing more is cut.
        if (f.epoch == q.epoch && q.in_packet && f.packet_end == q.packet_end) give_up(f.queue);
    }
    s = {};
    free_slots_ |= std::uint64_t{1} << slot;
    pump();
}

// What was cut of the packet at hand is all that there will be: with its last frame all descriptors are done. That one
// is still there: a read of this packet's has just failed.
void Transmit::give_up(unsigned queue) {
    Queue& q = queues_[queue];
    if (cutting_.active && cutting_.queue == queue) {
        Frame& f = frames_[cutting_.frame];
        f.dropped = f.cut = true;
        cutting_.active = false;
    }
    std::uint32_t last = frames_.end() - 1;
    for (; frames_[last].queue != queue; --last) VG_CHECK(last != finish_);
    frames_[last].done = q.packet_end;
    q.started = q.packet_end;
    q.in_packet = false;
    q.taken = 0;
    evaluate(queue);
}

// The frame's data is here: its descriptors are done, and reported when their turn comes.
void Transmit::complete(Frame& frame) {
    Queue& q = queues_[frame.queue];
    if (frame.epoch != q.epoch) return;
    for (; q.done < frame.done; ++q.done) {
        if ((tx::command_of(q.cache[q.done % cache_size]) & tx::report_status) != 0) ++q.reports;
    }
    report_done(frame.queue);
}

// When a queue writes back (7.2.3.5): at once with WTHRESH 0, else when that many are done or moderation's time is up.
void Transmit::report_done(unsigned queue) {
    Queue& q = queues_[queue];
    const std::uint32_t threshold = txdctl::write_back(q.control);
    const bool enough = q.done - q.written >= std::max(threshold, 1u);
    if (q.reports == 0) {
        if (!enough && q.fetched - q.written == cache_size) evaluate(queue);
        if (!enough) return;
        q.written = q.done;
        q.head = ring_index(q, q.written);
        return evaluate(queue);
    }
    if (enough) {
        write_back(queue);
        return;
    }
    if (flush_.has(queue)) return;
    const sim::Time now = core_.scope.now();
    const sim::Time quiet = core_.vector_of(queue, Direction::transmit).quiet_until();
    flush_.put(queue, quiet.is_never() ? now + core_.profile.write_back_idle : std::max(now, quiet));
    // With its descriptors done a queue counts as ready once more, until it is found that its rate has it wait.
    (rate_timer_.armed() ? again_ : flush_again_) = true;
}

// Time has passed, and nothing else: frames that wait for it have their own timers, but for one that may go already.
void Transmit::wake() {
    const bool may_commit = frames_.first() != finish_ && core_.scope.now() >= too_early_until_;
    if (may_commit || rate_timer_.armed()) return pump();
    flush_due();
    if ((fetch_[0] | fetch_[1]) != 0) fetch_descriptors();
}

// Those that are due, by number. One that is refused, and what becomes due meanwhile, is the next turn's.
void Transmit::flush_due() {
    const sim::Time now = core_.scope.now();
    const auto is_due = [&](std::size_t place) { return place < flush_.size() && flush_.time(place) <= now; };
    if (is_due(0) && !is_due(1)) {
        if (!write_back(flush_.front())) return;
    } else if (is_due(0)) {
        QueueSet due{};
        for (std::size_t i = 0; is_due(i); ++i) set(due, flush_[i], flush_.has(flush_[i]));
        for (unsigned queue = first_from(due, 0); queue != queues; queue = first_from(due, queue + 1)) {
            if (!write_back(queue)) return;
        }
    }
    const sim::Time next = flush_.first_after(now);
    if (next != core_.throttle_clock.first_at()) core_.throttle_clock.wake_first_at(next);
}

// The next `n` descriptors, which lie in one piece.
inline bool Transmit::write_next(Queue& q, unsigned function, std::uint64_t n) {
    static constexpr auto reported = [] {
        std::array<Descriptor, cache_size> all{};
        for (Descriptor& d : all) d.high = std::uint64_t{tx::done} << 32;
        return all;
    }();
    return core_.bus.write(function, q.base + std::uint64_t{q.head} * descriptor_bytes,
                           std::as_bytes(std::span{reported}.first(n)));
}

// False: the bus has no room; what has been written is.
inline bool Transmit::write_descriptors(Queue& q, unsigned function) {
    if (q.reports_head) return write_head(q, function);
    if (txdctl::write_back(q.control) == 0) return write_reports(q, function);
    // The head is where the first that has not been written is, here too when there is no room for more.
    while (q.written != q.done) {
        const std::uint64_t n = std::min<std::uint64_t>(q.done - q.written, std::uint32_t{q.size} - q.head);
        if (!write_next(q, function, n)) return false;
        q.pass(n);
    }
    return true;
}

// One by one, and only those whose report is wished for.
bool Transmit::write_reports(Queue& q, unsigned function) {
    while (q.written != q.done) {
        const bool wanted = (tx::command_of(q.cache[q.written % cache_size]) & tx::report_status) != 0;
        if (wanted && !write_next(q, function, 1)) return false;
        q.pass(1);
    }
    return true;
}

// The head instead of descriptors.
bool Transmit::write_head(Queue& q, unsigned function) {
    const std::uint16_t place = ring_index(q, q.done);
    const std::uint32_t head = place;
    if (!core_.bus.write(function, q.head_address, std::as_bytes(std::span{&head, 1}))) return false;
    q.written = q.done;
    q.head = place;
    return true;
}

bool Transmit::write_back(unsigned queue) {
    Queue& q = queues_[queue];
    const Core::Vector vector = core_.vector_of(queue, Direction::transmit);
    if (!write_descriptors(q, core_.function_of(queue))) {
        core_.bus_full = true;
        flush_.put(queue, core_.scope.now());
        return false;
    }
    q.reports = 0;
    // Else nothing is different for it.
    if (q.no_room || q.in_packet || rate_timer_.armed()) evaluate(queue);
    if (vector.of != nullptr) vector.of->set_causes(std::uint64_t{1} << vector.number);
    // What it sends next will mostly be reported when the moderation of this interrupt ends.
    const sim::Time quiet = vector.quiet_until();
    if (!quiet.is_never() && quiet > core_.scope.now()) {
        flush_.keep_place(queue, quiet);
    } else {
        flush_.remove(queue);
    }
    return true;
}

}  // namespace sriov_nic
