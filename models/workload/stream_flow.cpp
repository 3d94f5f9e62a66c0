#include "models/workload/stream_flow.h"

#include <algorithm>

namespace models {

StreamFlow::StreamFlow(const sim::Scope& scope, Sockets& from, Sockets& to, const Settings& settings)
    : Workload(scope),
      from_(from),
      settings_(settings),
      sender_user_(from.add_user(sender_)),
      registration_(scope.register_state(*this)) {
    if (settings.connections == 0 || settings.connections > 10'000) {
        throw sim::UserError(scope.path() + ": give 1 to 10,000 connections");
    }
    if (settings.write_bytes == 0 || settings.write_bytes > 64 * 1024 * 1024) {
        throw sim::UserError(scope.path() + ": a write is of 1 byte to 64 MiB");
    }
    to.listen(settings.to.port, to.add_user(receiver_), true, settings.receiver_processor);
}

void StreamFlow::start() {
    if (running_) return;
    running_ = true;
    state_.since = scope().now();
    for (std::uint32_t n = 0; n < settings_.connections; ++n) {
        sending_.emplace(from_.connect(settings_.to, sender_user_, true, settings_.processor + n), Connection{});
    }
}

// What is in the buffers goes on its way.
void StreamFlow::stop() {
    if (!running_) return;
    running_ = false;
    for (auto& [socket, connection] : sending_) {
        if (!connection.closed) from_.close(socket);
        connection.closed = true;
    }
}

std::uint32_t StreamFlow::open_connections() const {
    return static_cast<std::uint32_t>(
        std::count_if(sending_.begin(), sending_.end(), [](const auto& entry) { return entry.second.open; }));
}

void StreamFlow::Sender::opened(SocketId socket) {
    const auto place = flow.sending_.find(socket);
    if (place == flow.sending_.end()) return;
    place->second.open = true;
    ++flow.ended_.opened;
    flow.write_on(socket);
}

void StreamFlow::closed(SocketId socket) {
    if (sending_.erase(socket) == 0) return;
    const TcpFate fate = from_.fate(socket);
    ended_.retransmissions += fate.retransmissions;
    ended_.time_outs += fate.time_outs;
    switch (fate.end) {
        case TcpEnd::open:  // the receiver has closed, and so does the sender now
        case TcpEnd::closed:
            ++ended_.closed;
            return;
        case TcpEnd::reset:
            ++ended_.resets;
            break;
        case TcpEnd::timed_out:
            ++ended_.timed_out;
            break;
        case TcpEnd::refused:
            ++ended_.refused;
            break;
    }
    failed();
}

StreamFlow::Connections StreamFlow::connections() const {
    Connections all = ended_;
    for (const auto& [socket, connection] : sending_) {
        const TcpFate fate = from_.fate(socket);
        all.retransmissions += fate.retransmissions;
        all.time_outs += fate.time_outs;
    }
    return all;
}

void StreamFlow::write_on(SocketId socket) {
    const auto place = sending_.find(socket);
    if (place == sending_.end()) return;
    while (running_ && !place->second.closed) {
        Connection& connection = place->second;
        const std::uint64_t left =
            settings_.total_bytes == 0 ? settings_.write_bytes : settings_.total_bytes - connection.written;
        if (left == 0) {
            connection.closed = true;
            return from_.close(socket);
        }
        const std::uint64_t bytes = std::min(left, settings_.write_bytes);
        if (!from_.write_hollow(socket, bytes)) return;
        connection.written += bytes;
    }
}

}  // namespace models
