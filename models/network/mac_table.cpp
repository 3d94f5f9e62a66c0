#include "models/network/mac_table.h"

#include <algorithm>

namespace models {

MacTable::Learnt MacTable::learn(const NetworkId& network, const MacAddress& mac, PortId port, sim::Time now) {
    const Key key{network, mac};
    if (const auto place = entries_.find(key); place != entries_.end()) {
        Entry& entry = place->second;
        const bool moved = entry.port != port;
        if (moved) {
            if (behind_[port] >= settings_.per_port) return Learnt::full;
            uncount(entry.port);
            ++behind_[port];
            entry.port = port;
        }
        entry.seen = now;
        return moved ? Learnt::moved : Learnt::known;
    }
    if (entries_.size() >= settings_.capacity || behind_[port] >= settings_.per_port) remove_aged(now);
    if (entries_.size() >= settings_.capacity || behind_[port] >= settings_.per_port) return Learnt::full;
    entries_[key] = {port, now};
    ++behind_[port];
    return Learnt::added;
}

PortId MacTable::find(const NetworkId& network, const MacAddress& mac, sim::Time now) const {
    const auto place = entries_.find(Key{network, mac});
    return place == entries_.end() || aged(place->second, now) ? no_port : place->second.port;
}

void MacTable::forget(PortId port) {
    entries_.erase_if([port](const auto& item) { return item.second.port == port; });
    behind_.erase(port);
}

void MacTable::remove_aged(sim::Time now) {
    // A table kept full by a flood of addresses is searched only when something can have aged.
    if (now - oldest_ < settings_.age) return;
    oldest_ = now;
    for (auto place = entries_.begin(); place != entries_.end();) {
        if (aged(place->second, now)) {
            uncount(place->second.port);
            place = entries_.erase(place);
        } else {
            oldest_ = std::min(oldest_, place->second.seen);
            ++place;
        }
    }
}

void MacTable::uncount(PortId port) {
    if (--behind_[port] == 0) behind_.erase(port);
}

}  // namespace models
