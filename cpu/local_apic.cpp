#include "cpu/local_apic.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "sim/bits.h"

namespace cpu {

using apic::DeliveryMode;
using apic::Reg;

LocalApic::LocalApic(const sim::Scope& scope, ApicOutput& output, std::uint32_t id, std::uint64_t timer_hz,
                     std::uint64_t tsc_hz)
    : scope_(scope),
      id_(id),
      output_(output),
      timer_hz_(timer_hz),
      tsc_hz_(tsc_hz),
      timer_(scope.agenda(), scope.path() + ".timer", [this] { timer_expired(); }) {
    reset();
}

void LocalApic::reset() {
    timer_.disarm();
    state_ = State{};
    state_.xapic_id = id_ << 24;
    if (id_ == 0) state_.base |= apic::base::bsp;
}

void LocalApic::init() {
    const std::uint64_t base = state_.base;
    reset();
    state_.base = base;
}

ApicMode LocalApic::mode() const {
    if ((state_.base & apic::base::enable) == 0) return ApicMode::disabled;
    return (state_.base & apic::base::x2apic) != 0 ? ApicMode::x2apic : ApicMode::xapic;
}

bool LocalApic::write_base(std::uint64_t value) {
    constexpr std::uint64_t defined = 0x3fff'ffff'f000 | apic::base::bsp | apic::base::x2apic | apic::base::enable;
    const bool enable = (value & apic::base::enable) != 0;
    const bool x2 = (value & apic::base::x2apic) != 0;
    if ((value & ~defined) != 0 || (x2 && !enable)) return false;
    // Figure 11-28: x2APIC mode is left only by disabling, and entered only from xAPIC mode.
    if (mode() == ApicMode::x2apic && enable && !x2) return false;
    if (mode() == ApicMode::disabled && x2) return false;
    const ApicMode before = mode();
    state_.base = value;
    if (mode() == ApicMode::disabled && before != ApicMode::disabled) {
        const std::uint64_t base = state_.base;
        reset();
        state_.base = base;
    }
    if (mode() == ApicMode::x2apic && before != ApicMode::x2apic) state_.icr = 0;
    return true;
}

std::uint32_t LocalApic::read_page(std::uint32_t offset, unsigned size) {
    if (mode() != ApicMode::xapic || size != 4 || (offset & 0xf) != 0) return 0;
    return read(static_cast<Reg>(offset), offset);
}

void LocalApic::write_page(std::uint32_t offset, unsigned size, std::uint32_t value) {
    if (mode() != ApicMode::xapic || size != 4 || (offset & 0xf) != 0) return;
    const auto reg = static_cast<Reg>(offset);
    if (reg == Reg::self_ipi) {
        report_error(apic::esr::illegal_register);
        return;
    }
    if (reg == Reg::icr_low) {
        state_.icr = (state_.icr & ~std::uint64_t{0xffff'ffff}) | (value & apic::icr::writable);
        send_icr();
    } else if (reg == Reg::icr_high) {
        state_.icr = (state_.icr & 0xffff'ffff) | static_cast<std::uint64_t>(value & 0xff00'0000) << 32;
    } else if (reg == Reg::id) {
        state_.xapic_id = value & 0xff00'0000;
    } else if (reg == Reg::ldr) {
        state_.ldr = value & 0xff00'0000;
    } else if (reg == Reg::dfr) {
        state_.dfr = value | 0x0fff'ffff;
    } else {
        write(reg, value);
    }
}

std::optional<std::uint64_t> LocalApic::read_msr(std::uint32_t number) {
    if (mode() != ApicMode::x2apic) return std::nullopt;
    const std::uint32_t offset = (number - 0x800) << 4;
    const auto reg = static_cast<Reg>(offset);
    switch (reg) {
        case Reg::id:
            return id_;
        case Reg::ldr:
            return x2apic_ldr();
        case Reg::icr_low:
            return state_.icr;
        // Not in x2APIC mode, or write-only (table 11-6).
        case Reg::icr_high:
        case Reg::dfr:
        case Reg::apr:
        case Reg::rrd:
        case Reg::eoi:
        case Reg::self_ipi:
            return std::nullopt;
        default:
            break;
    }
    const bool vectors = offset >= 0x100 && offset < 0x280;
    const bool known = vectors || reg == Reg::version || reg == Reg::tpr || reg == Reg::ppr || reg == Reg::svr ||
                       reg == Reg::esr || reg == Reg::timer_initial || reg == Reg::timer_current ||
                       reg == Reg::timer_divide || (lvt_index(reg) && reg != Reg::lvt_cmci);
    if (!known) return std::nullopt;
    return read(reg, offset);
}

bool LocalApic::write_msr(std::uint32_t number, std::uint64_t value) {
    if (mode() != ApicMode::x2apic) return false;
    const auto reg = static_cast<Reg>((number - 0x800) << 4);
    if (reg == Reg::icr_low) {
        if ((value & 0xffff'ffff & ~std::uint64_t{apic::icr::writable}) != 0) return false;
        state_.icr = value;
        send_icr();
        return true;
    }
    std::uint64_t allowed = 0;
    switch (reg) {
        case Reg::tpr:
            allowed = 0xff;
            break;
        case Reg::eoi:
        case Reg::esr:
            allowed = 0;
            break;
        case Reg::svr:
            allowed = apic::svr::writable;
            break;
        case Reg::lvt_timer:
            allowed = apic::lvt::timer_writable | apic::lvt::read_only;
            break;
        case Reg::lvt_lint0:
        case Reg::lvt_lint1:
            allowed = apic::lvt::lint_writable | apic::lvt::lint_read_only;
            break;
        case Reg::lvt_thermal:
        case Reg::lvt_performance:
            allowed = apic::lvt::other_writable | apic::lvt::read_only;
            break;
        case Reg::lvt_error:
            allowed = apic::lvt::error_writable | apic::lvt::read_only;
            break;
        case Reg::timer_initial:
            allowed = 0xffff'ffff;
            break;
        case Reg::timer_divide:
            allowed = 0xb;
            break;
        case Reg::self_ipi:
            allowed = 0xff;
            break;
        default:
            return false;
    }
    if ((value & ~allowed) != 0) return false;
    if (reg == Reg::self_ipi) {
        accept(static_cast<std::uint8_t>(value), false);
    } else {
        write(reg, static_cast<std::uint32_t>(value));
    }
    return true;
}

std::uint32_t LocalApic::read(Reg reg, std::uint32_t offset) {
    if (offset >= 0x100 && offset < 0x280) {
        const Vectors& v = offset < 0x180 ? state_.isr : offset < 0x200 ? state_.tmr : state_.irr;
        const std::uint32_t n = (offset & 0x7f) >> 4;
        return static_cast<std::uint32_t>(v[n / 2] >> (32 * (n % 2)));
    }
    if (const auto index = lvt_index(reg)) return state_.lvt[*index];
    switch (reg) {
        case Reg::id:
            return state_.xapic_id;
        case Reg::version:
            return apic::version_value;
        case Reg::tpr:
            return state_.tpr;
        case Reg::ppr:
            return ppr();
        case Reg::ldr:
            return state_.ldr;
        case Reg::dfr:
            return state_.dfr;
        case Reg::svr:
            return state_.svr;
        case Reg::esr:
            return state_.esr;
        case Reg::icr_low:
            return static_cast<std::uint32_t>(state_.icr);
        case Reg::icr_high:
            return static_cast<std::uint32_t>(state_.icr >> 32);
        case Reg::timer_initial:
            return state_.timer_initial;
        case Reg::timer_current:
            return timer_current();
        case Reg::timer_divide:
            return state_.timer_divide;
        default:
            return 0;
    }
}

void LocalApic::write(Reg reg, std::uint32_t value) {
    if (const auto index = lvt_index(reg)) return write_lvt(*index, value);
    switch (reg) {
        case Reg::tpr:
            set_tpr(static_cast<std::uint8_t>(value));
            break;
        case Reg::eoi:
            end_of_interrupt();
            break;
        case Reg::svr:
            state_.svr = value & apic::svr::writable;
            if (!software_enabled()) {
                for (std::uint32_t& entry : state_.lvt) entry |= apic::lvt::masked;
            }
            update_timer();
            break;
        // A write latches what has happened since the last one.
        case Reg::esr:
            state_.esr = std::exchange(state_.esr_pending, 0);
            update_timer();
            break;
        case Reg::timer_initial:
            if (timer_mode() == 2) break;
            state_.timer_initial = value;
            start_timer(value);
            break;
        // A count in progress goes on from where it is.
        case Reg::timer_divide: {
            const std::uint32_t count = timer_current();
            state_.timer_divide = value & 0xb;
            if (count != 0) start_timer(count);
            break;
        }
        default:
            break;
    }
}

std::optional<std::size_t> LocalApic::lvt_index(Reg reg) {
    switch (reg) {
        case Reg::lvt_timer:
            return lvt_timer;
        case Reg::lvt_thermal:
            return lvt_thermal;
        case Reg::lvt_performance:
            return lvt_performance;
        case Reg::lvt_lint0:
            return lvt_lint0;
        case Reg::lvt_lint1:
            return lvt_lint1;
        case Reg::lvt_error:
            return lvt_error;
        case Reg::lvt_cmci:
            return lvt_cmci;
        default:
            return std::nullopt;
    }
}

void LocalApic::write_lvt(std::size_t index, std::uint32_t value) {
    static constexpr std::array<std::uint32_t, 7> writable{
        apic::lvt::timer_writable, apic::lvt::other_writable, apic::lvt::other_writable, apic::lvt::lint_writable,
        apic::lvt::lint_writable,  apic::lvt::error_writable, apic::lvt::other_writable};
    value &= writable[index];
    if (!software_enabled()) value |= apic::lvt::masked;
    const unsigned mode_before = timer_mode();
    if (index == lvt_timer) leave_past_periods();
    state_.lvt[index] = value;
    if (index == lvt_timer && timer_mode() != mode_before) {
        // Changing the mode disarms (11.5.4.1); between one-shot and periodic the count goes on.
        if (mode_before == 2 || timer_mode() == 2) {
            state_.timer_running = false;
            state_.deadline = 0;
            state_.timer_initial = 0;
        }
    }
    if (index == lvt_timer && (timer_mode() != 2 || mode_before != 2)) update_timer();
}

void LocalApic::report_error(std::uint32_t bit) {
    if ((state_.esr_pending & bit) != 0) return;
    state_.esr_pending |= bit;
    const std::uint32_t entry = state_.lvt[lvt_error];
    const auto vector = static_cast<std::uint8_t>(entry);
    if ((entry & apic::lvt::masked) == 0 && vector >= 16) accept(vector, false);
}

void LocalApic::set_tpr(std::uint8_t value) {
    const bool lower = value < state_.tpr;
    state_.tpr = value;
    if (lower && deliverable()) output_.interrupt_pending();
}

// 11.8.3.1: the higher of the task's and the served interrupt's class.
std::uint8_t LocalApic::ppr() const {
    const std::uint8_t served = highest(state_.isr).value_or(0) & 0xf0;
    return (state_.tpr & 0xf0) >= served ? tpr() : served;
}

void LocalApic::end_of_interrupt() {
    const auto vector = highest(state_.isr);
    if (!vector) return;
    set(state_.isr, *vector, false);
    const bool level = get(state_.tmr, *vector);
    set(state_.tmr, *vector, false);
    output_.end_of_interrupt(*vector, level);
    if (deliverable()) output_.interrupt_pending();
}

void LocalApic::write_icr(std::uint64_t value) {
    state_.icr = value & (apic::icr::writable | ~std::uint64_t{0xffff'ffff});
    send_icr();
}

void LocalApic::send_icr() {
    const auto low = static_cast<std::uint32_t>(state_.icr);
    ApicMessage message;
    message.mode = static_cast<DeliveryMode>(low >> apic::icr::mode_shift & 7);
    message.vector = static_cast<std::uint8_t>(low);
    message.logical = (low & apic::icr::logical) != 0;
    message.assert_level = (low & apic::icr::assert_level) != 0;
    message.level_triggered = (low & apic::icr::level_triggered) != 0;
    message.shorthand = static_cast<ApicMessage::Shorthand>(low >> apic::icr::shorthand_shift & 3);
    message.destination = mode() == ApicMode::x2apic ? static_cast<std::uint32_t>(state_.icr >> 32)
                                                     : static_cast<std::uint32_t>(state_.icr >> 56);
    // Figure 11-12: a level de-assert of INIT is accepted and does nothing on these processors.
    if (message.mode == DeliveryMode::init && message.level_triggered && !message.assert_level) return;
    const bool by_vector = message.mode == DeliveryMode::fixed || message.mode == DeliveryMode::lowest_priority;
    if (by_vector && message.vector < 16) {
        report_error(apic::esr::send_illegal_vector);
        return;
    }
    if (message.mode == DeliveryMode::fixed) {
        // Fixed IPIs are edge-triggered, whatever the trigger bit says.
        message.level_triggered = false;
        if (message.shorthand == ApicMessage::Shorthand::self) return accept(message.vector, false);
    }
    output_.send(message);
}

bool LocalApic::matches(std::uint32_t destination, bool logical) const {
    const bool x2 = mode() == ApicMode::x2apic;
    if (mode() == ApicMode::disabled) return !logical && destination == id_;
    if (!logical) {
        if (destination == 0xffff'ffff || destination == 0xff) return true;
        return destination == (x2 ? id_ : state_.xapic_id >> 24);
    }
    if (x2) {
        if (destination == 0xffff'ffff) return true;
        return destination >> 16 == id_ >> 4 && (destination & 0xffff & (1u << (id_ & 0xf))) != 0;
    }
    if (destination > 0xff && destination != 0xffff'ffff) return false;  // an xAPIC has no name that long
    const std::uint32_t mine = state_.ldr >> 24;
    destination &= 0xff;
    if (state_.dfr >> 28 == 0xf) return (destination & mine) != 0;  // flat model
    return destination == 0xff || (destination >> 4 == mine >> 4 && (destination & mine & 0xf) != 0);
}

void LocalApic::accept(std::uint8_t vector, bool level_triggered, bool auto_eoi) {
    if (mode() == ApicMode::disabled || !software_enabled()) return;
    if (vector < 16) return report_error(apic::esr::receive_illegal_vector);
    set(state_.irr, vector, true);
    set(state_.tmr, vector, level_triggered);
    set(state_.auto_eoi, vector, auto_eoi);
    output_.interrupt_pending();
}

std::optional<std::uint8_t> LocalApic::deliverable() const {
    const auto vector = highest(state_.irr);
    if (!vector || (*vector & 0xf0) <= (ppr() & 0xf0)) return std::nullopt;
    return vector;
}

void LocalApic::acknowledge(std::uint8_t vector) {
    set(state_.irr, vector, false);
    if (!get(state_.auto_eoi, vector)) set(state_.isr, vector, true);
    set(state_.auto_eoi, vector, false);
    update_timer();
}

void LocalApic::set(Vectors& v, std::uint8_t n, bool on) {
    const std::uint64_t bit = 1ull << (n % 64);
    v[n / 64] = on ? v[n / 64] | bit : v[n / 64] & ~bit;
}

std::optional<std::uint8_t> LocalApic::highest(const Vectors& v) {
    for (std::size_t i = v.size(); i-- > 0;) {
        if (v[i] != 0) return static_cast<std::uint8_t>(64 * i + 63 - static_cast<unsigned>(std::countl_zero(v[i])));
    }
    return std::nullopt;
}

}  // namespace cpu
