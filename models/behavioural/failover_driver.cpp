#include "models/behavioural/failover_driver.h"

#include <utility>

namespace models {

FailoverDriver::FailoverDriver(const sim::Scope& scope, GuestPlatform& platform, NetworkDriverUser& user,
                               const SyntheticDriver::Config& synthetic, const VfDriver::Config& vf)
    : scope_(scope),
      user_(user),
      synthetic_(scope.child("synthetic"), platform, synthetic_side_, synthetic),
      vf_(scope.child("vf"), platform, vf_side_, vf),
      registration_(scope.register_state(*this)) {
    synthetic_.set_notices(this);
    vf_.set_removal(this);
    vf_.needs(this, static_cast<std::size_t>(reinterpret_cast<const std::byte*>(&synthetic_) -
                                             reinterpret_cast<const std::byte*>(this)));
}

bool FailoverDriver::transmit(vmbus::OutgoingFrame&& frame) {
    const bool taken = state_.on_vf ? vf_.transmit(std::move(frame)) : synthetic_.transmit(std::move(frame));
    if (!taken) state_.refused = true;
    return taken;
}

void FailoverDriver::use(bool vf) {
    if (state_.on_vf == vf) return;
    state_.on_vf = vf;
    ++state_.switches;
    scope_.trace("data_path", vf ? 1 : 0);
    // The other one has room.
    if (std::exchange(state_.refused, false)) user_.room();
}

// The host is asked first, and what is sent goes by the function when it has answered; back it is the other way round.
void FailoverDriver::switch_if_due() {
    if (state_.switching != Switching::none) return;
    if (!synthetic_.is_up()) {
        // Nobody can be asked, and no traffic waits for the answer.
        if (std::exchange(state_.leaving, false)) vf_.let_go();
        return;
    }
    const bool wanted = state_.announced && vf_.is_up() && vf_.serial() == state_.serial && !state_.leaving;
    if (wanted == state_.on_vf) {
        if (state_.leaving && std::exchange(state_.leaving, false)) vf_.let_go();
        return;
    }
    state_.switching = wanted ? Switching::to_vf : Switching::to_synthetic;
    if (!wanted) use(false);
    synthetic_.switch_data_path(wanted);
}

void FailoverDriver::data_path_switched() {
    const Switching was = std::exchange(state_.switching, Switching::none);
    if (was == Switching::to_vf && vf_.is_up()) use(true);
    if (was == Switching::to_synthetic && std::exchange(state_.leaving, false)) vf_.let_go();
    switch_if_due();
}

void FailoverDriver::vf_changed(bool allocated, std::uint32_t serial) {
    state_.announced = allocated;
    if (allocated) state_.serial = serial;
    switch_if_due();
}

void FailoverDriver::leaving() {
    state_.leaving = true;
    switch_if_due();
}

void FailoverDriver::side_ready(const Side& side) {
    if (&side == &synthetic_side_) user_.ready();
    switch_if_due();
}

// A function that goes of itself takes its frames along; the host has moved the traffic back already.
void FailoverDriver::side_down(const Side& side) {
    if (&side == &synthetic_side_) {
        state_.switching = Switching::none;
        user_.down();
        return switch_if_due();
    }
    state_.leaving = false;
    use(false);
}

void FailoverDriver::side_room(const Side& side) {
    if ((&side == &vf_side_) != state_.on_vf) return;
    state_.refused = false;
    user_.room();
}

}  // namespace models
