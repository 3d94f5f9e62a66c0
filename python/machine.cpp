#include "python/machine.h"

#include <fmt/format.h>

#include "models/host_networks.h"
#include "python/interrupt.h"
#include "sim/check.h"

namespace python {

models::Host& Machine::create_host(const models::HostConfig& config) {
    for (const auto& host : hosts_) {
        const std::string& other = host->config().name;
        if (!config.name.empty() && !other.empty() && config.name != other) continue;
        if (config.name == other && !other.empty()) {
            throw sim::UserError(fmt::format("a scenario has one vg.Host named {}; this is the second", other));
        }
        throw sim::UserError("hosts of one scenario have names; give each vg.Host one, as name=\"a\"");
    }
    auto host = make_host_(simulation_, config);
    const std::string prefix = config.name.empty() ? std::string{} : config.name + "-";
    if (!capture_folder_.empty()) host->networks().captures().into(capture_folder_, prefix);
    if (!hosts_.empty()) {
        hosts_.front()->join(*host);
    } else if (progress_.wanted()) {
        host->set_progress([this](sim::Time now, std::uint64_t instructions) { progress_.show(now, instructions); });
    }
    return *hosts_.emplace_back(std::move(host));
}

models::Host& Machine::host() {
    if (hosts_.empty()) throw sim::UserError("the scenario has no host; make one with vg.Host(...) before main");
    return *hosts_.front();
}

std::uint64_t Machine::instructions() const {
    std::uint64_t sum = 0;
    for (const auto& host : hosts_) sum += host->instructions();
    return sum;
}

models::Host::Stopped Machine::run(sim::Time until, const std::function<bool()>& wake, sim::Time wake_time) {
    const Interruptible scope{host()};
    const auto stopped = host().run(until, wake, wake_time);
    progress_.clear();
    return stopped;
}

void Machine::write_trace(const std::string& path, const std::vector<std::string>& kinds) {
    trace_text_ = std::make_unique<TraceText>(path);
    simulation_.trace().add_sink(*trace_text_, kinds);
}

void Machine::write_perfetto(const std::string& path, const std::vector<std::string>& kinds) {
    trace_perfetto_ = std::make_unique<TracePerfetto>(path);
    simulation_.trace().add_sink(*trace_perfetto_, kinds);
}

void Machine::write_vcd(const std::string& path) {
    trace_vcd_ = std::make_unique<TraceVcd>(path);
    simulation_.trace().add_sink(*trace_vcd_, TraceVcd::kinds());
}

TraceText::Counts Machine::close_trace() {
    TraceText::Counts counts;
    if (!capture_folder_.empty()) {
        for (const auto& host : hosts_) host->networks().captures().flush();
    }
    if (trace_text_) {
        trace_text_->close();
        counts = trace_text_->counts();
    }
    if (trace_perfetto_) {
        trace_perfetto_->close();
        counts.insert(trace_perfetto_->counts().begin(), trace_perfetto_->counts().end());
    }
    if (trace_vcd_) trace_vcd_->close();
    return counts;
}

}  // namespace python
