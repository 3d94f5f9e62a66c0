#include "vmbus/integration/shutdown.h"

#include <array>

#include "vmbus/inband/bytes.h"

namespace vmbus {

namespace {

constexpr std::array shutdown_versions{ic::Version{1, 0}, ic::Version{3, 0}, ic::Version{3, 1}, ic::Version{3, 2}};

// Reason (u32), grace (u32), flags (u32), text. Linux answers only if the text has its full room.
constexpr std::size_t text_bytes = 2048;
constexpr std::uint32_t flag_force = 1;
constexpr std::uint32_t flag_restart = 2;
constexpr std::uint32_t flag_hibernate = 4;

std::uint32_t flags_of(const Shutdown::Request& request) {
    std::uint32_t flags = request.force ? flag_force : 0;
    if (request.kind == ShutdownKind::restart) flags |= flag_restart;
    if (request.kind == ShutdownKind::hibernate) flags |= flag_hibernate;
    return flags;
}

ic::Version first_version(ShutdownKind kind) {
    switch (kind) {
        case ShutdownKind::power_off:
            return {1, 0};
        case ShutdownKind::restart:
            return {3, 1};
        case ShutdownKind::hibernate:
            return {3, 2};
    }
    return {};
}

}  // namespace

Shutdown::Shutdown(const sim::Scope& scope, const ServiceHost& host, ShutdownListener* listener)
    : scope_(scope),
      listener_(listener),
      service_(scope, host, {ic::Type::shutdown, interface_type::shutdown, instance, shutdown_versions}, *this),
      registration_(scope.register_state(*this)) {}

void Shutdown::request(const Request& request, sim::Time timeout) {
    state_.accepted = false;
    const auto token = static_cast<std::uint32_t>(request.kind);
    if (ready() && version() < first_version(request.kind)) {
        return answered(token, {RequestOutcome::not_supported, 0, {}});
    }
    ByteBuilder body;
    body.u32(request.reason).u32(request.grace_seconds).u32(flags_of(request));
    body.field(as_bytes(request.text.substr(0, longest_text)), text_bytes);
    service_.ask(token, body.take(), timeout);
}

void Shutdown::answered(std::uint32_t token, const ic::Answer& answer) {
    state_.accepted = answer.ok();
    scope_.trace("shutdown.answer", token, static_cast<std::uint64_t>(answer.outcome), answer.status);
    if (listener_ != nullptr) {
        listener_->shutdown_answered(static_cast<ShutdownKind>(token), answer.outcome, answer.status);
    }
}

}  // namespace vmbus
