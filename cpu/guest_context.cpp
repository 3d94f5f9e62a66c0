#include "cpu/guest_context.h"

namespace cpu {

namespace {

Segment to_segment(const EngineSegment& s) {
    return {static_cast<u16>(s.selector), static_cast<u16>((s.flags >> 8 & 0xff) | (s.flags >> 12 & 0xf00)), s.limit,
            s.base};
}
EngineSegment from_segment(const Segment& s) {
    return {s.selector, 0, s.base, s.limit, (s.attributes & 0xffu) << 8 | (s.attributes & 0xf00u) << 12};
}

// The engine keeps the task register's type as LTR found it, available; when it looks for an inner stack it gives up
// altogether on anything else. So a task register that is none stands there as a task state without content, on which
// the engine raises #TS, as it should; a bit that no LTR leaves set tells which it is.
constexpr u32 engine_present = 1u << 15;
constexpr u32 engine_not_system = 1u << 12;
constexpr u32 engine_busy = 2u << 8;
constexpr u32 engine_tss32 = 9u << 8;
constexpr u32 no_task = engine_present | engine_not_system | engine_tss32;

}  // namespace

GuestContext::GuestContext(const EngineState& pristine, u16 partition_salt)
    : saved_(pristine), salt_(static_cast<u64>(partition_salt) << 48) {}

Registers GuestContext::registers() const {
    const EngineState& s = *state_;
    Registers r;
    r.gpr = s.gpr;
    r.rip = s.rip;
    r.rflags = rflags();
    for (unsigned i = 0; i < 6; ++i) r.segments[i] = to_segment(s.segments[i]);
    r.ldtr = to_segment(s.ldt);
    r.tr = to_segment(s.tr);
    if (s.tr.flags == no_task) {
        r.tr.attributes = unusable_tr_.attributes;
        r.tr.limit = unusable_tr_.limit;
    } else {
        r.tr.attributes |= static_cast<u16>(engine_busy >> 8);
    }
    r.gdtr = {s.gdt.base, s.gdt.limit};
    r.idtr = {s.idt.base, s.idt.limit};
    r.cr0 = s.cr[0];
    r.cr2 = s.cr[2];
    r.cr3 = s.cr[3];
    r.cr4 = s.cr[4];
    r.efer = s.efer;
    r.pdpte = pdpte_;
    r.star = s.star;
    r.lstar = s.lstar;
    r.cstar = s.cstar;
    r.sfmask = s.fmask;
    r.kernel_gs_base = s.kernel_gs_base;
    r.sysenter_cs = s.sysenter_cs;
    r.sysenter_esp = s.sysenter_esp;
    r.sysenter_eip = s.sysenter_eip;
    r.pat = s.pat;
    for (unsigned i = 0; i < 4; ++i) r.dr[i] = s.dr[i];
    r.dr6 = s.dr[6];
    r.dr7 = s.dr[7];
    return r;
}

void GuestContext::set_registers(const Registers& r) {
    EngineState& s = *state_;
    s.gpr = r.gpr;
    s.rip = r.rip;
    set_rflags(r.rflags);
    for (unsigned i = 0; i < 6; ++i) s.segments[i] = from_segment(r.segments[i]);
    s.ldt = from_segment(r.ldtr);
    s.tr = from_segment(r.tr);
    if (r.tr.is_task_state()) {
        s.tr.flags &= ~engine_busy;
    } else {
        unusable_tr_ = r.tr;
        s.tr.limit = 0;
        s.tr.flags = no_task;
    }
    s.gdt = {0, 0, r.gdtr.base, r.gdtr.limit, 0};
    s.idt = {0, 0, r.idtr.base, r.idtr.limit, 0};
    if (s.cr[0] != r.cr0 || s.cr[3] != r.cr3 || s.cr[4] != r.cr4 || s.efer != r.efer) translation_changed_ = true;
    s.cr = {r.cr0, 0, r.cr2, r.cr3, r.cr4};
    s.efer = r.efer;
    set_pdptes(r.pdpte);
    s.star = r.star;
    s.lstar = r.lstar;
    s.cstar = r.cstar;
    s.fmask = r.sfmask;
    s.kernel_gs_base = r.kernel_gs_base;
    s.sysenter_cs = static_cast<u32>(r.sysenter_cs);
    s.sysenter_esp = r.sysenter_esp;
    s.sysenter_eip = r.sysenter_eip;
    s.pat = r.pat;
    for (unsigned i = 0; i < 4; ++i) s.dr[i] = r.dr[i];
    s.dr[6] = r.dr6;
    s.dr[7] = r.dr7;
    update_hidden_flags();
}

// The engine's translator depends on these bits; they follow from the registers (SDM 3.4.5, APM volume 2, 4.9).
void GuestContext::update_hidden_flags() {
    EngineState& s = *state_;
    const auto& cs = s.segments[1];
    const auto& ss = s.segments[2];
    constexpr u32 big = 1u << 22;
    constexpr u32 wide = 1u << 21;
    const bool pe = (s.cr[0] & cpu::cr0::pe) != 0;
    const bool lma = (s.efer & cpu::efer::lma) != 0;
    const bool vm86 = pe && (s.rflags & cpu::rflags::vm) != 0;
    u32 flags = s.hflags & (hflag::inhibit_irq | hflag::svme | hflag::guest);
    if (vm86) {
        flags |= 3;
    } else if (pe) {
        flags |= ss.flags >> 13 & 3;
    }
    if (pe) flags |= hflag::pe;
    if (lma) flags |= hflag::lma;
    if (lma && (cs.flags & wide) != 0) {
        flags |= hflag::cs64 | hflag::cs32 | hflag::ss32;
    } else {
        if ((cs.flags & big) != 0 && !vm86 && pe) flags |= hflag::cs32;
        if ((ss.flags & big) != 0 && !vm86 && pe) flags |= hflag::ss32;
        const bool zero_bases = s.segments[3].base == 0 && s.segments[0].base == 0 && ss.base == 0;
        if (!pe || vm86 || (flags & hflag::cs32) == 0 || !zero_bases) flags |= hflag::addseg;
    }
    if ((s.cr[0] & cpu::cr0::mp) != 0) flags |= hflag::mp;
    if ((s.cr[0] & cpu::cr0::em) != 0) flags |= hflag::em;
    if ((s.cr[0] & cpu::cr0::ts) != 0) flags |= hflag::ts;
    if ((s.cr[4] & cpu::cr4::osfxsr) != 0) flags |= hflag::osfxsr;
    if ((s.cr[4] & cpu::cr4::smap) != 0) flags |= hflag::smap;
    s.hflags = flags;
    // General detect (SDM 17.2.4): reads are intercepted only while it is on.
    s.intercept_dr_read = (s.dr[7] & cpu::dr7::gd) != 0 ? 0xff : 0;
}

mmu::PagingState GuestContext::paging() const {
    const EngineState& s = *state_;
    mmu::PagingState p;
    p.cr0 = s.cr[0];
    p.cr3 = s.cr[3];
    p.cr4 = s.cr[4];
    p.efer = s.efer;
    p.pdpte = pdpte_;
    p.ac = (s.rflags & cpu::rflags::ac) != 0;
    return p;
}

std::array<u64, 2> GuestContext::xmm(unsigned n) const {
    std::array<u64, 2> value{};
    std::memcpy(value.data(), state_->floating_point.data() + engine_xmm_offset + n * engine_xmm_stride, sizeof value);
    return value;
}

void GuestContext::set_xmm(unsigned n, std::array<u64, 2> value) {
    std::memcpy(state_->floating_point.data() + engine_xmm_offset + n * engine_xmm_stride, value.data(), sizeof value);
}

}  // namespace cpu
