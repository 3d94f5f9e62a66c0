// The network stack of a guest that executes no instructions: the protocols of models/network/peer above a driver, and
// sockets for its programs. All that it does costs the guest's processors time: system calls, copies, segments,
// acknowledgements, wake-ups. Frames are dealt with on the processor of the queue on which they came, programs run on
// theirs.
//
// On each processor frames to be sent go first; then the frames of one poll and one step of a program take turns.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "models/behavioural/network_driver.h"
#include "models/network/coalescing.h"
#include "models/network/peer/peer.h"
#include "models/workload/sockets.h"
#include "models/workload/stack_costs.h"
#include "sim/flat_map.h"
#include "sim/processor.h"

namespace models {

struct StackSettings {
    PeerSettings host;  // its response time is not used
    StackCosts costs;
    bool join_segments = true;                // of a stream that came with one poll, as Linux' GRO
    std::uint64_t send_buffer = 512 * 1024;   // of a connection: written and not acknowledged
    std::uint64_t read_bytes = 64 * 1024;     // by one system call
    std::uint64_t datagram_buffer = 212'992;  // of a port: arrived and not read (Linux' net.core.rmem_default)
    std::size_t send_queue = 1000;            // frames that wait for the driver (Linux' txqueuelen)
    std::size_t receive_queue = 4096;         // frames of a processor that wait for the stack
};

// What the kernel holds for a datagram besides its bytes: about what Linux takes for a small one (its truesize).
inline constexpr std::uint64_t datagram_overhead_bytes = 768;

class GuestStack final : public Sockets, public NetworkDriverUser, private PeerProgram, private FrameReceiver {
public:
    using ProcessorOf = std::function<sim::Processor&(unsigned)>;

    GuestStack(const sim::Scope& scope, const StackSettings& settings, unsigned processors,
               const ProcessorOf& processor);
    ~GuestStack() override;
    GuestStack(const GuestStack&) = delete;
    GuestStack& operator=(const GuestStack&) = delete;
    // Before anything else.
    void connect_driver(NetworkDriver& driver) { driver_ = &driver; }

    Peer& host() { return peer_; }
    NetworkDriver& driver() { return *driver_; }
    const StackSettings& settings() const { return settings_; }

    // Sockets
    const sim::Scope& scope() const override { return scope_; }
    SocketUserId add_user(SocketUser& user) override;
    unsigned processors() const override { return static_cast<unsigned>(lanes_.size()); }
    bool fetch_ahead(unsigned processor, unsigned step) override;
    void add_needs(sim::WorkingSet& set, unsigned processor) const override;
    void listen(std::uint16_t port, SocketUserId user, bool hollow, unsigned processor) override;
    SocketId connect(const TcpEndpoint& to, SocketUserId user, bool hollow, unsigned processor) override;
    [[nodiscard]] bool write(SocketId socket, std::vector<std::byte>&& data) override;
    [[nodiscard]] bool write_hollow(SocketId socket, std::uint64_t bytes) override;
    void close(SocketId socket) override;
    TcpFate fate(SocketId socket) const override;
    void bind(std::uint16_t port, SocketUserId user, unsigned processor) override;
    [[nodiscard]] bool send(std::uint16_t port, const TcpEndpoint& to, std::vector<std::byte>&& payload) override;
    void call(SocketUserId user, std::uint64_t what, unsigned processor) override;
    void work(SocketUserId user, std::uint64_t what, unsigned processor, sim::Time time) override;

    // NetworkDriverUser
    void ready() override { room(); }
    void receive(std::uint16_t queue, std::span<vmbus::IncomingFrame> frames) override;
    void room() override;

    void save(sim::Writer& writer) const;
    void restore(sim::Reader& reader);

private:
    class Lane;
    friend class Lane;

    struct Socket {
        SocketUserId user = 0;
        std::uint32_t processor = 0;
        std::uint64_t waiting = 0;  // bytes of writes that have not been done
        bool open = false;
        bool reading = false;  // a read is on the program's list
        bool refused = false;  // a write was, room() is owed
        bool ending = false;   // closed() is on the program's list
        TcpFate fate;          // if so
        template <class Archive>
        void fields(Archive& archive) {
            archive(user, processor, waiting, open, reading, refused, ending, fate);
        }
    };
    struct Port {
        SocketUserId user = 0;
        std::uint32_t processor = 0;
        std::uint64_t unread = 0;
        bool refused = false;
        template <class Archive>
        void fields(Archive& archive) {
            archive(user, processor, unread, refused);
        }
    };
    struct Listener {
        SocketUserId user = 0;
        std::uint32_t next_processor = 0;
        template <class Archive>
        void fields(Archive& archive) {
            archive(user, next_processor);
        }
    };
    struct State {
        sim::FlatMap<SocketId, Socket> sockets;
        sim::FlatMap<std::uint16_t, Port> ports;
        std::uint32_t refused = 0;  // so many of them
        std::map<std::uint16_t, Listener> listeners;
        template <class Archive>
        void fields(Archive& archive) {
            archive(sockets, ports, refused, listeners);
        }
    };

    // PeerProgram
    void tcp_changed(TcpConnectionId id) override;
    bool udp_arrived(std::uint16_t port, const TcpEndpoint& from, std::span<const std::byte> payload) override;
    // What the protocols send.
    void receive(Frame&& frame) override;

    // What each frame needs of this object, whichever lane's it is; the rest is for setting up.
    void add_own_needs(sim::WorkingSet& set) const {
        set.add_between(this, &settings_);
        set.add_between(&settings_.costs, &peer_);
        set.add(lanes_);
        peer_.add_needs(set);
    }
    bool has_room(Socket& socket, SocketId id, std::uint64_t bytes);
    bool transmit(Frame& frame);
    void sent_some();

    sim::Scope scope_;
    StackSettings settings_;
    NetworkDriver* driver_ = nullptr;
    State state_;
    std::vector<SocketUser*> users_;
    std::size_t current_ = 0;  // the lane at work
    sim::Counter& backlog_full_;
    sim::Counter& send_queue_full_;
    sim::Counter& buffer_full_;
    Peer peer_;
    std::vector<std::unique_ptr<Lane>> lanes_;
    sim::StateRegistration registration_;
};

}  // namespace models
