// Datagrams from one host to another, at a rate, by a trace, or as fast as the sender can; sizes by integer weights.
// The latency of one is from the program that sends to the program that reads.
#pragma once

#include <cstdint>

#include "models/workload/arrivals.h"
#include "models/workload/choice.h"
#include "models/workload/request_id.h"
#include "models/workload/sockets.h"
#include "models/workload/workload.h"
#include "sim/agenda.h"
#include "sim/queue.h"

namespace models {

class DatagramFlow final : public Workload {
public:
    // A frame on a wire is that much longer than its payload: Ethernet, IPv4, UDP, check sequence.
    static constexpr std::uint64_t overhead_bytes = 14 + 20 + 8 + 4;

    struct Settings {
        TcpEndpoint to;
        std::uint16_t local_port = 30'000;
        Choice frame_bytes{1518};  // on the wire, with check sequence: 64 to 1518
        ArrivalSettings arrivals;  // closed: as fast as it goes
        unsigned processor = 0;    // of the sender
        unsigned receiver_processor = 0;
    };
    DatagramFlow(const sim::Scope& scope, Sockets& from, Sockets& to, const Settings& settings);

    void start() override;
    void stop() override;
    [[nodiscard]] bool issue() override;
    // Since the last reset, whatever became of them.
    std::uint64_t sent() const { return flow_.sent; }
    std::uint64_t lost() const { return flow_.lost; }

    void reset() override;

    template <class Archive>
    void fields(Archive& archive) {
        archive(state_, flow_, random_, arrivals_, timer_);
    }

private:
    struct Flow {
        bool running = false;
        bool blocked = false;
        std::uint64_t sent = 0;
        std::uint64_t lost = 0;
        // Under way, by number; one that has arrived has no time.
        std::uint64_t first_under_way = 1;
        sim::Queue<sim::Time> under_way;
        sim::Queue<Arrivals::Arrival> due;  // of which the program has not been called yet
        Arrivals::Arrival next;
        bool has_next = false;
        template <class Archive>
        void fields(Archive& archive) {
            archive(running, blocked, sent, lost, first_under_way, under_way, due, next, has_next);
        }
    };
    struct Sender final : SocketUser {
        explicit Sender(DatagramFlow& owner) : flow(owner) {}
        void datagram_room(std::uint16_t) override { flow.room(); }
        void called(std::uint64_t) override { flow.called(); }
        DatagramFlow& flow;
    };
    struct Receiver final : SocketUser {
        explicit Receiver(DatagramFlow& owner) : flow(owner) {}
        void datagram(std::uint16_t, const TcpEndpoint&, std::span<const std::byte> payload) override {
            flow.arrived(payload);
        }
        DatagramFlow& flow;
    };
    static constexpr std::size_t most_under_way = 65'536;
    static constexpr std::size_t most_due = 4096;

    bool send(sim::Time begun, std::uint64_t bytes);
    void room();
    void called();
    void arrived(std::span<const std::byte> payload);
    void expired();
    void take_next();

    Sockets& from_;
    Settings settings_;
    Sender sender_{*this};
    Receiver receiver_{*this};
    SocketUserId sender_user_;
    Flow flow_;
    sim::Random random_;
    Arrivals arrivals_;
    sim::Timer timer_;
    sim::StateRegistration registration_;
};

}  // namespace models
