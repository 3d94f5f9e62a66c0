#include "models/io_apic.h"

#include "sim/bits.h"
#include "sim/check.h"

namespace models {
namespace {
// 82093AA data sheet, 3.2.4
constexpr unsigned delivery_mode_low = 8, destination_mode_bit = 11, remote_irr_bit = 14, trigger_bit = 15,
                   mask_bit = 16, destination_low = 56;
constexpr std::uint64_t writable = 0xff00'0000'0001'afff;  // not delivery status (12) and remote IRR (14)
constexpr std::uint64_t masked = 1ull << mask_bit;
constexpr std::uint64_t remote_irr = 1ull << remote_irr_bit;
constexpr std::uint64_t select_offset = 0x00, window_offset = 0x10;
}  // namespace

// Data sheet, 3.2: what is behind each index.
struct IoApic::Row {
    std::uint8_t first;
    std::uint8_t last;
    std::uint32_t (IoApic::*read)(unsigned) const;
    void (IoApic::*write)(unsigned, std::uint32_t);
};

const IoApic::Row* IoApic::find(std::uint8_t index) {
    static constexpr Row table[] = {
        {0x00, 0x00, &IoApic::read_id, &IoApic::write_id},
        {0x01, 0x01, &IoApic::read_version, nullptr},
        {0x02, 0x02, &IoApic::read_arbitration, nullptr},
        {0x10, 0x10 + 2 * pins - 1, &IoApic::read_redirection, &IoApic::write_redirection},
    };
    for (const Row& row : table) {
        if (index >= row.first && index <= row.last) return &row;
    }
    return nullptr;
}

IoApic::IoApic(const sim::Scope& scope, InterruptMessagePort& port, std::uint8_t id)
    : scope_(scope), port_(port), reset_id_(id & 0xf) {
    for (unsigned pin = 0; pin < pins; ++pin) {
        lines_[pin].io_apic = this;
        lines_[pin].number = pin;
    }
    reset();
}

void IoApic::reset() {
    // The wires keep their levels: they are the devices'.
    const std::uint32_t asserted = state_.asserted;
    state_ = {};
    state_.asserted = asserted;
    state_.id = reset_id_;
    state_.redirection.fill(masked);
}

InterruptLine& IoApic::line(unsigned pin) {
    VG_CHECK(pin < pins);
    return lines_[pin];
}

std::uint64_t IoApic::read_mmio(std::uint64_t address, unsigned size) {
    const std::uint64_t offset = address - gpa;
    if (offset == select_offset) return state_.select;
    if (offset == window_offset && size == 4) return read_register(state_.select);
    return ~std::uint64_t{0};
}

void IoApic::write_mmio(std::uint64_t address, unsigned size, std::uint64_t value) {
    const std::uint64_t offset = address - gpa;
    if (offset == select_offset) state_.select = static_cast<std::uint8_t>(value);
    if (offset == window_offset && size == 4) write_register(state_.select, static_cast<std::uint32_t>(value));
}

std::uint32_t IoApic::read_register(std::uint8_t index) const {
    const Row* row = find(index);
    return row != nullptr ? (this->*row->read)(index - row->first) : 0;
}

void IoApic::write_register(std::uint8_t index, std::uint32_t value) {
    const Row* row = find(index);
    if (row != nullptr && row->write != nullptr) (this->*row->write)(index - row->first, value);
}

std::uint32_t IoApic::read_id(unsigned) const {
    return static_cast<std::uint32_t>(state_.id) << 24;
}
std::uint32_t IoApic::read_version(unsigned) const {
    return version;
}
// The arbitration ID of the APIC bus starts as the ID and there is no such bus to change it.
std::uint32_t IoApic::read_arbitration(unsigned) const {
    return static_cast<std::uint32_t>(state_.id) << 24;
}
std::uint32_t IoApic::read_redirection(unsigned half) const {
    return static_cast<std::uint32_t>(state_.redirection[half / 2] >> (half % 2 * 32));
}

void IoApic::write_id(unsigned, std::uint32_t value) {
    state_.id = static_cast<std::uint8_t>(sim::bits(value, 27, 24));
}

void IoApic::write_redirection(unsigned half, std::uint32_t value) {
    const unsigned pin = half / 2;
    std::uint64_t& entry = state_.redirection[pin];
    const unsigned shift = half % 2 * 32;
    const std::uint64_t field = writable & (0xffff'ffffull << shift);
    entry = (entry & ~field) | ((static_cast<std::uint64_t>(value) << shift) & field);
    // An edge-triggered entry has no remote IRR. Systems switch to edge and back to end an interrupt by hand.
    if (!level_sensitive(pin)) entry &= ~remote_irr;
    scope_.trace("redirection", pin, entry);
    serve_level(pin);
}

// Only fixed and lowest-priority interrupts can be level-triggered (data sheet, 3.2.4).
bool IoApic::level_sensitive(unsigned pin) const {
    const std::uint64_t entry = state_.redirection[pin];
    const auto mode = static_cast<DeliveryMode>(sim::bits(entry, 10, 8));
    return sim::bit(entry, trigger_bit) && (mode == DeliveryMode::fixed || mode == DeliveryMode::lowest_priority);
}

void IoApic::set_pin(unsigned pin, bool asserted) {
    VG_CHECK(pin < pins);
    const bool was_asserted = sim::bit(state_.asserted, pin);
    if (was_asserted == asserted) return;
    state_.asserted = static_cast<std::uint32_t>(sim::with_bit(state_.asserted, pin, asserted));
    scope_.trace("pin", pin, asserted ? 1 : 0);
    if (level_sensitive(pin)) {
        serve_level(pin);
    } else if (asserted && (state_.redirection[pin] & masked) == 0) {
        send(pin);  // an edge at a masked pin is lost (data sheet, 3.2.4, "interrupt mask")
    }
}

void IoApic::serve_level(unsigned pin) {
    std::uint64_t& entry = state_.redirection[pin];
    if (!level_sensitive(pin) || !sim::bit(state_.asserted, pin) || (entry & (masked | remote_irr)) != 0) return;
    entry |= remote_irr;
    send(pin);
}

void IoApic::send(unsigned pin) {
    const std::uint64_t entry = state_.redirection[pin];
    InterruptMessage message;
    message.vector = static_cast<std::uint8_t>(entry);
    message.mode = static_cast<DeliveryMode>(sim::bits(entry, delivery_mode_low + 2, delivery_mode_low));
    message.destination_mode =
        sim::bit(entry, destination_mode_bit) ? DestinationMode::logical : DestinationMode::physical;
    message.trigger = level_sensitive(pin) ? TriggerMode::level : TriggerMode::edge;
    message.destination = static_cast<std::uint8_t>(entry >> destination_low);
    port_.deliver(message);
}

void IoApic::eoi(std::uint8_t vector) {
    for (unsigned pin = 0; pin < pins; ++pin) {
        std::uint64_t& entry = state_.redirection[pin];
        if ((entry & remote_irr) == 0 || static_cast<std::uint8_t>(entry) != vector) continue;
        entry &= ~remote_irr;
        serve_level(pin);
    }
}

}  // namespace models
