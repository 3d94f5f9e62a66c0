// Writes to CR0, CR3, CR4, EFER and the debug registers as the architecture defines them: what is #GP, what follows
// from what (SDM volume 3A, 2.5, 4.1.2, 9.8.5; APM volume 2, 3.1). The engine does none of this checking.
#pragma once

#include <cstdint>

#include "cpu/registers.h"

namespace cpu {

// What CPUID offers decides which bits exist.
struct ControlFeatures {
    u64 cr4_allowed = cr4::vme | cr4::pvi | cr4::tsd | cr4::de | cr4::pse | cr4::pae | cr4::mce | cr4::pge | cr4::pce |
                      cr4::osfxsr | cr4::osxmmexcpt | cr4::umip | cr4::fsgsbase | cr4::smep | cr4::smap;
    u64 efer_allowed = efer::sce | efer::lme | efer::lma | efer::nxe | efer::ffxsr;
    u8 phys_bits = 46;
};

// True: done. False: #GP(0), and nothing has changed. Loading the PDPTE registers of PAE paging is the caller's, which
// can reach memory: it must follow when `needs_pdptes` says so.
[[nodiscard]] bool write_cr0(Registers& r, u64 value);
[[nodiscard]] bool write_cr3(Registers& r, u64 value, const ControlFeatures& features);
[[nodiscard]] bool write_cr4(Registers& r, u64 value, const ControlFeatures& features);
[[nodiscard]] bool write_efer(Registers& r, u64 value, const ControlFeatures& features);
// Each of the eight fields is one of the types 0, 1, 4, 5, 6, 7 (12.12.2).
[[nodiscard]] bool is_valid_pat(u64 value);
// For registers that were set one by one from outside: EFER.LMA follows from LME and PG. False: no processor can be in
// such a state, nor enter it by VMRUN (APM volume 2, 15.5.1).
[[nodiscard]] bool make_consistent(Registers& r, const ControlFeatures& features);
// CR0, CR3 or CR4 was written with PAE paging in force afterwards (4.4.1).
[[nodiscard]] bool needs_pdptes(const Registers& before, const Registers& after);

enum class DebugWrite : u8 { done, general_protection, undefined, debug };
// MOV to DRn. DR4 and DR5 are DR6 and DR7 while CR4.DE is clear (17.2.2).
[[nodiscard]] DebugWrite write_debug_register(Registers& r, unsigned n, u64 value);

}  // namespace cpu
