// Shutdown: asks the guest's operating system to power off, restart or hibernate.
#pragma once

#include <cstdint>
#include <string_view>

#include "vmbus/integration/ic_service.h"

namespace vmbus {

enum class ShutdownKind : std::uint8_t { power_off, restart, hibernate };

class ShutdownListener {
public:
    // What the guest answered. It then goes on by its own means: power and reset are seen at the machine's registers.
    virtual void shutdown_answered(ShutdownKind kind, RequestOutcome outcome, std::uint32_t status) = 0;

protected:
    ~ShutdownListener() = default;
};

class Shutdown final : private ic::User {
public:
    static constexpr Guid instance = guid("b6650ff7-33bc-4840-8048-e0676786f393");
    static constexpr std::uint32_t reason_planned = 0x8000'0000;
    static constexpr std::size_t longest_text = 2047;

    struct Request {
        ShutdownKind kind = ShutdownKind::power_off;
        bool force = true;
        std::uint32_t reason = reason_planned;
        std::uint32_t grace_seconds = 0;  // shown to users of the guest
        std::string_view text;
    };

    Shutdown(const sim::Scope& scope, const ServiceHost& host, ShutdownListener* listener = nullptr);

    // Asked once the guest's driver is there. Restart needs version 3.1, hibernation 3.2.
    void request(const Request& request, sim::Time timeout = sim::Time::s(60));

    bool ready() const { return service_.phase() == ic::Phase::ready; }
    ic::Phase phase() const { return service_.phase(); }
    ic::Version version() const { return service_.version(); }
    // Of the last request; `answered` and status 0: the guest is on its way down.
    bool accepted() const { return state_.accepted; }

    template <class Archive>
    void fields(Archive& archive) {
        archive(state_, service_);
    }

private:
    struct State {
        bool accepted = false;

        bool operator==(const State&) const = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(accepted);
        }
    };

    void negotiated(ic::Version) override {}
    void answered(std::uint32_t token, const ic::Answer& answer) override;

    sim::Scope scope_;
    ShutdownListener* listener_;
    State state_;
    ic::Service service_;
    sim::StateRegistration registration_;
};

}  // namespace vmbus
