#include "python/machine.h"

#include "models/host_networks.h"
#include "python/interrupt.h"
#include "sim/check.h"

namespace python {

models::Host& Machine::create_host(const models::HostConfig& config) {
    if (host_) throw sim::UserError("a scenario has one host; this is the second vg.Host");
    host_ = make_host_(simulation_, config);
    if (!capture_folder_.empty()) host_->networks().captures().into(capture_folder_);
    if (progress_.wanted()) {
        host_->set_progress([this](sim::Time now, std::uint64_t instructions) { progress_.show(now, instructions); });
    }
    return *host_;
}

models::Host& Machine::host() {
    if (!host_) throw sim::UserError("the scenario has no host; make one with vg.Host(...) before main");
    return *host_;
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
    if (host_ && !capture_folder_.empty()) host_->networks().captures().flush();
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
