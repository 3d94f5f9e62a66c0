#include "hypervisor/vp_registers.h"

#include <cstring>

namespace hypervisor {

namespace {

using cpu::Registers;

struct Plain {
    HvRegister name;
    cpu::u64 Registers::*member;
};

constexpr Plain plain[] = {
    {HvRegister::x64_rip, &Registers::rip},
    {HvRegister::x64_rflags, &Registers::rflags},
    {HvRegister::x64_cr0, &Registers::cr0},
    {HvRegister::x64_cr2, &Registers::cr2},
    {HvRegister::x64_cr3, &Registers::cr3},
    {HvRegister::x64_cr4, &Registers::cr4},
    {HvRegister::x64_dr6, &Registers::dr6},
    {HvRegister::x64_dr7, &Registers::dr7},
    {HvRegister::x64_efer, &Registers::efer},
    {HvRegister::x64_kernel_gs_base, &Registers::kernel_gs_base},
    {HvRegister::x64_pat, &Registers::pat},
    {HvRegister::x64_sysenter_cs, &Registers::sysenter_cs},
    {HvRegister::x64_sysenter_eip, &Registers::sysenter_eip},
    {HvRegister::x64_sysenter_esp, &Registers::sysenter_esp},
    {HvRegister::x64_star, &Registers::star},
    {HvRegister::x64_lstar, &Registers::lstar},
    {HvRegister::x64_cstar, &Registers::cstar},
    {HvRegister::x64_sfmask, &Registers::sfmask},
};

// The families whose members are numbered. Each gives a pointer into the registers, or null.
template <class R>
auto numbered(R& r, HvRegister name) -> decltype(&r.gpr[0]) {
    const auto n = static_cast<std::uint32_t>(name);
    const auto in = [n](HvRegister first, std::uint32_t count) {
        return n - static_cast<std::uint32_t>(first) < count;
    };
    if (in(HvRegister::x64_rax, 16)) return &r.gpr[n - static_cast<std::uint32_t>(HvRegister::x64_rax)];
    if (in(HvRegister::x64_dr0, 4)) return &r.dr[n - static_cast<std::uint32_t>(HvRegister::x64_dr0)];
    return nullptr;
}

template <class R>
auto segment(R& r, HvRegister name) -> decltype(&r.ldtr) {
    const auto n = static_cast<std::uint32_t>(name) - static_cast<std::uint32_t>(HvRegister::x64_es);
    if (n < 6) return &r.segments[n];
    if (name == HvRegister::x64_ldtr) return &r.ldtr;
    if (name == HvRegister::x64_tr) return &r.tr;
    return nullptr;
}

template <class R>
auto table(R& r, HvRegister name) -> decltype(&r.gdtr) {
    if (name == HvRegister::x64_gdtr) return &r.gdtr;
    if (name == HvRegister::x64_idtr) return &r.idtr;
    return nullptr;
}

template <class T>
HvRegisterValue as_value(const T& layout) {
    static_assert(sizeof(T) == sizeof(HvRegisterValue));
    HvRegisterValue value{};
    std::memcpy(&value, &layout, sizeof value);
    return value;
}
template <class T>
T as_layout(const HvRegisterValue& value) {
    static_assert(sizeof(T) == sizeof(HvRegisterValue));
    T layout{};
    std::memcpy(&layout, &value, sizeof layout);
    return layout;
}

}  // namespace

// Attributes: the TLFS leaves bits 11:8 of the descriptor's high word reserved between P and AVL, the VMCB doesn't.
HvX64SegmentRegister to_hv(const cpu::Segment& s) {
    return {s.base, s.limit, s.selector,
            static_cast<std::uint16_t>((s.attributes & 0xff) | (s.attributes & 0xf00) << 4)};
}

cpu::Segment from_hv(const HvX64SegmentRegister& s) {
    return {s.selector, static_cast<cpu::u16>((s.attributes & 0xff) | (s.attributes >> 4 & 0xf00)), s.limit, s.base};
}

std::optional<HvRegisterValue> get_architectural(const Registers& r, HvRegister name) {
    for (const Plain& row : plain) {
        if (row.name == name) return HvRegisterValue{r.*row.member, 0};
    }
    if (const auto* word = numbered(r, name)) return HvRegisterValue{*word, 0};
    if (const auto* s = segment(r, name)) return as_value(to_hv(*s));
    if (const auto* t = table(r, name)) {
        return as_value(HvX64TableRegister{{}, static_cast<std::uint16_t>(t->limit), t->base});
    }
    return std::nullopt;
}

bool set_architectural(Registers& r, HvRegister name, const HvRegisterValue& value) {
    for (const Plain& row : plain) {
        if (row.name != name) continue;
        r.*row.member = value.low;
        return true;
    }
    if (auto* word = numbered(r, name)) {
        *word = value.low;
        return true;
    }
    if (auto* s = segment(r, name)) {
        *s = from_hv(as_layout<HvX64SegmentRegister>(value));
        return true;
    }
    if (auto* t = table(r, name)) {
        const auto layout = as_layout<HvX64TableRegister>(value);
        *t = {layout.base, layout.limit};
        return true;
    }
    return false;
}

std::optional<std::uint32_t> x2apic_msr_of(HvRegister name) {
    constexpr std::uint32_t first = 0x802, last = 0x83f;
    const std::uint32_t number =
        static_cast<std::uint32_t>(name) - static_cast<std::uint32_t>(HvRegister::x64_apic_id) + first;
    return number >= first && number <= last ? std::optional{number} : std::nullopt;
}

}  // namespace hypervisor
