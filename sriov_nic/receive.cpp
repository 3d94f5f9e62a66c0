// Receive queues and their registers, the packet buffer and its thresholds, descriptor fetches.
#include "sriov_nic/receive.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "sim/prefetch.h"

namespace sriov_nic {

namespace {

constexpr std::uint32_t buffer_size_bits = 0xffc00;

}  // namespace

Receive::Receive(Core& core, PauseSender& mac)
    : core_(core),
      mac_(mac),
      memory_(core.profile.receive_buffer_bytes),
      frames_(std::bit_ceil(core.profile.receive_buffer_bytes / PacketMemory::least_bytes)),
      timer_(core.scope.agenda(), core.scope.path() + ".receive", [this] { pump(); }),
      flow_timer_(core.scope.agenda(), core.scope.path() + ".coalescing", [this] { pump(); }) {}

void Receive::reset() {
    for (Queue& q : queues_) {
        const std::uint32_t epoch = q.epoch + 1;
        q = {};
        q.epoch = epoch;
    }
    fetch_ = {};
    memory_.clear();
    memory_.set_capacity(core_.profile.receive_buffer_bytes);
    frames_.clear();
    paused_ = refused_ = false;
    hash_valid_ = false;
    timer_.disarm();
    flows_ = {};
    open_flows_ = 0;
    flow_timer_.disarm();
}

// One packet buffer for all traffic classes: RXPBSIZE(0) alone counts.
void Receive::buffer_size_changed() {
    memory_.set_capacity(core_.registers[reg::rxpbsize] & buffer_size_bits);
}

std::uint32_t Receive::read(unsigned queue, RxRegister which) const {
    const Queue& q = queues_[queue];
    switch (which) {
        case RxRegister::rdbal:
            return static_cast<std::uint32_t>(q.base);
        case RxRegister::rdbah:
            return static_cast<std::uint32_t>(q.base >> 32);
        case RxRegister::rdlen:
            return q.length;
        case RxRegister::dca_rxctrl:
            return q.dca;
        case RxRegister::rdh:
            return q.head;
        case RxRegister::srrctl:
            return q.split;
        case RxRegister::rdt:
            return q.tail;
        case RxRegister::rxdctl:
            return q.control;
        case RxRegister::rscctl:
            return q.coalescing;
    }
    return 0;
}

void Receive::write(unsigned queue, RxRegister which, std::uint32_t value) {
    Queue& q = queues_[queue];
    switch (which) {
        case RxRegister::rdbal:
            q.base = (q.base & ~std::uint64_t{0xffff'ffff}) | (value & ring_bits::base_low);
            break;
        case RxRegister::rdbah:
            q.base = (q.base & 0xffff'ffff) | std::uint64_t{value} << 32;
            break;
        case RxRegister::rdlen:
            if ((q.control & rxdctl::enable) == 0 || q.length == 0) q.length = value & ring_bits::length;
            break;
        case RxRegister::dca_rxctrl:
            q.dca = value;
            break;
        case RxRegister::rdh:
            if ((q.control & rxdctl::enable) == 0) q.head = value & ring_bits::index;
            break;
        case RxRegister::srrctl:
            q.split = value;
            break;
        case RxRegister::rdt:
            q.tail = value & ring_bits::index;
            evaluate(queue);
            pump();
            break;
        case RxRegister::rxdctl: {
            const bool was = (q.control & rxdctl::enable) != 0;
            q.control = value;
            if (((value & rxdctl::enable) != 0) != was) enable(queue);
            evaluate(queue);
            pump();
            break;
        }
        case RxRegister::rscctl:
            q.coalescing = value;
            break;
    }
}

void Receive::enable(unsigned queue) {
    Queue& q = queues_[queue];
    ++q.epoch;
    if (ring_size(q) != 0) q.head %= ring_size(q);
    q.first = q.head;
    q.fetched = q.used = 0;
    q.fetching = 0;
    q.stopped = false;
    // A frame that was being written for it begins anew, or finds nobody.
    if (!frames_.empty() && frames_.front().placed && frames_.front().queue == queue) frames_.front().step = 0;
}

bool Receive::listening(unsigned queue) const {
    const Queue& q = queues_[queue];
    if ((q.control & rxdctl::enable) == 0 || q.stopped || q.length == 0) return false;
    if (!core_.bridge.virtualization()) return true;
    const unsigned pool = core_.pool_of(queue);
    return (core_.registers[reg::vfre + 4 * (pool >> 5)] >> (pool & 31) & 1) != 0;
}

// Descriptors of software's that have not been asked for.
std::uint32_t Receive::waiting(const Queue& q) const {
    const std::uint32_t size = ring_size(q);
    if (size == 0 || q.tail >= size) return 0;
    const auto at = static_cast<std::uint32_t>((q.first + q.fetched + q.fetching) % size);
    return q.tail >= at ? q.tail - at : q.tail + size - at;
}

void Receive::evaluate(unsigned queue) {
    Queue& q = queues_[queue];
    const std::uint64_t bit = std::uint64_t{1} << (queue & 63);
    const bool wanted = (q.control & rxdctl::enable) != 0 && !q.stopped && q.fetching == 0 &&
                        q.fetched - q.used <= cache_size / 2 && waiting(q) != 0;
    fetch_[queue >> 6] = wanted ? fetch_[queue >> 6] | bit : fetch_[queue >> 6] & ~bit;
}

void Receive::fetch_descriptors() {
    for (unsigned word = 0; word < 2; ++word) {
        for (std::uint64_t left = fetch_[word]; left != 0; left &= left - 1) {
            const unsigned queue = word * 64 + static_cast<unsigned>(std::countr_zero(left));
            Queue& q = queues_[queue];
            const std::uint32_t size = ring_size(q);
            const auto at = static_cast<std::uint32_t>((q.first + q.fetched) % size);
            const auto room = static_cast<std::uint32_t>(cache_size - (q.fetched - q.used));
            const std::uint32_t n = std::min({waiting(q), size - at, room, core_.profile.receive_descriptors});
            if (!core_.bus.read(core_.function_of(queue), q.base + std::uint64_t{at} * descriptor_bytes,
                                n * descriptor_bytes, cookie_of(Fetch::receive_descriptors, q.epoch, queue))) {
                core_.bus_full = true;
                return;
            }
            q.fetching = n;
            fetch_[word] &= ~(std::uint64_t{1} << (queue & 63));
        }
    }
}

void Receive::descriptors_read(unsigned queue, std::uint32_t epoch, bool ok, std::span<const std::byte> data) {
    Queue& q = queues_[queue];
    if (epoch != (q.epoch & epoch_mask) || q.fetching == 0) return;
    const std::uint32_t n = q.fetching;
    q.fetching = 0;
    if (!ok || data.size() != std::size_t{n} * descriptor_bytes) {
        ++core_.statistics.dma_errors;
        q.stopped = true;
    } else {
        for (std::uint32_t i = 0; i < n; ++i) {
            std::memcpy(&q.cache[(q.fetched + i) % cache_size], &data[std::size_t{i} * descriptor_bytes],
                        descriptor_bytes);
        }
        q.fetched += n;
    }
    evaluate(queue);
    pump();
}

// It was reset: no operation of the function is answered any more, and nothing more is written for it.
void Receive::forget(unsigned function) {
    for (unsigned queue = 0; queue < queues; ++queue) {
        if (core_.function_of(queue) != function) continue;
        queues_[queue].base = 0;
        queues_[queue].length = 0;
        enable(queue);
        evaluate(queue);
    }
    pump();
}

bool Receive::store(std::span<const std::byte> bytes, const FrameInfo& info, Pools pools, bool inexact, bool looped,
                    sim::Time at) {
    const auto length = static_cast<std::uint32_t>(bytes.size());
    if (frames_.full() || !memory_.fits(length)) return false;
    Frame& f = frames_.push();
    f.place = memory_.allocate(length);
    f.length = length;
    std::memcpy(memory_.at(f.place), bytes.data(), bytes.size());
    f.pools = pools;
    f.info = info;
    f.inexact = inexact;
    f.looped = looped;
    f.arrived = at;
    f.ready = at + core_.profile.classify + (looped ? sim::Time{} : core_.profile.receive_path);
    if (frames_.size() == 1) timer_.arm(f.ready);
    thresholds();
    // Mostly it is for the first queue of its pool: the simulating computer may fetch the descriptor until its turn.
    if (pools != 0) {
        const Queue& q = queues_[(static_cast<unsigned>(std::countr_zero(pools)) << core_.pool_shift) % queues];
        sim::prefetch(&q.cache[q.used % cache_size]);
    }
    return true;
}

void Receive::accept(std::span<const std::byte> frame, const FrameInfo& info, const Verdict& verdict) {
    if (!store(frame, info, verdict.pools, verdict.inexact, false, core_.scope.now())) ++core_.statistics.missed;
}

bool Receive::loop_back(std::span<const std::byte> frame, const FrameInfo& info, Pools pools, bool inexact, unsigned,
                        sim::Time at) {
    refused_ = !store(frame, info, pools, inexact, true, at);
    return !refused_;
}

// FCRTH and FCRTL (3.7.7.3): above the one the partner is told to stop, below the other to go on.
void Receive::thresholds() {
    if ((core_.registers[reg::fccfg] & fccfg::transmit_flow_control) == 0) return;
    const std::uint32_t high = core_.registers[reg::fcrth];
    const std::uint32_t low = core_.registers[reg::fcrtl];
    if (!paused_ && (high & fcrth::enable) != 0 && memory_.used() > (high & fcrth::threshold)) {
        paused_ = true;
        mac_.send_pause(static_cast<std::uint16_t>(core_.registers[reg::fcttv]));
    } else if (paused_ && memory_.used() < (low & fcrtl::threshold)) {
        paused_ = false;
        if ((low & fcrtl::xon_enable) != 0) mac_.send_pause(0);
    }
}

void Receive::pump() {
    if (pumping_) {
        again_ = true;
        return;
    }
    pumping_ = true;
    do {
        again_ = false;
        fetch_descriptors();
        if (open_flows_ != 0) close_due();
        while (!frames_.empty()) {
            Frame& f = frames_.front();
            if (f.ready > core_.scope.now()) {
                if (timer_.deadline() != f.ready) timer_.arm(f.ready);
                break;
            }
            while (f.pools != 0 && deliver(f, static_cast<unsigned>(std::countr_zero(f.pools))) == Outcome::done) {
                f.pools &= f.pools - 1;
                f.placed = f.waited = false;
            }
            if (f.pools != 0) break;
            memory_.release(f.place, f.length);
            frames_.pop();
            thresholds();
            if (refused_) {
                refused_ = false;
                mac_.receive_room();
            }
        }
        if (frames_.empty()) frames_.rewind();
        if (fetch_[0] != 0 || fetch_[1] != 0) fetch_descriptors();
    } while (again_);
    pumping_ = false;
}

}  // namespace sriov_nic
