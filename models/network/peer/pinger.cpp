#include "models/network/peer/pinger.h"

#include <algorithm>

namespace models {

Pinger::Pinger(sim::Agenda& agenda, PingOutput& output)
    : agenda_(agenda), output_(output), timer_(agenda, "pinger", [this] { expired(); }) {}

std::uint16_t Pinger::start(const IpAddress& target, std::uint16_t count, sim::Time interval,
                            std::uint16_t payload_bytes) {
    const std::uint16_t id = next_id_++;
    Series& s = series_[id];
    s = {};
    s.target = target;
    s.count = count;
    s.payload_bytes = payload_bytes;
    s.interval = interval;
    s.next = count == 0 ? sim::Time::never() : agenda_.now();
    s.round_trips.assign(count, sim::Time::never());
    schedule();
    return id;
}

void Pinger::expired() {
    for (auto& [id, s] : series_) {
        if (s.next > agenda_.now()) continue;
        const std::uint16_t sequence = s.sent++;
        s.sent_at.push_back(agenda_.now());
        s.next = s.sent < s.count ? agenda_.now() + s.interval : sim::Time::never();
        output_.send_echo_request(s.target, id, sequence, s.payload_bytes);
    }
    schedule();
}

void Pinger::reply_arrived(const IpAddress& from, std::uint16_t identifier, std::uint16_t sequence) {
    const auto place = series_.find(identifier);
    if (place == series_.end()) return;
    Series& s = place->second;
    if (s.target != from || sequence >= s.sent || !s.round_trips[sequence].is_never()) return;
    s.round_trips[sequence] = agenda_.now() - s.sent_at[sequence];
    ++s.received;
}

const Pinger::Series* Pinger::find(std::uint16_t id) const {
    const auto place = series_.find(id);
    return place == series_.end() ? nullptr : &place->second;
}

void Pinger::schedule() {
    sim::Time next = sim::Time::never();
    for (const auto& [id, s] : series_) next = std::min(next, s.next);
    timer_.arm(next);
}

}  // namespace models
