// The sending half of a TCP connection: what goes out next, and what happens when time passes.
#include <algorithm>
#include <array>

#include "models/network/peer/tcp_connection.h"
#include "sim/check.h"

namespace models {

sim::Time TcpConnection::deadline() const {
    return std::min(std::min(retransmit_at_, persist_at_), std::min(delayed_ack_at_, time_wait_at_));
}

void TcpConnection::expired(TcpEnvironment& env) {
    const sim::Time now = env.now();
    if (delayed_ack_at_ <= now) send_ack(env);
    if (retransmit_at_ <= now) retransmit_expired(env);
    if (persist_at_ <= now) persist_expired(env);
    if (time_wait_at_ <= now) finish(TcpEnd::closed);
}

// What is under way, as far as one can tell.
std::uint64_t TcpConnection::pipe() const {
    const std::uint64_t flight = next_ - una_;
    if (!sack_) {
        const std::uint64_t left_network = std::uint64_t{congestion_.duplicates} * mss_;
        return flight - std::min(flight, left_network);
    }
    if (!congestion_.recovering) {
        // After a time-out only what was sent since counts.
        std::uint64_t missing = 0;
        for (const auto& gap : scoreboard_.gaps(una_, next_, mss_)) missing += gap.end - gap.begin;
        return missing;
    }
    std::uint64_t sum = 0;  // RFC 6675, SetPipe()
    for (const auto& gap : scoreboard_.gaps(una_, next_, mss_)) {
        if (!gap.lost) sum += gap.end - gap.begin;
        const std::uint64_t again = std::clamp(congestion_.retransmitted, gap.begin, gap.end);
        sum += again - gap.begin;
    }
    return sum;
}

void TcpConnection::transmit(TcpEnvironment& env) {
    if (!may_send()) return;
    // RFC 6675, NextSeg(): what is lost, then what is new, then what may be lost.
    while (congestion_.recovering && transmit_recovery(env)) {
    }
    while (transmit_next(env)) {
    }
    if (!congestion_.recovering || !sack_ || next_ < std::min(stream_end(), window_end())) return;
    for (const auto& gap : scoreboard_.gaps(std::max(una_, congestion_.retransmitted), scoreboard_.highest(), mss_)) {
        if (pipe() + mss_ > congestion_.window) return;
        const std::uint64_t end = std::min(gap.end, gap.begin + mss_);
        send_range(env, gap.begin, end);
        congestion_.retransmitted = end;
        return;  // one for each arrival
    }
}

bool TcpConnection::transmit_recovery(TcpEnvironment& env) {
    CongestionState& c = congestion_;
    const bool first = c.retransmitted <= una_;
    if (!sack_) {
        if (!first) return false;
        const std::uint64_t end = std::min(una_ + mss_, max_);
        send_range(env, una_, end);
        c.retransmitted = end;
        return true;
    }
    for (const auto& gap : scoreboard_.gaps(std::max(una_, c.retransmitted), scoreboard_.highest(), mss_)) {
        if (!gap.lost && !first) continue;
        if (!first && pipe() + mss_ > c.window) return false;
        const std::uint64_t end = std::min(gap.end, gap.begin + mss_);
        send_range(env, gap.begin, end);
        c.retransmitted = end;
        return true;
    }
    return false;
}

bool TcpConnection::transmit_next(TcpEnvironment& env) {
    CongestionState& c = congestion_;
    const std::uint64_t limit = std::min(stream_end(), window_end());
    std::uint64_t begin = next_;
    std::uint64_t end = limit;
    bool again = next_ < max_;
    if (again) {
        // After a time-out: what the other side has is skipped.
        const auto [missing, until] = scoreboard_.missing_from(next_, max_);
        begin = missing;
        again = begin < max_;
        if (until < max_) end = std::min(end, until);
        next_ = begin;
    }
    if (begin >= end) {
        arm_persist(env);
        return false;
    }
    if (begin == una_ && env.now() - last_sent_ > rtt_.rto(env.settings().initial_rto, env.settings().minimum_rto,
                                                           env.settings().maximum_rto)) {
        // RFC 5681, 4.1: what the network took long ago says nothing.
        c.window = std::min<std::uint64_t>(c.window, std::uint64_t{env.settings().initial_window_segments} * mss_);
    }
    const std::uint64_t under_way = pipe();
    const std::uint64_t room = c.window - std::min(c.window, under_way);
    const std::uint64_t most =
        again ? mss_ : std::max<std::uint64_t>(mss_, env.settings().large_send_bytes / mss_ * mss_);
    std::uint64_t length = std::min(end - begin, most);
    if (end == stream_end() && application_.ended() && end - begin == most + 1) ++length;  // the FIN goes along
    if (room < std::min<std::uint64_t>(length, mss_)) return false;
    if (length > room + 1) length = room / mss_ * mss_;
    // RFC 9293, 3.8.6.2.1: no crumbs because of the window. (No Nagle: applications here write in one go.)
    const bool everything = begin + length == stream_end();
    if (length < mss_ && !everything && !again && 2 * length < largest_send_window_ && end == limit) {
        arm_persist(env);
        return false;
    }
    send_range(env, begin, begin + length);
    next_ = begin + length;
    return true;
}

void TcpConnection::send_range(TcpEnvironment& env, std::uint64_t begin, std::uint64_t end) {
    VG_CHECK(begin >= 1 && begin < end && end <= stream_end());
    const std::uint64_t data_until = std::min(end, data_end());
    std::vector<std::byte> data(data_until - std::min(begin, data_until));
    if (!data.empty()) application_.read(begin - 1, data);
    TcpSegment s = header(env, tcp_flag::ack);
    s.sequence = sequence(begin);
    s.payload = data;
    if (data_until == data_end()) s.flags |= tcp_flag::psh;
    if (end > data_end()) {
        s.flags |= tcp_flag::fin;
        if (state_ == TcpState::established) state_ = TcpState::fin_wait_1;
        if (state_ == TcpState::close_wait) state_ = TcpState::last_ack;
    }
    if (begin < max_) {
        ++retransmissions_;
        ++env.counters().retransmitted;
        timed_end_ = 0;  // Karn's rule
    } else if (timed_end_ == 0) {
        timed_end_ = end;
        timed_at_ = env.now();
    }
    max_ = std::max(max_, end);
    if (retransmit_at_.is_never()) {
        const TcpSettings& t = env.settings();
        retransmit_at_ = env.now() + rtt_.rto(t.initial_rto, t.minimum_rto, t.maximum_rto);
    }
    last_sent_ = env.now();
    delayed_ack_at_ = sim::Time::never();
    unacknowledged_bytes_ = 0;
    s.window = advertise(env);
    env.emit(tuple_, s, data.size() > mss_ ? mss_ : std::uint16_t{0});
}

TcpSegment TcpConnection::header(TcpEnvironment& env, std::uint8_t flags) const {
    TcpSegment s;
    s.flags = flags;
    s.sequence = sequence(next_);
    if (syn_seen_) s.acknowledgement = initial_receive_ + static_cast<std::uint32_t>(receive_next());
    if (timestamps_) {
        // Milliseconds, from a number of the connection's own.
        const auto clock = static_cast<std::uint32_t>(env.now() / sim::Time::ms(1));
        s.timestamps = TcpTimestamps{clock + initial_send_, recent_timestamp_};
    }
    return s;
}

void TcpConnection::send_syn(TcpEnvironment& env) {
    TcpSegment s = header(env, tcp_flag::syn);
    s.sequence = initial_send_;
    s.mss = mss_;
    if (syn_seen_) {
        s.flags |= tcp_flag::ack;
        if (timestamps_) s.mss = static_cast<std::uint16_t>(mss_ + 12);
    }
    if (receive_shift_ != 0 || (!syn_seen_ && env.settings().window_scaling)) s.window_shift = receive_shift_;
    s.sack_permitted = sack_;
    s.window = static_cast<std::uint16_t>(std::min<std::uint64_t>(receive_.window(), 0xffff));
    advertised_ = s.window;
    timed_end_ = max_ == 0 ? 1 : 0;
    timed_at_ = env.now();
    next_ = max_ = 1;
    const TcpSettings& t = env.settings();
    retransmit_at_ = env.now() + rtt_.rto(t.initial_rto, t.minimum_rto, t.maximum_rto);
    last_sent_ = env.now();
    env.emit(tuple_, s, 0);
}

void TcpConnection::send_ack(TcpEnvironment& env) {
    TcpSegment s = header(env, tcp_flag::ack);
    s.sequence = control_sequence();
    if (sack_ && receive_.has_early()) {
        const auto blocks = receive_.blocks(timestamps_ ? 3 : 4);
        for (const auto& [begin, end] : blocks) {
            const std::uint32_t base = initial_receive_ + 1;
            s.sack[s.sack_blocks++] = {base + static_cast<std::uint32_t>(begin),
                                       base + static_cast<std::uint32_t>(end)};
        }
    }
    delayed_ack_at_ = sim::Time::never();
    unacknowledged_bytes_ = 0;
    s.window = advertise(env);
    env.emit(tuple_, s, 0);
}

void TcpConnection::send_control(TcpEnvironment& env, std::uint8_t flags) {
    TcpSegment s = header(env, flags);
    s.sequence = control_sequence();
    s.window = advertise(env);
    env.emit(tuple_, s, 0);
}

void TcpConnection::schedule_ack(TcpEnvironment& env, bool now) {
    if (now) return send_ack(env);
    delayed_ack_at_ = std::min(delayed_ack_at_, env.now() + env.settings().delayed_ack);
}

// RFC 9293, 3.8.6.2.2: the window's edge moves by large steps and never back.
std::uint16_t TcpConnection::advertise(const TcpEnvironment& env) {
    acknowledged_ = receive_next();
    const std::uint64_t next = receive_.next();
    const std::uint64_t possible = next + receive_.window();
    const std::uint64_t step = std::min<std::uint64_t>(mss_, env.settings().receive_buffer / 2);
    std::uint64_t edge = std::max(advertised_, next);
    if (possible >= edge + step) edge = possible;
    const std::uint64_t window = std::min<std::uint64_t>((edge - next) >> receive_shift_, 0xffff);
    advertised_ = std::max(advertised_, next + (window << receive_shift_));
    return static_cast<std::uint16_t>(window);
}

void TcpConnection::restart_retransmit(const TcpEnvironment& env) {
    const TcpSettings& t = env.settings();
    retransmit_at_ =
        una_ >= max_ ? sim::Time::never() : env.now() + rtt_.rto(t.initial_rto, t.minimum_rto, t.maximum_rto);
}

// There is something to send, nothing under way, and the window is shut.
void TcpConnection::arm_persist(const TcpEnvironment& env) {
    if (next_ != una_ || next_ >= stream_end() || !persist_at_.is_never()) return;
    const TcpSettings& t = env.settings();
    retransmit_at_ = sim::Time::never();
    persist_at_ = env.now() + rtt_.rto(t.initial_rto, t.minimum_rto, t.maximum_rto);
}

void TcpConnection::retransmit_expired(TcpEnvironment& env) {
    const TcpSettings& t = env.settings();
    const bool opening = state_ == TcpState::syn_sent || state_ == TcpState::syn_received;
    if (++retries_ > (opening ? t.syn_retries : t.retries)) return finish(TcpEnd::timed_out);
    ++time_outs_;
    ++env.counters().time_outs;
    rtt_.back_off();
    retransmit_at_ = sim::Time::never();
    if (opening) {
        ++retransmissions_;
        ++env.counters().retransmitted;
        return send_syn(env);
    }
    congestion_.time_out(next_ - una_, max_, mss_, retries_ == 1);
    // What was acknowledged selectively need not be there any more (RFC 2018, 8).
    if (retries_ > 1) scoreboard_.clear();
    next_ = una_;
    timed_end_ = 0;
    transmit(env);
}

void TcpConnection::persist_expired(TcpEnvironment& env) {
    const TcpSettings& t = env.settings();
    persist_at_ = sim::Time::never();
    if (una_ >= stream_end()) return;
    if (++retries_ > t.retries) return finish(TcpEnd::timed_out);
    ++env.counters().zero_window_probes;
    rtt_.back_off();
    // One byte beyond the window, which the other side need not take.
    send_range(env, una_, una_ + 1);
    retransmit_at_ = sim::Time::never();
    persist_at_ = env.now() + rtt_.rto(t.initial_rto, t.minimum_rto, t.maximum_rto);
}

}  // namespace models
