#include "vmbus/integration/heartbeat.h"

#include <array>

#include "vmbus/inband/bytes.h"

namespace vmbus {

namespace {

constexpr std::array heartbeat_versions{ic::Version{1, 0}, ic::Version{3, 0}};
// Sequence number (u64), state of the guest (u32), reserved.
constexpr std::size_t body_bytes = 40;

}  // namespace

Heartbeat::Heartbeat(const sim::Scope& scope, const ServiceHost& host, const Settings& settings,
                     HeartbeatListener* listener)
    : scope_(scope),
      settings_(settings),
      listener_(listener),
      missed_(scope.counter("missed", "beats", "not sent, because the one before is not answered")),
      wrong_(scope.counter("wrong_sequence", "answers", "with another number than the next one")),
      beat_(scope.agenda(), scope.path() + ".beat", [this] { beat(); }),
      loss_(scope.agenda(), scope.path() + ".loss", [this] { set_health(GuestHealth::lost); }),
      service_(scope, host, {ic::Type::heartbeat, interface_type::heartbeat, instance, heartbeat_versions}, *this),
      registration_(scope.register_state(*this)) {}

void Heartbeat::negotiated(ic::Version) {
    beat();
}

void Heartbeat::disconnected() {
    beat_.disarm();
    loss_.disarm();
    set_health(GuestHealth::no_contact);
}

void Heartbeat::beat() {
    beat_.arm_after(settings_.period);
    if (!service_.idle()) {
        ++missed_;
        return;
    }
    ByteBuilder body;
    body.u64(++state_.sequence).zeros(body_bytes - 8);
    service_.ask(0, body.take(), sim::Time::never());
}

void Heartbeat::answered(std::uint32_t, const ic::Answer& answer) {
    if (answer.outcome != RequestOutcome::answered) return;
    ByteReader body{answer.body};
    const std::uint64_t sequence = body.u64();
    const std::uint32_t application_state = body.u32();
    if (answer.status != ic::status::ok || sequence != state_.sequence + 1) {
        ++wrong_;
        return;
    }
    ++state_.answers;
    state_.last_answer = scope_.now();
    state_.application_state = application_state;
    loss_.arm_after(settings_.lost_after);
    set_health(GuestHealth::healthy);
}

void Heartbeat::set_health(GuestHealth health) {
    if (state_.health == health) return;
    state_.health = health;
    scope_.trace("heartbeat.health", static_cast<std::uint64_t>(health));
    if (listener_ != nullptr) listener_->health_changed(health);
}

}  // namespace vmbus
