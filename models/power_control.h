// How a guest without legacy power management turns itself off or on again: the sleep registers of a hardware-reduced
// ACPI machine (ACPI 6.4, 4.8.3.7), the reset register (4.8.3.6), and the two older ways that systems fall back to, the
// keyboard controller's pulse line and the chipset's reset control register. And the power button, as an edge on the
// interrupt of the generic event device (5.6.9).
#pragma once

#include <cstdint>

#include "models/interrupt_line.h"
#include "models/io_port_map.h"
#include "sim/scope.h"

namespace models {

enum class ResetCause : std::uint8_t {
    reset_register,
    keyboard_controller,  // 0xfe to port 0x64
    reset_control,        // port 0xcf9
};

class PowerEvents {
public:
    virtual void power_off() = 0;
    virtual void reset_requested(ResetCause cause) = 0;

protected:
    ~PowerEvents() = default;
};

class PowerControl final : public IoDevice {
public:
    static constexpr std::uint16_t sleep_control_port = 0x400;
    static constexpr std::uint16_t sleep_status_port = 0x401;
    static constexpr std::uint16_t reset_port = 0x433;
    static constexpr std::uint8_t reset_value = 1;
    static constexpr std::uint16_t keyboard_port = 0x64;
    static constexpr std::uint16_t reset_control_port = 0xcf9;
    static constexpr std::uint8_t s5_sleep_type = 5;  // what \_S5 in our DSDT says
    static constexpr std::uint32_t event_gsi = 9;     // of the generic event device

    PowerControl(const sim::Scope& scope, PowerEvents& events, InterruptLine& event_interrupt)
        : scope_(scope), events_(events), event_interrupt_(event_interrupt) {}

    // Claims its five ports.
    void connect(IoPortMap& ports);

    std::uint32_t read_port(std::uint16_t port, unsigned size) override;
    void write_port(std::uint16_t port, unsigned size, std::uint32_t value) override;

    // From the outside: somebody presses the button.
    void press_power_button();

    struct State {
        std::uint8_t sleep_control = 0;
        std::uint8_t reset_control = 0;
        std::uint64_t button_presses = 0;

        bool operator==(const State&) const = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(sleep_control, reset_control, button_presses);
        }
    };
    const State& state() const { return state_; }
    void reset() { state_ = {}; }
    template <class Archive>
    void fields(Archive& archive) {
        archive(state_);
    }

private:
    void write_sleep_control(std::uint8_t value);
    void write_reset_control(std::uint8_t value);

    sim::Scope scope_;
    PowerEvents& events_;
    InterruptLine& event_interrupt_;
    State state_;
};

}  // namespace models
