#include "cpu/fast_system_call.h"

namespace cpu {

namespace {

// The hidden parts are fixed, whatever the descriptor tables say.
constexpr u16 code_attributes = segment::present | segment::not_system | segment::code | segment::readable |
                                segment::accessed | segment::granularity;
constexpr u16 stack_attributes = segment::present | segment::not_system | segment::writable | segment::accessed |
                                 segment::granularity | segment::default_big;

void load_flat_segments(Registers& r, u16 selector, bool code_64bit) {
    const auto size = code_64bit ? segment::long_mode : segment::default_big;
    r[SegmentName::cs] = {selector, static_cast<u16>(code_attributes | size), 0xffff'ffff, 0};
    r[SegmentName::ss] = {static_cast<u16>(selector + 8), stack_attributes, 0xffff'ffff, 0};
}

}  // namespace

std::optional<Event> system_call(Registers& r, unsigned instruction_length) {
    if ((r.efer & efer::sce) == 0) return exception_event(vector::invalid_opcode);
    const auto selector = static_cast<u16>(r.star >> 32 & 0xfffc);
    const u64 next = r.rip + instruction_length;
    if (r.long_mode()) {
        const bool from_64bit = r.code_64bit();
        r[Gpr::rcx] = from_64bit ? next : next & 0xffff'ffff;
        r[Gpr::r11] = r.rflags & ~rflags::rf;
        r.rip = from_64bit ? r.lstar : r.cstar;
        r.rflags &= ~(r.sfmask | rflags::rf);
        load_flat_segments(r, selector, true);
    } else {
        r[Gpr::rcx] = next & 0xffff'ffff;
        r.rip = r.star & 0xffff'ffff;
        r.rflags &= ~(rflags::vm | rflags::if_ | rflags::rf);
        load_flat_segments(r, selector, false);
    }
    r.rflags = (r.rflags & rflags::defined) | rflags::always_one;
    return std::nullopt;
}

std::optional<Event> system_enter(Registers& r) {
    const auto selector = static_cast<u16>(r.sysenter_cs & 0xfffc);
    if (!r.protected_mode() || selector == 0) return exception_event(vector::general_protection, 0);
    const bool long_mode = r.long_mode();
    const u64 width = long_mode ? ~u64{0} : 0xffff'ffff;
    r[Gpr::rsp] = r.sysenter_esp & width;
    r.rip = r.sysenter_eip & width;
    r.rflags &= ~(rflags::vm | rflags::if_);
    load_flat_segments(r, selector, long_mode);
    return std::nullopt;
}

}  // namespace cpu
