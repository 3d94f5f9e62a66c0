#include "models/network/neighbour_cache.h"

#include <algorithm>
#include <utility>

#include "models/network/byte_order.h"

namespace models {

NeighbourCache::NeighbourCache(sim::Agenda& agenda, NeighbourOutput& output, const NeighbourSettings& settings)
    : agenda_(agenda), output_(output), settings_(settings), timer_(agenda, "neighbours", [this] { expired(); }) {}

void NeighbourCache::send(const IpAddress& next_hop, Frame&& frame) {
    auto place = entries_.find(next_hop);
    if (place != entries_.end() && place->second.complete) {
        Entry& entry = place->second;
        if (agenda_.now() - entry.at < settings_.age) {
            store_mac(frame.bytes, 0, entry.mac);
            output_.send_resolved(std::move(frame));
            return;
        }
        entry = {};
    }
    // Outputs come last, when the entries are in order again.
    const bool ask_now = place == entries_.end() || place->second.asked == 0;
    std::vector<Frame> given_up;
    if (place == entries_.end()) {
        given_up = make_room();
        place = entries_.try_emplace(next_hop).first;
    }
    Entry& entry = place->second;
    if (entry.waiting.size() >= settings_.waiting_frames) {
        // The oldest goes, as RFC 1122 2.3.2.2 prefers.
        given_up.push_back(std::move(entry.waiting.front()));
        entry.waiting.erase(entry.waiting.begin());
    }
    entry.waiting.push_back(std::move(frame));
    if (ask_now) count_question(entry);
    schedule();
    for (Frame& one : given_up) output_.unresolved(std::move(one));
    if (ask_now) output_.solicit(next_hop);
}

void NeighbourCache::learn(const IpAddress& address, const MacAddress& mac) {
    if (mac.is_multicast() || mac.is_zero() || address.is_unspecified() || address.is_multicast()) return;
    auto place = entries_.find(address);
    std::vector<Frame> given_up;
    if (place == entries_.end()) {
        given_up = make_room();
        place = entries_.try_emplace(address).first;
    }
    std::vector<Frame> waiting = std::exchange(place->second.waiting, {});
    place->second = Entry{true, mac, 0, agenda_.now(), {}};
    schedule();
    for (Frame& frame : given_up) output_.unresolved(std::move(frame));
    for (Frame& frame : waiting) {
        store_mac(frame.bytes, 0, mac);
        output_.send_resolved(std::move(frame));
    }
}

void NeighbourCache::count_question(Entry& entry) {
    ++entry.asked;
    entry.at = agenda_.now() + settings_.retry;
}

void NeighbourCache::expired() {
    std::vector<IpAddress> questions;
    std::vector<Frame> given_up;
    for (auto place = entries_.begin(); place != entries_.end();) {
        Entry& entry = place->second;
        if (entry.complete || entry.at > agenda_.now()) {
            ++place;
        } else if (entry.asked < settings_.attempts) {
            count_question(entry);
            questions.push_back(place->first);
            ++place;
        } else {
            for (Frame& frame : entry.waiting) given_up.push_back(std::move(frame));
            place = entries_.erase(place);
        }
    }
    schedule();
    for (Frame& frame : given_up) output_.unresolved(std::move(frame));
    for (const IpAddress& address : questions) output_.solicit(address);
}

void NeighbourCache::schedule() {
    sim::Time next = sim::Time::never();
    for (const auto& [address, entry] : entries_) {
        if (!entry.complete) next = std::min(next, entry.at);
    }
    if (next.is_never()) {
        timer_.disarm();
    } else if (timer_.deadline() != next) {
        timer_.arm(next);
    }
}

std::vector<Frame> NeighbourCache::make_room() {
    if (entries_.size() < settings_.capacity) return {};
    auto oldest = entries_.begin();
    for (auto place = entries_.begin(); place != entries_.end(); ++place) {
        // Answers can be asked for again; a question has frames that wait for it.
        const auto rank = [](const Entry& entry) { return std::pair{!entry.complete, entry.at}; };
        if (rank(place->second) < rank(oldest->second)) oldest = place;
    }
    std::vector<Frame> waiting = std::move(oldest->second.waiting);
    entries_.erase(oldest);
    return waiting;
}

}  // namespace models
