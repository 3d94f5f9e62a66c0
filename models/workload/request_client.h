// Requests and their answers, over TCP or UDP, on one connection or many: one after the other on each (a closed loop,
// with time to think in between), or as they come (constant, Poisson, on-off, from a trace), whether or not the earlier
// ones have been answered. An open loop's latency runs from the arrival, so what waits is counted.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "models/workload/arrivals.h"
#include "models/workload/choice.h"
#include "models/workload/message.h"
#include "models/workload/sockets.h"
#include "models/workload/workload.h"
#include "sim/agenda.h"
#include "sim/queue.h"
#include "sim/working_set.h"

namespace models {

class RequestClient final : public Workload, private sim::Foresight, private SocketUser {
public:
    struct Settings {
        TcpEndpoint to;
        bool datagrams = false;  // UDP, from ports that begin with `local_port`
        std::uint16_t local_port = 20'000;
        std::uint32_t connections = 1;
        Choice request{64};
        Choice answer{64};
        ArrivalSettings arrivals;
        sim::Time think;                          // of a closed loop, from an answer to the next request
        bool random_think = false;                // it is the mean of an exponential distribution
        sim::Time patience = sim::Time::ms(200);  // with a datagram's answer
        unsigned processor = 0;                   // of the first connection; each further one is on the next
    };
    // Throws sim::UserError.
    RequestClient(const sim::Scope& scope, Sockets& sockets, const Settings& settings);

    void start() override;
    void stop() override;
    [[nodiscard]] bool issue() override;
    std::uint64_t outstanding() const { return state_.requests.size(); }

    template <class Archive>
    void fields(Archive& archive) {
        archive(Workload::state_, state_, random_, arrivals_, timer_, patience_timer_);
    }

private:
    enum class Step : std::uint64_t { think, arrival };
    struct Connection {
        SocketId socket = 0;
        bool open = false;
        bool waits = false;  // for room
        std::uint64_t outstanding = 0;
        MessageReader reader;
        sim::Queue<std::vector<std::byte>> requests;  // that wait for room
        template <class Archive>
        void fields(Archive& archive) {
            archive(socket, open, waits, outstanding, reader, requests);
        }
    };
    struct Request {
        std::uint32_t connection = 0;
        sim::Time begun;
        std::uint64_t bytes = 0;
        template <class Archive>
        void fields(Archive& archive) {
            archive(connection, begun, bytes);
        }
    };
    struct Arrival {
        sim::Time at;
        std::uint64_t bytes = 0;
        template <class Archive>
        void fields(Archive& archive) {
            archive(at, bytes);
        }
    };
    struct State {
        bool running = false;
        bool has_next = false;
        std::uint32_t next_connection = 0;
        Arrival next;
        sim::Queue<Arrival> arrivals;  // of which the program has not been called yet
        std::vector<Connection> connections;
        sim::Queue<std::pair<sim::Time, sim::RequestId>> patience;
        std::map<sim::RequestId, Request> requests;
        std::map<std::pair<sim::Time, std::uint64_t>, std::uint32_t> thinking;  // connections, by when they go on
        std::uint64_t next_thought = 0;
        std::map<SocketId, std::uint32_t> by_socket;
        template <class Archive>
        void fields(Archive& archive) {
            archive(running, connections, by_socket, requests, patience, thinking, next_thought, arrivals, next,
                    has_next, next_connection);
        }
    };
    static constexpr std::size_t most_outstanding = 65'536;

    void opened(SocketId socket) override;
    void received(SocketId socket, std::uint64_t bytes, std::span<const std::byte> data) override;
    void room(SocketId socket) override;
    void closed(SocketId socket) override;
    void datagram(std::uint16_t port, const TcpEndpoint& from, std::span<const std::byte> payload) override;
    void called(std::uint64_t what) override;

    // sim::Foresight
    bool fetch_ahead(unsigned step) override;

    bool closed_loop() const { return settings_.arrivals.kind == ArrivalKind::closed; }
    unsigned processor_of(std::uint32_t connection) const { return settings_.processor + connection; }
    void begin(std::uint32_t connection, sim::Time begun, std::uint64_t bytes);
    void write_on(std::uint32_t number);
    void answered(const Message& message);
    void go_on(std::uint32_t connection);
    void expired();
    void out_of_patience();
    void schedule();
    void take_next();

    sim::WorkingSet needs_;  // first: it is in the cache line of the Foresight above
    Sockets& sockets_;
    SocketUserId user_;
    Settings settings_;
    sim::Timer timer_;
    sim::Timer patience_timer_;
    State state_;
    Arrivals arrivals_;
    sim::Random random_;
    sim::StateRegistration registration_;
};

}  // namespace models
