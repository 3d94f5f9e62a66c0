// Echo requests at an interval, and how long their answers took.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "models/network/addresses.h"
#include "sim/agenda.h"

namespace models {

class PingOutput {
public:
    virtual void send_echo_request(const IpAddress& target, std::uint16_t identifier, std::uint16_t sequence,
                                   std::uint16_t payload_bytes) = 0;

protected:
    ~PingOutput() = default;
};

class Pinger final {
public:
    Pinger(sim::Agenda& agenda, PingOutput& output);

    // Sends the first now. The answer is the number of the series.
    std::uint16_t start(const IpAddress& target, std::uint16_t count, sim::Time interval, std::uint16_t payload_bytes);
    void reply_arrived(const IpAddress& from, std::uint16_t identifier, std::uint16_t sequence);

    struct Series {
        IpAddress target;
        std::uint16_t count = 0;
        std::uint16_t sent = 0;
        std::uint16_t received = 0;
        std::uint16_t payload_bytes = 0;
        sim::Time interval;
        sim::Time next = sim::Time::never();
        std::vector<sim::Time> sent_at;
        std::vector<sim::Time> round_trips;  // by sequence number; never() without an answer

        template <class Archive>
        void fields(Archive& archive) {
            archive(target, count, sent, received, payload_bytes, interval, next, sent_at, round_trips);
        }
    };
    const Series* find(std::uint16_t id) const;

    template <class Archive>
    void fields(Archive& archive) {
        archive(series_, next_id_, timer_);
    }

private:
    void expired();
    void schedule();

    sim::Agenda& agenda_;
    PingOutput& output_;
    std::map<std::uint16_t, Series> series_;
    std::uint16_t next_id_ = 1;
    sim::Timer timer_;
};

}  // namespace models
