// Whose turn it is, and how frames are cut from a queue's descriptors: whole packets, or segments of one.
#include <algorithm>
#include <bit>

#include "sriov_nic/transmit.h"

namespace sriov_nic {

namespace {

// Room in front of a frame for the tag that may be put into it.
constexpr std::uint32_t headroom = vlan_bytes;
constexpr std::uint32_t largest_frame = 15872 - Profile::fcs_bytes;

}  // namespace

unsigned Transmit::first_from(const QueueSet& s, unsigned q) {
    if (q < 64) {
        if (const std::uint64_t low = s[0] >> q << q; low != 0) return static_cast<unsigned>(std::countr_zero(low));
        q = 64;
    }
    if (q < queues) {
        const std::uint64_t high = s[1] >> (q - 64) << (q - 64);
        if (high != 0) return 64 + static_cast<unsigned>(std::countr_zero(high));
    }
    return queues;
}

// The pool's queues take turns too.
unsigned Transmit::of_pool(unsigned pool, unsigned first) const {
    // Pools do not cross words. Mostly it is the only one.
    const unsigned place = (pool << core_.pool_shift) & 63;
    const std::uint64_t own = ready_[first >> 6] >> place & ((std::uint64_t{1} << (1u << core_.pool_shift)) - 1);
    if ((own & (own - 1)) == 0) return first;
    const unsigned last = last_of_pool_[pool];
    const unsigned turn = first_from(ready_, last + 1);
    const unsigned shift = core_.pool_shift;
    return last >> shift == pool && turn != queues && turn >> shift == pool ? turn : first;
}

// Round robin between pools frame by frame, or, with RTTDCS.VMPAC, by their shares of bytes (8.2.3.10.1 and .4).
unsigned Transmit::arbitrate() {
    const unsigned shift = core_.pool_shift;
    if ((core_.registers[reg::rttdcs] & rttdcs::weighted_pools) != 0) return next_pool();
    unsigned q = first_from(ready_, (last_pool_ + 1) << shift);
    if (q == queues) q = first_from(ready_, 0);
    return q == queues ? q : of_pool(q >> shift, q);
}

// Deficit round robin: a pool goes on while it has credit; a turn brings its share.
unsigned Transmit::next_pool() {
    const unsigned shift = core_.pool_shift;
    unsigned q = first_from(ready_, last_pool_ << shift);
    if (q != queues && q >> shift == last_pool_ && credit_[last_pool_] > 0) return of_pool(last_pool_, q);
    // Whoever has nothing to send saves nothing; but what it owes it owes, or it would offer one long frame at a time.
    if (q == queues || q >> shift != last_pool_) credit_[last_pool_] = std::min<std::int64_t>(credit_[last_pool_], 0);
    unsigned pool = last_pool_;
    for (;;) {
        q = first_from(ready_, (pool + 1) << shift);
        if (q == queues) q = first_from(ready_, 0);
        if (q == queues) return q;
        pool = q >> shift;
        credit_[pool] += std::max(share_[pool], PacketMemory::least_bytes);
        last_pool_ = pool;  // its turn has begun, even if the buffer is full now
        if (credit_[pool] > 0) return of_pool(pool, q);
    }
}

void Transmit::set_share(unsigned queue, std::uint32_t value) {
    constexpr std::uint32_t credits = 0x3fff, credit_bytes = 64;
    share_[core_.pool_of(queue)] = (value & credits) * credit_bytes;
}

void Transmit::cut_frames() {
    for (;;) {
        if (cutting_.active && !issue_reads()) return;
        const unsigned queue = arbitrate();
        if (queue == queues) return;
        Queue& q = queues_[queue];
        if (q.may_send > core_.scope.now()) {
            set(ready_, queue, false);
            if (!rate_timer_.armed() || q.may_send < rate_timer_.deadline()) rate_timer_.arm(q.may_send);
            continue;
        }
        if (!start_frame(queue)) return;
        last_pool_ = queue >> core_.pool_shift;
        last_of_pool_[last_pool_] = static_cast<std::uint8_t>(queue);
    }
}

void Transmit::take_contexts(Queue& q) {
    while (q.started != q.fetched && tx::is_context(q.cache[q.started % cache_size])) {
        const Descriptor& d = q.cache[q.started % cache_size];
        const auto index_and_mss = static_cast<std::uint32_t>(d.high >> 32);
        q.contexts[tx::context_index(index_and_mss) & 1] = {static_cast<std::uint32_t>(d.low), tx::command_of(d),
                                                            index_and_mss};
        ++q.started;
    }
}

// Looks at all descriptors of the next packet. False: it is not one that can be sent.
bool Transmit::start_packet(unsigned queue) {
    Queue& q = queues_[queue];
    take_contexts(q);
    const Descriptor first = q.cache[q.started % cache_size];
    q.flags = tx::command_of(first);
    q.options = static_cast<std::uint32_t>(first.high >> 32);
    q.segment = 0;
    q.taken = 0;
    std::uint64_t total = 0;
    bool sound = true;
    std::uint64_t i = q.started;
    for (;; ++i) {
        const Descriptor& d = q.cache[i % cache_size];
        if (tx::is_context(d)) {
            sound = false;
            continue;
        }
        total += tx::command_of(d) & tx::length;
        if ((tx::command_of(d) & tx::end_of_packet) != 0) break;
    }
    q.packet_end = i + 1;
    --q.ends;
    if ((q.flags & tx::extended) != 0 && (q.flags & tx::segmentation) != 0) {
        const TxContext c = q.context();
        const std::uint32_t header = tx::mac_bytes(c.macip) + tx::ip_bytes(c.macip) + tx::l4_bytes(c.mss);
        q.header_bytes = static_cast<std::uint16_t>(header);
        sound = sound && tx::segment_bytes(c.mss) != 0 && header >= mac_header_bytes &&
                header <= headers_[queue].size() && header < total &&
                header + tx::segment_bytes(c.mss) <= largest_frame;
        if (sound) q.rest = static_cast<std::uint32_t>(std::min<std::uint64_t>(total - q.header_bytes, 1u << 18));
        if (sound && tx::payload(q.options) != 0) q.rest = std::min(q.rest, tx::payload(q.options));
    } else {
        q.flags &= ~tx::segmentation;
        q.header_bytes = 0;
        sound = sound && total >= mac_header_bytes && total <= largest_frame;
        q.rest = static_cast<std::uint32_t>(total);
    }
    q.in_packet = sound;
    return sound;
}

bool Transmit::start_frame(unsigned queue) {
    Queue& q = queues_[queue];
    if (frames_.full()) return false;
    if (!q.in_packet && !start_packet(queue)) {
        Frame& f = frames_.push();
        f.queue = static_cast<std::uint8_t>(queue);
        f.epoch = q.epoch;
        f.dropped = f.cut = f.last = true;
        q.started = f.done = q.packet_end;
        ++core_.statistics.malformed;
        evaluate(queue);
        return true;
    }
    const std::uint32_t chunk = q.header_bytes == 0 ? q.rest : std::min(q.rest, tx::segment_bytes(q.context().mss));
    const std::uint32_t length = q.header_bytes + chunk;
    const std::uint32_t reserved = std::max(length, least_frame) + headroom;
    if (!memory_.fits(reserved)) return false;
    cutting_.frame = frames_.end();
    Frame& f = frames_.push();
    f.queue = static_cast<std::uint8_t>(queue);
    f.epoch = q.epoch;
    f.reserved = reserved;
    f.place = memory_.allocate(reserved) + headroom;
    f.length = length;
    f.flags = q.flags;
    f.options = q.options;
    f.context = q.context();
    f.segment = q.segment;
    f.packet_end = q.packet_end;
    f.header_bytes = q.header_bytes;
    f.last = chunk == q.rest;
    f.moments = told_[queue].of(q.packet_end - 1);
    f.started = core_.scope.now();
    // The first segment brings the header along; the others get it when it is there.
    const std::uint32_t skipped = q.segment == 0 ? 0 : q.header_bytes;
    cutting_.active = true;
    cutting_.queue = queue;
    cutting_.place = f.place + skipped;
    cutting_.rest = length - skipped;
    q.rest -= chunk;
    ++q.segment;
    if (q.rated) charge_rate(q, length);
    if ((core_.registers[reg::rttdcs] & rttdcs::weighted_pools) != 0) credit_[core_.pool_of(queue)] -= length;
    return true;
}

// RTTBCNRC: link speed divided by the queue's rate, with 14 bits of fraction (8.2.3.10.16).
void Transmit::charge_rate(Queue& q, std::uint32_t bytes) {
    const auto factor = static_cast<std::int64_t>(q.rate & rttbcnrc::factor);
    const auto gap = [&](std::int64_t wire_ps) { return sim::Time::ps(wire_ps * factor >> 14); };
    // Whoever was late for lack of other resources catches up, within RTTBCNRM's window.
    const std::int64_t window_bytes = std::int64_t{core_.registers[reg::rttbcnrm] & 0x7ff} * 1024;
    const sim::Time earliest = core_.scope.now() - gap(window_bytes * core_.profile.wire_byte_ps);
    q.may_send = std::max(q.may_send, earliest) + gap(core_.profile.wire_time(std::max(bytes, least_frame)).ps());
}

bool Transmit::issue_reads() {
    Queue& q = queues_[cutting_.queue];
    Frame& f = frames_[cutting_.frame];
    while (cutting_.rest != 0) {
        const Descriptor& d = q.cache[q.started % cache_size];
        const std::uint32_t left = (tx::command_of(d) & tx::length) - q.taken;
        if (left == 0) {
            ++q.started;
            q.taken = 0;
            continue;
        }
        if (free_slots_ == 0) return false;
        const std::uint32_t n = std::min({left, cutting_.rest, core_.profile.data_read_bytes});
        const unsigned function = core_.function_of(cutting_.queue);
        const auto slot = static_cast<unsigned>(std::countr_zero(free_slots_));
        if (!core_.bus.read(function, d.low + q.taken, n, cookie_of(Fetch::transmit_data, 0, slot))) {
            core_.bus_full = true;
            return false;
        }
        free_slots_ &= free_slots_ - 1;
        slots_[slot] = {cutting_.frame, cutting_.place, n, function};
        ++f.outstanding;
        cutting_.place += n;
        cutting_.rest -= n;
        q.taken = static_cast<std::uint16_t>(q.taken + n);
    }
    f.cut = true;
    cutting_.active = false;
    if (f.last) {
        q.started = q.packet_end;
        q.taken = 0;
        q.in_packet = false;
    } else if (q.taken == (tx::command_of(q.cache[q.started % cache_size]) & tx::length)) {
        ++q.started;
        q.taken = 0;
    }
    f.done = q.started;
    evaluate(cutting_.queue);
    return true;
}

// It was reset: what is being cut or read for it goes nowhere, and nothing more is written for it.
void Transmit::forget(unsigned function) {
    for (unsigned s = 0; s < slots_.size(); ++s) {
        if (slots_[s].bytes == 0 || slots_[s].function != function) continue;
        Frame& f = frames_[slots_[s].frame];
        --f.outstanding;
        f.dropped = true;
        slots_[s] = {};
        free_slots_ |= std::uint64_t{1} << s;
    }
    for (unsigned queue = 0; queue < queues; ++queue) {
        if (core_.function_of(queue) != function) continue;
        queues_[queue].base = 0;
        queues_[queue].size = 0;
        enable(queue);
        evaluate(queue);
    }
    pump();
}

}  // namespace sriov_nic
