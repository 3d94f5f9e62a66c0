// The world of one run: the simulation, the hosts that the scenario builds in it, and where its trace goes.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "models/host.h"
#include "python/command_line.h"
#include "python/progress.h"
#include "python/trace_perfetto.h"
#include "python/trace_text.h"
#include "python/trace_vcd.h"
#include "sim/simulation.h"

namespace python {

class Machine {
public:
    Machine(HostFactory make_host, std::uint64_t seed)
        : make_host_(make_host), simulation_(seed), scenario_(simulation_.scope("scenario")) {}

    // Of several each has a name of its own, else it is a UserError.
    models::Host& create_host(const models::HostConfig& config);
    // The first one, which runs the others along.
    models::Host& host();
    std::uint64_t instructions() const;

    models::Host::Stopped run(sim::Time until, const std::function<bool()>& wake, sim::Time wake_time);
    sim::Time now() const { return hosts_.empty() ? sim::Time::zero() : hosts_.front()->now(); }

    sim::Simulation& simulation() { return simulation_; }
    // What the scenario itself does, as part of the trace.
    const sim::Scope& scenario() const { return scenario_; }

    // Parts that a scenario has added to guests and hosts; they live as long as the run.
    template <class Part>
    Part& keep(std::unique_ptr<Part> part) {
        std::shared_ptr<Part> kept = std::move(part);
        parts_.push_back(kept);
        return *kept;
    }

    // The records of these kinds as text, or for a time line; and levels as signals.
    void write_trace(const std::string& path, const std::vector<std::string>& kinds);
    void write_perfetto(const std::string& path, const std::vector<std::string>& kinds);
    void write_vcd(const std::string& path);
    // Frames at the ports of virtual switches go to files there. Before the host is made.
    void capture_into(const std::string& folder) { capture_folder_ = folder; }
    // How many records of each kind were written; the files are complete.
    TraceText::Counts close_trace();

private:
    HostFactory make_host_;
    sim::Simulation simulation_;
    sim::Scope scenario_;
    std::unique_ptr<TraceText> trace_text_;
    std::unique_ptr<TracePerfetto> trace_perfetto_;
    std::unique_ptr<TraceVcd> trace_vcd_;
    std::string capture_folder_;
    Progress progress_;
    // What they hold of each other goes before the first of them does.
    struct Hosts : std::vector<std::unique_ptr<models::Host>> {
        ~Hosts() {
            for (const auto& host : *this) host->release();
            while (!empty()) pop_back();
        }
    };
    Hosts hosts_;
    // The latest one goes first, and all of them before the hosts.
    struct Parts : std::vector<std::shared_ptr<void>> {
        ~Parts() {
            while (!empty()) pop_back();
        }
    };
    Parts parts_;
};

}  // namespace python
