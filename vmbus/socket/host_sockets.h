// The host's ends of the sockets between host and guest: listens, connects, carries bytes both ways. A scenario or a
// service of the root uses it; the guest's programs use AF_VSOCK.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "vmbus/inband/byte_queue.h"
#include "vmbus/inband/inband_port.h"
#include "vmbus/server.h"
#include "vmbus/socket/socket_protocol.h"

namespace vmbus {

using SocketId = std::uint32_t;

// Who uses the host's ends.
class SocketUser {
public:
    // The guest has connected to a port that the host listens on.
    virtual void accepted(SocketId socket, std::uint32_t port) = 0;
    // The guest has taken a connection of the host's, or nobody there has.
    virtual void connected(SocketId socket) = 0;
    virtual void refused(SocketId socket) = 0;
    // There is something to read.
    virtual void readable(SocketId socket) = 0;
    // The guest will send no more; what came before may still be read.
    virtual void finished(SocketId socket) = 0;
    // All that was sent is on the guest's ring.
    virtual void drained(SocketId socket) { (void)socket; }
    // The connection is over. What has arrived may still be read; then forget() it.
    virtual void closed(SocketId socket) = 0;

protected:
    ~SocketUser() = default;
};

class HostSockets final : public SocketListener, private ChannelDevice, private sim::Task {
public:
    struct Settings {
        std::size_t connection_limit = 256;        // those that are over and not forgotten included
        std::size_t read_limit = 64 * 1024;        // bytes that wait to be read before the guest is held up
        sim::Time open_timeout = sim::Time::s(2);  // for the guest to take a connection
        sim::Time linger = sim::Time::s(8);        // for the guest to end its side of a closed one
    };
    enum class Phase : std::uint8_t {
        none,     // there never was one of that number, or it is forgotten
        offered,  // the guest has not taken it yet
        open,
        over,
    };

    // Made known to the bus by Server::set_socket_listener().
    HostSockets(const sim::Scope& scope, const ServiceHost& host, const Settings& settings, SocketUser& user);

    void listen(std::uint32_t port) { state_.listening.insert(port); }
    void stop_listening(std::uint32_t port) { state_.listening.erase(port); }
    // To a port that a program in the guest listens on. Nothing: there are too many connections.
    std::optional<SocketId> connect(std::uint32_t port);

    // Queued without limit, sent as the guest reads. False: not connected, or finished.
    bool send(SocketId socket, std::span<const std::byte> data);
    // At most `most` bytes of what has arrived.
    std::vector<std::byte> read(SocketId socket, std::size_t most = ~std::size_t{0});
    std::size_t readable_bytes(SocketId socket) const;
    std::size_t unsent_bytes(SocketId socket) const;
    // No more will be sent; reading goes on.
    void finish(SocketId socket);
    // Finishes, and is over once the guest has finished as well or has had its time.
    void close(SocketId socket);
    // Forgets a connection that is over, with what was not read.
    void forget(SocketId socket);

    Phase phase(SocketId socket) const;
    // It will send no more.
    bool guest_finished(SocketId socket) const;
    std::size_t connections() const { return state_.sockets.size(); }

    // SocketListener
    bool connect(const Guid& endpoint, const Guid& service) override;
    ChannelDevice* adopt(Channel& channel) override;

    template <class Archive>
    void fields(Archive& archive) {
        archive(state_, timer_);
    }

private:
    using Name = std::pair<Guid, Guid>;  // interface type, instance
    struct Socket {
        Name name;
        Phase phase = Phase::offered;
        bool from_host = false;
        bool readable = true;    // there may be packets
        bool blocked = false;    // no room on the ring
        bool finishing = false;  // a message without bytes is to follow what is queued
        bool finished = false;   // and has been sent
        bool guest_finished = false;
        bool closing = false;
        bool released = false;  // the channel is gone
        sim::Time deadline = sim::Time::never();
        ByteQueue unsent;
        ByteQueue unread;

        bool operator==(const Socket&) const = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(name.first, name.second, phase, from_host, readable, blocked, finishing, finished, guest_finished,
                    closing, released, deadline, unsent, unread);
        }
    };
    enum class Piece : std::uint8_t { none, send, receive };
    struct State {
        SocketId last = 0;
        std::uint32_t next_port = first_host_port;
        std::set<std::uint32_t> listening;
        std::map<SocketId, Socket> sockets;
        // The piece of work at hand.
        Piece piece = Piece::none;
        SocketId at_work = 0;
        std::vector<std::byte> packet;

        bool operator==(const State&) const = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(last, next_port, listening, sockets, piece, at_work, packet);
        }
    };
    // Of the host's own ends, apart from ports that are listened on.
    static constexpr std::uint32_t first_host_port = 0x8000'0000;

    // ChannelDevice
    std::uint32_t open(Channel& channel, std::span<const std::byte, 120> user_data) override;
    void closed(Channel& channel) override;
    void signalled(Channel& channel) override;
    void released(Channel& channel) override;
    // Task
    std::optional<sim::Time> begin() override;
    void finish() override;
    void account(sim::Account& account) const override { account.rest("sockets"); }

    SocketId add(const Name& name, bool from_host);
    SocketId find(const Channel& channel) const;
    Socket* get(SocketId id);
    Channel* channel_of(const Socket& socket) const;
    bool work(SocketId id, Socket& socket);
    void send_piece(SocketId id, Socket& socket);
    void handle_packet(SocketId id, Socket& socket);
    void end_if_done(SocketId id);
    void end(SocketId id);
    void expired();
    void update_timer();

    sim::Scope scope_;
    Bus& bus_;
    Costs costs_;
    Settings settings_;
    SocketUser& user_;
    State state_;
    std::map<Name, Channel*> channels_;
    sim::Counter& bytes_in_;
    sim::Counter& bytes_out_;
    sim::Counter& refused_;
    sim::Counter& faults_;
    sim::Timer timer_;
    sim::TaskSlot slot_;
    sim::StateRegistration registration_;
};

}  // namespace vmbus
