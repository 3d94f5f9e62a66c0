// Writes to control and debug registers: which are #GP, and what follows from the others.
#include <doctest/doctest.h>

#include "cpu/control_registers.h"

namespace control_registers_test {

using namespace cpu;

namespace {
Registers long_mode() {
    Registers r;
    r.cr0 = cr0::pe | cr0::pg | cr0::ne | cr0::et;
    r.cr4 = cr4::pae;
    r.efer = efer::lme | efer::lma;
    r[SegmentName::cs].attributes = segment::present | segment::not_system | segment::code | segment::long_mode;
    return r;
}
Registers paging_off(bool lme) {
    Registers r;
    r.cr0 = cr0::pe | cr0::et;
    r.cr4 = cr4::pae;
    r.efer = lme ? efer::lme : 0;
    return r;
}
}  // namespace

TEST_CASE("CR0: PG needs PE, NW needs CD, long mode needs PAE, and LMA follows") {
    Registers r = paging_off(true);
    CHECK_FALSE(write_cr0(r, cr0::pg));
    CHECK_FALSE(write_cr0(r, cr0::pe | cr0::nw));
    CHECK_FALSE(write_cr0(r, 1ull << 32 | cr0::pe));
    CHECK(r == paging_off(true));
    CHECK(write_cr0(r, cr0::pe | cr0::pg));
    CHECK(r.long_mode());
    CHECK(r.cr0 == (cr0::pe | cr0::pg | cr0::et));
    CHECK(write_cr0(r, cr0::pe));
    CHECK_FALSE(r.long_mode());
    r.cr4 = 0;
    CHECK_FALSE(write_cr0(r, cr0::pe | cr0::pg));
    Registers inside = long_mode();
    CHECK_FALSE(write_cr0(inside, cr0::pe));  // from 64-bit code
    Registers legacy = paging_off(false);
    CHECK(write_cr0(legacy, cr0::pe | cr0::pg));
    CHECK_FALSE(legacy.long_mode());
}

TEST_CASE("CR3, CR4 and EFER refuse what is reserved or not offered") {
    const ControlFeatures features;
    Registers r = long_mode();
    CHECK(write_cr3(r, 0x3fff'ffff'f018, features));
    CHECK_FALSE(write_cr3(r, 1ull << 46, features));
    CHECK_FALSE(write_cr3(r, 1ull << 63, features));  // no-flush without PCIDE
    CHECK(write_cr4(r, cr4::pae | cr4::smep, features));
    CHECK_FALSE(write_cr4(r, cr4::smep, features));  // PAE can't go in long mode
    for (const u64 bit : {cr4::vmxe, cr4::osxsave, cr4::pcide, cr4::la57, cr4::pke, cr4::cet, u64{1} << 40}) {
        CHECK_FALSE(write_cr4(r, cr4::pae | bit, features));
    }
    CHECK_FALSE(write_efer(r, efer::lma | efer::svme | efer::lme, features));
    CHECK_FALSE(write_efer(r, efer::sce, features));  // LME while paging
    CHECK(write_efer(r, efer::lme | efer::nxe, features));
    CHECK(r.efer == (efer::lme | efer::lma | efer::nxe));
    Registers off = paging_off(false);
    CHECK(write_efer(off, efer::lme | efer::lma, features));
    CHECK(off.efer == efer::lme);  // LMA isn't software's
}

TEST_CASE("PDPTE registers are loaded when PAE paging begins or its control bits change") {
    Registers before = paging_off(false);
    Registers after = before;
    CHECK(write_cr0(after, cr0::pe | cr0::pg));
    CHECK(needs_pdptes(before, after));
    CHECK_FALSE(needs_pdptes(after, after));
    Registers global = after;
    CHECK(write_cr4(global, cr4::pae | cr4::pge, {}));
    CHECK(needs_pdptes(after, global));
    CHECK_FALSE(needs_pdptes(paging_off(true), long_mode()));
}

TEST_CASE("debug registers: aliases, fixed bits, general detect") {
    Registers r;
    CHECK(write_debug_register(r, 0, 0x1234) == DebugWrite::done);
    CHECK(r.dr[0] == 0x1234);
    CHECK(write_debug_register(r, 4, 0) == DebugWrite::done);
    CHECK(r.dr6 == dr6::fixed_one);
    CHECK(write_debug_register(r, 5, 0) == DebugWrite::done);
    CHECK(r.dr7 == dr7::fixed_one);
    CHECK(write_debug_register(r, 7, 1ull << 32) == DebugWrite::general_protection);
    r.cr4 = cr4::de;
    CHECK(write_debug_register(r, 5, 0) == DebugWrite::undefined);
    r.dr7 |= dr7::gd;
    CHECK(write_debug_register(r, 0, 7) == DebugWrite::debug);
    CHECK(r.dr[0] == 0x1234);
    CHECK((r.dr6 & dr6::bd) != 0);
    CHECK((r.dr7 & dr7::gd) == 0);
}

}  // namespace control_registers_test
