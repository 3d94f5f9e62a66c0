// Rows 13 and 24: round trips by virtual function and by the synthetic path, and a virtual function that is taken away
// and given back under load.
#include <algorithm>
#include <memory>

#include "models/validation/guest_rig.h"
#include "models/validation/validation_row.h"
#include "models/workload/peer_sockets.h"
#include "models/workload/request_client.h"
#include "models/workload/request_server.h"
#include "models/workload/stream_flow.h"

namespace models {

namespace {

using sim::Time;

struct RoundTrip {
    std::int64_t least = 0;  // nanoseconds
    std::int64_t mean = 0;
    std::int64_t p95 = 0;
};

// One small message after the other over TCP, as lagscope sends them.
RoundTrip round_trip(const GuestRigConfig& config) {
    GuestRig rig(config);
    rig.start();
    const std::uint16_t port = 6001;
    RequestServer server(rig.simulation().scope("server"), rig.stack(1), {.port = port, .service = Time::zero()});
    RequestClient::Settings settings;
    settings.to = {GuestRig::address(1), port};
    settings.request = settings.answer = Choice(least_message_bytes);
    RequestClient client(rig.simulation().scope("client"), rig.stack(0), settings);
    client.start();
    rig.run_for(Time::ms(10));
    client.reset();
    rig.run_for(Time::ms(50));
    const sim::Histogram& all = client.latency();
    return {static_cast<std::int64_t>(all.min() / 1000), static_cast<std::int64_t>(all.mean() / 1000),
            static_cast<std::int64_t>(all.percentile(95) / 1000)};
}

}  // namespace

void add_round_trip_rows(ValidationRows& rows) {
    const char* vf_source = "LISA, pull request 1396: Linux 5.8 on Azure, F72s_v2, sockets that poll";
    const char* interrupt_source = "LISA, pull request 968: Linux 5.3 on Azure, DS15_v2";
    const char* synthetic_source = "LISA, pull request 152: Linux 4.15 on Azure";
    GuestRigConfig config;
    config.path = NetworkPath::paired;
    config.polling = true;
    const RoundTrip vf = round_trip(config);
    config.polling = false;
    const RoundTrip interrupts = round_trip(config);
    config.path = NetworkPath::synthetic;
    const RoundTrip synthetic = round_trip(config);
    const auto add = [&](const char* what, std::int64_t published, std::int64_t simulated, const char* source) {
        rows.push_back({"13", what, "us", published, simulated, percent_of(published, 20), Basis::predicted, source});
    };
    add("virtual function, least", 27'000, vf.least, vf_source);
    add("virtual function, average", 35'385, vf.mean, vf_source);
    add("virtual function, 95th percentile", 51'000, vf.p95, vf_source);
    add("virtual function with interrupts, least", 46'968, interrupts.least, interrupt_source);
    add("synthetic, least", 160'933, synthetic.least, synthetic_source);
    add("synthetic, average", 246'675, synthetic.mean, synthetic_source);
    const auto add_ratio = [&](const char* what, std::int64_t published, std::int64_t least) {
        const std::int64_t ratio = std::int64_t{160'933'000} / published;
        rows.push_back({"13", what, "times", ratio, synthetic.least * 1000 / std::max<std::int64_t>(least, 1),
                        percent_of(ratio, 15), Basis::predicted, synthetic_source});
    };
    add_ratio("synthetic against virtual function, least", 27'000, vf.least);
    add_ratio("synthetic against virtual function with interrupts, least", 46'968, interrupts.least);
}

// --- Row 24 ------------------------------------------------------------------------------------------------------

namespace {

// A guest that sends as fast as it can.
class Sending {
public:
    explicit Sending(NetworkPath path) : rig_(config(path)) {
        rig_.start();
        far_ = std::make_unique<PeerSockets>(rig_.simulation().scope("far"), rig_.peer().peer());
        flow_ = std::make_unique<StreamFlow>(rig_.simulation().scope("flow"), rig_.stack(0), *far_,
                                             StreamFlow::Settings{.to = {GuestRig::peer_address(), 6002}});
        flow_->start();
        rig_.run_for(Time::ms(20));
    }
    GuestRig& rig() { return rig_; }
    StreamFlow& flow() { return *flow_; }
    std::int64_t megabits() {
        flow_->reset();
        rig_.run_for(Time::ms(10));
        return static_cast<std::int64_t>(flow_->throughput().bits_per_second() / 1'000'000);
    }

private:
    static GuestRigConfig config(NetworkPath path) {
        GuestRigConfig config;
        config.guests = 1;
        config.vps = 2;
        config.path = path;
        return config;
    }
    GuestRig rig_;
    std::unique_ptr<PeerSockets> far_;
    std::unique_ptr<StreamFlow> flow_;
};

}  // namespace

void add_revocation_rows(ValidationRows& rows) {
    const std::int64_t synthetic = Sending(NetworkPath::synthetic).megabits();
    Sending guest(NetworkPath::paired);
    const std::int64_t before = guest.megabits();
    guest.rig().pairing(0).revoke();
    guest.rig().run_for(Time::ms(120));  // until the window is as large again as it was
    const bool gone = guest.rig().driver(0).path() == "synthetic";
    const std::int64_t without = guest.megabits();
    guest.rig().pairing(0).offer();
    guest.rig().run_for(Time::ms(30));
    const std::int64_t after = guest.megabits();
    const auto add = [&](const char* what, const char* unit, std::int64_t published, std::int64_t simulated,
                         std::int64_t tolerance) {
        rows.push_back({"24", what, unit, published, simulated, tolerance, Basis::predicted,
                        "LISA, pull request 531: 3.10 M frames/s before, 3.08 M after; connections live on"});
    };
    add("rate when the function is back, of that before", "%", 100'000, after * 100'000 / before, 5'000);
    add("rate without it, of the synthetic path's", "%", 100'000, gone ? without * 100'000 / synthetic : 0, 5'000);
    const auto open = static_cast<std::int64_t>(guest.flow().open_connections());
    add("connections that broke", "of 1", 0, (1 - open) * 1000, 0);
}

}  // namespace models
