// A program that computes: a share of a processor's time, in each period. What a period has no time for is not made up
// for later.
#pragma once

#include <optional>

#include "models/workload/workload.h"
#include "sim/agenda.h"
#include "sim/processor.h"

namespace models {

class CpuLoad final : public Workload, private sim::Task {
public:
    struct Settings {
        std::uint32_t share_permille = 500;
        sim::Time period = sim::Time::ms(1);
        sim::Time slice = sim::Time::us(100);  // others on the processor get their turn after each
    };
    CpuLoad(const sim::Scope& scope, sim::Processor& processor, const Settings& settings);

    void start() override;
    void stop() override;
    // Another burst, as long as that of a period.
    [[nodiscard]] bool issue() override;
    // Computed since the last reset. Counted are bursts; the latency is of a burst, until it was done.
    sim::Time computed() const { return load_.computed; }
    void reset() override;

    template <class Archive>
    void fields(Archive& archive) {
        archive(state_, load_, timer_);
    }

private:
    struct Load {
        bool running = false;
        sim::Time left;
        sim::Time begun;
        sim::Time piece;
        sim::Time computed;
        template <class Archive>
        void fields(Archive& archive) {
            archive(running, left, begun, piece, computed);
        }
    };
    std::optional<sim::Time> begin() override;
    void finish() override;
    void account(sim::Account& account) const override { account.add("guest.program", load_.piece); }
    void period_begins();
    bool burst();

    Settings settings_;
    Load load_;
    sim::Timer timer_;
    sim::TaskSlot slot_;
    sim::StateRegistration registration_;
};

}  // namespace models
