#include "pci/bus.h"

#include "pci/function.h"
#include "sim/check.h"

namespace pci {

Slot::~Slot() {
    if (bus_ != nullptr) bus_->release(index_);
}

Slot Bus::slot_at(unsigned index) {
    VG_CHECK(is_free(index));
    places_[index];
    return Slot{*this, index};
}

void Bus::release(unsigned index) {
    map_.set(index, {});
    set_pins(index, 0, true);
    places_.erase(index);
    if (index < functions_.size()) functions_[index] = nullptr;
}

void Bus::attach(unsigned index, Function& function) {
    places_[index].function = &function;
    if (index >= functions_.size()) functions_.resize(index + 1);
    functions_[index] = &function;
}

// Type 0: the function on this bus, or a virtual one on the numbers that follow.
Function* Bus::own_target(RequesterId target) const {
    if (target.bus() < number_ || held_) return nullptr;
    const unsigned index = target.value - (unsigned{number_} << 8);
    if (only_device0_ && index < 256 && index >= 8) return nullptr;
    Function* function = function_at(index);
    return function != nullptr && function->present() ? function : nullptr;
}

// Type 1: the first bridge whose bus numbers hold the target.
Bus* Bus::bus_below(std::uint8_t number) const {
    for (const auto& [index, place] : places_) {
        if (place.route == nullptr || place.function == nullptr || !place.function->present()) continue;
        if (Bus* bus = place.route->bus_towards(number)) return bus;
    }
    return nullptr;
}

std::optional<std::uint32_t> Bus::read_config(RequesterId target, unsigned offset, unsigned size) {
    if (Function* function = own_target(target)) return function->read_config(offset, size);
    if (target.bus() == number_) return std::nullopt;
    Bus* below = bus_below(target.bus());
    return below != nullptr ? below->read_config(target, offset, size) : std::nullopt;
}

bool Bus::write_config(RequesterId target, unsigned offset, unsigned size, std::uint32_t value) {
    if (Function* function = own_target(target)) {
        function->write_config(offset, size, value);
        return true;
    }
    if (target.bus() == number_) return false;
    Bus* below = bus_below(target.bus());
    return below != nullptr && below->write_config(target, offset, size, value);
}

std::optional<std::uint64_t> Bus::read(Space space, std::uint64_t address, unsigned size) {
    const Range* range = map_.find(space, address, size);
    if (range == nullptr || held_) return std::nullopt;
    return range->target->read_range(space, range->number, address, size);
}

bool Bus::write(Space space, std::uint64_t address, unsigned size, std::uint64_t value) {
    const Range* range = map_.find(space, address, size);
    return range != nullptr && !held_ && range->target->write_range(space, range->number, address, size, value);
}

void Bus::set_pins(unsigned index, std::uint8_t pins, bool tell) {
    std::uint8_t& stored = places_.at(index).pins;
    if (stored == pins) return;
    stored = pins;
    if (tell) update_lines();
}

void Bus::update_lines() {
    std::uint8_t lines = 0;
    for (const auto& [index, place] : places_) {
        const unsigned device = index >> 3 & 31;
        for (unsigned pin = 0; pin < 4; ++pin) {
            if ((place.pins >> pin & 1) == 0) continue;
            lines |= static_cast<std::uint8_t>(1u << (wiring_ == Wiring::rotated ? (pin + device) % 4 : pin));
        }
    }
    const auto changed = static_cast<std::uint8_t>(lines ^ lines_);
    lines_ = lines;
    for (unsigned line = 0; line < 4; ++line) {
        if ((changed >> line & 1) != 0) upstream_.line(line, (lines >> line & 1) != 0);
    }
}

void Bus::hold_in_reset(bool held) {
    if (held && !held_) reset_all(ResetKind::bus);
    held_ = held;
}

void Bus::reset_all(ResetKind kind) {
    for (auto& [index, place] : places_) {
        if (place.function != nullptr && place.function->present()) place.function->reset(kind);
    }
}

}  // namespace pci
