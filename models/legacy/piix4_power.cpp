#include "models/legacy/piix4_power.h"

#include <memory>
#include <string_view>

#include "sim/bits.h"

namespace models {

namespace {

constexpr std::uint16_t io_base_register = 0x40, io_enable_register = 0x80;
constexpr unsigned register_range = 16;
constexpr std::uint16_t system_reset_port = 0x92, keyboard_port = 0x64, reset_control_port = 0xcf9;

// PM1 bits (ACPI 6.4, 4.8.3)
constexpr std::uint16_t timer_status = 1u << 0, button_status = 1u << 8;
constexpr std::uint16_t enable_bits = timer_status | 1u << 5 | button_status | 1u << 10;
constexpr std::uint16_t sci_enable = 1u << 0, sleep_enable = 1u << 13, control_bits = 0x1c03;
constexpr unsigned sleep_type_low = 10, sleep_type_high = 12;
constexpr unsigned timer_top_bit = 23;  // 24 bits count for the carry

std::shared_ptr<const pci::FunctionLayout> power_layout() {
    static const auto shared = [] {
        pci::Identity who;
        who.vendor = 0x8086;
        who.device = 0x7113;
        who.revision = 0x02;
        who.class_of = pci::class_of::other_bridge;
        who.interrupt_pin = 1;
        who.status = pci::status::devsel_medium | pci::status::fast_back_to_back;
        who.command_writable = pci::command::io_space;
        pci::FunctionLayout made = pci::device_function(who, {}, pci::legacy_config_bytes);
        const pci::ConfigRegister rows[] = {
            {"PMBA", io_base_register, 4, 1, 0xffc0},
            {"CNTA", 0x44, 4, 0, 0xffffffff},
            {"CNTB", 0x48, 4, 0, 0xffffffff},
            {"GPICTL", 0x4c, 4, 0, 0xffffffff},
            {"DEVACTA", 0x54, 4, 0, 0xffffffff},
            {"DEVACTB", 0x58, 4, 0, 0xffffffff},
            {"DEVRESA", 0x5c, 4, 0, 0xffffffff},
            {"DEVRESB", 0x60, 4, 0, 0xffffffff},
            {"DEVRESC", 0x64, 4, 0, 0xffffffff},
            {"DEVRESD", 0x50, 4, 0, 0xffffffff},
            {"PMREGMISC", io_enable_register, 1, 0, 1},
            {"SMBBA", 0x90, 4, 1},
            {"SMBHSTCFG", 0xd2, 1},
        };
        made.config.add(rows);
        return std::make_shared<const pci::FunctionLayout>(std::move(made));
    }();
    return shared;
}

template <class Word>
std::uint8_t byte_of(Word word, unsigned byte) {
    return static_cast<std::uint8_t>(word >> 8 * byte);
}

}  // namespace

struct Piix4Power::Row {
    std::string_view name;
    unsigned offset;
    unsigned width_bytes;
    std::uint8_t (Piix4Power::*read)(unsigned byte);
    void (Piix4Power::*write)(unsigned byte, std::uint8_t value);
};

const Piix4Power::Row* Piix4Power::find(unsigned offset) {
    using P = Piix4Power;
    static constexpr Row table[] = {
        {"PMSTS", status_offset, 2, &P::read_status, &P::write_status},
        {"PMEN", enable_offset, 2, &P::read_enable, &P::write_enable},
        {"PMCNTRL", control_offset, 2, &P::read_control, &P::write_control},
        {"PMTMR", timer_offset, 4, &P::read_timer, nullptr},
        {"GPSTS", gpe_status_offset, 2, &P::read_gpe_status, &P::write_gpe_status},
        {"GPEN", gpe_enable_offset, 2, &P::read_gpe_enable, &P::write_gpe_enable},
        {"reset", reset_offset, 1, nullptr, &P::write_reset},
    };
    for (const Row& row : table) {
        if (offset >= row.offset && offset < row.offset + row.width_bytes) return &row;
    }
    return nullptr;
}

Piix4Power::Piix4Power(const sim::Scope& scope, pci::Slot slot, InterruptLine& sci, PowerEvents& events)
    : scope_(scope),
      sci_(sci),
      events_(events),
      function_(scope, std::move(slot), power_layout(), *this),
      carry_timer_(scope.agenda(), scope.path() + ".carry", [this] {
          state_.status |= timer_status;
          update_sci();
          schedule_carry();
      }) {
    function_.config().listen(io_base_register, 4, *this);
    function_.config().listen(io_enable_register, 1, *this);
}

void Piix4Power::connect(IoPortMap& ports) {
    ports.claim(command_port, 2, 1, *this);
    ports.claim(system_reset_port, 1, 1, *this);
    ports.claim(keyboard_port, 1, 1, *this);
}

void Piix4Power::function_reset(pci::ResetKind) {
    const std::uint64_t presses = state_.button_presses;
    state_ = {};
    state_.button_presses = presses;
    carry_timer_.disarm();
    update_sci();
}

void Piix4Power::config_written(std::uint16_t, std::uint32_t, std::uint32_t) {
    update_ports();
}

void Piix4Power::update_ports() {
    const pci::ConfigSpace& config = function_.config();
    const std::uint32_t at = config.get(io_base_register, 4) & 0xffc0;
    const bool on = (config.get(io_enable_register, 1) & 1) != 0 && function_.present() && at != 0;
    std::vector<pci::Range> ranges;
    if (on) ranges.push_back({pci::Space::io, at, at + registers - 1, register_range, this});
    function_.set_further_ranges(std::move(ranges));
}

// Registers are reached by byte: word and dword accesses may lie across two of them.
std::optional<std::uint64_t> Piix4Power::read_range(pci::Space, unsigned, std::uint64_t address, unsigned size) {
    std::uint64_t value = 0;
    for (unsigned i = 0; i < size; ++i) {
        const auto offset = static_cast<unsigned>((address + i) % registers);
        const Row* row = find(offset);
        const std::uint8_t byte = row != nullptr && row->read != nullptr ? (this->*row->read)(offset - row->offset) : 0;
        value |= std::uint64_t{byte} << 8 * i;
    }
    return value;
}

bool Piix4Power::write_range(pci::Space, unsigned, std::uint64_t address, unsigned size, std::uint64_t value) {
    for (unsigned i = 0; i < size; ++i) {
        const auto offset = static_cast<unsigned>((address + i) % registers);
        const Row* row = find(offset);
        if (row != nullptr && row->write != nullptr) {
            (this->*row->write)(offset - row->offset, static_cast<std::uint8_t>(value >> 8 * i));
        }
    }
    return true;
}

std::uint8_t Piix4Power::read_status(unsigned byte) {
    return byte_of(state_.status, byte);
}
std::uint8_t Piix4Power::read_enable(unsigned byte) {
    return byte_of(state_.enable, byte);
}
std::uint8_t Piix4Power::read_control(unsigned byte) {
    return byte_of(state_.control, byte);
}
std::uint8_t Piix4Power::read_timer(unsigned byte) {
    return byte_of(timer_value(), byte);
}
std::uint8_t Piix4Power::read_gpe_status(unsigned byte) {
    return byte_of(state_.gpe_status, byte);
}
std::uint8_t Piix4Power::read_gpe_enable(unsigned byte) {
    return byte_of(state_.gpe_enable, byte);
}

void Piix4Power::write_status(unsigned byte, std::uint8_t value) {
    state_.status &= static_cast<std::uint16_t>(~(value << 8 * byte));
    update_sci();
}

void Piix4Power::write_enable(unsigned byte, std::uint8_t value) {
    const auto merged = sim::with_bits(state_.enable, 8 * byte + 7, 8 * byte, value);
    state_.enable = static_cast<std::uint16_t>(merged & enable_bits);
    schedule_carry();
    update_sci();
}

// The sleep enable bit acts and is not stored.
void Piix4Power::write_control(unsigned byte, std::uint8_t value) {
    const auto merged = sim::with_bits(state_.control, 8 * byte + 7, 8 * byte, value);
    state_.control = static_cast<std::uint16_t>(merged & control_bits);
    if (byte == 1 && (merged & sleep_enable) != 0) {
        scope_.trace("sleep", merged);
        if (sim::bits(merged, sleep_type_high, sleep_type_low) == s5_sleep_type) return events_.power_off();
    }
    update_sci();
}

void Piix4Power::write_gpe_status(unsigned byte, std::uint8_t value) {
    state_.gpe_status &= static_cast<std::uint16_t>(~(value << 8 * byte));
    update_sci();
}

void Piix4Power::write_gpe_enable(unsigned byte, std::uint8_t value) {
    state_.gpe_enable = static_cast<std::uint16_t>(sim::with_bits(state_.gpe_enable, 8 * byte + 7, 8 * byte, value));
    update_sci();
}

void Piix4Power::write_reset(unsigned, std::uint8_t value) {
    if (value == reset_value) events_.reset_requested(ResetCause::reset_register);
}

std::uint32_t Piix4Power::read_port(std::uint16_t port, unsigned) {
    switch (port) {
        case command_port:
            return state_.command;
        case command_port + 1:
            return state_.command_status;
        case system_reset_port:
            return state_.fast_a20;
        case reset_control_port:
            return state_.reset_control;
        default:
            return 0xff;  // there is no keyboard controller
    }
}

void Piix4Power::write_port(std::uint16_t port, unsigned, std::uint32_t wide) {
    const auto value = static_cast<std::uint8_t>(wide);
    switch (port) {
        case command_port:
            // What firmware's SMI handler would do for an operating system that asks for ACPI.
            state_.command = value;
            if (value == acpi_enable) state_.control |= sci_enable;
            if (value == acpi_disable) state_.control &= static_cast<std::uint16_t>(~sci_enable);
            return update_sci();
        case command_port + 1:
            state_.command_status = value;
            return;
        case system_reset_port:
            state_.fast_a20 = value & 0x02;
            if ((value & 1) != 0) events_.reset_requested(ResetCause::reset_control);
            return;
        case keyboard_port:
            if (value == 0xfe) events_.reset_requested(ResetCause::keyboard_controller);
            return;
        case reset_control_port:
            return write_reset_control(value);
        default:
            return;
    }
}

// The machine resets when bit 2 goes from 0 to 1 (82371AB, 4.7.4).
void Piix4Power::write_reset_control(std::uint8_t value) {
    const bool was_set = sim::bit(state_.reset_control, 2);
    state_.reset_control = value & 0x06;
    if (!was_set && sim::bit(value, 2)) events_.reset_requested(ResetCause::reset_control);
}

std::uint32_t Piix4Power::timer_value() const {
    return static_cast<std::uint32_t>(sim::time_to_cycles(scope_.now(), timer_hz)) & ((2u << timer_top_bit) - 1);
}

// The timer's status bit is set whenever its top bit changes (ACPI 6.4, 4.8.2.1).
void Piix4Power::schedule_carry() {
    if ((state_.enable & timer_status) == 0) return carry_timer_.disarm();
    const std::uint64_t ticks = sim::time_to_cycles(scope_.now(), timer_hz);
    carry_timer_.arm(sim::first_time_of_cycle(((ticks >> timer_top_bit) + 1) << timer_top_bit, timer_hz));
}

void Piix4Power::press_power_button() {
    ++state_.button_presses;
    state_.status |= button_status;
    scope_.trace("power_button", state_.button_presses);
    update_sci();
}

void Piix4Power::update_sci() {
    const bool wanted =
        (state_.status & state_.enable & enable_bits) != 0 || (state_.gpe_status & state_.gpe_enable) != 0;
    sci_.set(wanted && (state_.control & sci_enable) != 0);
}

}  // namespace models
