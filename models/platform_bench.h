// Compares the agenda with SystemC's own event queue: the same timers, re-armed at random whenever they expire.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>
#include <vector>

namespace models {

struct AgendaBenchRow {
    std::string_view queue;  // "sim::Agenda", "sc_event" or "sc_event_queue"
    unsigned timers = 0;
    std::uint64_t events = 0;
    std::uint64_t ps_per_event = 0;  // of the computer's time
};

// Its SystemC modules must exist before anything has run under SystemC in this process: making one later is a
// sim::UserError.
class AgendaBench final {
public:
    explicit AgendaBench(std::vector<unsigned> timers = {16, 256, 4096});
    ~AgendaBench();
    AgendaBench(const AgendaBench&) = delete;
    AgendaBench& operator=(const AgendaBench&) = delete;

    // `events` expirations for each queue and number of timers. `clock_ns` reads the computer's clock: the simulated
    // world has none.
    std::vector<AgendaBenchRow> run(std::uint64_t events, const std::function<std::uint64_t()>& clock_ns);

private:
    struct SystemC;
    std::vector<unsigned> timers_;
    std::vector<std::unique_ptr<SystemC>> systemc_;
};

}  // namespace models
