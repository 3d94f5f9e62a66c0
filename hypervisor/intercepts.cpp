// The exits of a virtual processor: what each means, and who answers it.
#include <algorithm>
#include <cstring>

#include "cpu/control_registers.h"
#include "hypervisor/intercept_messages.h"
#include "hypervisor/virtual_processor.h"
#include "hypervisor/vp_registers.h"
#include "sim/check.h"

namespace hypervisor {

using cpu::ExitCode;
using cpu::Gpr;

void VirtualProcessor::handle_exit() {
    const ExitCode code = control_.exit_code;
    if (code == ExitCode::nested_fault && access_assigned_device()) return;
    if (code == ExitCode::interrupt_window && posted_is_next()) return;
    ++counters_.exits;
    if (code == ExitCode::interrupt) {
        ++counters_.host_interrupt;  // nothing of the guest's: it costs what the host's own work costs
        return;
    }
    scope_.trace("exit", static_cast<std::uint64_t>(code), guest_.rip(), control_.exit_info1, control_.exit_info2);
    charge(exit_cause(code), settings_.costs.of(code));
    if (control_.interrupted_delivery) state_.injection = control_.interrupted_delivery;
    synthetic_.settle_eoi();
    switch (code) {
        case ExitCode::interrupt_window:
            ++counters_.interrupt_window;
            return;
        case ExitCode::cpuid:
            return on_cpuid();
        case ExitCode::msr:
            return on_msr();
        case ExitCode::io:
            return on_io();
        case ExitCode::halt:
            return on_halt();
        case ExitCode::hypercall:
            return on_hypercall();
        case ExitCode::nested_fault:
            return on_nested_fault();
        case ExitCode::cr8_read:
        case ExitCode::cr8_write:
            return on_cr8();
        case ExitCode::iret:
            return on_iret();
        case ExitCode::pause:
        case ExitCode::wbinvd:
        case ExitCode::invd:
            return complete();
        case ExitCode::shutdown:
            return on_shutdown();
        case ExitCode::rdpmc:
            ++counters_.refused;
            return inject(cpu::exception_event(cpu::vector::general_protection));
        default:
            break;
    }
    const auto n = static_cast<std::uint32_t>(code);
    if (n >= 0x40 && n < 0x60) return on_exception(static_cast<std::uint8_t>(n - 0x40));
    // VMRUN and its relatives, MONITOR, MWAIT, XSETBV, RSM: nothing that CPUID offers.
    ++counters_.refused;
    inject(cpu::exception_event(cpu::vector::invalid_opcode));
}

void VirtualProcessor::on_cpuid() {
    ++counters_.cpuid;
    const auto leaf = static_cast<std::uint32_t>(guest_.gpr(Gpr::rax));
    const auto subleaf = static_cast<std::uint32_t>(guest_.gpr(Gpr::rcx));
    cpu::CpuidResult own = settings_.cpuid->look_up(leaf, subleaf, index_);
    synthetic_.adjust_cpuid(leaf, own);
    const CpuidRegisters result =
        partition_.intercepts().apply_cpuid_results(index_, leaf, subleaf, {own.eax, own.ebx, own.ecx, own.edx});
    guest_.set_gpr(Gpr::rax, result.eax);
    guest_.set_gpr(Gpr::rbx, result.ebx);
    guest_.set_gpr(Gpr::rcx, result.ecx);
    guest_.set_gpr(Gpr::rdx, result.edx);
    complete();
}

void VirtualProcessor::on_msr() {
    const auto number = static_cast<std::uint32_t>(guest_.gpr(Gpr::rcx));
    const bool is_write = control_.exit_info1 != 0;
    const auto low = static_cast<std::uint32_t>(guest_.gpr(Gpr::rax));
    const auto high = static_cast<std::uint32_t>(guest_.gpr(Gpr::rdx));
    const std::uint64_t value = std::uint64_t{high} << 32 | low;
    const bool x2apic = number >= cpu::msr_number::x2apic_first && number <= cpu::msr_number::x2apic_last;
    if (x2apic || (number >= msr::eoi && number <= msr::tpr)) {
        charge(exit_cause(control_.exit_code), settings_.costs.apic_register);
    }
    bool done = false;
    if (is_write) {
        ++counters_.msr_write;
        scope_.trace("wrmsr", number, value);
        done = write_msr(number, value);
        // The root may act on it: a reset, a crash report.
        if (done && SyntheticProcessor::is_reported(number) && partition_.intercepts().msr(number, true, true)) {
            return report_msr(number, true, low, high);
        }
    } else {
        ++counters_.msr_read;
        if (const auto result = read_msr(number)) {
            guest_.set_gpr(Gpr::rax, static_cast<std::uint32_t>(*result));
            guest_.set_gpr(Gpr::rdx, *result >> 32);
            done = true;
        }
    }
    if (!done && partition_.intercepts().msr_action(number, is_write) == MsrAction::ignore_write_read_zero) {
        if (!is_write) {
            guest_.set_gpr(Gpr::rax, 0);
            guest_.set_gpr(Gpr::rdx, 0);
        }
        done = true;
    }
    if (!done && partition_.intercepts().msr(number, is_write, false)) {
        return report_msr(number, is_write, low, high);
    }
    if (done) return complete();
    ++counters_.refused;
    inject(cpu::exception_event(cpu::vector::general_protection));
}

void VirtualProcessor::report_msr(std::uint32_t number, bool is_write, std::uint32_t low, std::uint32_t high) {
    HvX64MsrInterceptMessage message{};
    const auto access = is_write ? HvInterceptAccess::write : HvInterceptAccess::read;
    message.header = intercept_header(intercept_context(), access);
    message.msr_number = number;
    message.rax = low;
    message.rdx = high;
    charge(round_trip_cause, settings_.costs.root_round_trip);
    tell_root(make_message(HvMessageType::x64_msr_intercept, partition_.id(), message));
}

std::optional<std::uint64_t> VirtualProcessor::read_msr(std::uint32_t number) {
    namespace m = cpu::msr_number;
    if (number >= m::x2apic_first && number <= m::x2apic_last) return apic_.read_msr(number);
    if (number >= msr::first_synthetic && number <= msr::last_synthetic) return synthetic_.read_msr(number);
    switch (number) {
        case m::tsc:
            return sim::time_to_cycles(scope_.now(), settings_.tsc_hz) + guest_.tsc_offset();
        case m::apic_base:
            return apic_.base();
        case m::tsc_deadline:
            return apic_.deadline();
        case m::tsc_aux:
            return guest_.tsc_aux();
        case m::efer:
            return guest_.efer();
        case m::pat:
            return guest_.registers().pat;
        case m::sysenter_cs:
            return guest_.registers().sysenter_cs;
        case m::sysenter_esp:
            return guest_.registers().sysenter_esp;
        case m::sysenter_eip:
            return guest_.registers().sysenter_eip;
        default:
            return msrs_.read(number);
    }
}

namespace {

// The registers that hold an address and take only canonical ones.
std::uint64_t* address_register(cpu::Registers& r, std::uint32_t number) {
    namespace m = cpu::msr_number;
    switch (number) {
        case m::sysenter_esp:
            return &r.sysenter_esp;
        case m::sysenter_eip:
            return &r.sysenter_eip;
        case m::lstar:
            return &r.lstar;
        case m::cstar:
            return &r.cstar;
        case m::fs_base:
            return &r[cpu::SegmentName::fs].base;
        case m::gs_base:
            return &r[cpu::SegmentName::gs].base;
        case m::kernel_gs_base:
            return &r.kernel_gs_base;
        default:
            return nullptr;
    }
}

}  // namespace

bool VirtualProcessor::write_msr(std::uint32_t number, std::uint64_t value) {
    namespace m = cpu::msr_number;
    if (number >= m::x2apic_first && number <= m::x2apic_last) return apic_.write_msr(number, value);
    if (number >= msr::first_synthetic && number <= msr::last_synthetic) return synthetic_.write_msr(number, value);
    cpu::Registers r = guest_.registers();
    const bool canonical = mmu::is_canonical(value, mmu::PagingMode::level4);
    switch (number) {
        case m::tsc:
            guest_.set_tsc_offset(value - sim::time_to_cycles(scope_.now(), settings_.tsc_hz));
            return true;
        case m::apic_base:
            return apic_.write_base(value);
        case m::tsc_deadline:
            apic_.write_deadline(value, sim::time_to_cycles(scope_.now(), settings_.tsc_hz) + guest_.tsc_offset());
            return true;
        case m::tsc_aux:
            if (value >> 32 != 0) return false;
            guest_.set_tsc_aux(value);
            return true;
        case m::efer:
            if (!cpu::write_efer(r, value, lp_->features())) return false;
            break;
        case m::pat:
            if (!cpu::is_valid_pat(value)) return false;
            r.pat = value;
            break;
        case m::sysenter_cs:
            r.sysenter_cs = value;
            break;
        default: {
            std::uint64_t* address = address_register(r, number);
            if (address == nullptr) return msrs_.write(number, value);
            if (!canonical) return false;
            *address = value;
        }
    }
    guest_.set_registers(r);
    return true;
}

// Ports belong to the root's devices. What it has not asked for reads all ones.
void VirtualProcessor::on_io() {
    ++counters_.io;
    const cpu::IoExit io = cpu::IoExit::of(control_.exit_info1);
    if (!partition_.intercepts().io_port(io.port, io.size, !io.in)) {
        if (io.in && !io.string) {
            const std::uint64_t rax = guest_.gpr(Gpr::rax);
            guest_.set_gpr(Gpr::rax, io.size == 1 ? rax | 0xff : io.size == 2 ? rax | 0xffff : 0xffff'ffff);
        }
        return complete();
    }
    HvX64IoPortInterceptMessage message{};
    message.header = intercept_header(intercept_context(), io.in ? HvInterceptAccess::read : HvInterceptAccess::write);
    message.port_number = io.port;
    message.access_info = static_cast<std::uint8_t>(io.size | (io.string ? io_port_access::string_op : 0) |
                                                    (io.rep ? io_port_access::rep_prefix : 0));
    message.instruction_byte_count = control_.instruction_bytes;
    std::memcpy(message.instruction_bytes, control_.instruction.data(), control_.instruction.size());
    message.rax = guest_.gpr(Gpr::rax);
    if (io.string) {
        const cpu::Registers r = guest_.registers();
        message.ds_segment = to_hv(r[cpu::SegmentName::ds]);
        message.es_segment = to_hv(r[cpu::SegmentName::es]);
        message.rcx = r[Gpr::rcx];
        message.rsi = r[Gpr::rsi];
        message.rdi = r[Gpr::rdi];
    }
    charge(round_trip_cause, settings_.costs.root_round_trip);
    lp_->engine().count_instruction();
    tell_root(make_message(HvMessageType::x64_io_port_intercept, partition_.id(), message));
}

void VirtualProcessor::on_halt() {
    ++counters_.halt;
    complete();
    state_.halted = true;
}

void VirtualProcessor::on_cr8() {
    const bool is_write = control_.exit_code == ExitCode::cr8_write;
    // 0F 20 /r and 0F 22 /r, with a LOCK prefix where there is no REX.R.
    const auto& code = control_.instruction;
    std::size_t opcode = 0;
    while (opcode + 3 < code.size() && code[opcode] != 0x0f) ++opcode;
    const bool rex_b = guest_.code_64bit() && opcode > 0 && (code[opcode - 1] & 0xf1) == 0x41;
    const auto reg = static_cast<Gpr>((code[opcode + 2] & 7u) | (rex_b ? 8u : 0u));
    if (is_write) {
        const std::uint64_t value = guest_.gpr(reg);
        if (value > 15) return inject(cpu::exception_event(cpu::vector::general_protection));
        complete();
        apic_.set_tpr(static_cast<std::uint8_t>(value << 4));
    } else {
        guest_.set_gpr(reg, apic_.tpr() >> 4);
        complete();
    }
}

void VirtualProcessor::on_shutdown() {
    scope_.trace("triple_fault");
    state_.injection.reset();
    tell_root(make_message(HvMessageType::unrecoverable_exception, partition_.id(),
                           intercept_header(intercept_context(), HvInterceptAccess::execute)));
}

// The answer to an access that cannot be. While an event was being delivered the two combine (SDM volume 3A, 6.15).
void VirtualProcessor::refuse_access() {
    ++counters_.refused;
    const cpu::Event gp = cpu::exception_event(cpu::vector::general_protection);
    const auto first = control_.interrupted_delivery;
    switch (first ? cpu::combine(*first, gp) : cpu::Combined::second) {
        case cpu::Combined::second:
            return inject(gp);
        case cpu::Combined::double_fault:
            return inject(cpu::exception_event(cpu::vector::double_fault));
        case cpu::Combined::triple_fault:
            return on_shutdown();
    }
}

// The end of an NMI's handler. The IRET itself runs in a shadow: an NMI that waits comes after it, or the next
// handler's frame would be laid over this one's.
void VirtualProcessor::on_iret() {
    state_.nmi_masked = false;
    guest_.set_intercept_iret(false);
    guest_.set_interrupt_shadow(true);
}

void VirtualProcessor::on_exception(std::uint8_t vector) {
    HvX64ExceptionInterceptMessage message{};
    message.header = intercept_header(intercept_context(), HvInterceptAccess::execute);
    message.exception_vector = vector;
    message.exception_info = cpu::pushes_error_code(vector) ? 1 : 0;
    message.error_code = static_cast<std::uint32_t>(control_.exit_info1);
    message.exception_parameter = control_.exit_info2;
    message.instruction_byte_count = control_.instruction_bytes;
    std::memcpy(message.instruction_bytes, control_.instruction.data(), control_.instruction.size());
    const cpu::Registers r = guest_.registers();
    message.ds_segment = to_hv(r[cpu::SegmentName::ds]);
    message.ss_segment = to_hv(r[cpu::SegmentName::ss]);
    std::copy(r.gpr.begin(), r.gpr.end(), std::begin(message.gpr));
    tell_root(make_message(HvMessageType::x64_exception_intercept, partition_.id(), message));
}

void VirtualProcessor::on_hypercall() {
    ++counters_.hypercall;
    // Below CPL 0, in real mode and before the interface is established there is no such instruction (TLFS 3.5, 3.13).
    if (guest_.cpl() != 0 || !guest_.protected_mode() || !synthetic_.hypercalls_enabled()) {
        ++counters_.refused;
        return inject(cpu::exception_event(cpu::vector::invalid_opcode));
    }
    // A call that is not finished comes again at the same instruction.
    if (synthetic_.hypercall()) complete();
}

// A guest physical address without memory: the local APIC's page is ours, everything else the root's.
void VirtualProcessor::on_nested_fault() {
    ++counters_.nested_fault;
    const std::uint64_t gpa = control_.exit_info2;
    if (apic_.mode() == cpu::ApicMode::xapic && (gpa & ~std::uint64_t{0xfff}) == apic_.page()) {
        charge(exit_cause(control_.exit_code), settings_.costs.apic_register);
        // A stack or a table in the APIC's page is beyond the emulator.
        return control_.interrupted_delivery ? refuse_access() : emulate_apic_access();
    }
    const bool mapped = partition_.gpa_space().translate(gpa).has_value();
    // A write to a page that is an overlay of ours is the guest's fault (TLFS 3.13 for the hypercall page).
    if (mapped && partition_.gpa_space().has_overlay(gpa >> 12)) return refuse_access();
    HvX64MemoryInterceptMessage message{};
    const bool is_write = nested_fault_was_write();
    message.header =
        intercept_header(intercept_context(), is_write ? HvInterceptAccess::write : HvInterceptAccess::read);
    message.instruction_byte_count = control_.instruction_bytes;
    message.guest_physical_address = gpa;
    std::memcpy(message.instruction_bytes, control_.instruction.data(), control_.instruction.size());
    charge(round_trip_cause, settings_.costs.root_round_trip);
    tell_root(
        make_message(mapped ? HvMessageType::gpa_intercept : HvMessageType::unmapped_gpa, partition_.id(), message));
}

bool VirtualProcessor::nested_fault_was_write() const {
    // Both formats have the write bit at bit 1: EPT's qualification and the page-fault error code.
    return (control_.exit_info1 & 2) != 0;
}

void VirtualProcessor::emulate_apic_access() {
    cpu::Registers r = guest_.registers();
    const auto code = std::span{control_.instruction}.first(control_.instruction_bytes);
    const auto result = emulator_.step(r, code, lp_->linear_memory(guest_, control_), *this);
    switch (result.outcome) {
        case cpu::Emulation::done:
            guest_.set_registers(r);
            guest_.set_interrupt_shadow(false);
            if (!result.repeats) lp_->engine().count_instruction();
            return;
        case cpu::Emulation::exception:
            return inject(result.raised);
        case cpu::Emulation::nested_fault:
        case cpu::Emulation::unhandled:
            break;
    }
    ++counters_.unhandled_mmio;
    scope_.trace("unhandled_mmio", guest_.rip(), control_.exit_info2);
    inject(cpu::exception_event(cpu::vector::invalid_opcode));
}

std::optional<std::uint64_t> VirtualProcessor::device_address(std::uint64_t linear, bool write,
                                                              cpu::Privilege privilege) {
    const mmu::AccessKind kind{.access = write ? mmu::Access::write : mmu::Access::read,
                               .user = privilege == cpu::Privilege::user,
                               .implicit_supervisor = privilege == cpu::Privilege::implicit_supervisor};
    const auto found = lp_->translate(guest_, control_, linear, kind);
    if (!found.guest.ok() || (found.guest.gpa & ~std::uint64_t{0xfff}) != apic_.page()) return std::nullopt;
    return found.guest.gpa;
}

std::uint64_t VirtualProcessor::read(std::uint64_t gpa, unsigned size) {
    return apic_.read_page(static_cast<std::uint32_t>(gpa & 0xfff), size);
}

void VirtualProcessor::write(std::uint64_t gpa, unsigned size, std::uint64_t value) {
    apic_.write_page(static_cast<std::uint32_t>(gpa & 0xfff), size, static_cast<std::uint32_t>(value));
}

// The I/O APIC is the root's: it hears of a level-triggered interrupt's end.
void VirtualProcessor::end_of_interrupt(std::uint8_t vector, bool level_triggered) {
    synthetic_.interrupt_ended(vector);
    if (!level_triggered) return;
    HvX64ApicEoiMessage message{};
    message.vp_index = index_;
    message.interrupt_vector = vector;
    environment_.intercept(*this, make_message(HvMessageType::x64_apic_eoi, partition_.id(), message));
}

InterceptContext VirtualProcessor::intercept_context() const {
    const cpu::Registers r = guest_.registers();
    InterceptContext context;
    context.vp_index = index_;
    context.instruction_length = control_.instruction_length;
    context.cr8 = static_cast<std::uint8_t>(apic_.tpr() >> 4);
    context.cpl = static_cast<std::uint8_t>(r.cpl());
    context.cr0_pe = r.protected_mode();
    context.cr0_am = (r.cr0 & cpu::cr0::am) != 0;
    context.efer_lma = r.long_mode();
    context.interruption_pending = state_.injection.has_value();
    context.interrupt_shadow = guest_.interrupt_shadow();
    context.cs = to_hv(r[cpu::SegmentName::cs]);
    context.rip = r.rip;
    context.rflags = r.rflags;
    return context;
}

void VirtualProcessor::tell_root(const HvMessage& message) {
    state_.intercept_suspend = true;
    environment_.intercept(*this, message);
}

}  // namespace hypervisor
