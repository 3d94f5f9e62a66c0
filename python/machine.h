// The world of one run: the simulation, the host that the scenario builds in it, and where its trace goes.
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

    // One host per run; a second one is a UserError.
    models::Host& create_host(const models::HostConfig& config);
    models::Host& host();
    bool has_host() const { return host_ != nullptr; }

    models::Host::Stopped run(sim::Time until, const std::function<bool()>& wake, sim::Time wake_time);
    sim::Time now() const { return host_ ? host_->now() : sim::Time::zero(); }

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
    std::unique_ptr<models::Host> host_;
    // The latest one goes first, and all of them before the host.
    struct Parts : std::vector<std::shared_ptr<void>> {
        ~Parts() {
            while (!empty()) pop_back();
        }
    };
    Parts parts_;
};

}  // namespace python
