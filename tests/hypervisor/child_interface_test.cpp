// What a child reads and writes of its Hyper-V interface: synthetic MSRs row by row, the same registers by name, and
// CPUID, whose promises are held against both.
#include <bit>
#include <string>

#include "child_machine.h"

using namespace hypervisor;
using namespace hypervisor::test;

namespace {

// All that there is, so that only the table decides.
constexpr std::uint64_t every_msr = 0xffff;
constexpr std::uint64_t all_of_them = child_privileges | privilege::access_reenlightenment_controls |
                                      privilege::access_tsc_invariant_controls | privilege::access_partition_id;

enum Access { read_write, read_only, write_only, absent };

struct Row {
    std::uint32_t msr;
    const char* name;
    std::uint64_t privilege;
    Access access;
    std::uint64_t at_reset;  // what it reads
    std::uint64_t good;      // what may be written
    std::uint64_t kept;      // and then reads
    std::uint64_t bad;       // #GP; 0: nothing is
};

constexpr Row rows[] = {
    {msr::guest_os_id, "GUEST_OS_ID", privilege::access_hypercall_msrs, read_write, 0, 0x8100'0006'01b0'0000,
     0x8100'0006'01b0'0000, 0},
    {msr::hypercall, "HYPERCALL", privilege::access_hypercall_msrs, read_write, 0, 0x5001, 0x5000, 0},  // without an id
    {msr::vp_index, "VP_INDEX", privilege::access_vp_index, read_only, 0, 0, 0, 0},
    {msr::reset, "RESET", privilege::access_reset_msr, read_write, 0, 1, 0, 2},
    {msr::vp_runtime, "VP_RUNTIME", privilege::access_vp_runtime_msr, read_only, 0, 0, 0, 0},
    {msr::time_ref_count, "TIME_REF_COUNT", privilege::access_partition_reference_counter, read_only, 0, 0, 0, 0},
    {msr::reference_tsc, "REFERENCE_TSC", privilege::access_partition_reference_tsc, read_write, 0, 0x6001, 0x6001,
     0x6003},
    {msr::tsc_frequency, "TSC_FREQUENCY", privilege::access_frequency_msrs, read_only, 2'500'000'000, 0, 0, 0},
    {msr::apic_frequency, "APIC_FREQUENCY", privilege::access_frequency_msrs, read_only, 200'000'000, 0, 0, 0},
    {msr::npiep_config, "NPIEP", 0, absent, 0, 0, 0, 0},
    {msr::eoi, "EOI", privilege::access_apic_msrs, write_only, 0, 0xffff'ffff, 0, 1ull << 32},
    {msr::icr, "ICR", privilege::access_apic_msrs, read_write, 0, 0x0300'0000'0000'40f3, 0x0300'0000'0000'40f3, 0},
    {msr::tpr, "TPR", privilege::access_apic_msrs, read_write, 0, 0xff, 0xff, 0x100},
    {msr::vp_assist_page, "VP_ASSIST_PAGE", 0, read_write, 0, 0x7001, 0x7001, 0x7005},
    {msr::scontrol, "SCONTROL", privilege::access_synic_msrs, read_write, 0, 1, 1, 2},
    {msr::sversion, "SVERSION", privilege::access_synic_msrs, read_only, 1, 0, 0, 0},
    {msr::siefp, "SIEFP", privilege::access_synic_msrs, read_write, 0, 0x8001, 0x8001, 0x8801},
    {msr::simp, "SIMP", privilege::access_synic_msrs, read_write, 0, 0x9001, 0x9001, 0x9003},
    {msr::eom, "EOM", privilege::access_synic_msrs, write_only, 0, 0, 0, 1},
    {msr::sirbp, "SIRBP", 0, absent, 0, 0, 0, 0},
    {msr::sint0, "SINT0", privilege::access_synic_msrs, read_write, 0x10000, 0x10, 0x10, 0xf},
    {msr::sint0 + 2, "SINT2", privilege::access_synic_msrs, read_write, 0x10000, 0x600f3, 0x600f3, 0x20000},
    {msr::sint15, "SINT15", privilege::access_synic_msrs, read_write, 0x10000, 0x1000f, 0x1000f, 0},
    {msr::sint15 + 1, "past SINT15", 0, absent, 0, 0, 0, 0},
    {msr::stimer0_config, "STIMER0_CONFIG", privilege::access_synthetic_timer_msrs, read_write, 0, 0x20008, 0x20008,
     1ull << 20},
    {msr::stimer0_config, "STIMER0_CONFIG direct, vector 15", privilege::access_synthetic_timer_msrs, read_write, 0,
     0x10f0, 0x10f0, 0x10f1},
    {msr::stimer0_count, "STIMER0_COUNT", privilege::access_synthetic_timer_msrs, read_write, 0, 5, 5, 0},
    {msr::stimer3_count, "STIMER3_COUNT", privilege::access_synthetic_timer_msrs, read_write, 0, ~0ull, ~0ull, 0},
    {msr::stimer3_count + 1, "past STIMER3_COUNT", 0, absent, 0, 0, 0, 0},
    {msr::guest_idle, "GUEST_IDLE", privilege::access_guest_idle_msr, read_only, 0, 0, 0, 0},
    {msr::crash_p0, "CRASH_P0", 0, read_write, 0, 7, 7, 0},
    {msr::crash_p4, "CRASH_P4", 0, read_write, 0, ~0ull, ~0ull, 0},
    {msr::crash_ctl, "CRASH_CTL", 0, read_write, 0xc000'0000'0000'0000, 1ull << 63, 0xc000'0000'0000'0000, 0},
    {msr::reenlightenment_control, "REENLIGHTENMENT", privilege::access_reenlightenment_controls, read_write, 0,
     0x1'0001'00ee, 0x1'0001'00ee, 0x100},
    {msr::tsc_emulation_control, "TSC_EMULATION_CONTROL", privilege::access_reenlightenment_controls, read_write, 0, 1,
     1, 2},
    {msr::tsc_emulation_status, "TSC_EMULATION_STATUS", privilege::access_reenlightenment_controls, read_write, 0, 0, 0,
     2},
    {msr::tsc_invariant_control, "TSC_INVARIANT", privilege::access_tsc_invariant_controls, read_write, 0, 1, 1, 2},
    {0x4000'0004, "unused", 0, absent, 0, 0, 0, 0},
    {0x4000'01ff, "the last one", 0, absent, 0, 0, 0, 0},
};

}  // namespace

TEST_CASE("synthetic MSRs: read, write, reserved bits, the wrong direction") {
    for (const Row& row : rows) {
        const std::string name = row.name;
        CAPTURE(name);
        ChildMachine m{1, all_of_them};
        SyntheticProcessor& child = m.child();
        const bool readable = row.access == read_write || row.access == read_only;
        const bool writable = row.access == read_write || row.access == write_only;
        const auto before = child.read_msr(row.msr);
        CHECK(before.has_value() == readable);
        if (readable) CHECK(before == row.at_reset);
        if (row.bad != 0) {
            CHECK_FALSE(child.write_msr(row.msr, row.bad));
            if (readable) CHECK(child.read_msr(row.msr) == row.at_reset);
        }
        CHECK(child.write_msr(row.msr, row.good) == writable);
        if (readable && writable) CHECK(child.read_msr(row.msr) == row.kept);
    }
}

TEST_CASE("synthetic MSRs: without the privilege there is no register") {
    for (const Row& row : rows) {
        const std::string name = row.name;
        CAPTURE(name);
        if (row.privilege == 0) continue;
        ChildMachine with{1, row.privilege};
        ChildMachine without{1, all_of_them & ~row.privilege};
        CHECK_FALSE(without.child().read_msr(row.msr).has_value());
        CHECK_FALSE(without.child().write_msr(row.msr, row.good));
        if (row.access != write_only) CHECK(with.child().read_msr(row.msr) == row.at_reset);
        if (row.access != read_only) CHECK(with.child().write_msr(row.msr, row.good));
    }
}

TEST_CASE("what the registers of the processor around it do") {
    ChildMachine m{2};
    CHECK(m.read(msr::vp_index, 1) == 1);
    m.vp(1).port.run_time = sim::Time::us(3);
    CHECK(m.read(msr::vp_runtime, 1) == 30);
    m.write(msr::eoi, 0);
    CHECK(m.vp().port.eois == 1);
    m.write(msr::tpr, 0x50);
    CHECK(m.vp().port.tpr == 0x50);
    CHECK(m.read(msr::guest_idle) == 0);
    CHECK(m.vp().port.idles == 1);
    // Those of the partition are the same on every processor; those of a processor its own.
    m.write(msr::guest_os_id, 77, 1);
    CHECK(m.read(msr::guest_os_id, 0) == 77);
    CHECK(m.partition().property(HvPartitionProperty::guest_os_id) == 77);
    m.write(msr::crash_p0 + 3, 9, 0);
    CHECK(m.read(msr::crash_p0 + 3, 1) == 9);
    m.write(msr::scontrol, 1, 1);
    CHECK(m.read(msr::scontrol, 0) == 0);
}

TEST_CASE("the invariant TSC, once promised, stays") {
    ChildMachine m{1, all_of_them};
    cpu::CpuidResult leaf;
    m.child().adjust_cpuid(0x8000'0007, leaf);
    CHECK(leaf.edx == 0);
    m.write(msr::tsc_invariant_control, 1);
    m.child().adjust_cpuid(0x8000'0007, leaf);
    CHECK(leaf.edx == 0x100);
    CHECK_FALSE(m.child().write_msr(msr::tsc_invariant_control, 0));
    m.write(msr::tsc_invariant_control, 1);
}

TEST_CASE("registers by name are those of the MSRs") {
    struct Name {
        HvRegister name;
        std::uint32_t msr;
        std::uint64_t value;  // to set; 0: read-only
    };
    constexpr auto nth = [](HvRegister first, std::uint32_t n) {
        return HvRegister{static_cast<std::uint32_t>(first) + n};
    };
    const Name names[] = {
        {HvRegister::guest_os_id, msr::guest_os_id, 5},
        {HvRegister::x64_hypercall, msr::hypercall, 0xa001},
        {HvRegister::vp_runtime, msr::vp_runtime, 0},
        {HvRegister::time_ref_count, msr::time_ref_count, 0},
        {HvRegister::reference_tsc, msr::reference_tsc, 0xb001},
        {HvRegister::vp_assist_page, msr::vp_assist_page, 0xc001},
        {HvRegister::scontrol, msr::scontrol, 1},
        {HvRegister::sversion, msr::sversion, 0},
        {HvRegister::siefp, msr::siefp, 0xd001},
        {HvRegister::simp, msr::simp, 0xe001},
        {HvRegister::sint0, msr::sint0, 0x55},
        {HvRegister::sint15, msr::sint15, 0x66},
        {HvRegister::stimer0_config, msr::stimer0_config, 0x1ed8},
        {HvRegister::stimer3_count, msr::stimer3_count, 1234},
        {nth(HvRegister::guest_crash_p0, 2), msr::crash_p0 + 2, 3},
        {HvRegister::processor_clock_frequency, msr::tsc_frequency, 0},
        {HvRegister::interrupt_clock_frequency, msr::apic_frequency, 0},
    };
    ChildMachine m{1, all_of_them};
    for (const Name& row : names) {
        CAPTURE(static_cast<std::uint32_t>(row.name));
        HvRegisterValue value{1, 1};
        if (row.value != 0) {
            CHECK(m.child().set_register(row.name, {row.value, 0}) == HvStatus::success);
            CHECK(m.read(row.msr) == row.value);
        } else {
            CHECK(m.child().set_register(row.name, {row.value, 0}) == HvStatus::access_denied);
        }
        CHECK(m.child().get_register(row.name, value) == HvStatus::success);
        CHECK(value == HvRegisterValue{m.read(row.msr), 0});
    }
    // The control register shows its writer's value here, what is supported there.
    HvRegisterValue value{};
    CHECK(m.child().set_register(HvRegister::guest_crash_ctl, {1ull << 63, 0}) == HvStatus::success);
    CHECK(m.child().get_register(HvRegister::guest_crash_ctl, value) == HvStatus::success);
    CHECK(value.low == 1ull << 63);
    CHECK(m.child().get_register(HvRegister::eom, value) == HvStatus::access_denied);
    CHECK(m.child().set_register(HvRegister::scontrol, {2, 0}) == HvStatus::invalid_register_value);
    CHECK(m.child().get_register(HvRegister::x64_rax, value) == HvStatus::unknown_register_name);
    CHECK(m.child().set_register(HvRegister{0xb'0008}, value) == HvStatus::unknown_register_name);
}

TEST_CASE("CPUID: every leaf, to the bit") {
    struct Leaf {
        std::uint32_t number;
        cpu::CpuidResult result;
    };
    const cpu::CpuidResult untouched{1, 2, 3, 4};
    const Leaf leaves[] = {
        {0x4000'0000, {0x4000'0006, 0x7263'694d, 0x666f'736f, 0x7648'2074}},
        {0x4000'0001, {0x3123'7648, 0, 0, 0}},
        {0x4000'0002, {20348, 0x000a'0000, 0, 0}},
        // reset and idle MSRs beside those of the recommended profile; post, signal, registers, fast output, extended
        {0x4000'0003, {0x0eff, 0x001a'0030, 0, 0x000e'8530}},
        {0x4000'0004, {0x0e2c, 0xffff'ffff, 0, 0}},
        {0x4000'0005, {64, 64, 0, 0}},
        {0x4000'0006, {0xb, 0, 0, 0}},
        {0x4000'0007, untouched},
        {0x4000'000c, untouched},
        {0x4000'0081, untouched},
        {0x8000'0007, untouched},
    };
    ChildMachine m;
    for (const Leaf& leaf : leaves) {
        CAPTURE(leaf.number);
        cpu::CpuidResult result = untouched;
        m.child().adjust_cpuid(leaf.number, result);
        CHECK(result == leaf.result);
    }
}

// Leaf 0x40000003 EAX is the low half of the privileges, bit by bit: with the bit its registers answer, without it they
// are #GP.
TEST_CASE("CPUID: a register is promised exactly if it works") {
    for (unsigned bit = 0; bit < 16; ++bit) {
        CAPTURE(bit);
        const std::uint64_t privilege_bit = 1ull << bit;
        if ((child_privileges & privilege_bit) == 0) continue;
        bool used = false;
        for (const bool has : {true, false}) {
            ChildMachine m{1, has ? child_privileges : child_privileges & ~privilege_bit};
            cpu::CpuidResult leaf;
            m.child().adjust_cpuid(hv_leaf::features, leaf);
            CHECK((leaf.eax >> bit & 1) == (has ? 1 : 0));
            for (const Row& row : rows) {
                if (row.privilege != privilege_bit) continue;
                used = true;
                const bool works = m.child().read_msr(row.msr).has_value() || m.child().write_msr(row.msr, row.good);
                CHECK(works == has);
            }
        }
        CHECK(used);
    }
    static_assert((child_privileges & every_msr & (1u << 8 | 1u << 12 | 1u << 14)) == 0, "nothing is behind these");
    // What breaks a Linux child if it is promised: its own partition id, being the root, isolation.
    static_assert((child_privileges & (privilege::access_partition_id | privilege::cpu_management |
                                       privilege::create_partitions | privilege::isolation)) == 0);
}
