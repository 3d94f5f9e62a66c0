#include "hypervisor/behavioural_processor.h"

#include <algorithm>
#include <utility>

#include "hypervisor/vp_registers.h"

namespace hypervisor {

namespace {

// 64-bit code at the highest privilege, flat: what its registers say when the root looks. There are no page tables;
// linear addresses are guest physical ones.
cpu::Registers kernel_registers() {
    namespace s = cpu::segment;
    constexpr auto data =
        static_cast<cpu::u16>(s::present | s::not_system | s::writable | s::accessed | s::default_big | s::granularity);
    constexpr auto code = static_cast<cpu::u16>(s::present | s::not_system | s::code | s::readable | s::accessed |
                                                s::long_mode | s::granularity);
    cpu::Registers r = cpu::reset_registers(0);
    for (cpu::Segment& segment : r.segments) segment = {16, data, 0xffff'ffff, 0};
    r[cpu::SegmentName::cs] = {8, code, 0xffff'ffff, 0};
    r.cr0 = cpu::cr0::pe | cpu::cr0::pg | cpu::cr0::ne | cpu::cr0::et;
    r.cr4 = cpu::cr4::pae | cpu::cr4::osfxsr;
    r.efer = cpu::efer::lme | cpu::efer::lma;
    r.rip = 0x1000;
    return r;
}

}  // namespace

BehaviouralProcessor::Counters::Counters(const sim::Scope& scope)
    : pieces(scope.counter("pieces", "count", "pieces of the software's work")),
      busy(scope.counter("busy", "ps", "time in which it was at work, the hypervisor's work for it included")),
      exits(scope.counter("exits", "count", "exits from the guest to the hypervisor")),
      hypercalls(scope.counter("exits.hypercall", "count", "hypercalls")),
      refused(scope.counter("refused", "count", "hypercalls and MSRs that did not succeed")),
      msr_writes(scope.counter("exits.wrmsr", "count", "exits for WRMSR")),
      io(scope.counter("exits.io", "count", "exits for port I/O")),
      memory(scope.counter("exits.nested_fault", "count", "exits for registers that the root emulates")),
      halts(scope.counter("exits.halt", "count", "exits for HLT")),
      interrupt_exits(scope.counter("exits.interrupt", "count", "exits because an interrupt came for it")),
      interrupts(scope.counter("interrupts", "count", "interrupts taken")),
      device_accesses(scope.counter("device_accesses", "count", "accesses to registers of assigned devices")) {}

BehaviouralProcessor::BehaviouralProcessor(const sim::Scope& scope, SyntheticPartition& synthetic,
                                           RootHypercalls& calls, std::uint32_t index,
                                           BehaviouralEnvironment& environment, const BehaviouralSettings& settings,
                                           const cpu::EngineState& pristine)
    : scope_(scope),
      partition_(synthetic.partition()),
      environment_(environment),
      settings_(settings),
      ref_{partition_.id(), index},
      guest_(pristine, static_cast<std::uint16_t>(partition_.id() & 0x7fff)),
      apic_(scope.child("apic"), *this, index, settings.apic_hz, settings.tsc_hz),
      synthetic_(scope.child("synthetic"), synthetic, *this, calls, index),
      arrival_(scope.agenda(), scope.path() + ".arrival", [this] { arrivals_due(); }),
      counters_(scope) {
    guest_.set_registers(kernel_registers());
    needs_.add_between(&scope_, &guest_);
    partition_.add_needs(needs_);
    needs_.add_elements(state_.actions, 2);
    apic_.add_needs(needs_);
    synthetic_.add_needs(needs_);
    needs_.add(state_);
    needs_.add(counters_);
    needs_.add(&counters_.pieces, 12 * sizeof(sim::Counter));
    partition_.add_call_needs(call_needs_);
    synthetic.add_needs(call_needs_);
    guest_.add_needs(call_needs_);
    synthetic_.add_call_needs(call_needs_);
}

void BehaviouralProcessor::set_software(VpSoftware* software) {
    if (software_ != nullptr) software_->placed(nullptr);
    software_ = software;
    if (software_ == nullptr) return;
    software_->placed(this);
    wake();
}

void BehaviouralProcessor::wake() {
    if (suspended() || software_ == nullptr) return;
    expect();
    environment_.wake(*this);
}

void BehaviouralProcessor::expect() {
    if (!state_.halted || expected_ || software_ == nullptr) return;
    expected_ = true;
    if (!software_->expected()) needs_.fetch();
}

// What it does
// -----------------------------------------------------------------------------------------------------------------

std::optional<sim::Time> BehaviouralProcessor::begin(sim::Account& account) {
    const std::optional<sim::Time> cost = begin_step(account);
    if (cost) {
        state_.run_time += *cost;
        counters_.busy.add(static_cast<std::uint64_t>(cost->ps()));
    }
    return cost;
}

std::optional<sim::Time> BehaviouralProcessor::begin_step(sim::Account& account) {
    if (suspended() || software_ == nullptr) return std::nullopt;
    if (state_.access.who == nobody) state_.accessing = false;
    if (state_.accessing) {
        state_.at_work = AtWork::answer;
        return sim::Time::zero();
    }
    if (!state_.actions.empty()) {
        state_.at_work = AtWork::action;
        state_.halted = false;
        return begin_action(state_.actions.front(), account);
    }
    if (const auto vector = apic_.deliverable()) {
        sim::Time cost = settings_.costs.interrupt_delivery;
        account.add(injection_cause, cost);
        if (std::exchange(state_.interrupted, false)) {
            cost += exit(account, counters_.interrupt_exits, interrupt_exit_cause, sim::Time::zero());
        }
        state_.at_work = AtWork::interrupt;
        state_.halted = false;
        state_.vector = *vector;
        const bool level = apic_.level_triggered(*vector);
        apic_.acknowledge(*vector);
        if (apic_.in_service(*vector)) synthetic_.excuse_eoi(*vector, level);
        ++counters_.interrupts;
        scope_.trace("interrupt", *vector);
        return cost;
    }
    state_.interrupted = false;
    if (const auto cost = software_->begin()) {
        state_.at_work = AtWork::piece;
        state_.halted = false;
        ++counters_.pieces;
        software_->account(account);
        return cost;
    }
    if (state_.halted) return std::nullopt;
    state_.at_work = AtWork::halt;
    return exit(account, counters_.halts, exit_cause(cpu::ExitCode::halt), settings_.costs.halt);
}

sim::Time BehaviouralProcessor::exit(sim::Account& account, sim::Counter& counter, sim::Cause cause,
                                     sim::Time handling) {
    const sim::Time cost = settings_.costs.exit + handling;
    ++counters_.exits;
    ++counter;
    account.add(cause, cost);
    return cost;
}

void BehaviouralProcessor::finish() {
    switch (std::exchange(state_.at_work, AtWork::nothing)) {
        case AtWork::nothing:
            break;
        case AtWork::piece:
            if (software_ != nullptr) software_->finish();
            break;
        case AtWork::action:
            finish_action();
            break;
        case AtWork::answer:
            finish_access();
            break;
        case AtWork::interrupt:
            if (software_ != nullptr) software_->interrupt(state_.vector);
            add(Kind::end_of_interrupt).value = state_.vector;
            break;
        case AtWork::halt:
            state_.halted = true;
            expected_ = false;
            break;
    }
}

// To another machine. Causes have other numbers there.
// -----------------------------------------------------------------------------------------------------------------

void BehaviouralProcessor::save_elsewhere(sim::Writer& writer) {
    writer(guest_, apic_, state_, arrival_);
    for (const Action& action : state_.actions) {
        writer(std::string{action.kind == Kind::charge ? environment_.causes().cause(action.cause) : ""});
    }
    synthetic_.save_elsewhere(writer);
}

bool BehaviouralProcessor::restore_elsewhere(sim::Reader& reader) {
    reader(guest_, apic_, state_, arrival_);
    for (Action& action : state_.actions) {
        std::string cause;
        reader(cause);
        if (action.kind == Kind::charge) action.cause = environment_.causes().number_of(cause);
    }
    return synthetic_.restore_elsewhere(reader);
}

// Interrupts
// -----------------------------------------------------------------------------------------------------------------

void BehaviouralProcessor::interrupt_pending() {
    synthetic_.settle_eoi();
    // In the hypervisor already, or not on a processor at all: no exit.
    if (state_.at_work == AtWork::piece || state_.at_work == AtWork::interrupt) state_.interrupted = true;
    wake();
}

void BehaviouralProcessor::end_of_interrupt(std::uint8_t vector, bool level_triggered) {
    synthetic_.interrupt_ended(vector);
    if (!level_triggered) return;
    HvX64ApicEoiMessage message{};
    message.vp_index = ref_.vp;
    message.interrupt_vector = vector;
    environment_.intercept(make_message(HvMessageType::x64_apic_eoi, partition_.id(), message));
}

void BehaviouralProcessor::receive(const cpu::ApicMessage& message) {
    using cpu::apic::DeliveryMode;
    // There is no code to start, to reset or to break into.
    if (message.mode != DeliveryMode::fixed && message.mode != DeliveryMode::lowest_priority) return;
    apic_.accept(message.vector, message.level_triggered);
}

void BehaviouralProcessor::receive_later(const cpu::ApicMessage& message, sim::Time at) {
    const auto place = std::upper_bound(state_.arrivals.begin(), state_.arrivals.end(), at,
                                        [](sim::Time t, const Arrival& a) { return t < a.at; });
    state_.arrivals.insert(place, Arrival{at, message});
    arrival_.arm(state_.arrivals.front().at);
}

void BehaviouralProcessor::arrivals_due() {
    while (!state_.arrivals.empty() && state_.arrivals.front().at <= scope_.now()) {
        const Arrival arrival = state_.arrivals.front();
        state_.arrivals.pop_front();
        receive(arrival.message);
    }
    if (!state_.arrivals.empty()) arrival_.arm(state_.arrivals.front().at);
}

// VpControl
// -----------------------------------------------------------------------------------------------------------------

HvStatus BehaviouralProcessor::get_register(HvRegister name, HvRegisterValue& value) {
    value = {};
    if (const auto architectural = get_architectural(guest_.registers(), name)) {
        value = *architectural;
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
            value.low = state_.halted ? activity_state::halt_suspend : 0;
            return HvStatus::success;
        case HvRegister::interrupt_state:
        case HvRegister::pending_interruption:
            return HvStatus::success;
        case HvRegister::x64_cr8:
            value.low = apic_.tpr() >> 4;
            return HvStatus::success;
        case HvRegister::x64_apic_base:
            value.low = apic_.base();
            return HvStatus::success;
        case HvRegister::x64_tsc:
            value.low = sim::time_to_cycles(scope_.now(), settings_.tsc_hz);
            return HvStatus::success;
        case HvRegister::x64_initial_apic_id:
        case HvRegister::vp_index:
            value.low = ref_.vp;
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

HvStatus BehaviouralProcessor::set_register(HvRegister name, const HvRegisterValue& value) {
    cpu::Registers r = guest_.registers();
    if (set_architectural(r, name, value)) {
        guest_.set_registers(r);
        return HvStatus::success;
    }
    switch (name) {
        case HvRegister::explicit_suspend:
            state_.explicit_suspend = (value.low & 1) != 0;
            wake();
            return HvStatus::success;
        case HvRegister::intercept_suspend:
            state_.intercept_suspend = (value.low & 1) != 0;
            wake();
            return HvStatus::success;
        // It halts and resumes by itself, and there is nothing that an exception could interrupt.
        case HvRegister::internal_activity_state:
        case HvRegister::interrupt_state:
        case HvRegister::pending_interruption:
            return HvStatus::success;
        case HvRegister::x64_cr8:
            if (value.low > 15) return HvStatus::invalid_register_value;
            apic_.set_tpr(static_cast<std::uint8_t>(value.low << 4));
            return HvStatus::success;
        case HvRegister::x64_apic_base:
            return apic_.write_base(value.low) ? HvStatus::success : HvStatus::invalid_register_value;
        default:
            break;
    }
    if (const auto apic_register = x2apic_msr_of(name)) {
        return apic_.write_msr(*apic_register, value.low) ? HvStatus::success : HvStatus::invalid_register_value;
    }
    return synthetic_.set_register(name, value);
}

bool BehaviouralProcessor::accepts_destination(std::uint64_t address, bool logical) const {
    return apic_.matches(static_cast<std::uint32_t>(address), logical);
}

HvStatus BehaviouralProcessor::assert_interrupt(const InterruptRequest& request) {
    if (request.type != HvInterruptType::fixed && request.type != HvInterruptType::lowest_priority) {
        return HvStatus::invalid_parameter;
    }
    expect();
    scope_.trace("assert_interrupt", request.vector);
    const bool interrupted = state_.interrupted;
    apic_.accept(static_cast<std::uint8_t>(request.vector), request.level_triggered);
    if (request.posted) state_.interrupted = interrupted;
    return HvStatus::success;
}

HvStatus BehaviouralProcessor::post_message(std::uint32_t sint, const HvMessage& message) {
    return synthetic_.post_message(sint, message);
}

HvStatus BehaviouralProcessor::signal_event(std::uint32_t sint, std::uint16_t flag) {
    return synthetic_.signal_event(sint, flag);
}

HvOutputTranslateVirtualAddress BehaviouralProcessor::translate(std::uint64_t gva_page, std::uint64_t flags) {
    HvOutputTranslateVirtualAddress output{};
    const auto mapping = partition_.gpa_space().translate(gva_page << hv_page_shift);
    using Result = HvTranslateGvaResult;
    Result result = Result::success;
    if (!mapping) {
        result = Result::gpa_unmapped;
    } else if ((flags & translate_gva_flag::validate_write) != 0 && !mapping->rights.writable) {
        result = Result::gpa_no_write_access;
    }
    output.result_code = static_cast<std::uint32_t>(result);
    output.gpa_page = gva_page;
    output.overlay_page = partition_.gpa_space().has_overlay(gva_page) ? 1 : 0;
    output.cache_type = 6;  // write-back
    return output;
}

}  // namespace hypervisor
