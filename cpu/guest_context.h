// The processor state of one virtual processor. While its processor runs it, the state lives in the engine; the
// accessors look wherever it is.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <span>

#include "cpu/engine_state.h"
#include "cpu/registers.h"
#include "mmu/paging.h"
#include "sim/archive.h"
#include "sim/working_set.h"

namespace cpu {

// SVM exit codes that the processor model uses besides those of the architecture: instructions that SVM does not
// intercept but the engine leaves to us. Above all architectural codes.
inline constexpr u32 exit_syscall = 0x8001;
inline constexpr u32 exit_sysenter = 0x8002;

class GuestContext final {
public:
    // `pristine` is Engine::pristine_state(). Contexts of one partition share a salt, a small number.
    GuestContext(const EngineState& pristine, u16 partition_salt);
    GuestContext(const GuestContext&) = delete;
    GuestContext& operator=(const GuestContext&) = delete;

    [[nodiscard]] Registers registers() const;
    void set_registers(const Registers& r);

    // The frequent ones, without a copy of everything.
    [[nodiscard]] u64 gpr(Gpr r) const { return state_->gpr[static_cast<unsigned>(r)]; }
    void set_gpr(Gpr r, u64 value) { state_->gpr[static_cast<unsigned>(r)] = value; }
    [[nodiscard]] u64 rip() const { return state_->rip; }
    void set_rip(u64 rip) { state_->rip = rip; }
    [[nodiscard]] u64 rflags() const { return state_->rflags | cpu::rflags::always_one; }
    void set_rflags(u64 flags) { state_->rflags = (flags & cpu::rflags::defined) | cpu::rflags::always_one; }
    [[nodiscard]] unsigned cpl() const { return state_->hflags & hflag::cpl; }
    [[nodiscard]] bool code_64bit() const { return (state_->hflags & hflag::cs64) != 0; }
    [[nodiscard]] bool long_mode() const { return (state_->hflags & hflag::lma) != 0; }
    [[nodiscard]] bool protected_mode() const { return (state_->hflags & hflag::pe) != 0; }
    [[nodiscard]] unsigned code_bits() const {
        return (state_->hflags & hflag::cs64) != 0 ? 64 : (state_->hflags & hflag::cs32) != 0 ? 32 : 16;
    }
    [[nodiscard]] u64 segment_base(SegmentName s) const { return state_->segments[static_cast<unsigned>(s)].base; }
    [[nodiscard]] u64 linear_rip() const {
        return code_64bit() ? rip() : (segment_base(SegmentName::cs) + rip()) & 0xffff'ffff;
    }
    [[nodiscard]] u64 cr0() const { return state_->cr[0]; }
    [[nodiscard]] u64 cr2() const { return state_->cr[2]; }
    [[nodiscard]] u64 cr3() const { return state_->cr[3]; }
    [[nodiscard]] u64 cr4() const { return state_->cr[4]; }
    [[nodiscard]] u64 efer() const { return state_->efer; }
    [[nodiscard]] u64 dr7() const { return state_->dr[7]; }
    void set_dr6_bits(u64 bits) { state_->dr[6] |= bits; }
    void set_tsc_aux(u64 value) { state_->tsc_aux = value; }
    [[nodiscard]] u64 tsc_aux() const { return state_->tsc_aux; }
    void set_tsc_offset(u64 value) { state_->tsc_offset = value; }
    [[nodiscard]] u64 tsc_offset() const { return state_->tsc_offset; }

    // What a call with its parameters in general registers looks at (sim/working_set.h).
    void add_needs(sim::WorkingSet& set) const {
        set.add(saved_.gpr);
        set.add(saved_.hflags);
        set.add(state_);
    }

    // The low 128 bits of an SSE register.
    [[nodiscard]] std::array<u64, 2> xmm(unsigned n) const;
    void set_xmm(unsigned n, std::array<u64, 2> value);

    // The shadow after STI and MOV SS, in which no interrupt is taken.
    [[nodiscard]] bool interrupt_shadow() const { return (state_->hflags & hflag::inhibit_irq) != 0; }
    void set_interrupt_shadow(bool on) {
        state_->hflags = on ? state_->hflags | hflag::inhibit_irq : state_->hflags & ~hflag::inhibit_irq;
    }

    // Whether IRET exits: how the end of an NMI's handler is noticed.
    void set_intercept_iret(bool on) {
        constexpr u64 bit = u64{1} << (0x74 - 0x60);
        state_->intercept = on ? state_->intercept | bit : state_->intercept & ~bit;
    }

    [[nodiscard]] mmu::PagingState paging() const;
    // PAE paging: a task switch of the engine's own has changed CR3 beneath the pointers that were loaded with it.
    [[nodiscard]] bool pdptes_are_stale() const { return state_->cr[3] != pdpte_cr3_ && paging_is_pae(); }
    void set_pdptes(const std::array<u64, 4>& pdpte) {
        pdpte_ = pdpte;
        pdpte_cr3_ = state_->cr[3];
    }
    // The registers changed in a way that changes translations.
    void translations_changed() { translation_changed_ = true; }
    // Of one page only. Too many of those are all.
    void translation_changed(u64 linear) {
        if (changed_pages_ == most_changed_pages) return translations_changed();
        changed_page_[changed_pages_++] = linear;
    }

    [[nodiscard]] u64 code_salt() const { return salt_; }

    template <class Archive>
    void fields(Archive& archive) {
        Registers r = registers();
        bool shadow = interrupt_shadow();
        u64 aux = tsc_aux();
        u64 offset = tsc_offset();
        archive(r, shadow, aux, offset, state_->floating_point);
        if constexpr (Archive::reading) {
            set_registers(r);
            set_interrupt_shadow(shadow);
            set_tsc_aux(aux);
            set_tsc_offset(offset);
        }
    }

private:
    friend class Engine;
    void update_hidden_flags();
    [[nodiscard]] bool paging_is_pae() const {
        return (cr0() & cpu::cr0::pg) != 0 && (cr4() & cpu::cr4::pae) != 0 && !long_mode();
    }

    EngineState saved_;
    EngineState* state_ = &saved_;  // where the state is: saved_, or in the engine
    std::array<u64, 4> pdpte_{};
    u64 pdpte_cr3_ = 0;    // with which they were loaded
    Segment unusable_tr_;  // what the engine couldn't be given as it is
    u64 salt_;
    bool translation_changed_ = false;
    static constexpr unsigned most_changed_pages = 64;
    std::array<u64, most_changed_pages> changed_page_{};
    unsigned changed_pages_ = 0;
};

}  // namespace cpu
