// Operations of several kinds, each drawn by its weight: in a closed loop of so many at a time, or as they arrive. The
// kinds are workloads whose own arrivals are external; each measures its own, the mixture measures all of them.
#pragma once

#include <cstdint>
#include <vector>

#include "models/workload/arrivals.h"
#include "models/workload/choice.h"
#include "models/workload/workload.h"
#include "sim/agenda.h"

namespace models {

class Mixture final : public Workload, private WorkloadObserver {
public:
    struct Kind {
        Workload* workload = nullptr;
        std::uint64_t weight = 1;
    };
    struct Settings {
        std::vector<Kind> kinds;
        ArrivalSettings arrivals;
        std::uint32_t outstanding = 1;  // of a closed loop
    };
    Mixture(const sim::Scope& scope, const Settings& settings);

    void start() override;
    void stop() override;
    void reset() override;
    const sim::Histogram& latency() const override;
    Throughput throughput() const override;
    // Operations that were drawn, by kind.
    const std::vector<std::uint64_t>& drawn() const { return mix_.drawn; }

    template <class Archive>
    void fields(Archive& archive) {
        archive(state_, mix_, random_, arrivals_, timer_);
    }

private:
    struct Mix {
        bool running = false;
        std::uint32_t outstanding = 0;
        std::vector<std::uint64_t> drawn;
        template <class Archive>
        void fields(Archive& archive) {
            archive(running, outstanding, drawn);
        }
    };
    void operation_ended(Workload& workload) override;
    void draw();
    void expired();

    Settings settings_;
    Choice choice_;
    Mix mix_;
    sim::Random random_;
    Arrivals arrivals_;
    mutable sim::Histogram merged_;
    sim::Timer timer_;
    sim::StateRegistration registration_;
};

}  // namespace models
