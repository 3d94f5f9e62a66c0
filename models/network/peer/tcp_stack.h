// All TCP connections of a behavioural host: who gets a segment, who listens, and one timer for everybody's deadlines.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>

#include "models/network/peer/tcp_connection.h"
#include "sim/agenda.h"
#include "sim/random.h"
#include "sim/scope.h"

namespace models {

using TcpConnectionId = std::uint32_t;

class TcpOutput {
public:
    virtual void send_tcp(const TcpTuple& tuple, const TcpSegment& segment, std::uint16_t mss) = 0;
    // The largest payload without options towards that address.
    virtual std::uint16_t tcp_mss(const IpAddress& remote) const = 0;

protected:
    ~TcpOutput() = default;
};

// A model beside the host that reads and writes connections of TcpService::program.
class TcpProgram {
public:
    // Something about it may be new: it is open, there are data, room, an end; find() finds nothing when it has gone.
    virtual void tcp_changed(TcpConnectionId id) = 0;

protected:
    ~TcpProgram() = default;
};

// What became of a connection.
struct TcpResult {
    TcpConnectionId id = 0;
    TcpTuple tuple;
    TcpService service = TcpService::discard;
    TcpEnd end = TcpEnd::open;
    std::uint64_t received = 0;
    std::uint64_t sent = 0;  // and acknowledged
    Sha256::Digest received_digest{};
    std::uint64_t retransmissions = 0;
    std::uint64_t time_outs = 0;
    sim::Time opened_at;
    sim::Time ended_at;

    bool operator==(const TcpResult&) const = default;
    template <class Archive>
    void fields(Archive& archive) {
        archive(id, tuple, service, end, received, sent, received_digest, retransmissions, time_outs, opened_at,
                ended_at);
    }
};

class TcpStack final : private TcpEnvironment {
public:
    TcpStack(const sim::Scope& scope, const TcpSettings& settings, TcpOutput& output);

    void listen(std::uint16_t port, const TcpServiceSettings& service) { listeners_[port] = service; }
    void stop_listening(std::uint16_t port) { listeners_.erase(port); }
    TcpConnectionId connect(const IpAddress& local, const TcpEndpoint& remote, const TcpServiceSettings& service);
    void arrived(const TcpTuple& tuple, const TcpSegment& segment);

    void set_program(TcpProgram& program) { program_ = &program; }
    // Of a program's connection; nothing happens if it is gone. read() answers how much it was; a hollow connection's
    // data are not kept.
    std::uint64_t read(TcpConnectionId id, std::uint64_t most, std::vector<std::byte>& data);
    void write(TcpConnectionId id, std::span<const std::byte> data);
    void write_hollow(TcpConnectionId id, std::uint64_t bytes);
    void close(TcpConnectionId id);

    // Nothing if it is gone.
    const TcpConnection* find(TcpConnectionId id) const;
    // Its application reads nothing until further notice; or does again.
    void pause(TcpConnectionId id, bool paused);
    void abort(TcpConnectionId id);
    std::size_t connections() const { return connections_.size(); }
    // Those that have ended, the latest last; as many as the settings keep.
    const std::deque<TcpResult>& results() const { return results_; }
    std::optional<TcpResult> result(TcpConnectionId id) const;
    // Of a connection that is there, or whose result is kept.
    TcpFate fate(TcpConnectionId id) const;

    template <class Archive>
    void fields(Archive& archive) {
        archive(listeners_, connections_, results_, random_, next_id_, next_port_, challenge_second_, challenges_left_,
                timer_);
        if constexpr (Archive::reading) restored();
    }

private:
    struct Entry {
        TcpConnection connection;
        bool reported = false;
        sim::Time deadline = sim::Time::never();  // its place in deadlines_
        template <class Archive>
        void fields(Archive& archive) {
            archive(connection, reported, deadline);
        }
    };

    sim::Time now() const override { return scope_.now(); }
    const TcpSettings& settings() const override { return settings_; }
    TcpCounters& counters() override { return counters_; }
    void emit(const TcpTuple& tuple, const TcpSegment& segment, std::uint16_t mss) override;
    bool may_challenge() override;

    void opening(const TcpTuple& tuple, const TcpSegment& segment);
    TcpConnectionId add(const TcpTuple& tuple, const TcpServiceSettings& service);
    void refuse(const TcpTuple& tuple, const TcpSegment& segment);
    bool make_room();
    // After anything was done to a connection.
    void settle(TcpConnectionId id);
    void report(TcpConnectionId id, Entry& entry);
    void remove(TcpConnectionId id);
    void expired();
    void schedule();
    void restored();

    sim::Scope scope_;
    TcpSettings settings_;
    TcpOutput& output_;
    TcpProgram* program_ = nullptr;
    TcpCounters counters_;
    sim::Counter& opened_;
    sim::Counter& ended_;
    sim::Counter& refused_;
    sim::Counter& received_bytes_;
    sim::Counter& sent_bytes_;
    std::map<std::uint16_t, TcpServiceSettings> listeners_;
    std::map<TcpConnectionId, Entry> connections_;
    std::map<TcpTuple, TcpConnectionId> by_tuple_;  // the rest follows from connections_
    std::set<std::pair<sim::Time, TcpConnectionId>> deadlines_;
    std::size_t half_open_ = 0;
    std::deque<TcpResult> results_;
    sim::Random random_;
    TcpConnectionId next_id_ = 1;
    std::uint16_t next_port_ = 49152;
    std::int64_t challenge_second_ = -1;
    std::uint32_t challenges_left_ = 0;
    sim::Timer timer_;
};

}  // namespace models
