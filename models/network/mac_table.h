// Which port an address is behind, per network (a VLAN or a virtual subnet): the adapters' own addresses, and what was
// learnt from source addresses. Learnt entries age, and their number is bounded.
#pragma once

#include <cstdint>
#include <map>

#include "models/network/addresses.h"
#include "models/network/switch_settings.h"
#include "sim/flat_map.h"
#include "sim/time.h"

namespace models {

// A broadcast domain.
struct NetworkId {
    std::uint16_t vlan = 0;
    std::uint32_t virtual_subnet = 0;
    friend constexpr auto operator<=>(const NetworkId&, const NetworkId&) = default;
    template <class Archive>
    void fields(Archive& archive) {
        archive(vlan, virtual_subnet);
    }
};

struct MacTableSettings {
    std::size_t capacity = 4096;        // learnt entries in all
    std::size_t per_port = 1024;        // and behind one port
    sim::Time age = sim::Time::s(300);  // IEEE 802.1Q, table 8-6
};

class MacTable final {
public:
    explicit MacTable(const MacTableSettings& settings = {}) : settings_(settings) {}

    enum class Learnt : std::uint8_t { known, added, moved, full };
    Learnt learn(const NetworkId& network, const MacAddress& mac, PortId port, sim::Time now);
    // no_port if unknown or aged.
    PortId find(const NetworkId& network, const MacAddress& mac, sim::Time now) const;
    void forget(PortId port);
    std::size_t size() const { return entries_.size(); }

    template <class Archive>
    void fields(Archive& archive) {
        archive(entries_, behind_, oldest_);
    }

private:
    struct Key {
        NetworkId network;
        MacAddress mac;
        friend constexpr auto operator<=>(const Key&, const Key&) = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(network, mac);
        }
    };
    struct Entry {
        PortId port = no_port;
        sim::Time seen;
        template <class Archive>
        void fields(Archive& archive) {
            archive(port, seen);
        }
    };
    bool aged(const Entry& entry, sim::Time now) const { return now - entry.seen >= settings_.age; }
    void remove_aged(sim::Time now);
    void uncount(PortId port);

    MacTableSettings settings_;
    sim::FlatMap<Key, Entry> entries_;
    std::map<PortId, std::uint64_t> behind_;
    sim::Time oldest_;  // no entry was last seen before this
};

}  // namespace models
