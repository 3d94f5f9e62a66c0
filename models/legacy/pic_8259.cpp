#include "models/legacy/pic_8259.h"

#include "sim/bits.h"
#include "sim/check.h"

namespace models {

namespace {
constexpr std::uint8_t icw1_start = 0x10, icw1_needs_icw4 = 0x01, icw1_single = 0x02, icw1_level = 0x08;
constexpr std::uint8_t icw4_auto_eoi = 0x02, icw4_fully_nested = 0x10;
// Inputs that are edge-triggered whatever the trigger register says: timer, keyboard, cascade, clock, coprocessor.
constexpr std::array<std::uint8_t, 2> always_edge = {0x07, 0x21};
constexpr unsigned spurious_input = 7;
}  // namespace

Pic8259::Pic8259(const sim::Scope& scope, InterruptLine& output) : scope_(scope), output_(output) {
    for (unsigned input = 0; input < inputs; ++input) {
        lines_[input].pic = this;
        lines_[input].input = input;
    }
}

void Pic8259::connect(IoPortMap& ports) {
    for (const std::uint16_t port : {first_port, second_port, trigger_port}) ports.claim(port, 2, 1, *this);
}

void Pic8259::reset() {
    State fresh;
    for (unsigned chip = 0; chip < 2; ++chip) fresh.chips[chip].lines = state_.chips[chip].lines;
    fresh.output = state_.output;
    state_ = fresh;
    update();
}

// 231468, "interrupt triggering": an edge is remembered until it is taken, a level while it lasts.
void Pic8259::set_input(Chip& chip, unsigned input, bool asserted) {
    const bool was = sim::bit(chip.lines, input);
    const auto mask = static_cast<std::uint8_t>(1u << input);
    chip.lines = static_cast<std::uint8_t>(asserted ? chip.lines | mask : chip.lines & ~mask);
    const bool by_level = (chip.icw1 & icw1_level) != 0 || (chip.level & mask) != 0;
    if (asserted && (by_level || !was)) chip.irr |= mask;
    if (!asserted) chip.irr &= static_cast<std::uint8_t>(~mask);
}

void Pic8259::set(unsigned input, bool asserted) {
    VG_CHECK(input < inputs && input != cascade_input);
    set_input(state_.chips[input / 8], input % 8, asserted);
    update();
}

// The highest request that nothing in service holds back, or -1. Priorities run round from the one after `lowest`.
int Pic8259::request(const Chip& chip) const {
    const auto pending = static_cast<std::uint8_t>(chip.irr & ~chip.imr);
    const bool first = &chip == &state_.chips[0];
    for (unsigned i = 1; i <= 8; ++i) {
        const unsigned input = (chip.lowest + i) % 8;
        const bool in_service = sim::bit(chip.isr, input);
        const bool asks = sim::bit(pending, input);
        if (chip.special_mask) {
            if (asks && !in_service) return static_cast<int>(input);
            continue;  // what is in service blocks itself alone
        }
        // Specially fully nested, the cascade's own input may interrupt itself: the other chip knows better.
        const bool nested = first && input == cascade_input && (chip.icw4 & icw4_fully_nested) != 0;
        if (in_service && !(nested && asks)) return -1;
        if (asks) return static_cast<int>(input);
    }
    return -1;
}

void Pic8259::update() {
    set_input(state_.chips[0], cascade_input, request(state_.chips[1]) >= 0);
    const bool output = request(state_.chips[0]) >= 0;
    if (output == state_.output) return;
    state_.output = output;
    output_.set(output);
}

std::uint8_t Pic8259::take(Chip& chip) {
    const int input = request(chip);
    if (input < 0) return spurious_input;
    const auto mask = static_cast<std::uint8_t>(1u << input);
    const bool by_level = (chip.icw1 & icw1_level) != 0 || (chip.level & mask) != 0;
    if (!by_level) chip.irr &= static_cast<std::uint8_t>(~mask);
    if ((chip.icw4 & icw4_auto_eoi) == 0) {
        chip.isr |= mask;
    } else if (chip.rotate_on_auto_eoi) {
        chip.lowest = static_cast<std::uint8_t>(input);
    }
    return static_cast<std::uint8_t>(input);
}

std::uint8_t Pic8259::acknowledge() {
    Chip* chip = &state_.chips[0];
    std::uint8_t input = take(*chip);
    if (input == cascade_input && request(state_.chips[1]) >= 0) {
        chip = &state_.chips[1];
        input = take(*chip);
    }
    update();
    const auto vector = static_cast<std::uint8_t>((chip->base & 0xf8) | input);
    scope_.trace("acknowledge", vector);
    return vector;
}

std::uint32_t Pic8259::read_port(std::uint16_t port, unsigned) {
    if ((port & ~1u) == trigger_port) return state_.chips[port & 1].level;
    Chip& chip = state_.chips[(port & 0x80) != 0 ? 1 : 0];
    if (chip.poll) {
        // Reading in poll mode is an acknowledge (231468, "poll command").
        chip.poll = false;
        const bool asks = request(chip) >= 0;
        const std::uint8_t input = take(chip);
        update();
        return static_cast<std::uint32_t>(asks ? 0x80 | input : 0);
    }
    return (port & 1) != 0 ? chip.imr : read_command(chip);
}

std::uint8_t Pic8259::read_command(Chip& chip) {
    return chip.read_isr ? chip.isr : chip.irr;
}

void Pic8259::write_port(std::uint16_t port, unsigned, std::uint32_t wide) {
    const auto value = static_cast<std::uint8_t>(wide);
    if ((port & ~1u) == trigger_port) {
        state_.chips[port & 1].level = static_cast<std::uint8_t>(value & ~always_edge[port & 1]);
    } else {
        Chip& chip = state_.chips[(port & 0x80) != 0 ? 1 : 0];
        if ((port & 1) != 0) {
            write_data(chip, value);
        } else {
            write_command(chip, value);
        }
    }
    update();
}

void Pic8259::write_command(Chip& chip, std::uint8_t value) {
    if ((value & icw1_start) != 0) {
        // Initialization forgets requests of edges, masks and modes ("initialization command words").
        const std::uint8_t lines = chip.lines, level = chip.level;
        chip = {};
        chip.lines = lines;
        chip.level = level;
        chip.icw1 = value;
        chip.awaited = 2;
        if ((value & icw1_level) != 0) chip.irr = lines;
        chip.irr |= lines & level;
    } else if ((value & 0x08) != 0) {
        write_ocw3(chip, value);
    } else {
        write_ocw2(chip, value);
    }
}

void Pic8259::write_data(Chip& chip, std::uint8_t value) {
    const bool wants_icw4 = (chip.icw1 & icw1_needs_icw4) != 0;
    switch (chip.awaited) {
        case 2:
            chip.base = value;
            chip.awaited = (chip.icw1 & icw1_single) != 0 ? (wants_icw4 ? 4 : 0) : 3;
            return;
        case 3:  // who is where in the cascade is soldered
            chip.awaited = wants_icw4 ? 4 : 0;
            return;
        case 4:
            chip.icw4 = value;
            chip.awaited = 0;
            return;
        default:
            chip.imr = value;
    }
}

// Bits 7:5: rotate, specific, end of interrupt.
void Pic8259::write_ocw2(Chip& chip, std::uint8_t value) {
    const auto named = static_cast<std::uint8_t>(value & 7);
    const unsigned what = value >> 5;
    const auto highest_in_service = [&chip]() -> int {
        for (unsigned i = 1; i <= 8; ++i) {
            const unsigned input = (chip.lowest + i) % 8;
            if (sim::bit(chip.isr, input)) return static_cast<int>(input);
        }
        return -1;
    };
    const auto end = [&chip](unsigned input) { chip.isr &= static_cast<std::uint8_t>(~(1u << input)); };
    switch (what) {
        case 0b000:
        case 0b100:
            chip.rotate_on_auto_eoi = what == 0b100;
            return;
        case 0b001:
        case 0b101: {
            const int input = highest_in_service();
            if (input < 0) return;
            end(static_cast<unsigned>(input));
            if (what == 0b101) chip.lowest = static_cast<std::uint8_t>(input);
            return;
        }
        case 0b011:
        case 0b111:
            end(named);
            if (what == 0b111) chip.lowest = named;
            return;
        case 0b110:
            chip.lowest = named;
            return;
        default:
            return;  // no operation
    }
}

void Pic8259::write_ocw3(Chip& chip, std::uint8_t value) {
    if ((value & 0x40) != 0) chip.special_mask = (value & 0x20) != 0;
    chip.poll = (value & 0x04) != 0;
    if (!chip.poll && (value & 0x02) != 0) chip.read_isr = (value & 0x01) != 0;
}

}  // namespace models
