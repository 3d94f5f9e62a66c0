#include "vmbus/integration/time_sync.h"

#include <array>

#include "vmbus/inband/bytes.h"

namespace vmbus {

namespace {

constexpr std::array time_sync_versions{ic::Version{1, 0}, ic::Version{3, 0}, ic::Version{4, 0}};
constexpr std::uint8_t flag_sync = 1;    // set the clock now
constexpr std::uint8_t flag_sample = 2;  // a hint

}  // namespace

TimeSync::TimeSync(const sim::Scope& scope, const ServiceHost& host, const Settings& settings, ReferenceClock& clock)
    : scope_(scope),
      settings_(settings),
      clock_(clock),
      sample_(scope.agenda(), scope.path() + ".sample", [this] { send(false); }),
      service_(scope, host, {ic::Type::time_sync, interface_type::time_sync, instance, time_sync_versions}, *this),
      registration_(scope.register_state(*this)) {}

std::uint64_t TimeSync::time_of_day() const {
    return unix_epoch_100ns + static_cast<std::uint64_t>(settings_.start_unix_seconds) * 10'000'000 +
           static_cast<std::uint64_t>(scope_.now() / sim::Time::ns(100));
}

void TimeSync::sync() {
    if (phase() != ic::Phase::ready) return;  // negotiation ends in one
    if (service_.idle()) return send(true);
    state_.sync_due = true;
}

void TimeSync::negotiated(ic::Version) {
    send(true);
}

void TimeSync::disconnected() {
    state_.sync_due = false;
    sample_.disarm();
}

void TimeSync::send(bool must_follow) {
    const std::uint8_t flags = must_follow ? flag_sync : flag_sample;
    ByteBuilder body;
    body.u64(time_of_day());
    if (version().major >= 4) {
        // Reference time, flags, leap indicator, stratum, reserved.
        body.u64(clock_.reference_time()).u8(flags).u8(0).u8(0).zeros(5);
    } else {
        // The guest's time and the round trip, which only the guest could know, flags, reserved.
        body.u64(0).u64(0).u8(flags).zeros(3);
    }
    sample_.disarm();
    service_.ask(must_follow, body.take(), sim::Time::never());
}

void TimeSync::answered(std::uint32_t, const ic::Answer& answer) {
    if (answer.outcome != RequestOutcome::answered) return;
    ++state_.answers;
    if (state_.sync_due) {
        state_.sync_due = false;
        return send(true);
    }
    sample_.arm_after(settings_.sample_period);
}

}  // namespace vmbus
