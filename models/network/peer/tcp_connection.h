// One TCP connection of a behavioural host (RFC 9293), as a value: all of it can be saved. It is told of arrivals, of
// time passing and of its application, and emits segments through its environment.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "models/network/peer/tcp_application.h"
#include "models/network/peer/tcp_congestion.h"
#include "models/network/peer/tcp_reassembly.h"
#include "models/network/peer/tcp_segment.h"
#include "sim/statistics.h"
#include "sim/time.h"

namespace models {

struct TcpCounters {
    sim::Counter& segments_sent;
    sim::Counter& segments_received;
    sim::Counter& retransmitted;
    sim::Counter& time_outs;
    sim::Counter& fast_recoveries;
    sim::Counter& resets_sent;
    sim::Counter& resets_received;
    sim::Counter& challenges;
    sim::Counter& zero_window_probes;
};

class TcpEnvironment {
public:
    virtual sim::Time now() const = 0;
    virtual const TcpSettings& settings() const = 0;
    virtual TcpCounters& counters() = 0;
    // `mss` not 0: a large send, cut into segments of that payload later.
    virtual void emit(const TcpTuple& tuple, const TcpSegment& segment, std::uint16_t mss) = 0;
    // RFC 5961, 7: challenges are few.
    virtual bool may_challenge() = 0;

protected:
    ~TcpEnvironment() = default;
};

enum class TcpState : std::uint8_t {
    closed,
    syn_sent,
    syn_received,
    established,
    fin_wait_1,
    fin_wait_2,
    close_wait,
    closing,
    last_ack,
    time_wait,
};

enum class TcpEnd : std::uint8_t { open, closed, reset, timed_out, refused };

// What has become of a connection until now.
struct TcpFate {
    TcpEnd end = TcpEnd::open;
    std::uint64_t retransmissions = 0;  // segments
    std::uint64_t time_outs = 0;        // no acknowledgement in time, and it was sent again

    bool operator==(const TcpFate&) const = default;
    template <class Archive>
    void fields(Archive& archive) {
        archive(end, retransmissions, time_outs);
    }
};

class TcpConnection final {
public:
    TcpConnection() = default;
    TcpConnection(const TcpTuple& tuple, const TcpServiceSettings& service, std::uint32_t initial_sequence,
                  std::uint16_t mss, const TcpSettings& settings);

    void open(TcpEnvironment& env);                           // sends a SYN
    void accept(TcpEnvironment& env, const TcpSegment& syn);  // answers one
    void arrived(TcpEnvironment& env, const TcpSegment& segment);
    void expired(TcpEnvironment& env);             // deadline() is here
    void pause(TcpEnvironment& env, bool paused);  // the application reads nothing meanwhile
    void abort(TcpEnvironment& env);
    // Of a program's: how much has arrived in order and is not read; reads so much at most, and answers how much. A
    // hollow one's data are not kept.
    std::uint64_t unread() const { return receive_.unread(); }
    std::uint64_t read(TcpEnvironment& env, std::uint64_t most, std::vector<std::byte>& data);
    void write(TcpEnvironment& env, std::span<const std::byte> data);
    void write_hollow(TcpEnvironment& env, std::uint64_t bytes);
    void close(TcpEnvironment& env);
    // Written and not acknowledged.
    std::uint64_t unsent() const { return application_.to_send() - acknowledged_bytes(); }
    // Nothing more comes from the other side, and all of it has been read.
    bool remote_ended() const { return remote_fin_ && receive_.next() == *remote_fin_ && receive_.unread() == 0; }

    const TcpTuple& tuple() const { return tuple_; }
    TcpState state() const { return state_; }
    TcpFate fate() const {
        return {state_ == TcpState::time_wait ? TcpEnd::closed : end_, retransmissions_, time_outs_};
    }
    sim::Time deadline() const;
    const TcpApplication& application() const { return application_; }
    std::uint64_t acknowledged_bytes() const;
    sim::Time opened_at() const { return opened_at_; }
    sim::Time round_trip() const { return rtt_.smoothed(); }
    std::uint64_t congestion_window() const { return congestion_.window; }
    // Whether a SYN may replace this connection in TIME-WAIT (RFC 9293, 3.10.7.4; RFC 6191).
    bool replaced_by(const TcpSegment& syn) const;

    template <class Archive>
    void fields(Archive& archive) {
        archive(tuple_, application_, state_, end_, opened_at_);
        archive(initial_send_, una_, next_, max_, send_window_, largest_send_window_, window_sequence_,
                window_acknowledgement_, mss_, send_shift_);
        archive(initial_receive_, syn_seen_, receive_, remote_fin_, acknowledged_, advertised_, receive_shift_, sack_,
                timestamps_, recent_timestamp_);
        archive(congestion_, scoreboard_, rtt_, timed_end_, timed_at_, retries_, retransmissions_, time_outs_,
                last_sent_);
        archive(retransmit_at_, persist_at_, delayed_ack_at_, time_wait_at_, unacknowledged_bytes_, largest_received_);
    }

private:
    // Arrival (tcp_connection.cpp), in the order of RFC 9293, 3.10.7.
    void arrived_syn_sent(TcpEnvironment& env, const TcpSegment& segment);
    bool acceptable(const TcpSegment& segment, std::int64_t offset) const;
    bool timestamp_fits(const TcpSegment& segment) const;
    void unacceptable(TcpEnvironment& env, const TcpSegment& segment);
    void challenge(TcpEnvironment& env);
    bool acknowledgement_arrived(TcpEnvironment& env, const TcpSegment& segment, std::int64_t offset);
    void new_acknowledgement(TcpEnvironment& env, std::uint64_t ack);
    void duplicate_acknowledgement(TcpEnvironment& env, bool counts);
    void update_send_window(const TcpSegment& segment, std::int64_t offset, std::uint64_t ack);
    void data_arrived(TcpEnvironment& env, const TcpSegment& segment, std::int64_t offset);
    void remote_ended(TcpEnvironment& env);
    void feed_application();
    void read_on(TcpEnvironment& env);
    void remember_timestamp(const TcpSegment& segment, std::int64_t offset);
    void read_sack(const TcpSegment& segment, bool& news);
    void learn_options(const TcpEnvironment& env, const TcpSegment& syn);
    void established(TcpEnvironment& env);
    void local_fin_acknowledged(TcpEnvironment& env);
    void enter_time_wait(TcpEnvironment& env);
    void finish(TcpEnd end);

    // Sending (tcp_output.cpp).
    void transmit(TcpEnvironment& env);
    bool transmit_recovery(TcpEnvironment& env);
    bool transmit_next(TcpEnvironment& env);
    void send_range(TcpEnvironment& env, std::uint64_t begin, std::uint64_t end);
    void send_syn(TcpEnvironment& env);
    void send_ack(TcpEnvironment& env);
    void send_control(TcpEnvironment& env, std::uint8_t flags);
    void schedule_ack(TcpEnvironment& env, bool now);
    void retransmit_expired(TcpEnvironment& env);
    void persist_expired(TcpEnvironment& env);
    void restart_retransmit(const TcpEnvironment& env);
    void arm_persist(const TcpEnvironment& env);
    TcpSegment header(TcpEnvironment& env, std::uint8_t flags) const;
    std::uint16_t advertise(const TcpEnvironment& env);
    std::uint64_t pipe() const;
    std::uint64_t window_end() const { return una_ + send_window_; }
    // Offsets: the SYN is 0, data begin at 1, the FIN follows the last byte.
    std::uint64_t data_end() const { return 1 + application_.to_send(); }
    std::uint64_t stream_end() const { return data_end() + (application_.ended() ? 1 : 0); }
    // What is expected next in the other side's sequence space: its SYN is 0, its FIN counts.
    std::uint64_t receive_next() const;
    std::uint64_t window_edge() const { return 1 + std::max(advertised_, receive_.next()); }
    std::uint32_t sequence(std::uint64_t offset) const { return initial_send_ + static_cast<std::uint32_t>(offset); }
    // Of a segment without data: what the other side can accept even when its window is shut.
    std::uint32_t control_sequence() const { return sequence(std::min(max_, std::max(next_, window_end()))); }
    bool may_send() const {
        return state_ >= TcpState::established && state_ != TcpState::fin_wait_2 && state_ != TcpState::time_wait;
    }

    TcpTuple tuple_;
    TcpApplication application_;
    TcpState state_ = TcpState::closed;
    TcpEnd end_ = TcpEnd::open;
    sim::Time opened_at_;

    std::uint32_t initial_send_ = 0;
    std::uint64_t una_ = 0;
    std::uint64_t next_ = 0;
    std::uint64_t max_ = 0;  // highest offset sent so far
    std::uint64_t send_window_ = 0;
    std::uint64_t largest_send_window_ = 0;
    std::int64_t window_sequence_ = 0;  // of the segment of the last window update
    std::uint64_t window_acknowledgement_ = 0;
    std::uint16_t mss_ = 536;  // payload, options taken off
    std::uint8_t send_shift_ = 0;

    std::uint32_t initial_receive_ = 0;
    bool syn_seen_ = false;
    TcpReassembly receive_;
    std::optional<std::uint64_t> remote_fin_;  // as a data offset
    std::uint64_t acknowledged_ = 0;           // what the last acknowledgement said, in the sequence space
    std::uint64_t advertised_ = 0;             // the right edge of the window that was told, as a data offset
    std::uint8_t receive_shift_ = 0;
    bool sack_ = false;
    bool timestamps_ = false;
    std::uint32_t recent_timestamp_ = 0;

    CongestionState congestion_;
    SackScoreboard scoreboard_;
    RetransmissionTimer rtt_;
    std::uint64_t timed_end_ = 0;  // 0: nothing is being timed
    sim::Time timed_at_;
    std::uint32_t retries_ = 0;
    std::uint64_t retransmissions_ = 0;
    std::uint64_t time_outs_ = 0;
    sim::Time last_sent_;

    sim::Time retransmit_at_ = sim::Time::never();
    sim::Time persist_at_ = sim::Time::never();
    sim::Time delayed_ack_at_ = sim::Time::never();
    sim::Time time_wait_at_ = sim::Time::never();
    std::uint64_t unacknowledged_bytes_ = 0;  // received since the last acknowledgement
    std::uint32_t largest_received_ = 536;
};

}  // namespace models
