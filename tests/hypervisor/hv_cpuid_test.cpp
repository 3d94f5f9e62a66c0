// The hypervisor's CPUID leaves (TLFS chapter 2): each bit, and that each promise is kept by a register.
#include <doctest/doctest.h>

#include "synthetic_machine.h"

namespace hv_cpuid_test {

using namespace hypervisor;
using namespace hypervisor::test;

namespace {

namespace pr = privilege;

std::uint64_t leaf_bits(SyntheticMachine& m, std::uint32_t leaf, std::uint32_t cpu::CpuidResult::*member) {
    cpu::CpuidResult result;
    m.processor.adjust_cpuid(leaf, result);
    return result.*member;
}

}  // namespace

TEST_CASE("CPUID leaves of a Linux child") {
    SyntheticMachine m(child_privileges);
    const struct {
        std::uint32_t leaf;
        cpu::CpuidResult expected;
    } rows[] = {
        {0x4000'0000, {0x4000'0006, 0x7263'694d, 0x666f'736f, 0x7648'2074}},  // "Microsoft Hv"
        {0x4000'0001, {0x3123'7648, 0, 0, 0}},                                // "Hv#1"
        {0x4000'0002, {20348, 0x000a'0000, 0, 0}},
        // Run time, counter, SynIC, timers, APIC, hypercall, VP index, reset, TSC page, idle, frequencies;
        // messages, events, XMM output, extended calls;
        // XMM input, idle, frequencies, crash, XMM output, polling, lock, direct timers.
        {0x4000'0003, {0x0eff, 0x0018'0030, 0, 0x000e'8530}},
        // Remote flush, APIC MSRs, relaxed timing, no auto-EOI, cluster IPIs, processor sets.
        {0x4000'0004, {0x0e2c, 0xffff'ffff, 0, 0}},
        {0x4000'0005, {64, max_logical_processors, 0, 0}},
        {0x4000'0006, {0x0b, 0, 0, 0}},
        {0x4000'000a, {0, 0, 0, 0}},
        {0x4000'000c, {0, 0, 0, 0}},
        {0x4000'0081, {0, 0, 0, 0}},
        {0x4000'0082, {0, 0, 0, 0}},
    };
    for (const auto& row : rows) {
        CAPTURE(row.leaf);
        cpu::CpuidResult result;
        m.processor.adjust_cpuid(row.leaf, result);
        CHECK(result == row.expected);
    }
}

TEST_CASE("what would make Linux take itself for the root or for a confidential guest is never granted") {
    CHECK((child_privileges & privilege::cpu_management) == 0);
    CHECK((child_privileges & privilege::isolation) == 0);
    CHECK((child_privileges & privilege::access_partition_id) == 0);
    CHECK((child_privileges & privilege::create_partitions) == 0);
}

TEST_CASE("what CPUID promises is there, and what it doesn't is not") {
    struct Promise {
        std::uint64_t privilege;
        std::vector<std::uint32_t> readable;
    };
    const Promise promises[] = {
        {pr::access_vp_runtime_msr, {msr::vp_runtime}},
        {pr::access_partition_reference_counter, {msr::time_ref_count}},
        {pr::access_synic_msrs, {msr::scontrol, msr::sversion, msr::siefp, msr::simp, msr::sint0, msr::sint15}},
        {pr::access_synthetic_timer_msrs, {msr::stimer0_config, msr::stimer3_count}},
        {pr::access_apic_msrs, {msr::icr, msr::tpr}},
        {pr::access_hypercall_msrs, {msr::guest_os_id, msr::hypercall}},
        {pr::access_vp_index, {msr::vp_index}},
        {pr::access_reset_msr, {msr::reset}},
        {pr::access_partition_reference_tsc, {msr::reference_tsc}},
        {pr::access_guest_idle_msr, {msr::guest_idle}},
        {pr::access_frequency_msrs, {msr::tsc_frequency, msr::apic_frequency}},
        {pr::access_reenlightenment_controls,
         {msr::reenlightenment_control, msr::tsc_emulation_control, msr::tsc_emulation_status}},
        {pr::access_tsc_invariant_controls, {msr::tsc_invariant_control}},
    };
    std::uint64_t known = 0;
    for (const Promise& promise : promises) {
        known |= promise.privilege;
        for (const bool granted : {false, true}) {
            CAPTURE(promise.privilege);
            SyntheticMachine m(granted ? all_synthetic_privileges : all_synthetic_privileges & ~promise.privilege);
            CHECK(((leaf_bits(m, hv_leaf::features, &cpu::CpuidResult::eax) & promise.privilege) != 0) == granted);
            for (const std::uint32_t number : promise.readable) {
                CHECK(m.processor.read_msr(number).has_value() == granted);
            }
        }
    }
    // Every MSR privilege that a child is given has its registers above.
    CHECK((child_privileges & 0xffff'ffff & ~known) == 0);
}

TEST_CASE("invariant TSC is shown once it was asked for, and for good") {
    SyntheticMachine m;
    constexpr std::uint32_t leaf = 0x8000'0007;
    CHECK(leaf_bits(m, leaf, &cpu::CpuidResult::edx) == 0);
    m.write(msr::tsc_invariant_control, 1);
    CHECK(leaf_bits(m, leaf, &cpu::CpuidResult::edx) == 1u << 8);
    CHECK_FALSE(m.processor.write_msr(msr::tsc_invariant_control, 0));
}

}  // namespace hv_cpuid_test
