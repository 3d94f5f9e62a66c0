#include "models/power_control.h"

#include "sim/bits.h"

namespace models {

void PowerControl::connect(IoPortMap& ports) {
    for (const std::uint16_t port :
         {sleep_control_port, sleep_status_port, reset_port, keyboard_port, reset_control_port}) {
        ports.claim(port, 1, 1, *this);
    }
}

std::uint32_t PowerControl::read_port(std::uint16_t port, unsigned) {
    switch (port) {
        case sleep_control_port:
            return state_.sleep_control & 0x1c;  // SLP_EN is write-only (table 4.22)
        case sleep_status_port:
            return 0;  // WAK_STS: nothing has woken this machine
        case reset_control_port:
            return state_.reset_control;
        default:
            return 0xff;  // there is no keyboard controller, and the reset register is write-only
    }
}

void PowerControl::write_port(std::uint16_t port, unsigned, std::uint32_t wide) {
    const auto value = static_cast<std::uint8_t>(wide);
    switch (port) {
        case sleep_control_port:
            write_sleep_control(value);
            break;
        case reset_port:
            if (value == reset_value) events_.reset_requested(ResetCause::reset_register);
            break;
        case keyboard_port:
            if (value == 0xfe) events_.reset_requested(ResetCause::keyboard_controller);
            break;
        case reset_control_port:
            write_reset_control(value);
            break;
        default:
            break;
    }
}

void PowerControl::write_sleep_control(std::uint8_t value) {
    state_.sleep_control = value;
    const auto sleep_type = static_cast<std::uint8_t>(sim::bits(value, 4, 2));
    const bool enable = sim::bit(value, 5);
    scope_.trace("sleep_control", value);
    if (enable && sleep_type == s5_sleep_type) events_.power_off();
}

// The chipset resets when bit 2 goes from 0 to 1 (Intel ICH, "RST_CNT").
void PowerControl::write_reset_control(std::uint8_t value) {
    const bool was_set = sim::bit(state_.reset_control, 2);
    state_.reset_control = value & 0x0e;
    if (!was_set && sim::bit(value, 2)) events_.reset_requested(ResetCause::reset_control);
}

void PowerControl::press_power_button() {
    ++state_.button_presses;
    scope_.trace("power_button", state_.button_presses);
    event_interrupt_.set(true);
    event_interrupt_.set(false);
}

}  // namespace models
