// Time synchronization: tells the guest the time of day, together with the value of its reference counter at which it
// was that time. The time of day is a configured instant plus simulated time.
#pragma once

#include <cstdint>

#include "vmbus/integration/ic_service.h"

namespace vmbus {

// The partition's reference counter, in units of 100 ns.
class ReferenceClock {
public:
    virtual std::uint64_t reference_time() = 0;

protected:
    ~ReferenceClock() = default;
};

class TimeSync final : private ic::User {
public:
    static constexpr Guid instance = guid("2dd1ce17-079e-403c-b352-a1921ee207ee");
    // From 1601-01-01, where the protocol counts from, to 1970-01-01.
    static constexpr std::uint64_t unix_epoch_100ns = 116'444'736'000'000'000;

    struct Settings {
        std::int64_t start_unix_seconds = 0;  // the time of day at simulated time 0
        sim::Time sample_period = sim::Time::s(5);
    };

    TimeSync(const sim::Scope& scope, const ServiceHost& host, const Settings& settings, ReferenceClock& clock);

    // A sample that the guest must follow at once, as after negotiation; for after a pause.
    void sync();

    // The time of day now, in 100 ns since 1601.
    std::uint64_t time_of_day() const;
    std::uint64_t answers() const { return state_.answers; }
    ic::Phase phase() const { return service_.phase(); }
    ic::Version version() const { return service_.version(); }

    template <class Archive>
    void fields(Archive& archive) {
        archive(state_, sample_, service_);
    }

private:
    struct State {
        bool sync_due = false;
        std::uint64_t answers = 0;

        bool operator==(const State&) const = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(sync_due, answers);
        }
    };

    void negotiated(ic::Version version) override;
    void answered(std::uint32_t token, const ic::Answer& answer) override;
    void disconnected() override;
    void send(bool must_follow);

    sim::Scope scope_;
    Settings settings_;
    ReferenceClock& clock_;
    State state_;
    sim::Timer sample_;
    ic::Service service_;
    sim::StateRegistration registration_;
};

}  // namespace vmbus
