#include "models/workload/guest_stack.h"

#include <utility>

#include "models/network/toeplitz.h"
#include "models/workload/stack_lane.h"
#include "sim/check.h"

namespace models {

namespace {

constexpr std::uint16_t hash_types =
    rss_type::ipv4 | rss_type::tcp_ipv4 | rss_type::udp_ipv4 | rss_type::ipv6 | rss_type::tcp_ipv6 | rss_type::udp_ipv6;
constexpr std::uint32_t large_send_bytes = 60 * 1024;

// The stack hands large sends down in any case, and cuts them itself for an adapter that does not.
PeerSettings with_large_sends(PeerSettings host) {
    host.response = sim::Time::zero();
    host.tcp.large_send_bytes = large_send_bytes;
    return host;
}

ChecksumVerdict verdict(vmbus::ChecksumState state) {
    switch (state) {
        case vmbus::ChecksumState::bad:
            return ChecksumVerdict::bad;
        case vmbus::ChecksumState::unknown:
            return ChecksumVerdict::unknown;
        default:
            return ChecksumVerdict::good;
    }
}

}  // namespace

GuestStack::GuestStack(const sim::Scope& scope, const StackSettings& settings, unsigned processors,
                       const ProcessorOf& processor)
    : scope_(scope),
      settings_(settings),
      backlog_full_(scope.counter("backlog_full", "frames", "frames dropped before the stack, which was too slow")),
      send_queue_full_(
          scope.counter("send_queue_full", "frames", "frames dropped before the driver, which had no room")),
      buffer_full_(scope.counter("datagram_buffer_full", "datagrams", "datagrams that no program read in time")),
      peer_(scope.child("host"), with_large_sends(settings.host), *this),
      registration_(scope.register_state(*this)) {
    VG_CHECK(processors > 0);
    peer_.set_program(*this);
    for (unsigned n = 0; n < processors; ++n) lanes_.push_back(std::make_unique<Lane>(*this, n, processor(n)));
}

GuestStack::~GuestStack() = default;

SocketUserId GuestStack::add_user(SocketUser& user) {
    users_.push_back(&user);
    return static_cast<SocketUserId>(users_.size() - 1);
}

// -- Programs ask.

void GuestStack::add_needs(sim::WorkingSet& set, unsigned processor) const {
    const Lane& lane = *lanes_[processor % processors()];
    set.add(static_cast<const Sockets*>(this), sizeof(void*));
    set.add(users_);
    set.add(users_.data(), users_.size() * sizeof users_.front());
    set.add(lanes_);
    set.add(lanes_.data(), lanes_.size() * sizeof lanes_.front());
    set.add(lane);
    set.add(scope_);
    lane.processor_.add_own_needs(set);
}

bool GuestStack::fetch_ahead(unsigned processor, unsigned step) {
    Lane& lane = *lanes_[processor % processors()];
    if (step == 0) {
        // What has been fetched so lately is still there.
        constexpr std::uint64_t events = 1000;
        const std::uint64_t now = scope_.agenda().events_fired();
        if (now - std::exchange(lane.fetched_, now) < events) return false;
    }
    return lane.processor_.fetch_ahead(step);
}

void GuestStack::listen(std::uint16_t port, SocketUserId user, bool hollow, unsigned processor) {
    state_.listeners[port] = {user, processor};
    peer_.tcp().listen(port, {.service = TcpService::program, .hollow = hollow});
}

SocketId GuestStack::connect(const TcpEndpoint& to, SocketUserId user, bool hollow, unsigned processor) {
    const SocketId id = peer_.connect(to, {.service = TcpService::program, .hollow = hollow});
    Socket& socket = state_.sockets[id];
    socket.user = user;
    socket.processor = processor % processors();
    return id;
}

bool GuestStack::has_room(Socket& socket, SocketId id, std::uint64_t bytes) {
    const TcpConnection* connection = peer_.tcp().find(id);
    if (connection == nullptr || socket.ending) return false;
    const std::uint64_t held = socket.waiting + connection->unsent();
    // What is larger than the buffer goes into an empty one.
    if (held != 0 && held + bytes > settings_.send_buffer) {
        socket.refused = true;
        return false;
    }
    socket.waiting += bytes;
    return true;
}

bool GuestStack::write(SocketId id, std::vector<std::byte>&& data) {
    const auto place = state_.sockets.find(id);
    if (place == state_.sockets.end() || data.empty() || !has_room(place->second, id, data.size())) return false;
    Lane::Step step{.kind = Lane::StepKind::write, .id = id, .bytes = data.size(), .data = std::move(data)};
    lanes_[place->second.processor]->add(std::move(step));
    return true;
}

bool GuestStack::write_hollow(SocketId id, std::uint64_t bytes) {
    const auto place = state_.sockets.find(id);
    if (place == state_.sockets.end() || bytes == 0 || !has_room(place->second, id, bytes)) return false;
    lanes_[place->second.processor]->add({.kind = Lane::StepKind::write, .id = id, .bytes = bytes});
    return true;
}

void GuestStack::close(SocketId id) {
    const auto place = state_.sockets.find(id);
    if (place != state_.sockets.end()) lanes_[place->second.processor]->add({.kind = Lane::StepKind::close, .id = id});
}

TcpFate GuestStack::fate(SocketId id) const {
    const auto place = state_.sockets.find(id);
    return place != state_.sockets.end() && place->second.ending ? place->second.fate : peer_.tcp().fate(id);
}

void GuestStack::bind(std::uint16_t port, SocketUserId user, unsigned processor) {
    Port& kept = state_.ports[port];
    if (kept.refused) --state_.refused;
    kept = {user, processor % processors()};
}

bool GuestStack::send(std::uint16_t port, const TcpEndpoint& to, std::vector<std::byte>&& payload) {
    const auto place = state_.ports.find(port);
    if (place == state_.ports.end()) return false;
    Lane& lane = *lanes_[place->second.processor];
    if (lane.waiting_frames() + lane.state_.steps.size() >= settings_.send_queue) {
        if (!std::exchange(place->second.refused, true)) ++state_.refused;
        return false;
    }
    lane.add(
        {.kind = Lane::StepKind::send, .id = port, .bytes = payload.size(), .remote = to, .data = std::move(payload)});
    return true;
}

void GuestStack::call(SocketUserId user, std::uint64_t what, unsigned processor) {
    lanes_[processor % processors()]->add({.kind = Lane::StepKind::call, .id = user, .bytes = what});
}

void GuestStack::work(SocketUserId user, std::uint64_t what, unsigned processor, sim::Time time) {
    lanes_[processor % processors()]->add({.kind = Lane::StepKind::work, .id = user, .bytes = what, .time = time});
}

// -- The protocols tell.

void GuestStack::tcp_changed(TcpConnectionId id) {
    using Kind = Lane::StepKind;
    const TcpConnection* connection = peer_.tcp().find(id);
    auto place = state_.sockets.find(id);
    if (place == state_.sockets.end()) {
        if (connection == nullptr || connection->state() != TcpState::established) return;
        const auto listener = state_.listeners.find(connection->tuple().local.port);
        if (listener == state_.listeners.end()) return;
        Socket socket;
        socket.user = listener->second.user;
        socket.processor = listener->second.next_processor++ % processors();
        place = state_.sockets.try_emplace(id, socket).first;
    }
    Socket& socket = place->second;
    if (socket.ending) return;
    Lane& lane = *lanes_[socket.processor];
    if (!socket.open && connection != nullptr && connection->state() >= TcpState::established) {
        socket.open = true;
        lane.add({.kind = Kind::opened, .id = id});
    }
    if (connection != nullptr && connection->unread() != 0) {
        if (!socket.reading) lane.add({.kind = Kind::read, .id = id});
        socket.reading = true;
        return;
    }
    if (socket.reading) return;
    const bool open =
        connection != nullptr && !connection->remote_ended() && connection->state() != TcpState::time_wait;
    if (!open) {
        socket.ending = true;
        socket.fate = peer_.tcp().fate(id);
        lane.add({.kind = Kind::closed, .id = id});
    } else if (socket.refused && socket.waiting + connection->unsent() <= settings_.send_buffer / 2) {
        socket.refused = false;
        lane.add({.kind = Kind::room, .id = id});
    }
}

bool GuestStack::udp_arrived(std::uint16_t port, const TcpEndpoint& from, std::span<const std::byte> payload) {
    const auto place = state_.ports.find(port);
    if (place == state_.ports.end()) return false;
    const std::uint64_t held = payload.size() + datagram_overhead_bytes;
    if (place->second.unread + held > settings_.datagram_buffer) {
        ++buffer_full_;
        return true;
    }
    place->second.unread += held;
    lanes_[place->second.processor]->add({.kind = Lane::StepKind::datagram,
                                          .id = port,
                                          .bytes = payload.size(),
                                          .remote = from,
                                          .data = {payload.begin(), payload.end()}});
    return true;
}

// -- Frames.

void GuestStack::receive(Frame&& frame) {
    lanes_[current_]->send(std::move(frame));
}

bool GuestStack::transmit(Frame& frame) {
    vmbus::OutgoingFrame out;
    out.fill_ip_checksum = frame.fill.ip;
    out.fill_tcp_checksum = frame.fill.tcp;
    out.fill_udp_checksum = frame.fill.udp;
    out.large_send_mss = frame.large_send_mss;
    if (frame.vlan) out.vlan_tci = frame.vlan->tci();
    if (const auto headers = parse_headers(frame)) {
        out.transport_offset = static_cast<std::uint16_t>(headers->transport_offset);
        if (const auto hash = rss_hash(microsoft_rss_key, hash_types, *headers)) out.hash = hash->value;
    }
    out.bytes = std::move(frame.bytes);
    if (driver_->transmit(std::move(out))) return true;
    frame.bytes = std::move(out.bytes);  // a driver takes nothing that it refuses
    return false;
}

// Datagrams that were refused may go when half of the queue is free.
void GuestStack::sent_some() {
    if (state_.refused == 0) return;
    for (auto& [number, port] : state_.ports) {
        Lane& lane = *lanes_[port.processor];
        if (!port.refused || lane.waiting_frames() + lane.state_.steps.size() > settings_.send_queue / 2) continue;
        port.refused = false;
        --state_.refused;
        lane.add({.kind = Lane::StepKind::datagram_room, .id = number});
    }
}

void GuestStack::room() {
    for (auto& lane : lanes_) lane->unblocked();
}

void GuestStack::receive(std::uint16_t queue, std::span<vmbus::IncomingFrame> frames) {
    Lane& lane = *lanes_[driver_->processor_of(queue) % processors()];
    Coalescer coalescer;
    std::vector<Frame> ready;
    for (vmbus::IncomingFrame& from : frames) {
        Frame frame{std::move(from.bytes)};
        frame.ip_verdict = verdict(from.ip_checksum);
        const bool udp = from.tcp_checksum == vmbus::ChecksumState::unknown;
        frame.transport_verdict = verdict(udp ? from.udp_checksum : from.tcp_checksum);
        if (frame.transport_verdict == ChecksumVerdict::good && frame.ip_verdict == ChecksumVerdict::unknown) {
            frame.ip_verdict = ChecksumVerdict::good;
        }
        frame.coalesced_segments = from.coalesced_segments;
        if (from.vlan_tci) frame.vlan = VlanTag::from_tci(*from.vlan_tci);
        if (settings_.join_segments && frame.transport_verdict == ChecksumVerdict::good) {
            coalescer.add(std::move(frame), ready);
        } else {
            ready.push_back(std::move(frame));
        }
    }
    coalescer.flush(ready);
    for (Frame& frame : ready) lane.received(std::move(frame));
}

// -- State.

void GuestStack::save(sim::Writer& writer) const {
    writer(state_);
    for (const auto& lane : lanes_) writer(*lane);
}

void GuestStack::restore(sim::Reader& reader) {
    reader(state_);
    for (auto& lane : lanes_) reader(*lane);
}

}  // namespace models
