#include "models/pci/vf_pairing.h"

#include <array>

#include "sim/check.h"

namespace models {

std::string_view VfPairing::name_of(Step step) {
    static constexpr std::array<std::string_view, 8> names{"associated", "offered",      "in_use",   "to_vf",
                                                           "revocation", "to_synthetic", "returned", "dissociated"};
    return names[static_cast<std::size_t>(step)];
}

FrameCounts& FrameCounts::operator+=(const FrameCounts& o) {
    received += o.received;
    received_bytes += o.received_bytes;
    sent += o.sent;
    sent_bytes += o.sent_bytes;
    return *this;
}

FrameCounts operator-(const FrameCounts& a, const FrameCounts& b) {
    return {a.received - b.received, a.received_bytes - b.received_bytes, a.sent - b.sent, a.sent_bytes - b.sent_bytes};
}

VfPairing::VfPairing(const sim::Scope& scope, SyntheticNic& nic, AssignedFunction& function, VfSource& source,
                     std::uint32_t serial)
    : scope_(scope),
      nic_(nic),
      function_(function),
      source_(source),
      serial_(serial),
      received_(scope.counter("received_frames", "frames", "that came by the virtual function, in all its stays")),
      received_bytes_(scope.counter("received_bytes", "bytes", "of these, with FCS")),
      sent_(scope.counter("sent_frames", "frames", "that went by the virtual function, in all its stays")),
      sent_bytes_(scope.counter("sent_bytes", "bytes", "of these, with FCS")),
      registration_(scope.register_state(*this)) {
    function_.set_owner(this);
    nic_.port().set_data_path(this);
}

VfPairing::~VfPairing() {
    function_.set_owner(nullptr);
    nic_.port().set_data_path(nullptr);
}

void VfPairing::note(Step step) {
    scope_.trace("vf", static_cast<std::uint64_t>(step), serial_);
    if (state_.moments.size() == most_moments) state_.moments.erase(state_.moments.begin());
    state_.moments.push_back({step, scope_.now()});
}

void VfPairing::offer() {
    if (given()) return;
    note(Step::associated);
    nic_.provider().associate_vf(serial_);
    HostFunction function = source_.start_vf();
    function.identity.serial = serial_;
    if (!function_.give(function)) {
        nic_.provider().revoke_vf();
        source_.stop_vf();
        throw sim::UserError("a virtual function is offered to a partition whose guest has ended");
    }
    state_.begin = source_.counts();
    note(Step::offered);
}

void VfPairing::revoke() {
    if (!given()) return;
    note(Step::revocation);
    function_.eject();
}

void VfPairing::withdraw() {
    if (!given()) return;
    note(Step::revocation);
    function_.take();
}

// Guests switch decoding off and on while they size BARs.
void VfPairing::function_in_use(AssignedFunction&) {
    if (state_.moments.back().step == Step::offered) note(Step::in_use);
}

// By surprise the traffic is still there: it comes back with the association's end.
void VfPairing::function_returned(AssignedFunction&) {
    note(Step::returned);
    nic_.provider().revoke_vf();
    source_.stop_vf();
    state_.ended += source_.counts() - state_.begin;
    note(Step::dissociated);
}

void VfPairing::update_statistics() {
    FrameCounts all = state_.ended;
    if (given()) all += source_.counts() - state_.begin;
    received_.set(all.received);
    received_bytes_.set(all.received_bytes);
    sent_.set(all.sent);
    sent_bytes_.set(all.sent_bytes);
}

void VfPairing::switched(bool to_vf) {
    if (state_.on_vf == to_vf) return;
    state_.on_vf = to_vf;
    source_.steer_to_vf(to_vf);
    note(to_vf ? Step::to_vf : Step::to_synthetic);
}

}  // namespace models
