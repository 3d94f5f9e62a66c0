// What the root may install, what is then intercepted, and how intercept messages lie in memory.
#include "hypervisor/intercept_table.h"

#include <doctest/doctest.h>

#include <cstring>
#include <string>

#include "hypervisor/intercept_messages.h"
#include "sim/archive.h"

namespace intercept_table_test {

using namespace hypervisor;

TEST_CASE("intercepts: what may be installed") {
    struct Row {
        const char* reason;
        std::uint32_t access, type;
        std::uint64_t parameter;
        bool accepted;
    };
    const Row rows[] = {
        {"a port, both ways", 3, 0, 0x3f8, true},
        {"a port can't be executed", 4, 0, 0x3f8, false},
        {"the last port", 1, 0, 0xffff, true},
        {"no such port", 1, 0, 0x10000, false},
        {"all unimplemented MSRs", 3, 1, 0, true},
        {"which take no index", 3, 1, 0x10, false},
        {"a CPUID leaf", 4, 2, 0x4000'0000, true},
        {"a leaf of 33 bits", 4, 2, 0x1'0000'0000, false},
        {"a leaf can't be read", 1, 2, 1, false},
        {"an exception", 4, 3, 14, true},
        {"the NMI is none", 4, 3, 2, false},
        {"vector 32 is none", 4, 3, 32, false},
        {"the type that was once registers", 4, 4, 0, false},
        {"MMIO is not modelled", 3, 5, 0, false},
        {"all CPUID leaves", 4, 6, 0, true},
        {"unknown hypercalls", 4, 8, 0, true},
        {"INIT and SIPI", 2, 9, 0, true},
        {"APIC writes", 2, 11, 0xff, true},
        {"one MSR", 3, 12, 0x1b, true},
        {"one MSR of 33 bits", 3, 12, 0x1'0000'001b, false},
        {"no such type", 0, 13, 0, false},
        {"a range of ports", 3, 0x11, 0x03ff'03f8, true},
        {"the whole range", 1, 0x11, 0xffff'0000, true},
        {"a range upside down", 3, 0x11, 0x03f7'03f8, false},
        {"a range past the last port", 3, 0x11, 0x1'0000'0000, false},
        {"the invalid type", 0, 0xffff'ffff, 0, false},
        {"access bits that don't exist", 8, 0, 0, false},
    };
    for (const Row& row : rows) {
        CAPTURE(std::string{row.reason});
        InterceptTable table;
        CHECK(table.install(row.access, row.type, row.parameter) == row.accepted);
        if (!row.accepted) CHECK(table == InterceptTable{});
        // What is removed again leaves nothing.
        if (row.accepted) CHECK(table.install(intercept_access_mask::none, row.type, row.parameter));
        CHECK(table == InterceptTable{});
    }
}

TEST_CASE("intercepts: ports by byte and direction") {
    InterceptTable table;
    REQUIRE(table.install(intercept_access_mask::write, 0, 0x70));
    REQUIRE(table.install(intercept_access_mask::read, 0, 0x71));
    REQUIRE(table.install(intercept_access_mask::read | intercept_access_mask::write, 0, 0xffff));
    REQUIRE(table.install(intercept_access_mask::read, 0x11, 0x0cff'0cfc));
    struct Row {
        std::uint16_t port;
        unsigned size;
        bool write, intercepted;
    };
    const Row rows[] = {
        {0x70, 1, true, true},    {0x70, 1, false, false},  {0x71, 1, false, true},   {0x71, 1, true, false},
        {0x70, 2, false, true},   {0x6f, 1, true, false},   {0x6f, 2, true, true},    {0x6d, 4, true, true},
        {0x6c, 4, true, false},   {0x72, 4, false, false},  {0xffff, 1, false, true}, {0xfffc, 4, true, true},
        {0xfffc, 2, true, false}, {0xcfb, 1, false, false}, {0xcfc, 1, false, true},  {0xcff, 1, false, true},
        {0xd00, 1, false, false},
    };
    for (const Row& row : rows) {
        CAPTURE(row.port);
        CAPTURE(row.size);
        CHECK(table.io_port(row.port, row.size, row.write) == row.intercepted);
    }
}

TEST_CASE("intercepts: MSRs, leaves, exceptions") {
    InterceptTable table;
    CHECK_FALSE(table.msr(0x10, false, false));
    REQUIRE(table.install(intercept_access_mask::read, 1, 0));
    CHECK(table.msr(0x10, false, false));
    CHECK_FALSE(table.msr(0x10, false, true));  // the hypervisor knows it
    CHECK_FALSE(table.msr(0x10, true, false));
    REQUIRE(table.install(intercept_access_mask::write, 12, 0x1b));
    CHECK(table.msr(0x1b, true, true));
    CHECK_FALSE(table.msr(0x1b, false, true));
    REQUIRE(table.install(intercept_access_mask::execute, 2, 7));
    CHECK(table.cpuid(7));
    CHECK_FALSE(table.cpuid(8));
    REQUIRE(table.install(intercept_access_mask::execute, 6, 0));
    CHECK(table.cpuid(8));
    REQUIRE(table.install(intercept_access_mask::execute, 3, 6));
    CHECK(table.exception(6));
    CHECK_FALSE(table.exception(14));
    CHECK_FALSE(table.exception(38));  // 32 + 6
    CHECK_FALSE(table.unknown_hypercall());
    REQUIRE(table.install(intercept_access_mask::execute, 8, 0));
    CHECK(table.unknown_hypercall());

    InterceptTable restored;
    sim::restore_from_bytes(restored, sim::save_to_bytes(table));
    CHECK(restored == table);
}

TEST_CASE("intercepts: registered CPUID results change the bits of their masks, the most specific last") {
    InterceptTable table;
    const CpuidRegisters own{0x1111'1111, 0x2222'2222, 0x3333'3333, 0x4444'4444};
    CHECK(table.apply_cpuid_results(0, 1, 0, own) == own);
    REQUIRE(table.register_cpuid_result({.leaf = 1, .value = {~0u, ~0u, 0, 0}, .mask = {0xff, 0, 0xff00, 0}}));
    CHECK(table.apply_cpuid_results(0, 1, 9, own) ==
          CpuidRegisters{0x1111'11ff, 0x2222'2222, 0x3333'0033, 0x4444'4444});
    REQUIRE(table.register_cpuid_result(
        {.leaf = 1, .subleaf = 9, .subleaf_specific = true, .value = {}, .mask = {0xf, 0, 0, 0}}));
    CHECK(table.apply_cpuid_results(0, 1, 9, own).eax == 0x1111'11f0);
    CHECK(table.apply_cpuid_results(0, 1, 8, own).eax == 0x1111'11ff);
    REQUIRE(table.register_cpuid_result(
        {.leaf = 1, .vp_index = 3, .value = {0x7000'0000, 0, 0, 0}, .mask = {0xf000'0000, 0, 0, 0}}));
    CHECK(table.apply_cpuid_results(3, 1, 9, own).eax == 0x7111'11f0);
    CHECK(table.apply_cpuid_results(2, 1, 9, own).eax == 0x1111'11f0);
    CHECK(table.unregister_cpuid_result(hv_any_vp, 1, 9, true));
    CHECK_FALSE(table.unregister_cpuid_result(hv_any_vp, 1, 9, true));
    CHECK(table.apply_cpuid_results(2, 1, 9, own).eax == 0x1111'11ff);
    for (std::uint32_t leaf = 0; leaf < InterceptTable::max_cpuid_results + 10; ++leaf) {
        const bool room = leaf < InterceptTable::max_cpuid_results - 1;  // two are there, leaf 1 for any VP among them
        CHECK(table.register_cpuid_result({.leaf = leaf, .value = {}, .mask = {}}) == room);
    }
}

TEST_CASE("intercepts: registered MSR results") {
    InterceptTable table;
    CHECK(table.msr_action(0x10, false) == std::nullopt);
    CHECK_FALSE(table.register_msr_result(0x10, 0, 0));
    CHECK_FALSE(table.register_msr_result(0x10, 4, 0));
    CHECK_FALSE(table.register_msr_result(0x10, 1, 2));
    REQUIRE(table.register_msr_result(0x10, intercept_access_mask::write, 1));
    CHECK(table.msr_action(0x10, false) == std::nullopt);
    CHECK(table.msr_action(0x10, true) == MsrAction::ignore_write_read_zero);
    REQUIRE(table.register_msr_result(0x10, intercept_access_mask::read, 0));
    CHECK(table.msr_action(0x10, false) == MsrAction::fault);
}

TEST_CASE("intercept messages: fields as they lie in memory") {
    const InterceptContext context{.vp_index = 3,
                                   .instruction_length = 2,
                                   .cr8 = 0xf,
                                   .cpl = 3,
                                   .cr0_pe = true,
                                   .cr0_am = false,
                                   .efer_lma = true,
                                   .debug_active = false,
                                   .interruption_pending = false,
                                   .interrupt_shadow = true,
                                   .cs = {0x1122'3344'5566'7788, 0xffff'ffff, 0x10, 0xa09b},
                                   .rip = 0xffff'ffff'8100'0000,
                                   .rflags = 0x246};
    const auto header = intercept_header(context, HvInterceptAccess::write);
    HvX64MsrInterceptMessage msr{header, 0x1b, 0, 0x12, 0xfee0'0900};
    const HvMessage message = make_message(HvMessageType::x64_msr_intercept, 2, msr);
    const unsigned char expected[] = {
        0x01,
        0x00,
        0x01,
        0x80,
        64,
        0,
        0,
        0,
        2,
        0,
        0,
        0,
        0,
        0,
        0,
        0,  // message header:
        // type, size, sender
        3,
        0,
        0,
        0,
        0xf2,
        1,
        0x17,
        0x10,  // VP, length and CR8, access, execution state
        0x88,
        0x77,
        0x66,
        0x55,
        0x44,
        0x33,
        0x22,
        0x11,
        0xff,
        0xff,
        0xff,
        0xff,
        0x10,
        0,
        0x9b,
        0xa0,  // CS
        0,
        0,
        0,
        0x81,
        0xff,
        0xff,
        0xff,
        0xff,
        0x46,
        2,
        0,
        0,
        0,
        0,
        0,
        0,  // RIP, RFLAGS
        0x1b,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0x12,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0x00,
        0x09,
        0xe0,
        0xfe,
        0,
        0,
        0,
        0,
    };
    static_assert(sizeof(expected) == 16 + 64);
    CHECK(std::memcmp(&message, expected, sizeof(expected)) == 0);
    const auto back = payload_of<HvX64MsrInterceptMessage>(message, HvMessageType::x64_msr_intercept);
    REQUIRE(back);
    CHECK(back->rax == 0xfee0'0900);
    CHECK_FALSE(payload_of<HvX64MsrInterceptMessage>(message, HvMessageType::x64_halt));
    CHECK_FALSE(payload_of<HvX64CpuidInterceptMessage>(message, HvMessageType::x64_msr_intercept));  // too short
}

}  // namespace intercept_table_test
