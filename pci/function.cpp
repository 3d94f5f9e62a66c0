#include "pci/function.h"

#include <algorithm>
#include <utility>

#include "pci/capability_registers.h"
#include "sim/bits.h"
#include "sim/check.h"

namespace pci {

namespace {
constexpr unsigned first_further_range = 16;
}

DmaStatus BusMaster::read(std::uint64_t address, std::span<std::byte> out) {
    if (!function_.may_master_) return function_.ended(DmaStatus::not_sent, false);
    const DmaStatus status = function_.slot_.upstream().dma_read(id(), address, out);
    return status == DmaStatus::ok ? status : function_.ended(status, false);
}

DmaStatus BusMaster::write(std::uint64_t address, std::span<const std::byte> data) {
    if (!function_.may_master_) return function_.ended(DmaStatus::not_sent, true);
    const DmaStatus status = function_.slot_.upstream().dma_write(id(), address, data);
    return status == DmaStatus::ok ? status : function_.ended(status, true);
}

void BusMaster::message(std::uint64_t address, std::uint32_t data) {
    if (!function_.may_master_) return;
    function_.slot_.upstream().message({address, data, id()});
}

Function::Function(const sim::Scope& scope, Slot slot, std::shared_ptr<const FunctionLayout> layout,
                   FunctionModel& model)
    : slot_(std::move(slot)),
      master_(*this),
      scope_(scope),
      layout_(std::move(layout)),
      model_(model),
      config_(std::shared_ptr<const ConfigLayout>{layout_, &layout_->config}),
      failed_dma_(scope.counter("failed_dma", "count", "accesses to memory that were refused or not sent")),
      power_(layout_->config.capability(capability_id::power_management)),
      express_(layout_->config.capability(capability_id::express)),
      aer_(layout_->config.extended_capability(extended_id::aer)),
      msi_(layout_->config.capability(capability_id::msi)),
      msix_(layout_->config.capability(capability_id::msix)) {
    config_.listen(header::command, 2, *this);
    for (unsigned bar = 0; bar < layout_->bars.size(); ++bar) {
        const BarKind kind = layout_->bars[bar].kind;
        if (kind == BarKind::absent) continue;
        config_.listen(bar_register(bar), 4, *this);
        if (kind == BarKind::memory64) config_.listen(static_cast<std::uint16_t>(bar_register(bar) + 4), 4, *this);
    }
    if (power_ != 0) config_.listen(static_cast<std::uint16_t>(power_ + power::control), 2, *this);
    if (express_ != 0) config_.listen(static_cast<std::uint16_t>(express_ + express::device_control), 2, *this);
    slot_.bus_->attach(slot_.index(), *this);
}

Function::~Function() = default;

std::uint16_t Function::bar_register(unsigned bar) const {
    if (bar == rom_bar) return layout_->bridge ? header1::rom : header0::rom;
    return static_cast<std::uint16_t>(header::bar0 + 4 * bar);
}

std::uint64_t Function::bar_address(unsigned bar) const {
    const Bar& declared = layout_->bars[bar];
    const std::uint32_t low = config_.get(bar_register(bar), 4);
    std::uint64_t address = low & ~(declared.size_bytes - 1);
    if (declared.kind == BarKind::memory64) {
        address |= std::uint64_t{config_.get(bar_register(bar) + 4u, 4)} << 32;
    }
    return address & ~(declared.size_bytes - 1);
}

bool Function::awake() const {
    return power_ == 0 || (config_.get(power_ + power::control, 2) & power::state_mask) == 0;
}

bool Function::decodes(Space space) const {
    const std::uint16_t enable = space == Space::io ? command::io_space : command::memory_space;
    return present() && awake() && (command() & enable) != 0;
}

std::vector<Range> Function::bar_ranges() {
    std::vector<Range> ranges;
    for (unsigned bar = 0; bar < layout_->bars.size(); ++bar) {
        const Bar& declared = layout_->bars[bar];
        if (declared.kind == BarKind::absent) continue;
        const Space space = declared.kind == BarKind::io ? Space::io : Space::memory;
        if (!decodes(space)) continue;
        if (declared.kind == BarKind::rom && (config_.get(bar_register(bar), 4) & bar_bits::rom_enable) == 0) continue;
        const std::uint64_t first = bar_address(bar);
        ranges.push_back({space, first, first + (declared.size_bytes - 1), bar, this});
    }
    return ranges;
}

void Function::update_decode() {
    may_master_ = present() && awake() && (command() & command::bus_master) != 0;
    std::vector<Range> ranges;
    if (present()) {
        ranges = bar_ranges();
        ranges.insert(ranges.end(), further_ranges_.begin(), further_ranges_.end());
    }
    slot_.bus_->set_ranges(slot_.index(), std::move(ranges));
}

void Function::set_further_ranges(std::vector<Range> ranges) {
    for (const Range& range : ranges) VG_CHECK(range.number >= first_further_range);
    further_ranges_ = std::move(ranges);
    update_decode();
}

std::optional<Slot> Function::further_place(unsigned routing_offset) {
    const unsigned index = slot_.index() + routing_offset;
    if (!slot_.bus_->is_free(index)) return std::nullopt;
    return slot_.bus_->slot_at(index);
}

void Function::write_config(unsigned offset, unsigned size, std::uint32_t value) {
    scope_.trace("config_write", offset, size, value);
    config_.write(offset, size, value);
}

void Function::config_written(std::uint16_t offset, std::uint32_t before, std::uint32_t after) {
    if (power_ != 0 && offset == power_ + power::control) {
        const bool woke = (before & power::state_mask) == power::d3hot && (after & power::state_mask) == 0;
        if (woke && (after & power::no_soft_reset) == 0) return reset(ResetKind::power_state);
    }
    if (express_ != 0 && offset == express_ + express::device_control && (after & express::initiate_flr) != 0) {
        return reset(ResetKind::function_level);  // the bit reads 0 (PCIe 6.0, 7.5.3.4)
    }
    if (before == after) return;
    update_decode();
    update_pins();
    model_.command_changed();
}

std::optional<std::uint64_t> Function::read_range(Space, unsigned range, std::uint64_t address, unsigned size) {
    return model_.read_bar(range, address - bar_address(range), size);
}

bool Function::write_range(Space, unsigned range, std::uint64_t address, unsigned size, std::uint64_t value) {
    model_.write_bar(range, address - bar_address(range), size, value);
    return true;
}

bool Function::sends_messages() const {
    const auto on = [this](unsigned capability, unsigned control, std::uint16_t enable) {
        return capability != 0 && (config_.get(capability + control, 2) & enable) != 0;
    };
    return on(msi_, msi_cap::control, msi_cap::enable) || on(msix_, msix_cap::control, msix_cap::enable);
}

std::uint8_t Function::pins() const {
    const std::uint32_t pin = config_.get(header::interrupt_pin, 1);
    const bool silent = (command() & command::intx_disable) != 0 || sends_messages() || !present();
    const bool own = state_.intx && pin != 0 && !silent;
    const unsigned asserted = (own ? 1u << (pin - 1) : 0u) | (present() ? state_.forwarded_pins : 0u);
    return static_cast<std::uint8_t>(asserted);
}

void Function::update_pins() {
    slot_.bus_->set_pins(slot_.index(), pins(), true);
}

void Function::set_intx(bool asserted) {
    if (state_.intx == asserted) return;
    state_.intx = asserted;
    const std::uint32_t bits = config_.get(header::status, 2);
    config_.set(header::status, 2, asserted ? bits | status::interrupt : bits & ~std::uint32_t{status::interrupt});
    update_pins();
}

void Function::set_forwarded_pins(std::uint8_t pins) {
    state_.forwarded_pins = pins;
    update_pins();
}

void Function::reset(ResetKind kind) {
    scope_.trace("function_reset", static_cast<std::uint64_t>(kind));
    config_.reset(kind);
    state_.intx = false;
    for (FunctionPart* part : parts_) part->part_reset();
    model_.function_reset(kind);
    update_decode();
    update_pins();
    model_.command_changed();
}

void Function::remove() {
    scope_.trace("removed", id().value);
    state_.removed = true;
    update_decode();
    update_pins();
}

void Function::insert() {
    scope_.trace("inserted", id().value);
    state_.removed = false;
    reset(ResetKind::cold);
}

// A read's completion says how it went. A posted write has none; only a conventional bus tells its master.
DmaStatus Function::ended(DmaStatus status, bool write) {
    ++failed_dma_;
    scope_.trace("dma_failed", static_cast<std::uint64_t>(status), write ? 1 : 0);
    if (express_ != 0 && write) return status;
    if (status == DmaStatus::unsupported) config_.set_bits(header::status, 2, status::received_master_abort);
    if (status == DmaStatus::aborted) config_.set_bits(header::status, 2, status::received_target_abort);
    return status;
}

void Function::log_unsupported_request() {
    if (express_ == 0) return;
    config_.set_bits(express_ + express::device_status, 2, express::unsupported_detected | express::nonfatal_detected);
    if (aer_ == 0) return;
    const unsigned status_register = aer_ + aer::uncorrectable_status;
    if (config_.get(status_register, 4) == 0) {
        const std::uint32_t control = config_.get(aer_ + aer::control, 4);
        constexpr std::uint32_t bit_number = 20;
        static_assert(aer::unsupported_request == 1u << bit_number);
        config_.set(aer_ + aer::control, 4, (control & ~std::uint32_t{0x1f}) | bit_number);
    }
    config_.set_bits(status_register, 4, aer::unsupported_request);
}

void Function::log_correctable(std::uint32_t bits) {
    if (express_ == 0) return;
    config_.set_bits(express_ + express::device_status, 2, express::correctable_detected);
    if (aer_ != 0) config_.set_bits(aer_ + aer::correctable_status, 4, bits);
}

void Function::restored() {
    update_decode();
    slot_.bus_->set_pins(slot_.index(), pins(), false);
}

}  // namespace pci
