#include "cpu/logical_processor.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "cpu/fast_system_call.h"
#include "sim/bits.h"

namespace cpu {

namespace {

// SVM exit codes in families of sixteen (APM volume 2, appendix C).
constexpr u32 svm_cr_write = 0x10;
constexpr u32 svm_dr_read = 0x20;
constexpr u32 svm_dr_write = 0x30;

ExitCode exception_exit(u8 vector) {
    return static_cast<ExitCode>(static_cast<u32>(ExitCode::exception) + vector);
}

// Where the opcode 0F xx begins, behind legacy prefixes and REX.
std::size_t opcode_offset(std::span<const u8> code) {
    for (std::size_t i = 0; i + 2 < code.size(); ++i) {
        if (code[i] == 0x0f) return i;
    }
    return 0;
}

// The general register in a ModRM byte's r/m field.
Gpr rm_register(std::span<const u8> code, std::size_t opcode, bool code_64bit) {
    const bool rex_b = code_64bit && opcode > 0 && (code[opcode - 1] & 0xf1) == 0x41;
    return static_cast<Gpr>((code[opcode + 2] & 7u) | (rex_b ? 8u : 0u));
}

}  // namespace

LogicalProcessor::LogicalProcessor(const sim::Scope& scope, Engine& engine, mmu::SystemMemory memory,
                                   std::unique_ptr<MemoryTiming> timing)
    : scope_(scope), engine_(engine), memory_(memory), timing_(std::move(timing)) {}

void LogicalProcessor::run(GuestContext& guest, ControlBlock& control, sim::Time& now, sim::Time limit) {
    guest_ = &guest;
    control_ = &control;
    control.interrupted_delivery.reset();
    if (const auto event = std::exchange(control.injection, std::nullopt)) {
        if (deliver_event(*event) == Step::exit) return;
    }
    delivered_ = false;
    for (;;) {
        if (timing_) {
            timing_->set_context(guest.paging(), control.second_level, control.partition, control.vp);
            timing_->set_user(guest.cpl() == 3);
        }
        const Step next =
            (guest.dr7() & dr7::enables) != 0
                ? step_watched(now, limit)
                : on_stop(engine_.run(guest, *this, now, limit, control.interrupt_window, timing_.get()), now);
        if (next == Step::exit) return;
        if (!std::exchange(delivered_, false)) continue;
        // A handler that faults at once never comes to a block's end, where the engine looks at the limit.
        now += engine_.event_cost();
        if (now >= limit) return static_cast<void>(exit(ExitCode::interrupt));
    }
}

// Hardware breakpoints (SDM volume 3B, 17.2): while any is enabled, instructions are looked at one by one.
LogicalProcessor::Step LogicalProcessor::step_watched(sim::Time& now, sim::Time limit) {
    if (now >= limit) return exit(ExitCode::interrupt);
    const Registers r = guest_->registers();
    if (control_->interrupt_window && (r.rflags & rflags::if_) != 0 && !guest_->interrupt_shadow())
        return exit(ExitCode::interrupt_window);
    if ((r.rflags & rflags::rf) == 0) {
        if (const u64 hit = execution_breakpoints(r, guest_->linear_rip())) return raise(debug_event(hit));
    }
    fetch_instruction();
    const auto code = std::span{control_->instruction}.first(control_->instruction_bytes);
    const u64 hit = data_breakpoints(r, access_finder_.find(code, r));
    const Stop stop = engine_.step(*guest_, *this, now, timing_.get());
    if (stop.reason == StopReason::limit) {
        if ((r.rflags & rflags::tf) == 0) hide_pushed_trap_flag();
        return hit != 0 ? raise(debug_event(hit)) : Step::resume;
    }
    const bool own_step = stop.reason == StopReason::exception && stop.code == vector::debug && !stop.software;
    if (own_step) guest_->set_dr6_bits(hit);
    return on_stop(stop, now);
}

// PUSHF has seen the flag by which the engine stepped over it.
void LogicalProcessor::hide_pushed_trap_flag() {
    const auto code = std::span{control_->instruction}.first(control_->instruction_length);
    if (code.empty() || code.back() != 0x9c || code.size() > 2) return;
    const Registers r = guest_->registers();
    const u64 mask = r.code_64bit() ? ~u64{0} : r[SegmentName::ss].has(segment::default_big) ? 0xffff'ffff : 0xffff;
    const u64 base = r.code_64bit() ? 0 : r[SegmentName::ss].base;
    const u64 at = base + (r[Gpr::rsp] & mask) + 1;
    u8 flags = 0;
    if (!load(*this, at, flags, Privilege::implicit_supervisor).ok()) return;
    (void)store(*this, at, static_cast<u8>(flags & ~(rflags::tf >> 8)), Privilege::implicit_supervisor);
}

LogicalProcessor::Step LogicalProcessor::on_stop(const Stop& stop, sim::Time& now) {
    switch (stop.reason) {
        case StopReason::limit:
            return exit(ExitCode::interrupt);
        case StopReason::attention:
            return exit(ExitCode::interrupt_window);
        case StopReason::intercept:
            return on_intercept(stop, now);
        case StopReason::translation:
            return on_translation_fault(stop);
        case StopReason::exception:
            break;
    }
    const auto vector = static_cast<u8>(stop.code);
    if (stop.software) return on_software_interrupt(vector);
    if (vector == vector::invalid_opcode) {
        // VMCALL is no instruction of the engine's processor; it is a hypercall all the same.
        fetch_instruction();
        const auto& code = control_->instruction;
        if (control_->instruction_bytes >= 3 && code[0] == 0x0f && code[1] == 0x01 && code[2] == 0xc1) {
            control_->instruction_length = 3;
            return exit(ExitCode::hypercall);
        }
    }
    return raise(exception_event(vector, stop.error_code));
}

LogicalProcessor::Step LogicalProcessor::on_intercept(const Stop& stop, sim::Time& now) {
    if (stop.code == exit_syscall || stop.code == exit_sysenter) return on_system_call(stop.code == exit_syscall, now);
    fetch_instruction();
    // The engine accepts encodings that no processor does, a LOCK prefix for instance.
    if (control_->instruction_length == 0) return raise(exception_event(vector::invalid_opcode));
    if (stop.code >= svm_dr_write && stop.code < svm_dr_write + 16) {
        return on_debug_register_write(stop.code - svm_dr_write, now);
    }
    if (stop.code >= svm_dr_read && stop.code < svm_dr_read + 16) {
        return on_debug_register_read(stop.code - svm_dr_read);
    }
    if (stop.code >= svm_cr_write && stop.code < svm_cr_write + 16 && stop.code != svm_cr_write + 8) {
        return on_control_register_write(stop.code - svm_cr_write, now);
    }
    if (stop.code == static_cast<u32>(ExitCode::io)) return on_io(stop.info1);
    if (stop.code == static_cast<u32>(ExitCode::invlpg)) return on_invlpg(now);
    return exit(static_cast<ExitCode>(stop.code), stop.info1, stop.info2);
}

// The engine stops at every port access. What is forbidden is #GP before it is an exit (SDM volume 1, 19.5).
LogicalProcessor::Step LogicalProcessor::on_io(u64 info1) {
    const Registers r = guest_->registers();
    const bool trusted = r.cpl() <= (r.rflags & rflags::iopl) >> rflags::iopl_shift;
    if (r.protected_mode() && (r.virtual_8086() || !trusted)) {
        const IoExit io = IoExit::of(info1);
        u16 map = 0;
        u16 bits = 0;
        const bool wide = r.tr.type() == segment::tss32_busy || r.tr.type() == segment::tss32_available;
        bool allowed = wide && r.tr.limit >= 0x67;
        if (allowed) {
            if (const auto a = load(*this, r.tr.base + 0x66, map, Privilege::implicit_supervisor); !a.ok())
                return raise(a);
            const u32 at = map + io.port / 8u;
            allowed = at + 1 <= r.tr.limit;
            if (allowed) {
                if (const auto a = load(*this, r.tr.base + at, bits, Privilege::implicit_supervisor); !a.ok())
                    return raise(a);
                allowed = (bits >> (io.port & 7) & ((1u << io.size) - 1)) == 0;
            }
        }
        if (!allowed) return raise(exception_event(vector::general_protection));
    }
    // INS and OUTS: the prefix and opcode bits that the engine doesn't tell.
    for (std::size_t i = 0; i < control_->instruction_length; ++i) {
        const u8 byte = control_->instruction[i];
        if (byte == 0xf2 || byte == 0xf3) info1 |= 8;
        if (byte >= 0x6c && byte <= 0x6f) info1 |= 4;
        if (byte >= 0x6c && byte != 0xf2 && byte != 0xf3 && byte != 0xf0) break;  // the opcode
    }
    return exit(ExitCode::io, (info1 & 4) != 0 ? info1 : info1 & ~u64{8}, guest_->rip() + control_->instruction_length);
}

// MOV to CR0, CR3 and CR4; CLTS and LMSW, which write parts of CR0.
LogicalProcessor::Step LogicalProcessor::on_control_register_write(unsigned n, sim::Time& now) {
    const Registers before = guest_->registers();
    Registers r = before;
    const std::span<const u8> code = control_->instruction;
    const std::size_t opcode = opcode_offset(code);
    const u64 source = r[rm_register(code, opcode, r.code_64bit())] & (r.code_64bit() ? ~u64{0} : 0xffff'ffff);
    bool done = false;
    switch (code[opcode + 1]) {
        case 0x06:
            done = write_cr0(r, r.cr0 & ~cr0::ts);
            break;
        case 0x01: {
            u16 status = static_cast<u16>(source);
            if ((code[opcode + 2] >> 6) != 3) {
                const auto at = access_finder_.address(code.first(control_->instruction_length), r);
                if (!at) break;
                if (const auto a = load(*this, *at, status, privilege_of(r.cpl())); !a.ok()) return raise(a);
            }
            // LMSW sets PE but never clears it.
            done = write_cr0(r, (r.cr0 & ~u64{0xe}) | (status & 0xf));
            break;
        }
        default:
            if (n == 0) done = write_cr0(r, source);
            if (n == 3) done = write_cr3(r, source, features_);
            if (n == 4) done = write_cr4(r, source, features_);
    }
    const bool pae = (r.cr0 & cr0::pg) != 0 && (r.cr4 & cr4::pae) != 0 && !r.long_mode();
    if (done && (needs_pdptes(before, r) || (n == 3 && pae))) done = load_pdptes(r, *control_);
    if (!done) return raise(exception_event(vector::general_protection));
    const mmu::PagingState paging_before = guest_->paging();
    guest_->set_registers(r);
    guest_->translations_changed();
    if (timing_) {
        if (n == 3) timing_->loaded_cr3();
        timing_->mode_changed(paging_before, guest_->paging());
    }
    complete_instruction(*guest_, *control_, now);
    return Step::resume;
}

// Intercepted only in the `timed` fidelity, whose TLBs must hear of it.
LogicalProcessor::Step LogicalProcessor::on_invlpg(sim::Time& now) {
    const auto code = std::span{control_->instruction}.first(control_->instruction_length);
    if (const auto linear = access_finder_.address(code, guest_->registers())) {
        if (timing_) timing_->invalidate_page(*linear);
        guest_->translation_changed(*linear);
    }
    complete_instruction(*guest_, *control_, now);
    return Step::resume;
}

LogicalProcessor::Step LogicalProcessor::on_debug_register_write(unsigned n, sim::Time& now) {
    Registers r = guest_->registers();
    const std::span<const u8> code = control_->instruction;
    const u64 source = r[rm_register(code, opcode_offset(code), r.code_64bit())];
    const DebugWrite done = write_debug_register(r, n, r.code_64bit() ? source : source & 0xffff'ffff);
    guest_->set_registers(r);
    switch (done) {
        case DebugWrite::done:
            complete_instruction(*guest_, *control_, now);
            return Step::resume;
        case DebugWrite::general_protection:
            return raise(exception_event(vector::general_protection));
        case DebugWrite::undefined:
            return raise(exception_event(vector::invalid_opcode));
        case DebugWrite::debug:
            break;
    }
    return raise(exception_event(vector::debug));
}

// Intercepted only while DR7.GD is set: the access that it detects. The registers themselves are the engine's to read.
LogicalProcessor::Step LogicalProcessor::on_debug_register_read(unsigned n) {
    Registers r = guest_->registers();
    if ((n == 4 || n == 5) && (r.cr4 & cr4::de) != 0) return raise(exception_event(vector::invalid_opcode));
    r.dr7 &= ~dr7::gd;
    guest_->set_registers(r);
    return raise(debug_event(dr6::bd));
}

LogicalProcessor::Step LogicalProcessor::on_translation_fault(const Stop& stop) {
    switch (fault_.kind) {
        case slat::TwoDimensionalKind::page_fault:
            return raise(page_fault_event(fault_.guest.error_code, stop.linear));
        case slat::TwoDimensionalKind::non_canonical: {
            // #SS for the stack: taken from where the access is, which also finds the implicit ones.
            const bool near_top = stop.linear - (guest_->gpr(Gpr::rsp) - 64) < 128;
            const bool stack = near_top && stop.access != mmu::Access::execute;
            return raise(exception_event(stack ? vector::stack_fault : vector::general_protection));
        }
        default:
            break;
    }
    fetch_instruction();
    const bool final_address = fault_.guest.ok();
    return exit(ExitCode::nested_fault, fault_.nested.exit_info1,
                final_address ? (fault_.nested.gpa & ~u64{0xfff}) | (stop.linear & 0xfff) : fault_.nested.gpa);
}

// The engine has RIP past the instruction already; delivery wants it at the instruction.
LogicalProcessor::Step LogicalProcessor::on_software_interrupt(u8 vector) {
    std::array<u8, 1> last{};
    const u64 end = guest_->linear_rip();
    const auto read_last = linear_memory(*guest_, *control_)
                               .read(end - 1, std::as_writable_bytes(std::span{last}), Privilege::implicit_supervisor);
    const bool short_form = read_last.ok() && ((vector == vector::breakpoint && last[0] == 0xcc) ||
                                               (vector == vector::overflow && last[0] == 0xce));
    Event event;
    event.vector = vector;
    event.type = short_form ? EventType::software_exception : EventType::software_interrupt;
    event.instruction_length = short_form ? 1 : 2;
    guest_->set_rip(guest_->rip() - event.instruction_length);
    return deliver_event(event);
}

// The engine has counted the instruction and added its length.
LogicalProcessor::Step LogicalProcessor::on_system_call(bool is_syscall, sim::Time& now) {
    constexpr std::array<u8, 2> syscall_code{0x0f, 0x05};
    Registers r = guest_->registers();
    r.rip -= syscall_code.size();
    const auto fault = is_syscall ? system_call(r) : system_enter(r);
    guest_->set_registers(r);
    if (!fault) return Step::resume;
    engine_.discount_instruction();
    now -= sim::Time::ps(engine_.measure_instruction(syscall_code, code_size()).ps);
    return raise(*fault);
}

LogicalProcessor::Step LogicalProcessor::raise(const Event& event) {
    if ((control_->intercept_exceptions >> event.vector & 1) == 0) return deliver_event(event);
    fetch_instruction();
    return exit(exception_exit(event.vector), event.error_code, event.payload);
}

LogicalProcessor::Step LogicalProcessor::raise(const LinearAccess& failed) {
    switch (failed.result) {
        case LinearResult::page_fault:
            return raise(page_fault_event(failed.error_code, failed.cr2));
        case LinearResult::nested_fault:
            return exit(ExitCode::nested_fault, fault_.nested.exit_info1, fault_.nested.gpa);
        default:
            return raise(exception_event(vector::general_protection));
    }
}

LogicalProcessor::Step LogicalProcessor::deliver_event(const Event& event) {
    Registers r = guest_->registers();
    const DeliveryResult result = deliver(r, *this, event, control_->intercept_exceptions);
    delivered_ = true;
    switch (result.outcome) {
        case Delivery::delivered:
            guest_->set_registers(r);
            guest_->set_interrupt_shadow(false);
            return Step::resume;
        case Delivery::triple_fault:
            return exit(ExitCode::shutdown);
        case Delivery::nested_fault:
            guest_->set_registers(r);  // CR2 of a page fault that became a double fault
            control_->interrupted_delivery = result.event;
            return exit(ExitCode::nested_fault, fault_.nested.exit_info1, fault_.nested.gpa);
        case Delivery::exception:
            break;
    }
    guest_->set_registers(r);
    control_->interrupted_delivery = result.event;
    return exit(exception_exit(result.raised.vector), result.raised.error_code, result.raised.payload);
}

LogicalProcessor::Step LogicalProcessor::exit(ExitCode code, u64 info1, u64 info2) {
    control_->exit_code = code;
    control_->exit_info1 = info1;
    control_->exit_info2 = info2;
    return Step::exit;
}

CodeSize LogicalProcessor::code_size() const {
    return guest_->code_bits() == 64   ? CodeSize::bits64
           : guest_->code_bits() == 32 ? CodeSize::bits32
                                       : CodeSize::bits16;
}

// The bytes at RIP, without side effects: fewer than fifteen where the next page is not to be had.
void LogicalProcessor::fetch_instruction() {
    control_->instruction = {};
    control_->instruction_bytes = 0;
    control_->instruction_length = 0;
    const u64 rip = guest_->linear_rip();
    const mmu::AccessKind kind{.access = mmu::Access::execute, .user = guest_->cpl() == 3};
    std::size_t have = 0;
    while (have < control_->instruction.size()) {
        const auto found = translate(*guest_, *control_, rip + have, kind);
        const std::size_t n = std::min<std::size_t>(control_->instruction.size() - have, 4096 - ((rip + have) & 0xfff));
        if (!found.ok()) break;
        if (!memory_.read(found.spa, std::as_writable_bytes(std::span{control_->instruction}.subspan(have, n)))) break;
        have += n;
    }
    control_->instruction_bytes = static_cast<u8>(have);
    control_->instruction_length =
        engine_.measure_instruction(std::span{control_->instruction}.first(have), code_size()).length;
}

void LogicalProcessor::complete_instruction(GuestContext& guest, const ControlBlock& control, sim::Time& now) {
    u64 rip = guest.rip() + control.instruction_length;
    if (!guest.code_64bit()) rip &= 0xffff'ffff;
    guest.set_rip(rip);
    guest.set_rflags(guest.rflags() & ~rflags::rf);
    guest.set_interrupt_shadow(false);
    guest_ = &guest;
    now += sim::Time::ps(
        engine_.measure_instruction(std::span{control.instruction}.first(control.instruction_bytes), code_size()).ps);
    engine_.count_instruction();
}

bool LogicalProcessor::load_pdptes(Registers& r, const ControlBlock& control) const {
    mmu::PagingState state;
    state.cr0 = r.cr0;
    state.cr3 = r.cr3;
    state.cr4 = r.cr4;
    state.efer = r.efer;
    state.phys_bits = features_.phys_bits;
    slat::Translation nested;
    if (slat::load_pdptes(state, control.second_level, memory_, nested) != mmu::PdpteLoad::ok) return false;
    r.pdpte = state.pdpte;
    return true;
}

slat::TwoDimensionalWalk LogicalProcessor::translate(const GuestContext& guest, const ControlBlock& control, u64 linear,
                                                     mmu::AccessKind kind) const {
    return slat::translate(guest.paging(), control.second_level, memory_, linear, kind);
}

// The engine's TLB missed. What the page grants beyond this access it may keep, but for writes to a clean page.
bool LogicalProcessor::translate_page(u64 linear_page, mmu::Access access, PageTranslation& page) {
    if (guest_->pdptes_are_stale()) {
        Registers r = guest_->registers();
        if (!load_pdptes(r, *control_)) r.pdpte = {};
        guest_->set_pdptes(r.pdpte);
    }
    const mmu::PagingState state = guest_->paging();
    mmu::AccessKind kind{.access = access, .user = guest_->cpl() == 3};
    auto found = slat::walk(state, control_->second_level, memory_, linear_page, kind);
    if (found.kind == slat::TwoDimensionalKind::page_fault && kind.user && descriptor_access(linear_page)) {
        kind.implicit_supervisor = true;
        found = slat::walk(state, control_->second_level, memory_, linear_page, kind);
    }
    // A second level may point outside memory: to the guest that is as if nothing were mapped there.
    if (found.ok() && !memory_.contains(found.spa & ~u64{0xfff}, 4096))
        found.kind = slat::TwoDimensionalKind::violation;
    if (!found.ok()) {
        fault_ = found;
        return false;
    }
    const auto allowed = [&](mmu::Access a) {
        return mmu::rights_allow(state, found.guest.rights, {a, kind.user, kind.implicit_supervisor});
    };
    page.spa = found.spa & ~u64{0xfff};
    page.readable = allowed(mmu::Access::read) && found.nested.rights.readable;
    page.writable =
        found.guest.dirty && found.nested.dirty && found.nested.rights.writable && allowed(mmu::Access::write);
    page.executable = allowed(mmu::Access::execute) && found.nested.rights.executable;
    return true;
}

// The engine doesn't say when a processor at CPL 3 reads a descriptor table on its own account. It is taken for that
// where a table is, and the walk fails for the user.
bool LogicalProcessor::descriptor_access(u64 linear_page) const {
    const auto covers = [linear_page](u64 base, u32 limit) {
        return linear_page + 0xfff >= base && linear_page <= base + limit;
    };
    const Registers r = guest_->registers();
    return covers(r.gdtr.base, r.gdtr.limit) || covers(r.ldtr.base, r.ldtr.limit) || covers(r.tr.base, r.tr.limit);
}

LinearMemory& LogicalProcessor::linear_memory(GuestContext& guest, ControlBlock& control) {
    guest_ = &guest;
    control_ = &control;
    return *this;
}

LinearAccess LogicalProcessor::read(u64 linear, std::span<std::byte> out, Privilege privilege) {
    return access(linear, out.size(), mmu::Access::read, privilege,
                  [&](std::size_t offset, u64 spa, std::size_t n) { (void)memory_.read(spa, out.subspan(offset, n)); });
}

LinearAccess LogicalProcessor::write(u64 linear, std::span<const std::byte> data, Privilege privilege) {
    return access(linear, data.size(), mmu::Access::write, privilege, [&](std::size_t offset, u64 spa, std::size_t n) {
        (void)memory_.write(spa, data.subspan(offset, n));
    });
}

// Both pages are translated before a byte moves.
template <class Copy>
LinearAccess LogicalProcessor::access(u64 linear, std::size_t size, mmu::Access access, Privilege privilege,
                                      Copy copy) {
    const mmu::PagingState state = guest_->paging();
    const mmu::AccessKind kind{.access = access,
                               .user = privilege == Privilege::user,
                               .implicit_supervisor = privilege == Privilege::implicit_supervisor};
    const u64 mask = state.mode() < mmu::PagingMode::level4 ? 0xffff'ffff : ~u64{0};
    struct Part {
        std::size_t offset, size;
        u64 spa;
    };
    std::array<Part, 2> parts{};
    std::size_t count = 0;
    for (std::size_t offset = 0; offset < size && count < parts.size(); ++count) {
        const u64 at = (linear + offset) & mask;
        const std::size_t n = std::min<std::size_t>(size - offset, 4096 - (at & 0xfff));
        const auto found = slat::walk(state, control_->second_level, memory_, at, kind);
        switch (found.kind) {
            case slat::TwoDimensionalKind::ok:
                break;
            case slat::TwoDimensionalKind::page_fault:
                return {LinearResult::page_fault, found.guest.error_code, at};
            case slat::TwoDimensionalKind::non_canonical:
                return {LinearResult::non_canonical, 0, 0};
            default:
                fault_ = found;
                return {LinearResult::nested_fault, 0, 0};
        }
        parts[count] = {offset, n, found.spa};
        offset += n;
    }
    for (std::size_t i = 0; i < count; ++i) copy(parts[i].offset, parts[i].spa, parts[i].size);
    return {};
}

}  // namespace cpu
