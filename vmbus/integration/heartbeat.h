// Heartbeat: the host asks every two seconds, the guest answers with the number raised by one.
#pragma once

#include <cstdint>

#include "vmbus/integration/ic_service.h"

namespace vmbus {

enum class GuestHealth : std::uint8_t {
    no_contact,  // its driver has not come up
    healthy,
    lost,  // it answered once and has stopped
};

class HeartbeatListener {
public:
    virtual void health_changed(GuestHealth health) = 0;

protected:
    ~HeartbeatListener() = default;
};

class Heartbeat final : private ic::User {
public:
    static constexpr Guid instance = guid("fd149e91-82e0-4a7d-afa6-2a4166cbd7c0");

    struct Settings {
        sim::Time period = sim::Time::s(2);
        // Without an answer for so long the guest counts as lost. The host's own rule is not published.
        sim::Time lost_after = sim::Time::s(10);
    };

    Heartbeat(const sim::Scope& scope, const ServiceHost& host, const Settings& settings,
              HeartbeatListener* listener = nullptr);

    GuestHealth health() const { return state_.health; }
    std::uint64_t beats() const { return state_.sequence; }
    std::uint64_t answers() const { return state_.answers; }
    sim::Time last_answer() const { return state_.last_answer; }
    // What the guest says of itself (0 unknown, 1 healthy, 2 critical, 3 stopped); Linux leaves it 0.
    std::uint32_t application_state() const { return state_.application_state; }
    ic::Phase phase() const { return service_.phase(); }
    ic::Version version() const { return service_.version(); }

    template <class Archive>
    void fields(Archive& archive) {
        archive(state_, beat_, loss_, service_);
    }

private:
    struct State {
        GuestHealth health = GuestHealth::no_contact;
        std::uint64_t sequence = 0;
        std::uint64_t answers = 0;
        sim::Time last_answer;
        std::uint32_t application_state = 0;

        bool operator==(const State&) const = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(health, sequence, answers, last_answer, application_state);
        }
    };

    void negotiated(ic::Version version) override;
    void answered(std::uint32_t token, const ic::Answer& answer) override;
    void disconnected() override;
    void beat();
    void set_health(GuestHealth health);

    sim::Scope scope_;
    Settings settings_;
    HeartbeatListener* listener_;
    State state_;
    sim::Counter& missed_;
    sim::Counter& wrong_;
    sim::Timer beat_;
    sim::Timer loss_;
    ic::Service service_;
    sim::StateRegistration registration_;
};

}  // namespace vmbus
