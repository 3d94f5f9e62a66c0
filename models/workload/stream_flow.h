// Bulk streams over TCP from one host to another: as many connections as wanted, each of which always has more to send.
// What has been read at the other end counts.
#pragma once

#include <cstdint>
#include <map>

#include "models/workload/sockets.h"
#include "models/workload/workload.h"

namespace models {

class StreamFlow final : public Workload {
public:
    struct Settings {
        TcpEndpoint to;  // of the receiver
        std::uint32_t connections = 1;
        std::uint64_t write_bytes = 128 * 1024;  // with one system call
        std::uint64_t total_bytes = 0;           // of each connection; 0: no end
        unsigned processor = 0;                  // of the first connection at the sender; each further one on the next
        unsigned receiver_processor = 0;
    };
    StreamFlow(const sim::Scope& scope, Sockets& from, Sockets& to, const Settings& settings);

    void start() override;
    void stop() override;
    std::uint32_t open_connections() const;

    // What has become of the connections since the flow was started, as the sender sees it; reset() leaves that alone.
    // One that was not closed is a failure of the flow.
    struct Connections {
        std::uint64_t opened = 0;
        std::uint64_t closed = 0;
        std::uint64_t resets = 0;
        std::uint64_t timed_out = 0;  // given up, as nothing came back
        std::uint64_t refused = 0;
        std::uint64_t retransmissions = 0;  // segments, of those that are open as well
        std::uint64_t time_outs = 0;        // no acknowledgement in time, and it was sent again

        bool operator==(const Connections&) const = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(opened, closed, resets, timed_out, refused, retransmissions, time_outs);
        }
    };
    Connections connections() const;

    template <class Archive>
    void fields(Archive& archive) {
        archive(Workload::state_, running_, sending_, ended_);
    }

private:
    struct Connection {
        bool open = false;
        std::uint64_t written = 0;
        bool closed = false;
        template <class Archive>
        void fields(Archive& archive) {
            archive(open, written, closed);
        }
    };
    struct Sender final : SocketUser {
        explicit Sender(StreamFlow& owner) : flow(owner) {}
        void opened(SocketId socket) override;
        void room(SocketId socket) override { flow.write_on(socket); }
        void closed(SocketId socket) override { flow.closed(socket); }
        StreamFlow& flow;
    };
    struct Receiver final : SocketUser {
        explicit Receiver(StreamFlow& owner) : flow(owner) {}
        void received(SocketId, std::uint64_t bytes, std::span<const std::byte>) override { flow.moved(bytes); }
        StreamFlow& flow;
    };
    void write_on(SocketId socket);
    void closed(SocketId socket);

    Sockets& from_;
    Settings settings_;
    Sender sender_{*this};
    Receiver receiver_{*this};
    SocketUserId sender_user_;
    bool running_ = false;
    std::map<SocketId, Connection> sending_;
    Connections ended_;  // of those that are no more; all that were opened
    sim::StateRegistration registration_;
};

}  // namespace models
