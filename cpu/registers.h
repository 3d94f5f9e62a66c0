// The architectural registers of one x86-64 processor, as plain values: what instructions can see or set, and the bits
// in it that have names. What holds the processor up between instructions (interrupt shadow, NMI blocking, halt) is the
// logical processor's; the task priority (CR8) is the local APIC's.
// Clauses are of the Intel SDM (volume 3A unless said otherwise); attributes are packed as in AMD's VMCB (APM volume 2,
// 15.5.1), the same in both vendors' descriptors.
#pragma once

#include <array>
#include <cstdint>

namespace cpu {

using u8 = std::uint8_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;

inline constexpr u64 low32 = 0xffff'ffff;

// 2.5
namespace cr0 {
inline constexpr u64 pe = 1ull << 0;
inline constexpr u64 mp = 1ull << 1;
inline constexpr u64 em = 1ull << 2;
inline constexpr u64 ts = 1ull << 3;
inline constexpr u64 et = 1ull << 4;
inline constexpr u64 ne = 1ull << 5;
inline constexpr u64 wp = 1ull << 16;
inline constexpr u64 am = 1ull << 18;
inline constexpr u64 nw = 1ull << 29;
inline constexpr u64 cd = 1ull << 30;
inline constexpr u64 pg = 1ull << 31;
inline constexpr u64 defined = pe | mp | em | ts | et | ne | wp | am | nw | cd | pg;
}  // namespace cr0
namespace cr4 {
inline constexpr u64 vme = 1ull << 0;
inline constexpr u64 pvi = 1ull << 1;
inline constexpr u64 tsd = 1ull << 2;
inline constexpr u64 de = 1ull << 3;
inline constexpr u64 pse = 1ull << 4;
inline constexpr u64 pae = 1ull << 5;
inline constexpr u64 mce = 1ull << 6;
inline constexpr u64 pge = 1ull << 7;
inline constexpr u64 pce = 1ull << 8;
inline constexpr u64 osfxsr = 1ull << 9;
inline constexpr u64 osxmmexcpt = 1ull << 10;
inline constexpr u64 umip = 1ull << 11;
inline constexpr u64 la57 = 1ull << 12;
inline constexpr u64 vmxe = 1ull << 13;
inline constexpr u64 smxe = 1ull << 14;
inline constexpr u64 fsgsbase = 1ull << 16;
inline constexpr u64 pcide = 1ull << 17;
inline constexpr u64 osxsave = 1ull << 18;
inline constexpr u64 smep = 1ull << 20;
inline constexpr u64 smap = 1ull << 21;
inline constexpr u64 pke = 1ull << 22;
inline constexpr u64 cet = 1ull << 23;
}  // namespace cr4
// APM volume 2, 3.1.7; SDM 2.2.1
namespace efer {
inline constexpr u64 sce = 1ull << 0;
inline constexpr u64 lme = 1ull << 8;
inline constexpr u64 lma = 1ull << 10;
inline constexpr u64 nxe = 1ull << 11;
inline constexpr u64 svme = 1ull << 12;
inline constexpr u64 lmsle = 1ull << 13;
inline constexpr u64 ffxsr = 1ull << 14;
}  // namespace efer
// Volume 1, 3.4.3
namespace rflags {
inline constexpr u64 cf = 1ull << 0;
inline constexpr u64 always_one = 1ull << 1;
inline constexpr u64 pf = 1ull << 2;
inline constexpr u64 af = 1ull << 4;
inline constexpr u64 zf = 1ull << 6;
inline constexpr u64 sf = 1ull << 7;
inline constexpr u64 tf = 1ull << 8;
inline constexpr u64 if_ = 1ull << 9;
inline constexpr u64 df = 1ull << 10;
inline constexpr u64 of = 1ull << 11;
inline constexpr u64 iopl = 3ull << 12;
inline constexpr unsigned iopl_shift = 12;
inline constexpr u64 nt = 1ull << 14;
inline constexpr u64 rf = 1ull << 16;
inline constexpr u64 vm = 1ull << 17;
inline constexpr u64 ac = 1ull << 18;
inline constexpr u64 vif = 1ull << 19;
inline constexpr u64 vip = 1ull << 20;
inline constexpr u64 id = 1ull << 21;
inline constexpr u64 status = cf | pf | af | zf | sf | of;
inline constexpr u64 defined = 0x3f'7fd7;
}  // namespace rflags
// 17.2.3, 17.2.4
namespace dr6 {
inline constexpr u64 b0 = 1ull << 0;
inline constexpr u64 breakpoints = 0xf;
inline constexpr u64 bd = 1ull << 13;
inline constexpr u64 bs = 1ull << 14;
inline constexpr u64 bt = 1ull << 15;
inline constexpr u64 fixed_one = 0xffff'0ff0;
}  // namespace dr6
namespace dr7 {
inline constexpr u64 enables = 0xff;
inline constexpr u64 gd = 1ull << 13;
inline constexpr u64 fixed_one = 1ull << 10;
}  // namespace dr7

// In the order of the instruction encoding.
enum class Gpr : u8 { rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15 };

// In the order of the instruction encoding, which is also the VMCB's.
enum class SegmentName : u8 { es, cs, ss, ds, fs, gs };

// Segment::attributes: bits 7:0 are bits 47:40 of the descriptor, bits 11:8 its bits 55:52.
namespace segment {
inline constexpr u16 type = 0xf;
inline constexpr u16 accessed = 1u << 0;  // code and data
inline constexpr u16 writable = 1u << 1;  // data
inline constexpr u16 readable = 1u << 1;  // code
inline constexpr u16 expand_down = 1u << 2;
inline constexpr u16 conforming = 1u << 2;
inline constexpr u16 code = 1u << 3;
inline constexpr u16 not_system = 1u << 4;
inline constexpr unsigned dpl_shift = 5;
inline constexpr u16 dpl = 3u << dpl_shift;
inline constexpr u16 present = 1u << 7;
inline constexpr u16 available = 1u << 8;
inline constexpr u16 long_mode = 1u << 9;
inline constexpr u16 default_big = 1u << 10;
inline constexpr u16 granularity = 1u << 11;

// Types of system descriptors and gates (table 3-2).
inline constexpr u16 tss16_available = 1;
inline constexpr u16 ldt = 2;
inline constexpr u16 tss16_busy = 3;
inline constexpr u16 call_gate16 = 4;
inline constexpr u16 task_gate = 5;
inline constexpr u16 interrupt_gate16 = 6;
inline constexpr u16 trap_gate16 = 7;
inline constexpr u16 tss32_available = 9;  // 64-bit TSS in long mode
inline constexpr u16 tss32_busy = 11;
inline constexpr u16 call_gate32 = 12;
inline constexpr u16 interrupt_gate32 = 14;  // 64-bit gates in long mode
inline constexpr u16 trap_gate32 = 15;
}  // namespace segment

// A segment register with its hidden part. An unusable one has `present` clear.
struct Segment {
    u16 selector = 0;
    u16 attributes = 0;
    u32 limit = 0;  // in bytes, the granularity bit applied
    u64 base = 0;

    [[nodiscard]] constexpr bool has(u16 bit) const { return (attributes & bit) != 0; }
    [[nodiscard]] constexpr bool present() const { return has(segment::present); }
    [[nodiscard]] constexpr bool is_task_state() const {
        const unsigned kind = type() & ~2u;
        return present() && !has(segment::not_system) &&
               (kind == segment::tss16_available || kind == segment::tss32_available);
    }
    [[nodiscard]] constexpr unsigned type() const { return attributes & segment::type; }
    [[nodiscard]] constexpr unsigned dpl() const { return (attributes & segment::dpl) >> segment::dpl_shift; }
    [[nodiscard]] constexpr unsigned rpl() const { return selector & 3u; }

    bool operator==(const Segment&) const = default;
    template <class A>
    void fields(A& a) {
        a(selector, attributes, limit, base);
    }
};

struct DescriptorTable {
    u64 base = 0;
    u32 limit = 0;

    bool operator==(const DescriptorTable&) const = default;
    template <class A>
    void fields(A& a) {
        a(base, limit);
    }
};

struct Registers {
    std::array<u64, 16> gpr{};
    u64 rip = 0;
    u64 rflags = rflags::always_one;
    std::array<Segment, 6> segments{};
    Segment ldtr, tr;
    DescriptorTable gdtr, idtr;
    u64 cr0 = 0, cr2 = 0, cr3 = 0, cr4 = 0, efer = 0;
    std::array<u64, 4> pdpte{};  // what MOV to CR3 loads in PAE paging (4.4.1)
    u64 star = 0, lstar = 0, cstar = 0, sfmask = 0, kernel_gs_base = 0;
    u64 sysenter_cs = 0, sysenter_esp = 0, sysenter_eip = 0;
    u64 pat = 0;
    std::array<u64, 4> dr{};
    u64 dr6 = dr6::fixed_one, dr7 = dr7::fixed_one;

    [[nodiscard]] constexpr u64& operator[](Gpr r) { return gpr[static_cast<unsigned>(r)]; }
    [[nodiscard]] constexpr u64 operator[](Gpr r) const { return gpr[static_cast<unsigned>(r)]; }
    [[nodiscard]] constexpr Segment& operator[](SegmentName s) { return segments[static_cast<unsigned>(s)]; }
    [[nodiscard]] constexpr const Segment& operator[](SegmentName s) const {
        return segments[static_cast<unsigned>(s)];
    }

    [[nodiscard]] constexpr bool protected_mode() const { return (cr0 & cr0::pe) != 0; }
    [[nodiscard]] constexpr bool long_mode() const { return (efer & efer::lma) != 0; }
    [[nodiscard]] constexpr bool virtual_8086() const {
        return protected_mode() && !long_mode() && (rflags & rflags::vm) != 0;
    }
    [[nodiscard]] constexpr bool code_64bit() const {
        return long_mode() && (*this)[SegmentName::cs].has(segment::long_mode);
    }
    // The current privilege level is the DPL of SS (APM volume 2, 4.9.1: "stored in the DPL of SS").
    [[nodiscard]] constexpr unsigned cpl() const {
        if (!protected_mode()) return 0;
        return virtual_8086() ? 3 : (*this)[SegmentName::ss].dpl();
    }

    bool operator==(const Registers&) const = default;
    template <class A>
    void fields(A& a) {
        a(gpr, rip, rflags, segments, ldtr, tr, gdtr, idtr, cr0, cr2, cr3, cr4, efer, pdpte, star, lstar, cstar, sfmask,
          kernel_gs_base, sysenter_cs, sysenter_esp, sysenter_eip, pat, dr, dr6, dr7);
    }
};

// x87, MMX and SSE state as FXSAVE64 stores it (volume 1, 10.5.1).
struct FloatingPoint {
    std::array<u8, 512> fxsave{};

    bool operator==(const FloatingPoint&) const = default;
    template <class A>
    void fields(A& a) {
        a(fxsave);
    }
};

// A real-mode segment: base from the selector, 64 KiB.
[[nodiscard]] constexpr Segment real_mode_segment(u16 selector, bool code) {
    const auto attributes = static_cast<u16>(segment::present | segment::not_system | segment::writable |
                                             segment::accessed | (code ? segment::code : 0));
    return {selector, attributes, 0xffff, u64{selector} << 4};
}

// After power-up, RESET or INIT (table 9-1). `signature` is CPUID.1:EAX, which the processor leaves in EDX.
[[nodiscard]] constexpr Registers reset_registers(u32 signature) {
    Registers r;
    r[Gpr::rdx] = signature;
    r.rip = 0xfff0;
    for (Segment& s : r.segments) s = real_mode_segment(0, false);
    r[SegmentName::cs] = real_mode_segment(0xf000, true);
    r[SegmentName::cs].base = 0xffff'0000;
    r.ldtr = {0, segment::present | segment::ldt, 0xffff, 0};
    r.tr = {0, segment::present | segment::tss32_busy, 0xffff, 0};
    r.gdtr = r.idtr = {0, 0xffff};
    r.cr0 = cr0::cd | cr0::nw | cr0::et;
    r.pat = 0x0007'0406'0007'0406;
    return r;
}

// INIT leaves alone what the table's last column calls unchanged: the machine-specific registers that the system-call
// instructions use, the PAT, and the cache bits of CR0.
[[nodiscard]] constexpr Registers init_registers(const Registers& before, u32 signature) {
    Registers r = reset_registers(signature);
    r.star = before.star;
    r.lstar = before.lstar;
    r.cstar = before.cstar;
    r.sfmask = before.sfmask;
    r.kernel_gs_base = before.kernel_gs_base;
    r.sysenter_cs = before.sysenter_cs;
    r.sysenter_esp = before.sysenter_esp;
    r.sysenter_eip = before.sysenter_eip;
    r.pat = before.pat;
    r.cr0 = (before.cr0 & (cr0::cd | cr0::nw)) | cr0::et;
    return r;
}

// Where a start-up IPI lets a processor begin that INIT has left waiting (8.4.4.1): CS = vector * 0x100, IP = 0.
constexpr void start_at_sipi_vector(Registers& r, u8 vector) {
    r[SegmentName::cs] = real_mode_segment(static_cast<u16>(vector << 8), true);
    r.rip = 0;
}

// After power-up or RESET (table 9-1): FCW 0x40, every x87 register +0.0 and not empty, MXCSR 0x1f80.
[[nodiscard]] constexpr FloatingPoint reset_floating_point() {
    FloatingPoint fp;
    fp.fxsave[0] = 0x40;
    fp.fxsave[4] = 0xff;
    fp.fxsave[24] = 0x80;
    fp.fxsave[25] = 0x1f;
    fp.fxsave[28] = 0xff;  // MXCSR_MASK: all bits but those above 15 (volume 1, 11.6.6)
    fp.fxsave[29] = 0xff;
    return fp;
}

}  // namespace cpu
