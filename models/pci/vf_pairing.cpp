#include "models/pci/vf_pairing.h"

#include <array>

#include "sim/check.h"

namespace models {

std::string_view VfPairing::name_of(Step step) {
    static constexpr std::array<std::string_view, 8> names{"associated", "offered",      "in_use",   "to_vf",
                                                           "revocation", "to_synthetic", "returned", "dissociated"};
    return names[static_cast<std::size_t>(step)];
}

VfPairing::VfPairing(const sim::Scope& scope, SyntheticNic& nic, AssignedFunction& function, VfSource& source,
                     std::uint32_t serial)
    : scope_(scope),
      nic_(nic),
      function_(function),
      source_(source),
      serial_(serial),
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
    note(Step::dissociated);
}

void VfPairing::switched(bool to_vf) {
    if (state_.on_vf == to_vf) return;
    state_.on_vf = to_vf;
    source_.steer_to_vf(to_vf);
    note(to_vf ? Step::to_vf : Step::to_synthetic);
}

}  // namespace models
