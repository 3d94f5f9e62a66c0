// Reset, INIT and SIPI states against the SDM's table 9-1.
#include "cpu/registers.h"

#include <doctest/doctest.h>

#include "sim/archive.h"

namespace registers_test {

using namespace cpu;

TEST_CASE("registers after RESET are those of table 9-1") {
    const Registers r = reset_registers(0x00800f12);
    CHECK(r[Gpr::rdx] == 0x00800f12);
    CHECK(r[Gpr::rax] == 0);
    CHECK(r.rip == 0xfff0);
    CHECK(r.rflags == 2);
    CHECK(r.cr0 == 0x60000010);
    CHECK(r[SegmentName::cs] == Segment{0xf000, 0x9b, 0xffff, 0xffff0000});
    CHECK(r[SegmentName::ss] == Segment{0, 0x93, 0xffff, 0});
    CHECK(r.ldtr == Segment{0, 0x82, 0xffff, 0});
    CHECK(r.tr == Segment{0, 0x8b, 0xffff, 0});
    CHECK(r.idtr == DescriptorTable{0, 0xffff});
    CHECK(r.dr6 == 0xffff0ff0);
    CHECK(r.dr7 == 0x400);
    CHECK(r.pat == 0x0007040600070406);
    CHECK(r.cpl() == 0);
    CHECK_FALSE(r.protected_mode());
}

TEST_CASE("INIT keeps the PAT, the system-call registers and the cache bits; SIPI sets CS:IP") {
    Registers before = reset_registers(1);
    before.cr0 = cr0::pe | cr0::pg | cr0::et;
    before.efer = efer::lme | efer::lma;
    before.lstar = 0x1234;
    before.pat = 0x55;
    Registers r = init_registers(before, 7);
    CHECK(r.cr0 == 0x10);
    CHECK(r.efer == 0);
    CHECK(r.lstar == 0x1234);
    CHECK(r.pat == 0x55);
    CHECK(r[Gpr::rdx] == 7);
    start_at_sipi_vector(r, 0x9a);
    CHECK(r[SegmentName::cs] == Segment{0x9a00, 0x9b, 0xffff, 0x9a000});
    CHECK(r.rip == 0);
}

TEST_CASE("registers survive an archive") {
    Registers r = reset_registers(3);
    r.gpr[15] = 42;
    r.tr.base = 99;
    r.pdpte[2] = 5;
    Registers copy;
    sim::restore_from_bytes(copy, sim::save_to_bytes(r));
    CHECK(copy == r);
}

}  // namespace registers_test
