// One run: the agenda, the trace, the statistics, the seed, and the list of all state that a checkpoint holds.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "sim/agenda.h"
#include "sim/archive.h"
#include "sim/journey.h"
#include "sim/random.h"
#include "sim/scope.h"
#include "sim/statistics.h"
#include "sim/trace.h"

namespace sim {

// Who has counts that are not kept up to date one by one: it sets its counters when somebody wants to see them.
class StatisticsSource {
public:
    virtual void update_statistics() = 0;

protected:
    ~StatisticsSource() = default;
};

class Simulation {
public:
    explicit Simulation(std::uint64_t seed = 1) : seed_(seed) {}
    Simulation(const Simulation&) = delete;
    Simulation& operator=(const Simulation&) = delete;

    Scope scope(std::string_view path) { return Scope{*this, path}; }

    Agenda& agenda() { return agenda_; }
    Trace& trace() { return trace_; }
    // Up to date.
    Statistics& statistics() {
        for (StatisticsSource* const source : sources_) source->update_statistics();
        return statistics_;
    }
    void add_source(StatisticsSource& source) { sources_.push_back(&source); }
    void remove_source(StatisticsSource& source) { std::erase(sources_, &source); }
    Journeys& journeys() { return journeys_; }
    std::uint64_t seed() const { return seed_; }

    // The whole machine as bytes. Restoring needs a machine built by the same scenario; anything else is a UserError.
    std::vector<std::byte> save();
    void restore(std::span<const std::byte> checkpoint);

private:
    friend class StateRegistration;
    friend class Scope;
    struct Registered {
        std::string path;
        std::function<void(Writer&)> save;
        std::function<void(Reader&)> restore;
    };

    std::uint64_t seed_;
    Agenda agenda_;
    Trace trace_;
    Statistics statistics_;
    std::vector<StatisticsSource*> sources_;
    Journeys journeys_{agenda_};
    std::map<std::uint64_t, Registered> states_;  // by order of registration
    std::uint64_t next_state_ = 0;
};

}  // namespace sim
