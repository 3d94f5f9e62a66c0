// The processor state inside Unicorn 2.1, as the public uc_context_* calls show it: the beginning of its CPU structure,
// up to the fields of SVM guest mode. This layout and the check that it is the right one (engine_probe.cpp) are the
// only places that know the engine's insides; the engine refuses to start when anything disagrees.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace cpu {

struct EngineSegment {
    std::uint32_t selector;
    std::uint32_t pad;
    std::uint64_t base;
    std::uint32_t limit;
    std::uint32_t flags;  // the descriptor's high word, address bits included
};
static_assert(sizeof(EngineSegment) == 24);

struct EngineState {
    std::array<std::uint64_t, 16> gpr;
    std::uint64_t rip;
    std::uint64_t rflags;  // without the arithmetic flags and DF, which live in the next fields
    std::uint64_t cc_dst;
    std::uint64_t cc_src;
    std::uint64_t cc_src2;
    std::uint32_t cc_op;
    std::int32_t df;
    std::uint32_t hflags;
    std::uint32_t hflags2;
    std::array<EngineSegment, 6> segments;  // ES CS SS DS FS GS
    EngineSegment ldt;
    EngineSegment tr;
    EngineSegment gdt;
    EngineSegment idt;
    std::array<std::uint64_t, 5> cr;
    std::int32_t a20_mask;
    std::uint32_t pad0;
    std::array<std::byte, 560 - 472> bounds;
    std::uint64_t efer;
    std::array<std::byte, 4768 - 568> floating_point;  // x87, MMX, SSE: no pointers in it
    std::uint32_t sysenter_cs;
    std::uint32_t pad1;
    std::uint64_t sysenter_esp;
    std::uint64_t sysenter_eip;
    std::uint64_t star;
    std::uint64_t vm_hsave;
    std::uint64_t lstar;
    std::uint64_t cstar;
    std::uint64_t fmask;
    std::uint64_t kernel_gs_base;
    std::uint64_t tsc;
    std::uint64_t tsc_adjust;
    std::uint64_t tsc_deadline;
    std::uint64_t tsc_aux;
    std::array<std::byte, 5248 - 4872> model_specific;
    std::uint64_t pat;
    std::array<std::byte, 5352 - 5256> paravirtual;
    std::int32_t error_code;
    std::int32_t exception_is_int;
    std::uint64_t exception_next_rip;
    std::array<std::uint64_t, 8> dr;
    std::array<std::uint64_t, 4> breakpoints;  // host pointers: always null, we never let the engine set one
    std::int32_t old_exception;
    std::uint32_t pad2;
    std::uint64_t vm_vmcb;
    std::uint64_t tsc_offset;
    std::uint64_t intercept;
    std::uint16_t intercept_cr_read;
    std::uint16_t intercept_cr_write;
    std::uint16_t intercept_dr_read;
    std::uint16_t intercept_dr_write;
    std::uint32_t intercept_exceptions;
    std::uint32_t pad3;
    std::uint64_t nested_cr3;
    std::uint32_t nested_pg_mode;
    std::uint8_t v_tpr;
    std::array<std::uint8_t, 3> pad4;
};
static_assert(offsetof(EngineState, rip) == 128);
static_assert(offsetof(EngineState, rflags) == 136);
static_assert(offsetof(EngineState, cc_op) == 168);
static_assert(offsetof(EngineState, hflags) == 176);
static_assert(offsetof(EngineState, segments) == 184);
static_assert(offsetof(EngineState, ldt) == 328);
static_assert(offsetof(EngineState, gdt) == 376);
static_assert(offsetof(EngineState, cr) == 424);
static_assert(offsetof(EngineState, efer) == 560);
static_assert(offsetof(EngineState, floating_point) == 568);
static_assert(offsetof(EngineState, star) == 4792);
static_assert(offsetof(EngineState, kernel_gs_base) == 4832);
static_assert(offsetof(EngineState, tsc_aux) == 4864);
static_assert(offsetof(EngineState, pat) == 5248);
static_assert(offsetof(EngineState, error_code) == 5352);
static_assert(offsetof(EngineState, dr) == 5368);
static_assert(offsetof(EngineState, old_exception) == 5464);
static_assert(offsetof(EngineState, intercept) == 5488);
static_assert(offsetof(EngineState, nested_pg_mode) == 5520);
static_assert(sizeof(EngineState) == 5528);

// The SSE registers within floating_point: 64 bytes each, the low 16 of them used.
inline constexpr std::size_t engine_xmm_offset = 224;
inline constexpr std::size_t engine_xmm_stride = 64;

// hflags: what the engine's translator depends on.
namespace hflag {
inline constexpr std::uint32_t cpl = 3;
inline constexpr std::uint32_t inhibit_irq = 1u << 3;
inline constexpr std::uint32_t cs32 = 1u << 4;
inline constexpr std::uint32_t ss32 = 1u << 5;
inline constexpr std::uint32_t addseg = 1u << 6;
inline constexpr std::uint32_t pe = 1u << 7;
inline constexpr std::uint32_t mp = 1u << 9;
inline constexpr std::uint32_t em = 1u << 10;
inline constexpr std::uint32_t ts = 1u << 11;
inline constexpr std::uint32_t lma = 1u << 14;
inline constexpr std::uint32_t cs64 = 1u << 15;
inline constexpr std::uint32_t svme = 1u << 20;
inline constexpr std::uint32_t guest = 1u << 21;
inline constexpr std::uint32_t osfxsr = 1u << 22;
inline constexpr std::uint32_t smap = 1u << 23;
}  // namespace hflag

inline constexpr std::uint32_t hflag2_gif = 1u << 0;
inline constexpr std::uint32_t cc_op_flags_in_source = 1;  // cc_op: the arithmetic flags are in cc_src

}  // namespace cpu
