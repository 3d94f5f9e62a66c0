#define SC_INCLUDE_DYNAMIC_PROCESSES  // sc_spawn
#include "models/platform_bench.h"

#include <deque>
#include <string>
#include <systemc>

#include "sim/agenda.h"
#include "sim/check.h"
#include "sim/random.h"

namespace models {
namespace {

constexpr std::uint64_t longest_delay_ps = 1'000'000;

sim::Random delays() {
    return sim::Random{1, "bench.agenda"};
}
std::int64_t draw(sim::Random& random) {
    return static_cast<std::int64_t>(1 + random.below(longest_delay_ps));
}
sc_core::sc_time systemc_delay(sim::Random& random) {
    return sc_core::sc_time::from_value(static_cast<sc_dt::uint64>(draw(random)));
}

// The agenda side: timers in place, so that what is measured is the queue.
void run_agenda(unsigned timers, std::uint64_t events) {
    sim::Agenda agenda;
    sim::Random random = delays();
    std::deque<sim::Timer> all;
    for (unsigned i = 0; i < timers; ++i) {
        all.emplace_back(agenda, "t", [&all, &random, i] { all[i].arm_after(sim::Time::ps(draw(random))); });
        all.back().arm_after(sim::Time::ps(draw(random)));
    }
    for (std::uint64_t n = 0; n < events; ++n) (void)agenda.run_next();
}

}  // namespace

// One module per number of timers: an sc_event and a method for each timer, and an sc_event_queue that holds them all.
struct AgendaBench::SystemC final : sc_core::sc_module {
    SystemC(const sc_core::sc_module_name& module_name, unsigned timers)
        : sc_module(module_name), queue("queue"), single(timers) {
        for (std::size_t i = 0; i < single.size(); ++i) {
            sc_core::sc_spawn_options options;
            options.spawn_method();
            options.dont_initialize();
            options.set_sensitivity(&single[i]);
            sc_core::sc_spawn([this, i] { expired(i); }, ("t" + std::to_string(i)).c_str(), &options);
        }
        SC_HAS_PROCESS(SystemC);
        SC_METHOD(queue_expired);
        sensitive << queue;
        dont_initialize();
    }

    void run_single(std::uint64_t events) {
        random = delays();
        left = events;
        for (sc_core::sc_event& event : single) event.notify(systemc_delay(random));
        sc_core::sc_start();
        for (sc_core::sc_event& event : single) event.cancel();
    }
    void run_queue(std::uint64_t events) {
        random = delays();
        left = events;
        for (std::size_t i = 0; i < single.size(); ++i) queue.notify(systemc_delay(random));
        sc_core::sc_start();
        queue.cancel_all();
    }

    void expired(std::size_t i) {
        if (count_down()) single[i].notify(systemc_delay(random));
    }
    void queue_expired() {
        if (count_down()) queue.notify(systemc_delay(random));
    }
    bool count_down() {
        if (left == 0) return false;
        if (--left != 0) return true;
        sc_core::sc_pause();
        return false;
    }

    sc_core::sc_event_queue queue;
    std::deque<sc_core::sc_event> single;
    sim::Random random = delays();
    std::uint64_t left = 0;
};

AgendaBench::AgendaBench(std::vector<unsigned> timers) : timers_(std::move(timers)) {
    if (sc_core::sc_start_of_simulation_invoked()) {
        throw sim::UserError("bench agenda: something has run under SystemC already; run it in a process of its own");
    }
    for (const unsigned n : timers_) {
        systemc_.push_back(std::make_unique<SystemC>(sc_core::sc_gen_unique_name("bench_agenda"), n));
    }
}

AgendaBench::~AgendaBench() = default;

std::vector<AgendaBenchRow> AgendaBench::run(std::uint64_t events, const std::function<std::uint64_t()>& clock_ns) {
    if (events == 0) throw sim::UserError("bench agenda: give a number of events above 0");
    std::vector<AgendaBenchRow> rows;
    const auto measure = [&](std::string_view queue, unsigned timers, const auto& work) {
        const std::uint64_t begin = clock_ns();
        work();
        const std::uint64_t end = clock_ns();
        rows.push_back({queue, timers, events, (end - begin) * 1000 / events});
    };
    for (std::size_t i = 0; i < timers_.size(); ++i) {
        measure("sim::Agenda", timers_[i], [&] { run_agenda(timers_[i], events); });
        measure("sc_event", timers_[i], [&] { systemc_[i]->run_single(events); });
        measure("sc_event_queue", timers_[i], [&] { systemc_[i]->run_queue(events); });
    }
    return rows;
}

}  // namespace models
