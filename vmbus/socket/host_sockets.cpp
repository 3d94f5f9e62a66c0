#include "vmbus/socket/host_sockets.h"

#include <algorithm>

#include "vmbus/inband/bytes.h"

namespace vmbus {

HostSockets::HostSockets(const sim::Scope& scope, const ServiceHost& host, const Settings& settings, SocketUser& user)
    : scope_(scope),
      bus_(host.bus),
      costs_(host.costs),
      settings_(settings),
      user_(user),
      bytes_in_(scope.counter("bytes_received", "bytes", "from the guest's programs")),
      bytes_out_(scope.counter("bytes_sent", "bytes", "to the guest's programs")),
      refused_(scope.counter("refused", "connections", "that nobody took, at either end")),
      faults_(scope.counter("faults", "count", "times that the guest broke the protocol and lost a connection")),
      timer_(scope.agenda(), scope.path() + ".deadline", [this] { expired(); }),
      slot_(host.processor, *this),
      registration_(scope.register_state(*this)) {}

// Connections
// ----------------------------------------------------------------------------------------------------------------

bool HostSockets::connect(const Guid& endpoint, const Guid& service) {
    const auto port = socket::port_of(service);
    const Name name{service, endpoint};
    if (!port || !socket::port_of(endpoint) || !state_.listening.contains(*port) || channels_.contains(name) ||
        state_.sockets.size() >= settings_.connection_limit) {
        ++refused_;
        return false;
    }
    add(name, false);
    return true;
}

std::optional<SocketId> HostSockets::connect(std::uint32_t port) {
    if (state_.sockets.size() >= settings_.connection_limit) return std::nullopt;
    return add({socket::service_of(port), socket::service_of(state_.next_port++)}, true);
}

SocketId HostSockets::add(const Name& name, bool from_host) {
    const SocketId id = ++state_.last;
    Socket& socket = state_.sockets[id];
    socket.name = name;
    socket.from_host = from_host;
    socket.deadline = scope_.now() + settings_.open_timeout;
    scope_.trace("socket.offer", id, from_host);
    update_timer();
    channels_[name] = &bus_.offer(socket::offer(name.first, name.second, from_host), *this);
    return id;
}

ChannelDevice* HostSockets::adopt(Channel& channel) {
    if ((channel.offer().flags & Offer::socket_provider) == 0) return nullptr;
    channels_[{channel.offer().type, channel.offer().instance}] = &channel;
    return this;
}

SocketId HostSockets::find(const Channel& channel) const {
    // The latest of that name: an older one may be over and not forgotten.
    const Name name{channel.offer().type, channel.offer().instance};
    for (auto place = state_.sockets.rbegin(); place != state_.sockets.rend(); ++place) {
        if (place->second.name == name) return place->first;
    }
    return 0;
}

HostSockets::Socket* HostSockets::get(SocketId id) {
    const auto place = state_.sockets.find(id);
    return place != state_.sockets.end() ? &place->second : nullptr;
}

Channel* HostSockets::channel_of(const Socket& socket) const {
    const auto place = channels_.find(socket.name);
    return place != channels_.end() && !socket.released ? place->second : nullptr;
}

std::uint32_t HostSockets::open(Channel& channel, std::span<const std::byte, 120>) {
    const SocketId id = find(channel);
    Socket* socket = get(id);
    constexpr std::uint32_t status_device_not_ready = 0xc000'00a3;
    if (socket == nullptr || socket->phase != Phase::offered) return status_device_not_ready;
    socket->phase = Phase::open;
    socket->deadline = sim::Time::never();
    update_timer();
    slot_.wake();
    if (socket->from_host) {
        user_.connected(id);
    } else {
        user_.accepted(id, *socket::port_of(socket->name.first));
    }
    return 0;
}

void HostSockets::closed(Channel& channel) {
    end(find(channel));
}

void HostSockets::released(Channel& channel) {
    const auto place = channels_.find({channel.offer().type, channel.offer().instance});
    if (place == channels_.end() || place->second != &channel) return;
    channels_.erase(place);
    if (Socket* socket = get(find(channel)); socket != nullptr) socket->released = true;
}

// The channel goes, and with it what was not sent.
void HostSockets::end(SocketId id) {
    Socket* socket = get(id);
    if (socket == nullptr || socket->phase == Phase::over) return;
    const Phase before = std::exchange(socket->phase, Phase::over);
    socket->unsent.clear();
    socket->deadline = sim::Time::never();
    if (state_.at_work == id) state_.piece = Piece::none;
    update_timer();
    scope_.trace("socket.end", id, before == Phase::open);
    if (Channel* channel = channel_of(*socket)) bus_.rescind(*channel);
    if (before == Phase::open) return user_.closed(id);
    ++refused_;
    if (socket->from_host) return user_.refused(id);
    state_.sockets.erase(id);  // nobody has heard of it
}

void HostSockets::expired() {
    std::vector<SocketId> late;
    for (const auto& [id, socket] : state_.sockets) {
        if (socket.deadline <= scope_.now()) late.push_back(id);
    }
    for (const SocketId id : late) end(id);
    update_timer();
}

void HostSockets::update_timer() {
    sim::Time first = sim::Time::never();
    for (const auto& [id, socket] : state_.sockets) first = std::min(first, socket.deadline);
    if (first.is_never()) {
        timer_.disarm();
    } else {
        timer_.arm(first);
    }
}

// What a user does
// ----------------------------------------------------------------------------------------------------------------

HostSockets::Phase HostSockets::phase(SocketId id) const {
    const auto place = state_.sockets.find(id);
    return place != state_.sockets.end() ? place->second.phase : Phase::none;
}

bool HostSockets::guest_finished(SocketId id) const {
    const auto place = state_.sockets.find(id);
    return place == state_.sockets.end() || place->second.guest_finished || place->second.phase == Phase::over;
}

std::size_t HostSockets::readable_bytes(SocketId id) const {
    const auto place = state_.sockets.find(id);
    return place != state_.sockets.end() ? place->second.unread.size() : 0;
}

std::size_t HostSockets::unsent_bytes(SocketId id) const {
    const auto place = state_.sockets.find(id);
    return place != state_.sockets.end() ? place->second.unsent.size() : 0;
}

bool HostSockets::send(SocketId id, std::span<const std::byte> data) {
    Socket* socket = get(id);
    if (socket == nullptr || socket->phase == Phase::over || socket->finishing) return false;
    socket->unsent.push(data);
    slot_.wake();
    return true;
}

std::vector<std::byte> HostSockets::read(SocketId id, std::size_t most) {
    Socket* socket = get(id);
    if (socket == nullptr) return {};
    const auto front = socket->unread.front(most);
    std::vector<std::byte> data(front.begin(), front.end());
    socket->unread.pop(data.size());
    slot_.wake();
    return data;
}

void HostSockets::finish(SocketId id) {
    Socket* socket = get(id);
    if (socket == nullptr || socket->phase == Phase::over) return;
    socket->finishing = true;
    slot_.wake();
}

void HostSockets::close(SocketId id) {
    Socket* socket = get(id);
    if (socket == nullptr || socket->phase == Phase::over) return;
    if (socket->phase == Phase::offered) return end(id);
    finish(id);
    socket->closing = true;
    socket->deadline = scope_.now() + settings_.linger;
    update_timer();
    end_if_done(id);
}

void HostSockets::forget(SocketId id) {
    if (phase(id) == Phase::over) state_.sockets.erase(id);
}

// Bytes
// ----------------------------------------------------------------------------------------------------------------

void HostSockets::signalled(Channel& channel) {
    Socket* socket = get(find(channel));
    if (socket == nullptr) return;
    socket->readable = true;
    socket->blocked = false;
    slot_.wake();
}

std::optional<sim::Time> HostSockets::begin() {
    // Each connection in turn, from the one after the last.
    const auto start = state_.sockets.upper_bound(state_.at_work);
    std::vector<SocketId> turn;
    for (auto place = start; place != state_.sockets.end(); ++place) turn.push_back(place->first);
    for (auto place = state_.sockets.begin(); place != start; ++place) turn.push_back(place->first);
    for (const SocketId id : turn) {
        Socket* socket = get(id);
        if (socket == nullptr || !work(id, *socket)) continue;
        return costs_.packets(1, state_.packet.size()) + costs_.signal;
    }
    return std::nullopt;
}

// Something to do for this one: the piece and its bytes are in the state.
bool HostSockets::work(SocketId id, Socket& socket) {
    Channel* channel = channel_of(socket);
    if (socket.phase != Phase::open || channel == nullptr || !channel->is_open()) return false;
    if (!socket.blocked && (!socket.unsent.empty() || (socket.finishing && !socket.finished))) {
        state_.packet = pipe::wrap(socket.unsent.front(socket::usual_message));
        state_.piece = Piece::send;
        state_.at_work = id;
        return true;
    }
    if (!socket.readable || socket.unread.size() >= settings_.read_limit) return false;
    Packet packet;
    if (!channel->receive(packet)) {
        socket.readable = false;
        return false;
    }
    state_.packet = std::move(packet.payload);
    if (packet.type != PacketType::inband) state_.packet.clear();  // no message of a pipe
    state_.piece = Piece::receive;
    state_.at_work = id;
    return true;
}

void HostSockets::finish() {
    const Piece piece = std::exchange(state_.piece, Piece::none);
    Socket* socket = get(state_.at_work);
    if (socket == nullptr || piece == Piece::none) return;
    if (piece == Piece::send) {
        send_piece(state_.at_work, *socket);
    } else {
        handle_packet(state_.at_work, *socket);
    }
}

void HostSockets::send_piece(SocketId id, Socket& socket) {
    Channel& channel = *channel_of(socket);
    if (!channel.send(0, state_.packet, false)) {
        socket.blocked = true;
        return;
    }
    channel.flush();
    const std::size_t count = state_.packet.size() - pipe::header_bytes;
    socket.unsent.pop(count);
    bytes_out_.add(count);
    if (count == 0) socket.finished = true;
    scope_.trace("socket.send", id, count);
    if (socket.unsent.empty() && count != 0) user_.drained(id);
    end_if_done(id);
}

void HostSockets::handle_packet(SocketId id, Socket& socket) {
    Channel& channel = *channel_of(socket);
    channel.flush();
    const auto message = pipe::unwrap(state_.packet);
    if (!message || message->size() > socket::largest_message || socket.guest_finished) {
        ++faults_;
        return channel.fault("socket: not a message of the pipe");
    }
    scope_.trace("socket.receive", id, message->size());
    if (message->empty()) {
        socket.guest_finished = true;
        user_.finished(id);
        return end_if_done(id);
    }
    bytes_in_.add(message->size());
    socket.unread.push(*message);
    user_.readable(id);
}

// Both sides have ended, or the host has closed and the guest has ended.
void HostSockets::end_if_done(SocketId id) {
    const Socket* socket = get(id);
    if (socket != nullptr && socket->phase == Phase::open && socket->finished && socket->guest_finished) end(id);
}

}  // namespace vmbus
