#include "models/workload/peer_sockets.h"

#include <utility>

#include "models/workload/request_id.h"

namespace models {

PeerSockets::PeerSockets(const sim::Scope& scope, Peer& peer, std::uint64_t send_buffer)
    : scope_(scope),
      peer_(peer),
      send_buffer_(send_buffer),
      timer_(scope.agenda(), scope.path() + ".calls", [this] { expired(); }),
      registration_(scope.register_state(*this)) {
    peer_.set_program(*this);
}

SocketUserId PeerSockets::add_user(SocketUser& user) {
    users_.push_back(&user);
    return static_cast<SocketUserId>(users_.size() - 1);
}

void PeerSockets::listen(std::uint16_t port, SocketUserId user, bool hollow, unsigned) {
    listeners_[port] = user;
    peer_.tcp().listen(port, {.service = TcpService::program, .hollow = hollow});
}

SocketId PeerSockets::connect(const TcpEndpoint& to, SocketUserId user, bool hollow, unsigned) {
    const SocketId id = peer_.connect(to, {.service = TcpService::program, .hollow = hollow});
    sockets_[id].user = user;
    return id;
}

bool PeerSockets::has_room(Socket& socket, SocketId id, std::uint64_t bytes) {
    const TcpConnection* connection = peer_.tcp().find(id);
    if (connection == nullptr) return false;
    const std::uint64_t held = connection->unsent();
    socket.refused = held != 0 && held + bytes > send_buffer_;
    return !socket.refused;
}

bool PeerSockets::write(SocketId id, std::vector<std::byte>&& data) {
    const auto place = sockets_.find(id);
    if (place == sockets_.end() || !has_room(place->second, id, data.size())) return false;
    peer_.tcp().write(id, data);
    return true;
}

bool PeerSockets::write_hollow(SocketId id, std::uint64_t bytes) {
    const auto place = sockets_.find(id);
    if (place == sockets_.end() || !has_room(place->second, id, bytes)) return false;
    peer_.tcp().write_hollow(id, bytes);
    return true;
}

void PeerSockets::close(SocketId id) {
    peer_.tcp().close(id);
}

void PeerSockets::bind(std::uint16_t port, SocketUserId user, unsigned) {
    ports_[port] = user;
}

bool PeerSockets::send(std::uint16_t port, const TcpEndpoint& to, std::vector<std::byte>&& payload) {
    peer_.send_udp(port, to, payload);
    return true;
}

void PeerSockets::call(SocketUserId user, std::uint64_t what, unsigned processor) {
    work(user, what, processor, sim::Time::zero());
}

void PeerSockets::work(SocketUserId user, std::uint64_t what, unsigned, sim::Time time) {
    calls_.emplace(std::pair{scope_.now() + time, next_call_++}, Call{user, what});
    timer_.arm(calls_.begin()->first.first);
}

void PeerSockets::expired() {
    while (!calls_.empty() && calls_.begin()->first.first <= scope_.now()) {
        const Call call = calls_.begin()->second;
        calls_.erase(calls_.begin());
        users_[call.user]->called(call.what);
    }
    if (!calls_.empty()) timer_.arm(calls_.begin()->first.first);
}

void PeerSockets::tcp_changed(TcpConnectionId id) {
    if (inside_read_) return;  // what has become of it is seen afterwards
    const TcpConnection* connection = peer_.tcp().find(id);
    auto place = sockets_.find(id);
    if (place == sockets_.end()) {
        if (connection == nullptr || connection->state() != TcpState::established) return;
        const auto listener = listeners_.find(connection->tuple().local.port);
        if (listener == listeners_.end()) return;
        place = sockets_.emplace(id, Socket{listener->second}).first;
    }
    SocketUser& user = *users_[place->second.user];
    if (!place->second.open && connection != nullptr && connection->state() >= TcpState::established) {
        place->second.open = true;
        user.opened(id);
        return tcp_changed(id);  // whatever has become of it
    }
    if (connection != nullptr && connection->unread() != 0) {
        std::vector<std::byte> data;
        inside_read_ = true;
        const std::uint64_t bytes = peer_.tcp().read(id, ~std::uint64_t{0}, data);
        inside_read_ = false;
        sim::Journeys& journeys = scope_.journeys();
        if (journeys.on()) {
            if (const auto request = request_in_payload(data); request != 0) {
                journeys.mark(request, "peer", scope_.now());
            }
        }
        if (bytes == 0) return;
        user.received(id, bytes, data);
        return tcp_changed(id);
    }
    const bool open =
        connection != nullptr && !connection->remote_ended() && connection->state() != TcpState::time_wait;
    if (!open) {
        sockets_.erase(place);
        peer_.tcp().close(id);
        return user.closed(id);
    }
    if (place->second.refused && connection->unsent() <= send_buffer_ / 2) {
        place->second.refused = false;
        user.room(id);
    }
}

bool PeerSockets::udp_arrived(std::uint16_t port, const TcpEndpoint& from, std::span<const std::byte> payload) {
    const auto place = ports_.find(port);
    if (place == ports_.end()) return false;
    sim::Journeys& journeys = scope_.journeys();
    if (journeys.on()) {
        if (const auto request = request_in_payload(payload); request != 0) {
            journeys.mark(request, "peer", scope_.now());
        }
    }
    users_[place->second]->datagram(port, from, payload);
    return true;
}

}  // namespace models
