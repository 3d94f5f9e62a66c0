// The PIIX4's power management function (8086:7113) as a Generation 1 machine has it: ACPI's PM1 registers, timer and
// general-purpose events at a base that configuration space says, the SCI, the ports by which ACPI is switched on, and
// the ways to reset (82371AB, 290562, 3.4 and 7; ACPI 6.4, 4.8). Left out: SMI, the SMBus, device traps, throttling.
#pragma once

#include <cstdint>

#include "models/interrupt_line.h"
#include "models/io_port_map.h"
#include "models/power_control.h"
#include "pci/function.h"
#include "sim/agenda.h"
#include "sim/scope.h"

namespace models {

class Piix4Power final : public IoDevice,
                         private pci::FunctionModel,
                         private pci::RangeTarget,
                         private pci::ConfigListener {
public:
    static constexpr std::uint16_t base = 0x400;  // where firmware puts the registers
    static constexpr unsigned registers = 0x40;
    static constexpr unsigned status_offset = 0x00, enable_offset = 0x02, control_offset = 0x04, timer_offset = 0x08,
                              gpe_status_offset = 0x0c, gpe_enable_offset = 0x0e, reset_offset = 0x33;
    static constexpr std::uint8_t reset_value = 1;
    static constexpr std::uint16_t command_port = 0xb2;  // and the port after it, which only stores
    static constexpr std::uint8_t acpi_enable = 0xe1, acpi_disable = 0x1e;
    static constexpr std::uint8_t s5_sleep_type = 0;
    static constexpr unsigned sci_irq = 9;
    static constexpr std::uint64_t timer_hz = 3'579'545;

    Piix4Power(const sim::Scope& scope, pci::Slot slot, InterruptLine& sci, PowerEvents& events);
    Piix4Power(const Piix4Power&) = delete;

    // Ports 0xb2, 0xb3, 0x92 and 0x64. Of 0xcf8 to 0xcff the bus's owner hands on what is for 0xcf9.
    void connect(IoPortMap& ports);
    std::uint32_t read_port(std::uint16_t port, unsigned size) override;
    void write_port(std::uint16_t port, unsigned size, std::uint32_t value) override;

    void press_power_button();
    pci::Function& function() { return function_; }

    struct State {
        std::uint16_t status = 0;
        std::uint16_t enable = 0;
        std::uint16_t control = 0;
        std::uint16_t gpe_status = 0;
        std::uint16_t gpe_enable = 0;
        std::uint8_t command = 0;  // port 0xb2
        std::uint8_t command_status = 0;
        std::uint8_t reset_control = 0;  // port 0xcf9
        std::uint8_t fast_a20 = 0;       // port 0x92
        std::uint64_t button_presses = 0;

        bool operator==(const State&) const = default;
        template <class Archive>
        void fields(Archive& archive) {
            archive(status, enable, control, gpe_status, gpe_enable, command, command_status, reset_control, fast_a20,
                    button_presses);
        }
    };
    const State& state() const { return state_; }
    template <class Archive>
    void fields(Archive& archive) {
        archive(function_, state_, carry_timer_);
        if constexpr (Archive::reading) update_ports();
    }

private:
    struct Row;
    static const Row* find(unsigned offset);

    // pci
    std::uint64_t read_bar(unsigned, std::uint64_t, unsigned) override { return 0; }
    void write_bar(unsigned, std::uint64_t, unsigned, std::uint64_t) override {}
    void function_reset(pci::ResetKind kind) override;
    void command_changed() override { update_ports(); }
    void config_written(std::uint16_t offset, std::uint32_t before, std::uint32_t after) override;
    std::optional<std::uint64_t> read_range(pci::Space space, unsigned range, std::uint64_t address,
                                            unsigned size) override;
    bool write_range(pci::Space space, unsigned range, std::uint64_t address, unsigned size,
                     std::uint64_t value) override;

    // One handler per register, by byte.
    std::uint8_t read_status(unsigned byte);
    std::uint8_t read_enable(unsigned byte);
    std::uint8_t read_control(unsigned byte);
    std::uint8_t read_timer(unsigned byte);
    std::uint8_t read_gpe_status(unsigned byte);
    std::uint8_t read_gpe_enable(unsigned byte);
    void write_status(unsigned byte, std::uint8_t value);
    void write_enable(unsigned byte, std::uint8_t value);
    void write_control(unsigned byte, std::uint8_t value);
    void write_gpe_status(unsigned byte, std::uint8_t value);
    void write_gpe_enable(unsigned byte, std::uint8_t value);
    void write_reset(unsigned byte, std::uint8_t value);

    void write_reset_control(std::uint8_t value);
    std::uint32_t timer_value() const;
    void update_ports();
    void update_sci();
    void schedule_carry();

    sim::Scope scope_;
    InterruptLine& sci_;
    PowerEvents& events_;
    pci::Function function_;
    sim::Timer carry_timer_;  // the timer's top bit changes; armed while somebody wants to know
    State state_;
};

}  // namespace models
