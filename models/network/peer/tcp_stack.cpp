#include "models/network/peer/tcp_stack.h"

#include <algorithm>

#include "sim/check.h"

namespace models {

namespace {
constexpr std::uint32_t challenges_per_second = 100;
constexpr std::uint16_t first_ephemeral_port = 49152;

bool is_half_open(const TcpConnection& connection) {
    return connection.state() == TcpState::syn_received;
}
}  // namespace

TcpStack::TcpStack(const sim::Scope& scope, const TcpSettings& settings, TcpOutput& output)
    : scope_(scope),
      settings_(settings),
      output_(output),
      counters_{scope.counter("segments_sent", "segments", "TCP segments sent; a large send counts once"),
                scope.counter("segments_received", "segments", "TCP segments that arrived for this host"),
                scope.counter("retransmitted", "segments", "TCP segments sent again"),
                scope.counter("time_outs", "count", "retransmission time-outs"),
                scope.counter("fast_recoveries", "count", "losses noticed by duplicate or selective acknowledgements"),
                scope.counter("resets_sent", "segments", "RST segments sent"),
                scope.counter("resets_received", "segments", "RST segments that ended a connection"),
                scope.counter("challenges", "segments", "challenge acknowledgements (RFC 5961)"),
                scope.counter("zero_window_probes", "segments", "probes of a closed window")},
      opened_(scope.counter("opened", "connections", "connections opened or accepted")),
      ended_(scope.counter("ended", "connections", "connections that have ended")),
      refused_(scope.counter("refused", "segments", "openings refused: nobody listens, or too many connections")),
      received_bytes_(scope.counter("received_bytes", "bytes", "what ended connections received")),
      sent_bytes_(scope.counter("sent_bytes", "bytes", "what ended connections sent and had acknowledged")),
      random_(scope.random()),
      timer_(scope.agenda(), scope.path() + ".deadline", [this] { expired(); }) {}

void TcpStack::emit(const TcpTuple& tuple, const TcpSegment& segment, std::uint16_t mss) {
    ++counters_.segments_sent;
    TcpSegment whole = segment;
    whole.source_port = tuple.local.port;
    whole.destination_port = tuple.remote.port;
    output_.send_tcp(tuple, whole, mss);
}

bool TcpStack::may_challenge() {
    const std::int64_t second = now() / sim::Time::s(1);
    if (second != challenge_second_) {
        challenge_second_ = second;
        challenges_left_ = challenges_per_second;
    }
    if (challenges_left_ == 0) return false;
    --challenges_left_;
    return true;
}

TcpConnectionId TcpStack::connect(const IpAddress& local, const TcpEndpoint& remote,
                                  const TcpServiceSettings& service) {
    TcpTuple tuple{{local, next_port_}, remote};
    while (by_tuple_.contains(tuple)) {
        tuple.local.port =
            tuple.local.port == 0xffff ? first_ephemeral_port : static_cast<std::uint16_t>(tuple.local.port + 1);
    }
    next_port_ = tuple.local.port == 0xffff ? first_ephemeral_port : static_cast<std::uint16_t>(tuple.local.port + 1);
    const TcpConnectionId id = add(tuple, service);
    connections_.at(id).connection.open(*this);
    settle(id);
    return id;
}

TcpConnectionId TcpStack::add(const TcpTuple& tuple, const TcpServiceSettings& service) {
    const TcpConnectionId id = next_id_++;
    const auto sequence = static_cast<std::uint32_t>(random_.next_u64());  // RFC 6528 asks for one nobody can guess
    connections_.emplace(id,
                         Entry{TcpConnection(tuple, service, sequence, output_.tcp_mss(tuple.remote.ip), settings_)});
    by_tuple_.emplace(tuple, id);
    ++opened_;
    return id;
}

void TcpStack::arrived(const TcpTuple& tuple, const TcpSegment& segment) {
    ++counters_.segments_received;
    const auto place = by_tuple_.find(tuple);
    if (place == by_tuple_.end()) return opening(tuple, segment);
    const TcpConnectionId id = place->second;
    Entry& entry = connections_.at(id);
    const bool opens = segment.has(tcp_flag::syn) && !segment.has(tcp_flag::ack) && !segment.has(tcp_flag::rst);
    if (opens && listeners_.contains(tuple.local.port) && entry.connection.replaced_by(segment)) {
        remove(id);
        return opening(tuple, segment);
    }
    const bool half_open = is_half_open(entry.connection);
    entry.connection.arrived(*this, segment);
    if (half_open && !is_half_open(entry.connection)) --half_open_;
    settle(id);
}

// RFC 9293, 3.10.7.1 and 3.10.7.2.
void TcpStack::opening(const TcpTuple& tuple, const TcpSegment& segment) {
    if (segment.has(tcp_flag::rst)) return;
    const auto listener = listeners_.find(tuple.local.port);
    if (listener == listeners_.end() || segment.has(tcp_flag::ack) || !segment.has(tcp_flag::syn)) {
        return refuse(tuple, segment);
    }
    // A SYN that finds no room is dropped without an answer: it will come again.
    if (half_open_ >= settings_.maximum_half_open || !make_room()) {
        ++refused_;
        return;
    }
    const TcpConnectionId id = add(tuple, listener->second);
    ++half_open_;
    connections_.at(id).connection.accept(*this, segment);
    settle(id);
}

void TcpStack::refuse(const TcpTuple& tuple, const TcpSegment& segment) {
    ++refused_;
    ++counters_.resets_sent;
    TcpSegment reset;
    if (segment.has(tcp_flag::ack)) {
        reset.flags = tcp_flag::rst;
        reset.sequence = segment.acknowledgement;
    } else {
        reset.flags = tcp_flag::rst | tcp_flag::ack;
        reset.acknowledgement = segment.sequence + segment.length();
    }
    emit(tuple, reset, 0);
}

bool TcpStack::make_room() {
    if (connections_.size() < settings_.maximum_connections) return true;
    // The oldest of those that only wait may go (RFC 9293 would have them stay; hosts under pressure do this).
    for (const auto& [id, entry] : connections_) {
        if (entry.connection.state() == TcpState::time_wait) {
            remove(id);
            return true;
        }
    }
    return false;
}

const TcpConnection* TcpStack::find(TcpConnectionId id) const {
    const auto place = connections_.find(id);
    return place == connections_.end() ? nullptr : &place->second.connection;
}

std::optional<TcpResult> TcpStack::result(TcpConnectionId id) const {
    const auto place = std::find_if(results_.rbegin(), results_.rend(), [id](const auto& r) { return r.id == id; });
    return place == results_.rend() ? std::nullopt : std::optional{*place};
}

TcpFate TcpStack::fate(TcpConnectionId id) const {
    if (const TcpConnection* connection = find(id)) return connection->fate();
    const auto ended = result(id);
    return ended ? TcpFate{ended->end, ended->retransmissions, ended->time_outs} : TcpFate{};
}

void TcpStack::pause(TcpConnectionId id, bool paused) {
    const auto place = connections_.find(id);
    if (place == connections_.end()) return;
    place->second.connection.pause(*this, paused);
    settle(id);
}

void TcpStack::abort(TcpConnectionId id) {
    const auto place = connections_.find(id);
    if (place == connections_.end()) return;
    if (is_half_open(place->second.connection)) --half_open_;
    place->second.connection.abort(*this);
    settle(id);
}

std::uint64_t TcpStack::read(TcpConnectionId id, std::uint64_t most, std::vector<std::byte>& data) {
    data.clear();
    const auto place = connections_.find(id);
    if (place == connections_.end()) return 0;
    const std::uint64_t bytes = place->second.connection.read(*this, most, data);
    settle(id);
    return bytes;
}

void TcpStack::write(TcpConnectionId id, std::span<const std::byte> data) {
    const auto place = connections_.find(id);
    if (place == connections_.end()) return;
    place->second.connection.write(*this, data);
    settle(id);
}

void TcpStack::write_hollow(TcpConnectionId id, std::uint64_t bytes) {
    const auto place = connections_.find(id);
    if (place == connections_.end()) return;
    place->second.connection.write_hollow(*this, bytes);
    settle(id);
}

void TcpStack::close(TcpConnectionId id) {
    const auto place = connections_.find(id);
    if (place == connections_.end()) return;
    place->second.connection.close(*this);
    settle(id);
}

void TcpStack::settle(TcpConnectionId id) {
    Entry& entry = connections_.at(id);
    const bool program =
        program_ != nullptr && entry.connection.application().settings().service == TcpService::program;
    const TcpState state = entry.connection.state();
    if (state == TcpState::closed || state == TcpState::time_wait) report(id, entry);
    if (state == TcpState::closed) {
        remove(id);
    } else if (const sim::Time deadline = entry.connection.deadline(); deadline != entry.deadline) {
        if (!entry.deadline.is_never()) deadlines_.erase({entry.deadline, id});
        entry.deadline = deadline;
        if (!deadline.is_never()) deadlines_.insert({deadline, id});
    }
    schedule();
    if (program) program_->tcp_changed(id);  // which may do anything to any connection
}

void TcpStack::report(TcpConnectionId id, Entry& entry) {
    if (entry.reported) return;
    entry.reported = true;
    const TcpConnection& c = entry.connection;
    TcpResult result;
    result.id = id;
    result.tuple = c.tuple();
    result.service = c.application().settings().service;
    result.end = c.fate().end;
    result.received = c.application().received();
    result.sent = c.acknowledged_bytes();
    result.received_digest = c.application().received_digest();
    result.retransmissions = c.fate().retransmissions;
    result.time_outs = c.fate().time_outs;
    result.opened_at = c.opened_at();
    result.ended_at = now();
    ++ended_;
    received_bytes_.add(result.received);
    sent_bytes_.add(result.sent);
    scope_.trace("tcp_ended", id, static_cast<std::uint64_t>(result.end), result.received, result.sent);
    results_.push_back(result);
    if (results_.size() > settings_.results_kept) results_.pop_front();
}

void TcpStack::remove(TcpConnectionId id) {
    const auto place = connections_.find(id);
    VG_CHECK(place != connections_.end());
    if (!place->second.deadline.is_never()) deadlines_.erase({place->second.deadline, id});
    by_tuple_.erase(place->second.connection.tuple());
    connections_.erase(place);
}

void TcpStack::expired() {
    while (!deadlines_.empty() && deadlines_.begin()->first <= now()) {
        const TcpConnectionId id = deadlines_.begin()->second;
        Entry& entry = connections_.at(id);
        const bool half_open = is_half_open(entry.connection);
        entry.connection.expired(*this);
        if (half_open && !is_half_open(entry.connection)) --half_open_;
        settle(id);
    }
    schedule();
}

void TcpStack::schedule() {
    const sim::Time next = deadlines_.empty() ? sim::Time::never() : deadlines_.begin()->first;
    if (next == timer_.deadline()) return;
    if (next.is_never()) {
        timer_.disarm();
    } else {
        timer_.arm(next);
    }
}

void TcpStack::restored() {
    by_tuple_.clear();
    deadlines_.clear();
    half_open_ = 0;
    for (const auto& [id, entry] : connections_) {
        by_tuple_.emplace(entry.connection.tuple(), id);
        if (!entry.deadline.is_never()) deadlines_.insert({entry.deadline, id});
        if (is_half_open(entry.connection)) ++half_open_;
    }
}

}  // namespace models
