// Sockets of a host on a wire: its programs take no time but the host's response time.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <vector>

#include "models/network/peer/peer.h"
#include "models/workload/sockets.h"

namespace models {

class PeerSockets final : public Sockets, private PeerProgram {
public:
    PeerSockets(const sim::Scope& scope, Peer& peer, std::uint64_t send_buffer = 4 * 1024 * 1024);

    const sim::Scope& scope() const override { return scope_; }
    SocketUserId add_user(SocketUser& user) override;
    unsigned processors() const override { return 1; }
    void listen(std::uint16_t port, SocketUserId user, bool hollow, unsigned processor) override;
    SocketId connect(const TcpEndpoint& to, SocketUserId user, bool hollow, unsigned processor) override;
    [[nodiscard]] bool write(SocketId socket, std::vector<std::byte>&& data) override;
    [[nodiscard]] bool write_hollow(SocketId socket, std::uint64_t bytes) override;
    void close(SocketId socket) override;
    TcpFate fate(SocketId socket) const override { return peer_.tcp().fate(socket); }
    void bind(std::uint16_t port, SocketUserId user, unsigned processor) override;
    [[nodiscard]] bool send(std::uint16_t port, const TcpEndpoint& to, std::vector<std::byte>&& payload) override;
    void call(SocketUserId user, std::uint64_t what, unsigned processor) override;
    void work(SocketUserId user, std::uint64_t what, unsigned processor, sim::Time time) override;

    template <class Archive>
    void fields(Archive& archive) {
        archive(sockets_, listeners_, ports_, calls_, next_call_, timer_);
    }

private:
    struct Socket {
        SocketUserId user = 0;
        bool open = false;
        bool refused = false;
        template <class Archive>
        void fields(Archive& archive) {
            archive(user, open, refused);
        }
    };
    struct Call {
        SocketUserId user = 0;
        std::uint64_t what = 0;
        template <class Archive>
        void fields(Archive& archive) {
            archive(user, what);
        }
    };
    void tcp_changed(TcpConnectionId id) override;
    bool udp_arrived(std::uint16_t port, const TcpEndpoint& from, std::span<const std::byte> payload) override;
    bool has_room(Socket& socket, SocketId id, std::uint64_t bytes);
    void expired();

    sim::Scope scope_;
    Peer& peer_;
    std::uint64_t send_buffer_;
    std::vector<SocketUser*> users_;
    std::map<SocketId, Socket> sockets_;
    std::map<std::uint16_t, SocketUserId> listeners_;
    std::map<std::uint16_t, SocketUserId> ports_;
    std::map<std::pair<sim::Time, std::uint64_t>, Call> calls_;
    std::uint64_t next_call_ = 0;
    bool inside_read_ = false;
    sim::Timer timer_;
    sim::StateRegistration registration_;
};

}  // namespace models
