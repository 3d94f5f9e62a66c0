// What a program on a host asks of it: TCP connections, UDP ports, and to be called at a time. Behind it is a guest
// whose processors pay for everything (guest_stack.h), or a host on a wire whose time costs nothing (peer_sockets.h).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "models/network/peer/tcp_connection.h"
#include "sim/ledger.h"
#include "sim/scope.h"
#include "sim/working_set.h"

namespace models {

using SocketId = std::uint32_t;  // of a TCP connection

// A program. It is called when its processor has done the work that leads to the call.
class SocketUser {
public:
    virtual void opened(SocketId) {}
    // What has been read. Of a hollow connection only the number of bytes is known.
    virtual void received(SocketId, std::uint64_t /*bytes*/, std::span<const std::byte> /*data*/) {}
    // All of what was written has room in the buffer again.
    virtual void room(SocketId) {}
    // For whatever reason: its fate says which.
    virtual void closed(SocketId) {}
    virtual void datagram(std::uint16_t /*port*/, const TcpEndpoint& /*from*/, std::span<const std::byte>) {}
    // send() refused, and would not now.
    virtual void datagram_room(std::uint16_t /*port*/) {}
    // call() said so.
    virtual void called(std::uint64_t /*what*/) {}

protected:
    ~SocketUser() = default;
};
using SocketUserId = std::uint32_t;

class Sockets {
public:
    virtual ~Sockets() = default;

    virtual const sim::Scope& scope() const = 0;
    // Users get their numbers in the order in which they come, on a restored machine the same.
    virtual SocketUserId add_user(SocketUser& user) = 0;
    virtual unsigned processors() const = 0;
    // What is needed on that processor when a program is called.
    virtual void add_needs(sim::WorkingSet& /*set*/, unsigned /*processor*/) const {}
    // The same, and all else that it and what lies below it need there, part by part (sim::Foresight).
    virtual bool fetch_ahead(unsigned /*processor*/, unsigned /*step*/) { return false; }

    // Connections to that port are the user's. Hollow: what the bytes are is of no account. Each further connection is
    // read and written on the next of the processors, beginning with `processor`.
    virtual void listen(std::uint16_t port, SocketUserId user, bool hollow, unsigned processor = 0) = 0;
    virtual SocketId connect(const TcpEndpoint& to, SocketUserId user, bool hollow, unsigned processor = 0) = 0;
    // False: the buffer holds too much already, room() tells; nothing was taken.
    [[nodiscard]] virtual bool write(SocketId socket, std::vector<std::byte>&& data) = 0;
    [[nodiscard]] virtual bool write_hollow(SocketId socket, std::uint64_t bytes) = 0;
    virtual void close(SocketId socket) = 0;
    // Until its user has been told that it is closed.
    virtual TcpFate fate(SocketId socket) const = 0;

    virtual void bind(std::uint16_t port, SocketUserId user, unsigned processor = 0) = 0;
    // False: too much waits to be sent; datagram_room() tells.
    [[nodiscard]] virtual bool send(std::uint16_t port, const TcpEndpoint& to, std::vector<std::byte>&& payload) = 0;

    // The program is woken now, on that processor: called(what) comes when it runs.
    virtual void call(SocketUserId user, std::uint64_t what, unsigned processor = 0) = 0;
    // The program works for so long, then called(what).
    virtual void work(SocketUserId user, std::uint64_t what, unsigned processor, sim::Time time) = 0;
};

}  // namespace models
