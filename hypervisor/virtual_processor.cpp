#include "hypervisor/virtual_processor.h"

#include <algorithm>
#include <utility>

#include "hypervisor/vp_registers.h"
#include "sim/check.h"
#include "slat/two_dimensional.h"

namespace hypervisor {

using cpu::apic::DeliveryMode;

VirtualProcessor::VirtualProcessor(const sim::Scope& scope, SyntheticPartition& synthetic, RootHypercalls& calls,
                                   std::uint32_t index, VpEnvironment& environment, const VpSettings& settings,
                                   const cpu::EngineState& pristine, mmu::SystemMemory memory)
    : scope_(scope),
      partition_(synthetic.partition()),
      environment_(environment),
      settings_(settings),
      index_(index),
      guest_(pristine, static_cast<std::uint16_t>(partition_.id() & 0x7fff)),
      apic_(scope.child("apic"), *this, index, settings.apic_hz, settings.tsc_hz),
      synthetic_(scope.child("synthetic"), synthetic, *this, calls, index),
      memory_(memory),
      arrival_(scope.agenda(), scope.path() + ".arrival", [this] { arrivals_due(); }),
      counters_(scope) {
    guest_.set_registers(cpu::reset_registers(settings_.cpuid->signature()));
    state_.startup_suspend = index != 0;
}

bool VirtualProcessor::can_run() const {
    if (state_.explicit_suspend || state_.intercept_suspend) return false;
    if (state_.init_pending) return true;
    if (state_.startup_suspend) return false;
    if (!state_.halted && !state_.idle) return true;
    if (state_.nmi_pending && !state_.nmi_masked) return true;
    // The guest idle register waits for any interrupt: one that neither IF nor priority lets through wakes it, too.
    if (state_.idle) return apic_.any_requested();
    return apic_.deliverable() && (guest_.rflags() & cpu::rflags::if_) != 0;
}

void VirtualProcessor::wake_if_runnable() {
    if (lp_ == nullptr && can_run()) environment_.wake(*this);
}

void VirtualProcessor::run(cpu::LogicalProcessor& lp, sim::Time& now, sim::Time limit, sim::Account& account) {
    lp_ = &lp;
    now_ = &now;
    account_ = &account;
    sim::Agenda& agenda = scope_.agenda();
    agenda.set_local_time(now);
    do {
        prepare_entry();
        if (!can_run()) break;
        limit = std::min(limit, agenda.next_deadline());  // an interrupt that is taken may let its timer go on
        // An NMI that waits for the end of a shadow, which is one instruction long.
        const bool nmi_waits = state_.nmi_pending && !state_.nmi_masked;
        lp.run(guest_, control_, now, nmi_waits ? std::min(limit, now + sim::Time::ps(1)) : limit);
        agenda.set_local_time(now);
        handle_exit();
        limit = std::min(limit, agenda.next_deadline());
    } while (now < limit && can_run());
    lp_ = nullptr;
    now_ = nullptr;
    account_ = nullptr;
}

// What is pending goes in by the order of SDM volume 3A, 6.9: INIT, NMI, interrupts. An event whose delivery an exit
// has cut short goes first of all.
void VirtualProcessor::prepare_entry() {
    synthetic_.settle_eoi();
    control_.second_level = partition_.gpa_space().second_level();
    control_.partition = static_cast<std::uint16_t>(partition_.id());
    control_.vp = static_cast<std::uint16_t>(index_);
    control_.intercept_exceptions = partition_.intercepts().exceptions();
    control_.interrupt_window = false;
    if (std::exchange(state_.init_pending, false)) apply_init();
    if (!can_run()) return;
    if (std::exchange(state_.registers_written, false) && !registers_are_valid()) {
        charge(round_trip_cause, settings_.costs.root_round_trip);
        return tell_root(make_message(HvMessageType::invalid_vp_register_value, partition_.id(),
                                      HvInvalidVpRegisterMessage{index_, 0}));
    }
    state_.halted = state_.idle = false;
    if (std::exchange(state_.interrupted, false)) {
        ++counters_.exits;
        ++counters_.interrupt;
        charge(interrupt_exit_cause, settings_.costs.exit);
    }
    if (state_.injection) {
        control_.injection = std::exchange(state_.injection, std::nullopt);
        return;
    }
    const bool shadow = guest_.interrupt_shadow();
    if (state_.nmi_pending && !state_.nmi_masked && !shadow) {
        state_.nmi_pending = false;
        state_.nmi_masked = true;
        guest_.set_intercept_iret(true);
        control_.injection = cpu::nmi_event();
        charge(injection_cause, settings_.costs.interrupt_delivery);
        return;
    }
    const auto vector = apic_.deliverable();
    if (!vector) return;
    if (shadow || (guest_.rflags() & cpu::rflags::if_) == 0) {
        control_.interrupt_window = true;
        return;
    }
    const bool level = apic_.level_triggered(*vector);
    apic_.acknowledge(*vector);
    state_.posted[*vector >> 6] &= ~(std::uint64_t{1} << (*vector & 63));
    if (apic_.in_service(*vector)) synthetic_.excuse_eoi(*vector, level);
    scope_.trace("interrupt", *vector);
    control_.injection = cpu::external_interrupt_event(*vector);
    charge(injection_cause, settings_.costs.interrupt_delivery);
}

// What no processor could have come to by itself (APM volume 2, 15.5.1) never gets to run.
bool VirtualProcessor::registers_are_valid() {
    cpu::Registers r = guest_.registers();
    if (!cpu::make_consistent(r, lp_->features())) return false;
    const bool pae = (r.cr0 & cpu::cr0::pg) != 0 && (r.cr4 & cpu::cr4::pae) != 0 && !r.long_mode();
    if (pae && !lp_->load_pdptes(r, control_)) return false;
    guest_.set_registers(r);
    return true;
}

void VirtualProcessor::apply_init() {
    guest_.set_registers(cpu::init_registers(guest_.registers(), settings_.cpuid->signature()));
    guest_.set_interrupt_shadow(false);
    guest_.set_intercept_iret(false);
    apic_.init();
    state_.posted = {};
    state_.halted = state_.idle = state_.nmi_pending = state_.nmi_masked = false;
    state_.injection.reset();
    state_.startup_suspend = true;
    scope_.trace("init");
}

void VirtualProcessor::receive(const cpu::ApicMessage& message) {
    switch (message.mode) {
        case DeliveryMode::fixed:
        case DeliveryMode::lowest_priority:
            apic_.accept(message.vector, message.level_triggered);
            break;
        case DeliveryMode::nmi:
            raise_nmi();
            break;
        case DeliveryMode::init:
            state_.init_pending = true;
            break;
        case DeliveryMode::startup:
            // A processor whose instruction the root carries out comes to its INIT behind it.
            if (state_.init_pending && lp_ == nullptr && !state_.intercept_suspend) {
                state_.init_pending = false;
                apply_init();
            }
            if (!state_.startup_suspend) break;
            {
                cpu::Registers r = guest_.registers();
                cpu::start_at_sipi_vector(r, message.vector);
                guest_.set_registers(r);
                state_.startup_suspend = false;
                scope_.trace("startup", message.vector);
            }
            break;
        default:
            break;  // SMI and ExtINT have nobody behind them here
    }
    wake_if_runnable();
}

void VirtualProcessor::receive_later(const cpu::ApicMessage& message, sim::Time at) {
    const auto place = std::upper_bound(state_.arrivals.begin(), state_.arrivals.end(), at,
                                        [](sim::Time t, const Arrival& a) { return t < a.at; });
    state_.arrivals.insert(place, Arrival{at, message});
    arrival_.arm(state_.arrivals.front().at);
}

void VirtualProcessor::arrivals_due() {
    while (!state_.arrivals.empty() && state_.arrivals.front().at <= scope_.now()) {
        const Arrival arrival = state_.arrivals.front();
        state_.arrivals.pop_front();
        receive(arrival.message);
    }
    if (!state_.arrivals.empty()) arrival_.arm(state_.arrivals.front().at);
}

void VirtualProcessor::raise_nmi() {
    state_.nmi_pending = true;
    wake_if_runnable();
}

void VirtualProcessor::interrupt_pending() {
    synthetic_.settle_eoi();
    wake_if_runnable();
}

void VirtualProcessor::charge(sim::Cause cause, sim::Time t) {
    if (now_ == nullptr) return;
    *now_ += t;
    account_->add(cause, t);
    scope_.agenda().set_local_time(*now_);
}

// --- VpControl ---------------------------------------------------------------------------------------------------

namespace {

// Registers of which several must agree.
bool decides_the_mode(HvRegister name, std::uint64_t value) {
    switch (name) {
        case HvRegister::x64_rflags:
            return (value & cpu::rflags::vm) != 0;
        case HvRegister::x64_cr0:
        case HvRegister::x64_cr3:
        case HvRegister::x64_cr4:
        case HvRegister::x64_cs:
        case HvRegister::x64_dr6:
        case HvRegister::x64_dr7:
        case HvRegister::x64_efer:
        case HvRegister::x64_pat:
            return true;
        default:
            return false;
    }
}

std::uint64_t to_pending_interruption(const std::optional<cpu::Event>& event) {
    namespace p = pending_interruption;
    if (!event) return 0;
    const std::uint64_t type = event->type == cpu::EventType::external_interrupt ? p::type_interrupt
                               : event->type == cpu::EventType::nmi              ? p::type_nmi
                                                                                 : p::type_exception;
    return p::pending | type << p::type_shift | (event->has_error_code ? p::deliver_error_code : 0) |
           std::uint64_t{event->vector} << p::vector_shift | std::uint64_t{event->error_code} << p::error_code_shift;
}

HvStatus from_pending_interruption(std::uint64_t value, std::optional<cpu::Event>& event) {
    namespace p = pending_interruption;
    if ((value & p::pending) == 0) {
        event.reset();
        return HvStatus::success;
    }
    const std::uint64_t vector = value >> p::vector_shift & 0xffff;
    const auto error_code = static_cast<std::uint32_t>(value >> p::error_code_shift);
    switch (value >> p::type_shift & 7) {
        case p::type_interrupt:
            if (vector > 0xff) return HvStatus::invalid_register_value;
            event = cpu::external_interrupt_event(static_cast<std::uint8_t>(vector));
            return HvStatus::success;
        case p::type_nmi:
            event = cpu::nmi_event();
            return HvStatus::success;
        case p::type_exception:
            if (vector > 31 || vector == cpu::vector::nmi) return HvStatus::invalid_register_value;
            event = cpu::exception_event(static_cast<std::uint8_t>(vector), error_code);
            return HvStatus::success;
        default:
            return HvStatus::invalid_register_value;
    }
}

}  // namespace

HvStatus VirtualProcessor::get_register(HvRegister name, HvRegisterValue& value) {
    value = {};
    if (const auto architectural = get_architectural(guest_.registers(), name)) {
        value = *architectural;
        return HvStatus::success;
    }
    const auto n = static_cast<std::uint32_t>(name);
    if (const auto xmm = n - static_cast<std::uint32_t>(HvRegister::x64_xmm0); xmm < 16) {
        const auto words = guest_.xmm(xmm);
        value = {words[0], words[1]};
        return HvStatus::success;
    }
    switch (name) {
        case HvRegister::explicit_suspend:
            value.low = state_.explicit_suspend ? 1 : 0;
            return HvStatus::success;
        case HvRegister::intercept_suspend:
            value.low = state_.intercept_suspend ? 1 : 0;
            return HvStatus::success;
        case HvRegister::internal_activity_state:
            value.low = (state_.startup_suspend ? activity_state::startup_suspend : 0) |
                        (state_.halted ? activity_state::halt_suspend : 0) |
                        (state_.idle ? activity_state::idle_suspend : 0);
            return HvStatus::success;
        case HvRegister::interrupt_state:
            value.low = (guest_.interrupt_shadow() ? interrupt_state::interrupt_shadow : 0) |
                        (state_.nmi_masked ? interrupt_state::nmi_masked : 0);
            return HvStatus::success;
        case HvRegister::pending_interruption:
            value.low = to_pending_interruption(state_.injection);
            return HvStatus::success;
        case HvRegister::x64_cr8:
            value.low = apic_.tpr() >> 4;
            return HvStatus::success;
        case HvRegister::x64_apic_base:
            value.low = apic_.base();
            return HvStatus::success;
        case HvRegister::x64_tsc_aux:
            value.low = guest_.tsc_aux();
            return HvStatus::success;
        case HvRegister::x64_tsc:
            value.low = sim::time_to_cycles(scope_.now(), settings_.tsc_hz) + guest_.tsc_offset();
            return HvStatus::success;
        case HvRegister::x64_initial_apic_id:
        case HvRegister::vp_index:
            value.low = index_;
            return HvStatus::success;
        default:
            break;
    }
    if (const auto apic_register = x2apic_msr_of(name)) {
        value.low = apic_.read_msr(*apic_register).value_or(0);
        return HvStatus::success;
    }
    return synthetic_.get_register(name, value);
}

HvStatus VirtualProcessor::set_register(HvRegister name, const HvRegisterValue& value) {
    cpu::Registers r = guest_.registers();
    if (set_architectural(r, name, value)) {
        guest_.set_registers(r);
        if (decides_the_mode(name, value.low)) state_.registers_written = true;
        wake_if_runnable();
        return HvStatus::success;
    }
    const auto n = static_cast<std::uint32_t>(name);
    if (const auto xmm = n - static_cast<std::uint32_t>(HvRegister::x64_xmm0); xmm < 16) {
        guest_.set_xmm(xmm, {value.low, value.high});
        return HvStatus::success;
    }
    switch (name) {
        case HvRegister::explicit_suspend:
            state_.explicit_suspend = (value.low & 1) != 0;
            wake_if_runnable();
            return HvStatus::success;
        case HvRegister::intercept_suspend:
            state_.intercept_suspend = (value.low & 1) != 0;
            wake_if_runnable();
            return HvStatus::success;
        case HvRegister::internal_activity_state:
            state_.startup_suspend = (value.low & activity_state::startup_suspend) != 0;
            state_.halted = (value.low & activity_state::halt_suspend) != 0;
            state_.idle = (value.low & activity_state::idle_suspend) != 0;
            wake_if_runnable();
            return HvStatus::success;
        case HvRegister::interrupt_state:
            guest_.set_interrupt_shadow((value.low & interrupt_state::interrupt_shadow) != 0);
            state_.nmi_masked = (value.low & interrupt_state::nmi_masked) != 0;
            guest_.set_intercept_iret(state_.nmi_masked);
            return HvStatus::success;
        case HvRegister::pending_interruption:
            return from_pending_interruption(value.low, state_.injection);
        case HvRegister::x64_cr8:
            if (value.low > 15) return HvStatus::invalid_register_value;
            apic_.set_tpr(static_cast<std::uint8_t>(value.low << 4));
            return HvStatus::success;
        case HvRegister::x64_apic_base:
            return apic_.write_base(value.low) ? HvStatus::success : HvStatus::invalid_register_value;
        case HvRegister::x64_tsc_aux:
            guest_.set_tsc_aux(value.low);
            return HvStatus::success;
        case HvRegister::x64_tsc:
            guest_.set_tsc_offset(value.low - sim::time_to_cycles(scope_.now(), settings_.tsc_hz));
            return HvStatus::success;
        default:
            break;
    }
    if (const auto apic_register = x2apic_msr_of(name)) {
        return apic_.write_msr(*apic_register, value.low) ? HvStatus::success : HvStatus::invalid_register_value;
    }
    return synthetic_.set_register(name, value);
}

bool VirtualProcessor::accepts_destination(std::uint64_t address, bool logical) const {
    return apic_.matches(static_cast<std::uint32_t>(address), logical);
}

HvStatus VirtualProcessor::assert_interrupt(const InterruptRequest& request) {
    cpu::ApicMessage message;
    message.vector = static_cast<std::uint8_t>(request.vector);
    message.level_triggered = request.level_triggered;
    switch (request.type) {
        case HvInterruptType::fixed:
        case HvInterruptType::lowest_priority:
            message.mode = DeliveryMode::fixed;
            break;
        case HvInterruptType::nmi:
            message.mode = DeliveryMode::nmi;
            break;
        case HvInterruptType::init:
            message.mode = DeliveryMode::init;
            break;
        case HvInterruptType::sipi:
            message.mode = DeliveryMode::startup;
            break;
        default:
            return HvStatus::invalid_parameter;
    }
    scope_.trace("assert_interrupt", static_cast<std::uint64_t>(message.mode), message.vector);
    if (request.device && environment_.on_processor(*this)) state_.interrupted = true;
    if (request.posted) state_.posted[message.vector >> 6] |= std::uint64_t{1} << (message.vector & 63);
    receive(message);
    return HvStatus::success;
}

HvStatus VirtualProcessor::post_message(std::uint32_t sint, const HvMessage& message) {
    return synthetic_.post_message(sint, message);
}

HvStatus VirtualProcessor::signal_event(std::uint32_t sint, std::uint16_t flag) {
    return synthetic_.signal_event(sint, flag);
}

slat::Explanation VirtualProcessor::explain(std::uint64_t linear, mmu::Access access) const {
    const mmu::AccessKind kind{.access = access, .user = guest_.cpl() == 3};
    return slat::explain(guest_.paging(), partition_.gpa_space().second_level(), memory_, linear, kind);
}

HvOutputTranslateVirtualAddress VirtualProcessor::translate(std::uint64_t gva_page, std::uint64_t flags) {
    namespace f = translate_gva_flag;
    mmu::AccessKind kind;
    kind.access = (flags & f::validate_write) != 0     ? mmu::Access::write
                  : (flags & f::validate_execute) != 0 ? mmu::Access::execute
                                                       : mmu::Access::read;
    kind.user = (flags & f::privilege_exempt) == 0 && guest_.cpl() == 3;
    const auto paging = guest_.paging();
    const auto& second = partition_.gpa_space().second_level();
    const auto found = (flags & f::set_page_table_bits) != 0
                           ? slat::walk(paging, second, memory_, gva_page << hv_page_shift, kind)
                           : slat::translate(paging, second, memory_, gva_page << hv_page_shift, kind);
    HvOutputTranslateVirtualAddress output{};
    using Result = HvTranslateGvaResult;
    Result result = Result::success;
    switch (found.kind) {
        case slat::TwoDimensionalKind::ok:
            break;
        case slat::TwoDimensionalKind::non_canonical:
            result = Result::page_not_present;
            break;
        case slat::TwoDimensionalKind::page_fault:
            result = (found.guest.error_code & mmu::fault::reserved) != 0  ? Result::invalid_page_table_flags
                     : (found.guest.error_code & mmu::fault::present) != 0 ? Result::privilege_violation
                                                                           : Result::page_not_present;
            break;
        default:
            // The page itself may be a device's: where it is, the root is told all the same.
            result = Result::gpa_unmapped;
            if (partition_.gpa_space().translate(found.nested.gpa)) {
                result = kind.access == mmu::Access::write ? Result::gpa_no_write_access : Result::gpa_no_read_access;
            }
    }
    output.result_code = static_cast<std::uint32_t>(result);
    if (found.guest.ok()) {
        output.gpa_page = found.guest.gpa >> hv_page_shift;
        output.overlay_page = partition_.gpa_space().has_overlay(output.gpa_page) ? 1 : 0;
        output.cache_type = 6;  // write-back
    }
    return output;
}

}  // namespace hypervisor
