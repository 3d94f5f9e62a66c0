// A virtual switch with recording ports.
#pragma once

#include <deque>
#include <numeric>
#include <string>

#include "models/network/virtual_switch.h"
#include "tests/models/network_frames.h"

namespace network_test {

struct SwitchBench {
    explicit SwitchBench(const SwitchSettings& settings = {}, std::uint64_t seed = 1)
        : simulation(seed), vswitch(simulation.scope("switch"), settings) {}

    // Ports are numbered from 1 in the order of these calls; the owner of port n has the address 00:15:5d:00:00:0n.
    PortId add(PortSettings settings = {}) {
        const auto number = static_cast<unsigned>(ports.size() + 1);
        if (settings.kind != PortKind::external && settings.mac.is_zero()) settings.mac = mac(number);
        Inbox& inbox = ports.emplace_back(simulation);
        return vswitch.connect("p" + std::to_string(number), inbox, settings);
    }
    static MacAddress mac(unsigned number) { return MacAddress::from_u64(0x0015'5d00'0000 + number); }
    Inbox& at(PortId port) { return ports[port - 1]; }

    // What each port got, as numbers: "2: 1 1; 3: 1".
    std::string got() {
        std::string text;
        for (std::size_t i = 0; i < ports.size(); ++i) {
            const std::string numbers = ports[i].take();
            if (numbers.empty()) continue;
            if (!text.empty()) text += "; ";
            text += std::to_string(i + 1) + ": " + numbers;
        }
        return text;
    }
    // Drops by port and reason: "1 acl_denied 2; 3 too_long 1".
    std::string drops() {
        std::string text;
        for (std::size_t i = 0; i < ports.size(); ++i) {
            const auto port = static_cast<PortId>(i + 1);
            if (!vswitch.connected(port)) continue;
            for (std::size_t r = 0; r < drop_reasons; ++r) {
                const auto reason = static_cast<DropReason>(r);
                const std::uint64_t n = vswitch.dropped(port, reason);
                if (n == 0) continue;
                if (!text.empty()) text += "; ";
                text += std::to_string(port) + " " + name_of(reason) + " " + std::to_string(n);
            }
        }
        return text;
    }
    std::uint64_t counter(const std::string& name) const {
        const auto place = simulation.statistics().all().find(name);
        return place == simulation.statistics().all().end() ? 0 : place->second.counter.value();
    }
    void run_for(sim::Time time) { simulation.agenda().run_until(simulation.agenda().now() + time); }

    mutable sim::Simulation simulation;
    VirtualSwitch vswitch;
    std::deque<Inbox> ports;
};

}  // namespace network_test
