// Answers requests on a TCP and a UDP port, each after the time that its program takes.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <vector>

#include "models/workload/message.h"
#include "models/workload/sockets.h"

namespace models {

class RequestServer final : private SocketUser {
public:
    struct Settings {
        std::uint16_t port = 5201;
        sim::Time service;  // of the program's processor, for each request
    };
    RequestServer(const sim::Scope& scope, Sockets& sockets, const Settings& settings);

    std::uint64_t answered() const { return state_.answered; }

    template <class Archive>
    void fields(Archive& archive) {
        archive(state_);
    }

private:
    struct Connection {
        MessageReader reader;
        std::uint32_t processor = 0;
        bool waits = false;  // for room
        std::deque<std::vector<std::byte>> answers;
        template <class Archive>
        void fields(Archive& archive) {
            archive(reader, processor, waits, answers);
        }
    };
    // Being worked on.
    struct Job {
        SocketId socket = 0;  // 0: a datagram
        TcpEndpoint from;
        std::uint32_t bytes = 0;
        sim::RequestId request = 0;
        template <class Archive>
        void fields(Archive& archive) {
            archive(socket, from, bytes, request);
        }
    };
    struct State {
        std::map<SocketId, Connection> connections;
        std::map<std::uint64_t, Job> jobs;
        std::uint64_t next_job = 0;
        std::uint32_t next_processor = 0;
        std::uint64_t answered = 0;
        std::uint64_t waiting_bytes = 0;  // of answers for which a connection has no room
        template <class Archive>
        void fields(Archive& archive) {
            archive(connections, jobs, next_job, next_processor, answered, waiting_bytes);
        }
    };
    static constexpr std::size_t most_jobs = 65'536;
    // Whoever asks and does not read gets no more than that held for it; further requests have no answer.
    static constexpr std::uint64_t most_waiting_bytes = 64 * 1024 * 1024;

    void opened(SocketId socket) override;
    void received(SocketId socket, std::uint64_t bytes, std::span<const std::byte> data) override;
    void room(SocketId socket) override;
    void closed(SocketId socket) override;
    void datagram(std::uint16_t port, const TcpEndpoint& from, std::span<const std::byte> payload) override;
    void called(std::uint64_t job) override;

    void accept(const Message& message, Job&& job, unsigned processor);
    void answer(const Job& job);
    void write_on(SocketId socket, Connection& connection);

    sim::Scope scope_;
    Sockets& sockets_;
    Settings settings_;
    SocketUserId user_;
    State state_;
    sim::StateRegistration registration_;
};

}  // namespace models
