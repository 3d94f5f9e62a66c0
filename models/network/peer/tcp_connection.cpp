#include "models/network/peer/tcp_connection.h"

#include "models/network/peer/tcp_segment.h"
#include "sim/check.h"

namespace models {

namespace {

constexpr std::uint16_t default_mss = 536;         // RFC 9293, 3.7.1
constexpr std::uint16_t smallest_mss = 48;         // a smaller one from the other side is taken as this
constexpr std::uint8_t largest_window_shift = 14;  // RFC 7323, 2.3
constexpr std::uint16_t timestamp_option_bytes = 12;

// `wire` as an offset near `reference`, whose number on the wire is `base + reference`.
std::int64_t unwrap(std::uint32_t wire, std::uint32_t base, std::uint64_t reference) {
    const auto off = static_cast<std::int32_t>(wire - (base + static_cast<std::uint32_t>(reference)));
    return static_cast<std::int64_t>(reference) + off;
}

std::uint8_t shift_for(std::uint32_t buffer) {
    std::uint8_t shift = 0;
    while (shift < largest_window_shift && buffer >> shift > 0xffff) ++shift;
    return shift;
}

}  // namespace

TcpConnection::TcpConnection(const TcpTuple& tuple, const TcpServiceSettings& service, std::uint32_t initial_sequence,
                             std::uint16_t mss, const TcpSettings& settings)
    : tuple_(tuple),
      application_(service),
      initial_send_(initial_sequence),
      mss_(mss),
      receive_(settings.receive_buffer),
      receive_shift_(settings.window_scaling ? shift_for(settings.receive_buffer) : std::uint8_t{0}),
      sack_(settings.sack),
      timestamps_(settings.timestamps) {}

void TcpConnection::open(TcpEnvironment& env) {
    state_ = TcpState::syn_sent;
    opened_at_ = env.now();
    send_syn(env);
}

void TcpConnection::accept(TcpEnvironment& env, const TcpSegment& syn) {
    state_ = TcpState::syn_received;
    opened_at_ = env.now();
    learn_options(env, syn);
    send_syn(env);
}

void TcpConnection::learn_options(const TcpEnvironment& env, const TcpSegment& syn) {
    initial_receive_ = syn.sequence;
    syn_seen_ = true;
    acknowledged_ = 1;
    mss_ = std::clamp(syn.mss.value_or(default_mss), smallest_mss, mss_);
    timestamps_ = timestamps_ && syn.timestamps.has_value();
    if (timestamps_) {
        recent_timestamp_ = syn.timestamps->value;
        mss_ = static_cast<std::uint16_t>(mss_ - timestamp_option_bytes);
    }
    sack_ = sack_ && syn.sack_permitted;
    const bool scaling = env.settings().window_scaling && syn.window_shift.has_value();
    send_shift_ = scaling ? std::min(*syn.window_shift, largest_window_shift) : std::uint8_t{0};
    if (!scaling) receive_shift_ = 0;
    send_window_ = syn.window;
    largest_send_window_ = send_window_;
    window_sequence_ = 0;
}

std::uint64_t TcpConnection::receive_next() const {
    const bool fin = remote_fin_ && receive_.next() == *remote_fin_;
    return syn_seen_ ? 1 + receive_.next() + (fin ? 1 : 0) : 0;
}

void TcpConnection::established(TcpEnvironment& env) {
    state_ = TcpState::established;
    congestion_.window = std::uint64_t{env.settings().initial_window_segments} * mss_;
}

void TcpConnection::arrived(TcpEnvironment& env, const TcpSegment& s) {
    if (state_ == TcpState::closed) return;
    if (state_ == TcpState::syn_sent) return arrived_syn_sent(env, s);
    const std::int64_t offset = unwrap(s.sequence, initial_receive_, receive_next());
    if (!s.has(tcp_flag::rst) && !timestamp_fits(s)) return unacceptable(env, s);
    if (!acceptable(s, offset)) return unacceptable(env, s);
    if (s.has(tcp_flag::rst)) {
        // RFC 5961, 3.2: only the exact number is believed.
        if (offset != static_cast<std::int64_t>(receive_next())) return challenge(env);
        ++env.counters().resets_received;
        return finish(state_ == TcpState::time_wait ? TcpEnd::closed : TcpEnd::reset);
    }
    if (s.has(tcp_flag::syn)) return challenge(env);  // RFC 5961, 4.2
    if (!s.has(tcp_flag::ack)) return;
    remember_timestamp(s, offset);
    if (!acknowledgement_arrived(env, s, offset)) return;
    data_arrived(env, s, offset);
    transmit(env);
}

void TcpConnection::arrived_syn_sent(TcpEnvironment& env, const TcpSegment& s) {
    const bool ack = s.has(tcp_flag::ack);
    if (ack && s.acknowledgement != sequence(1)) {
        if (!s.has(tcp_flag::rst)) {
            ++env.counters().resets_sent;
            TcpSegment reset;
            reset.flags = tcp_flag::rst;
            reset.sequence = s.acknowledgement;
            env.emit(tuple_, reset, 0);
        }
        return;
    }
    if (s.has(tcp_flag::rst)) {
        if (!ack) return;
        ++env.counters().resets_received;
        return finish(TcpEnd::refused);
    }
    if (!s.has(tcp_flag::syn)) return;
    learn_options(env, s);
    if (!ack) {
        // Both opened at once.
        state_ = TcpState::syn_received;
        return send_syn(env);
    }
    una_ = 1;
    window_acknowledgement_ = 1;
    retries_ = 0;
    if (timed_end_ != 0) rtt_.measured(env.now() - timed_at_);
    timed_end_ = 0;
    retransmit_at_ = sim::Time::never();
    established(env);
    send_ack(env);
    transmit(env);
}

// RFC 9293, 3.10.7.4, first step. What begins exactly where it should is looked at even with a closed window: the
// acknowledgement counts, and the reassembly keeps nothing.
bool TcpConnection::acceptable(const TcpSegment& s, std::int64_t offset) const {
    const auto next = static_cast<std::int64_t>(receive_next());
    const auto edge = static_cast<std::int64_t>(window_edge());
    if (offset == next) return true;
    return offset < edge && offset + s.length() > next;
}

// RFC 7323, 5.3. Without the option where it was agreed on, a segment is not of this connection.
bool TcpConnection::timestamp_fits(const TcpSegment& s) const {
    if (!timestamps_) return true;
    return s.timestamps && static_cast<std::int32_t>(s.timestamps->value - recent_timestamp_) >= 0;
}

void TcpConnection::remember_timestamp(const TcpSegment& s, std::int64_t offset) {
    if (timestamps_ && s.timestamps && offset <= static_cast<std::int64_t>(acknowledged_)) {
        recent_timestamp_ = s.timestamps->value;
    }
}

void TcpConnection::unacceptable(TcpEnvironment& env, const TcpSegment& s) {
    if (s.has(tcp_flag::rst)) return;
    const bool repeated_syn = s.has(tcp_flag::syn) && !s.has(tcp_flag::ack);
    if (state_ == TcpState::syn_received && repeated_syn) return send_syn(env);
    if (state_ == TcpState::time_wait && s.has(tcp_flag::fin)) time_wait_at_ = env.now() + env.settings().time_wait;
    // A segment without data that is itself such an answer would go back and forth for ever.
    if (s.length() == 0) return challenge(env);
    send_ack(env);
}

void TcpConnection::challenge(TcpEnvironment& env) {
    if (!env.may_challenge()) return;
    ++env.counters().challenges;
    send_ack(env);
}

// False if the segment ends here.
bool TcpConnection::acknowledgement_arrived(TcpEnvironment& env, const TcpSegment& s, std::int64_t offset) {
    const std::int64_t ack = unwrap(s.acknowledgement, initial_send_, una_);
    if (state_ == TcpState::syn_received) {
        if (ack != 1) {
            ++env.counters().resets_sent;
            TcpSegment reset;
            reset.flags = tcp_flag::rst;
            reset.sequence = s.acknowledgement;
            env.emit(tuple_, reset, 0);
            return false;
        }
        established(env);
        window_sequence_ = offset;
    }
    // RFC 5961, 5.2: what was never sent, or so long ago, is not the other side's.
    const auto oldest = static_cast<std::int64_t>(una_) - static_cast<std::int64_t>(largest_send_window_);
    if (ack > static_cast<std::int64_t>(max_) || ack < oldest) {
        challenge(env);
        return false;
    }
    if (ack < static_cast<std::int64_t>(una_)) return true;
    const auto acknowledged = static_cast<std::uint64_t>(ack);
    bool news = false;
    read_sack(s, news);
    if (acknowledged > una_) {
        update_send_window(s, offset, acknowledged);
        new_acknowledgement(env, acknowledged);
    } else {
        const bool same_window = std::uint64_t{s.window} << send_shift_ == send_window_;
        const bool probing = !persist_at_.is_never();  // the answers to probes are no sign of loss
        const bool plain = s.length() == 0 && same_window && !probing;
        if (probing) retries_ = 0;
        update_send_window(s, offset, acknowledged);
        duplicate_acknowledgement(env, sack_ ? news : plain);
    }
    return state_ != TcpState::closed;
}

void TcpConnection::read_sack(const TcpSegment& s, bool& news) {
    if (!sack_) return;
    for (unsigned i = 0; i < s.sack_blocks; ++i) {
        const std::int64_t left = unwrap(s.sack[i].left, initial_send_, una_);
        const std::int64_t right = unwrap(s.sack[i].right, initial_send_, una_);
        if (left < 0 || right < 0) continue;
        if (scoreboard_.add(static_cast<std::uint64_t>(left), static_cast<std::uint64_t>(right), una_, max_))
            news = true;
    }
}

void TcpConnection::update_send_window(const TcpSegment& s, std::int64_t offset, std::uint64_t ack) {
    if (window_sequence_ > offset || (window_sequence_ == offset && window_acknowledgement_ > ack)) return;
    send_window_ = std::uint64_t{s.window} << send_shift_;
    largest_send_window_ = std::max(largest_send_window_, send_window_);
    window_sequence_ = offset;
    window_acknowledgement_ = ack;
    if (send_window_ != 0 && persist_at_ != sim::Time::never()) {
        persist_at_ = sim::Time::never();
        rtt_.progress();
    }
}

void TcpConnection::new_acknowledgement(TcpEnvironment& env, std::uint64_t ack) {
    const std::uint64_t acknowledged = ack - una_;
    const std::uint64_t flight = next_ - std::min(una_, next_);
    una_ = ack;
    next_ = std::max(next_, una_);
    scoreboard_.acknowledged(una_);
    application_.acknowledged(std::min(una_ - 1, application_.to_send()));
    if (receive_.unread() != 0) read_on(env);
    retries_ = 0;
    rtt_.progress();
    if (timed_end_ != 0 && una_ >= timed_end_) {
        rtt_.measured(env.now() - timed_at_);
        timed_end_ = 0;
    }
    CongestionState& c = congestion_;
    if (c.recovering && una_ >= c.recover) {
        c.recovering = false;
        c.duplicates = 0;
        const std::uint64_t left = std::max<std::uint64_t>(max_ - una_, mss_) + mss_;
        c.window = sack_ ? c.slow_start_threshold : std::min(c.slow_start_threshold, left);  // RFC 6582, 3.2, step 3
    } else if (c.recovering) {
        // A partial acknowledgement: without SACK the next segment is lost as well.
        const std::uint64_t left_network = acknowledged / mss_;
        c.duplicates -=
            static_cast<std::uint32_t>(std::min<std::uint64_t>(c.duplicates, left_network > 0 ? left_network - 1 : 0));
        if (!sack_) c.retransmitted = una_;
    } else {
        c.duplicates = 0;
        if (2 * flight >= c.window) c.grow(acknowledged, mss_);
    }
    restart_retransmit(env);
    if (una_ > data_end()) local_fin_acknowledged(env);
    // Selective acknowledgements that came with this one may show a loss.
    if (!scoreboard_.empty()) duplicate_acknowledgement(env, false);
}

void TcpConnection::duplicate_acknowledgement(TcpEnvironment& env, bool counts) {
    CongestionState& c = congestion_;
    if (max_ <= una_) return;
    if (counts) ++c.duplicates;
    if (c.recovering || una_ < c.no_retransmit_before) return;
    bool lost = c.duplicates >= SackScoreboard::duplicate_threshold;
    if (sack_) {
        const auto gaps = scoreboard_.gaps(una_, max_, mss_);
        lost = lost && !scoreboard_.empty();
        lost = lost || (!gaps.empty() && gaps.front().lost);
    }
    if (!lost) return;
    ++env.counters().fast_recoveries;
    c.enter_recovery(next_ - una_, max_, una_, mss_);
    timed_end_ = 0;
}

void TcpConnection::data_arrived(TcpEnvironment& env, const TcpSegment& s, std::int64_t offset) {
    if (state_ == TcpState::time_wait) {
        if (s.length() != 0) {
            time_wait_at_ = env.now() + env.settings().time_wait;
            send_ack(env);
        }
        return;
    }
    if (s.length() == 0) return;
    const std::uint64_t before = receive_next();
    auto data = s.payload;
    std::uint64_t at = offset > 0 ? static_cast<std::uint64_t>(offset) - 1 : 0;
    const std::uint64_t overlap = offset > 0 ? 0 : static_cast<std::uint64_t>(1 - offset);
    data = data.subspan(std::min<std::uint64_t>(overlap, data.size()));
    if (s.has(tcp_flag::fin) && !remote_fin_ && at + data.size() < window_edge()) remote_fin_ = at + data.size();
    if (remote_fin_) data = data.first(std::min<std::uint64_t>(data.size(), *remote_fin_ - std::min(*remote_fin_, at)));

    const bool in_order = at <= receive_.next() && !receive_.has_early();
    if (at == receive_.next() && !receive_.has_early() && receive_.unread() == 0 && data.size() <= receive_.window() &&
        data.size() <= application_.can_take()) {
        receive_.pass(data.size());
        application_.take(data);
    } else {
        receive_.add(at, data);
        feed_application();
    }
    // The other side's mss is what it sends; a coalesced frame is not one segment.
    largest_received_ = std::max<std::uint32_t>(largest_received_, static_cast<std::uint32_t>(s.payload.size()));
    largest_received_ = std::min<std::uint32_t>(largest_received_, mss_);
    const bool ended = remote_fin_ && receive_.next() == *remote_fin_;
    const bool news = receive_next() != before;
    if (ended && news) remote_ended(env);
    unacknowledged_bytes_ += receive_next() - before;
    schedule_ack(env, !in_order || !news || ended || unacknowledged_bytes_ >= 2 * std::uint64_t{largest_received_});
}

void TcpConnection::feed_application() {
    const auto data = receive_.read(application_.can_take());
    if (!data.empty()) application_.take(data);
}

// The application has room again.
void TcpConnection::read_on(TcpEnvironment& env) {
    feed_application();
    if (remote_fin_ && receive_.next() == *remote_fin_ && receive_.unread() == 0) application_.remote_ended();
    const std::uint64_t step = std::min<std::uint64_t>(2 * std::uint64_t{mss_}, env.settings().receive_buffer / 2);
    if (receive_.next() + receive_.window() >= advertised_ + step) send_ack(env);
}

void TcpConnection::remote_ended(TcpEnvironment& env) {
    if (receive_.unread() == 0) application_.remote_ended();
    if (state_ == TcpState::established) {
        state_ = TcpState::close_wait;
    } else if (state_ == TcpState::fin_wait_1) {
        state_ = TcpState::closing;
    } else if (state_ == TcpState::fin_wait_2) {
        enter_time_wait(env);
    }
}

void TcpConnection::local_fin_acknowledged(TcpEnvironment& env) {
    if (state_ == TcpState::fin_wait_1) {
        state_ = TcpState::fin_wait_2;
        time_wait_at_ = env.now() + env.settings().time_wait;  // nobody waits for the other side for ever
    } else if (state_ == TcpState::closing) {
        enter_time_wait(env);
    } else if (state_ == TcpState::last_ack) {
        finish(TcpEnd::closed);
    }
}

void TcpConnection::enter_time_wait(TcpEnvironment& env) {
    state_ = TcpState::time_wait;
    retransmit_at_ = persist_at_ = sim::Time::never();
    time_wait_at_ = env.now() + env.settings().time_wait;
}

void TcpConnection::finish(TcpEnd end) {
    state_ = TcpState::closed;
    end_ = end;
    retransmit_at_ = persist_at_ = delayed_ack_at_ = time_wait_at_ = sim::Time::never();
}

void TcpConnection::pause(TcpEnvironment& env, bool paused) {
    application_.pause(paused);
    if (paused || state_ == TcpState::closed || !syn_seen_) return;
    read_on(env);
    transmit(env);
}

void TcpConnection::abort(TcpEnvironment& env) {
    if (state_ == TcpState::closed) return;
    ++env.counters().resets_sent;
    if (syn_seen_) send_control(env, tcp_flag::rst | tcp_flag::ack);
    finish(TcpEnd::reset);
}

std::uint64_t TcpConnection::acknowledged_bytes() const {
    return una_ == 0 ? 0 : std::min(una_ - 1, application_.to_send());
}

bool TcpConnection::replaced_by(const TcpSegment& syn) const {
    if (state_ != TcpState::time_wait) return false;
    if (timestamps_ && syn.timestamps) return static_cast<std::int32_t>(syn.timestamps->value - recent_timestamp_) > 0;
    return unwrap(syn.sequence, initial_receive_, receive_next()) > static_cast<std::int64_t>(receive_next());
}

}  // namespace models
