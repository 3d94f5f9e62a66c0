// A device whose engine asks and records, on a link to a host that records.
#pragma once

#include <string>

#include "pci/link.h"
#include "tests/pci/rig.h"

namespace pci_test {

struct RecordingEngine final : pci::DmaClient {
    struct Event {
        std::int64_t ps;
        std::string what;  // "read 5 ok 64", "sent 7 ok", "ready"
        bool operator==(const Event&) const = default;
    };
    explicit RecordingEngine(sim::Agenda& the_agenda) : agenda(the_agenda) {}

    static std::string name(pci::DmaStatus status) {
        switch (status) {
            case pci::DmaStatus::ok:
                return "ok";
            case pci::DmaStatus::unsupported:
                return "unsupported";
            case pci::DmaStatus::aborted:
                return "aborted";
            case pci::DmaStatus::not_sent:
                return "not_sent";
        }
        return "?";
    }
    void read_done(std::uint32_t cookie, pci::DmaStatus status, std::span<const std::byte> data) override {
        events.push_back({agenda.now().ps(),
                          "read " + std::to_string(cookie) + " " + name(status) + " " + std::to_string(data.size())});
        last.assign(data.begin(), data.end());
    }
    void write_sent(std::uint32_t cookie, pci::DmaStatus status) override {
        events.push_back({agenda.now().ps(), "sent " + std::to_string(cookie) + " " + name(status)});
    }
    void link_ready() override { events.push_back({agenda.now().ps(), "ready"}); }
    void woken() override { events.push_back({agenda.now().ps(), "woken"}); }

    sim::Agenda& agenda;
    std::vector<Event> events;
    std::vector<std::byte> last;
};

struct LinkRig : Rig {
    std::unique_ptr<RecordingDevice> dev;
    pci::FixedHostTiming timing;
    pci::Link link;
    RecordingEngine engine;
    pci::RequesterId who = id(0, 0);

    explicit LinkRig(const pci::LinkConfig& config = round_link(), sim::Time read_latency = sim::Time::ns(200))
        : dev(device(root.bus(), 0, pci::device_function(identity(), {}, pci::legacy_config_bytes))),
          timing(read_latency, sim::Time::zero()),
          link(simulation.scope("link"), root.bus(), timing, config),
          engine(simulation.agenda()) {
        link.connect(engine);
        set_config(who, pci::header::command, 2, pci::command::bus_master);
    }

    // 2.5 GT/s, 4 lanes, no DLLPs but skips of 4 in 1538 bytes: a byte takes 1002.607 ps.
    static pci::LinkConfig round_link() {
        pci::LinkConfig config;
        config.rate = {1, 4, 0, 0};
        config.flight = sim::Time::ns(100);
        return config;
    }
    pci::BusMaster& master() { return dev->function.master(); }
    void run_until(sim::Time end) { simulation.agenda().run_until(end); }
    void run() { run_until(simulation.agenda().now() + sim::Time::ms(1)); }
};

}  // namespace pci_test
