// The synthetic MSRs one by one, what they do to each other, and the overlay pages behind them.
#include <doctest/doctest.h>

#include "synthetic_machine.h"

namespace synthetic_msrs_test {

using namespace hypervisor;
using namespace hypervisor::test;

namespace {

constexpr std::uint64_t none = 0;

// One row a register: what opens it, what it first reads, a value that it takes and what it reads then, one it refuses.
struct MsrCase {
    const char* name;
    std::uint32_t number;
    std::uint64_t privilege;
    std::optional<std::uint64_t> at_reset;  // nothing: can't be read
    std::optional<std::uint64_t> good;      // nothing: can't be written
    std::uint64_t after = 0;
    std::optional<std::uint64_t> bad;
};

namespace pr = privilege;
const MsrCase msr_cases[] = {
    {"GUEST_OS_ID", 0x4000'0000, pr::access_hypercall_msrs, 0, 0x8100'0006'01b0'0000, 0x8100'0006'01b0'0000, {}},
    {"HYPERCALL without identity: not enabled", 0x4000'0001, pr::access_hypercall_msrs, 0, 0x9001, 0x9000, {}},
    {"VP_INDEX", 0x4000'0002, pr::access_vp_index, 0, {}, 0, 1},
    {"RESET", 0x4000'0003, pr::access_reset_msr, 0, 1, 0, 2},
    {"VP_RUNTIME", 0x4000'0010, pr::access_vp_runtime_msr, 70, {}, 0, 0},
    {"TIME_REF_COUNT", 0x4000'0020, pr::access_partition_reference_counter, 0, {}, 0, 0},
    {"REFERENCE_TSC", 0x4000'0021, pr::access_partition_reference_tsc, 0, 0x9fff, 0x9fff, 1ull << 60 | 1},
    {"TSC_FREQUENCY", 0x4000'0022, pr::access_frequency_msrs, 2'000'000'000, {}, 0, 0},
    {"APIC_FREQUENCY", 0x4000'0023, pr::access_frequency_msrs, 200'000'000, {}, 0, 0},
    {"EOI", 0x4000'0070, pr::access_apic_msrs, {}, 0, 0, 1ull << 32},
    {"ICR", 0x4000'0071, pr::access_apic_msrs, 0, 0x0200'0000'0000'00fb, 0x0200'0000'0000'00fb, {}},
    {"TPR", 0x4000'0072, pr::access_apic_msrs, 0, 0x20, 0x20, 0x100},
    {"VP_ASSIST_PAGE", 0x4000'0073, none, 0, 0x9fff, 0x9fff, 1ull << 60 | 1},
    {"SCONTROL", 0x4000'0080, pr::access_synic_msrs, 0, ~0ull, ~0ull, {}},
    {"SVERSION", 0x4000'0081, pr::access_synic_msrs, 1, {}, 0, 1},
    {"SIEFP", 0x4000'0082, pr::access_synic_msrs, 0, 0x9fff, 0x9fff, 1ull << 60 | 1},
    {"SIMP", 0x4000'0083, pr::access_synic_msrs, 0, 0x9fff, 0x9fff, 1ull << 60 | 1},
    {"EOM", 0x4000'0084, pr::access_synic_msrs, 0, 0, 0, 1},
    {"SINT0", 0x4000'0090, pr::access_synic_msrs, 0x1'0000, 0x2'00f3, 0x2'00f3, 0x0f},
    {"SINT2", 0x4000'0092, pr::access_synic_msrs, 0x1'0000, 0xf3, 0xf3, 0x0f},
    {"SINT3: all but the modes that are left out", 0x4000'0093, pr::access_synic_msrs, 0x1'0000, ~0ull,
     ~0ull & ~(3ull << 19), 0x0f},
    {"SINT15, masked without vector", 0x4000'009f, pr::access_synic_msrs, 0x1'0000, 0x1'0000, 0x1'0000, 0},
    {"STIMER0_CONFIG, Linux in direct mode, no count yet", 0x4000'00b0, pr::access_synthetic_timer_msrs, 0, 0x1ed9,
     0x1ed8, 1ull << 20},
    {"STIMER0_COUNT", 0x4000'00b1, pr::access_synthetic_timer_msrs, 0, 12345, 12345, {}},
    {"STIMER3_CONFIG, Linux with messages", 0x4000'00b6, pr::access_synthetic_timer_msrs, 0, 0x2'0009, 0x2'0008,
     1ull << 13},
    {"STIMER3_COUNT", 0x4000'00b7, pr::access_synthetic_timer_msrs, 0, ~0ull, ~0ull, {}},
    {"GUEST_IDLE", 0x4000'00f0, pr::access_guest_idle_msr, 0, {}, 0, 0},
    {"CRASH_P0", 0x4000'0100, none, 0, ~0ull, ~0ull, {}},
    {"CRASH_P4", 0x4000'0104, none, 0, 77, 77, {}},
    {"CRASH_CTL: what is supported", 0x4000'0105, none, 3ull << 62, 1ull << 63, 3ull << 62, {}},
    {"REENLIGHTENMENT_CONTROL", 0x4000'0106, pr::access_reenlightenment_controls, 0, 0x0000'0001'0001'00ee,
     0x0000'0001'0001'00ee, 1ull << 17},
    {"TSC_EMULATION_CONTROL", 0x4000'0107, pr::access_reenlightenment_controls, 0, 1, 1, 2},
    {"TSC_EMULATION_STATUS", 0x4000'0108, pr::access_reenlightenment_controls, 0, 0, 0, 2},
    {"TSC_INVARIANT_CONTROL", 0x4000'0118, pr::access_tsc_invariant_controls, 0, 1, 1, 2},
};

const MsrCase* find_case(std::uint32_t number) {
    for (const MsrCase& row : msr_cases) {
        if (row.number == number) return &row;
    }
    return nullptr;
}

}  // namespace

TEST_CASE("each synthetic MSR") {
    for (const MsrCase& row : msr_cases) {
        CAPTURE(row.name);
        SyntheticMachine m;
        CHECK(m.processor.read_msr(row.number) == row.at_reset);
        if (row.bad) CHECK_FALSE(m.processor.write_msr(row.number, *row.bad));
        if (!row.good) {
            CHECK_FALSE(m.processor.write_msr(row.number, 0));
            continue;
        }
        CHECK(m.processor.read_msr(row.number) == row.at_reset);
        CHECK(m.processor.write_msr(row.number, *row.good));
        if (row.at_reset) CHECK(m.read(row.number) == row.after);
        if (row.bad) {
            CHECK_FALSE(m.processor.write_msr(row.number, *row.bad));
            if (row.at_reset) CHECK(m.read(row.number) == row.after);
        }
    }
}

TEST_CASE("the privilege of a register is the only thing that opens it") {
    for (const MsrCase& row : msr_cases) {
        CAPTURE(row.name);
        SyntheticMachine without(all_synthetic_privileges & ~row.privilege);
        const bool open = row.privilege == none;
        CHECK(without.processor.read_msr(row.number).has_value() == (open && row.at_reset.has_value()));
        if (row.good) CHECK(without.processor.write_msr(row.number, *row.good) == open);
        SyntheticMachine only(row.privilege | privilege::post_messages);
        CHECK(only.processor.read_msr(row.number).has_value() == row.at_reset.has_value());
    }
}

TEST_CASE("a number without a row is refused") {
    SyntheticMachine m;
    for (std::uint32_t number = 0x3fff'fff0; number < 0x4000'2000; ++number) {
        const bool family = (number >= 0x4000'0090 && number <= 0x4000'009f) ||
                            (number >= 0x4000'00b0 && number <= 0x4000'00b7) ||
                            (number >= 0x4000'0100 && number <= 0x4000'0104);
        if (family || find_case(number) != nullptr) continue;
        CAPTURE(number);
        CHECK_FALSE(m.processor.read_msr(number));
        CHECK_FALSE(m.processor.write_msr(number, 0));
        CHECK_FALSE(m.processor.write_msr(number, 1));
    }
}

TEST_CASE("hypercall page: code while it is enabled, the guest's memory before and after") {
    SyntheticMachine m;
    m.store<std::uint64_t>(0x8000, 0x1122'3344'5566'7788);
    m.write(msr::hypercall, 0x8001);
    CHECK(m.read(msr::hypercall) == 0x8000);  // no identity yet
    CHECK_FALSE(m.processor.hypercalls_enabled());
    CHECK(m.load<std::uint64_t>(0x8000) == 0x1122'3344'5566'7788);

    m.write(msr::guest_os_id, 0x8100'0006'01b0'0000);
    m.write(msr::hypercall, 0x8001);
    CHECK(m.read(msr::hypercall) == 0x8001);
    CHECK(m.processor.hypercalls_enabled());
    CHECK(m.load<std::uint32_t>(0x8000) == 0xc3d9'010f);  // VMMCALL; RET
    CHECK(m.load<std::uint32_t>(0x8ffc) == 0xcccc'cccc);
    CHECK_FALSE(m.can_store(0x8000));
    CHECK(m.can_store(0x7fff));
    CHECK(m.can_store(0x9000));

    // Moved: the old place shows what it had, the new one the code.
    m.store<std::uint32_t>(0x9000, 5);
    m.write(msr::hypercall, 0x9001);
    CHECK(m.load<std::uint64_t>(0x8000) == 0x1122'3344'5566'7788);
    CHECK(m.load<std::uint32_t>(0x9000) == 0xc3d9'010f);
    // Without identity no hypercalls (TLFS 3.13).
    m.write(msr::guest_os_id, 0);
    CHECK_FALSE(m.processor.hypercalls_enabled());
    CHECK(m.read(msr::hypercall) == 0x9000);
    CHECK(m.load<std::uint32_t>(0x9000) == 5);
    CHECK(m.can_store(0x9000));

    // Beyond any guest physical address: refused, and nothing has changed.
    m.write(msr::guest_os_id, 1);
    m.write(msr::hypercall, 0xa001);
    CHECK_FALSE(m.processor.write_msr(msr::hypercall, 1ull << 60 | 1));
    CHECK(m.read(msr::hypercall) == 0xa001);
    CHECK(m.load<std::uint32_t>(0xa000) == 0xc3d9'010f);
}

TEST_CASE("hypercall register: locked until reset") {
    SyntheticMachine m;
    m.write(msr::guest_os_id, 1);
    m.write(msr::hypercall, 0x8003);
    CHECK(m.read(msr::hypercall) == 0x8003);
    CHECK_FALSE(m.processor.write_msr(msr::hypercall, 0x9001));
    CHECK_FALSE(m.processor.write_msr(msr::hypercall, 0));
    CHECK(m.read(msr::hypercall) == 0x8003);
    CHECK(m.load<std::uint32_t>(0x8000) == 0xc3d9'010f);
}

TEST_CASE("overlay pages keep what is in them while they are moved and disabled") {
    for (const std::uint32_t number : {msr::simp, msr::siefp, msr::vp_assist_page}) {
        CAPTURE(number);
        SyntheticMachine m;
        m.store<std::uint64_t>(0x8080, 1);
        m.store<std::uint64_t>(0x9080, 2);
        m.write(number, 0x8001);
        CHECK(m.load<std::uint64_t>(0x8080) == 0);  // a new page is of zeros
        m.store<std::uint64_t>(0x8080, 3);
        m.write(number, 0x9001);
        CHECK(m.load<std::uint64_t>(0x8080) == 1);
        CHECK(m.load<std::uint64_t>(0x9080) == 3);
        m.write(number, 0x9000);
        CHECK(m.load<std::uint64_t>(0x9080) == 2);
        m.write(number, 0xa001);
        CHECK(m.load<std::uint64_t>(0xa080) == 3);
        // Over no memory at all there is an overlay as well (TLFS 5.2.1).
        const std::uint64_t nowhere = (SyntheticMachine::guest_pages + 100) << 12;
        m.write(number, nowhere | 1);
        CHECK(m.load<std::uint64_t>(nowhere + 0x80) == 3);
        m.write(number, nowhere);
        CHECK_FALSE(m.can_store(nowhere));
    }
}

TEST_CASE("several overlays on one page: the last is seen, and what is beneath comes back in any order") {
    const std::uint32_t registers[] = {msr::simp, msr::siefp, msr::vp_assist_page};
    const unsigned orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    for (const auto& order : orders) {
        CAPTURE(order[0]);
        CAPTURE(order[1]);
        SyntheticMachine m;
        m.store<std::uint64_t>(0x8800, 99);
        for (unsigned n = 0; n < 3; ++n) {
            m.write(registers[n], 0x8001);
            m.store<std::uint64_t>(0x8800, n);
        }
        bool there[3] = {true, true, true};
        for (const unsigned removed : order) {
            m.write(registers[removed], 0);
            there[removed] = false;
            const std::uint64_t expected = there[2] ? 2 : there[1] ? 1 : there[0] ? 0 : 99;
            CHECK(m.load<std::uint64_t>(0x8800) == expected);
        }
    }
}

TEST_CASE("memory that the root maps beneath an overlay appears when the overlay goes") {
    SyntheticMachine m;
    m.write(msr::simp, 0x8001);
    m.store<std::uint64_t>(0x8000, 1);
    REQUIRE(m.client.unmap_range(m.id, 8, 1) == HvStatus::success);
    CHECK(m.load<std::uint64_t>(0x8000) == 1);
    const std::uint64_t other = 2048;
    REQUIRE(m.client.map_pages(m.id, 8, std::span{&other, 1}, map_gpa_flag::permissions_mask) == HvStatus::success);
    const std::uint64_t value = 77;
    std::memcpy(m.bytes.data() + (other << 12), &value, sizeof value);
    CHECK(m.load<std::uint64_t>(0x8000) == 1);
    m.write(msr::simp, 0);
    CHECK(m.load<std::uint64_t>(0x8000) == 77);
}

TEST_CASE("a guest that moves its pages about takes no more memory than the tables for them") {
    SyntheticMachine m;
    m.write(msr::guest_os_id, 1);
    const std::uint32_t registers[] = {msr::hypercall, msr::reference_tsc, msr::simp, msr::siefp, msr::vp_assist_page};
    for (const std::uint32_t number : registers) m.write(number, 0x8001);
    const auto before = m.client.memory_balance(m.id);
    REQUIRE(before);
    for (unsigned turn = 0; turn < 1000; ++turn) {
        for (const std::uint32_t number : registers) m.write(number, std::uint64_t{turn % 200} << 12 | (turn & 1));
    }
    for (const std::uint32_t number : registers) m.write(number, 0x8001);
    const auto after = m.client.memory_balance(m.id);
    REQUIRE(after);
    CHECK(after->in_use == before->in_use);
    // All over the address space: refused once the pool is used up, and never more than the pool.
    unsigned refused = 0;
    for (std::uint64_t turn = 0; turn < 2000; ++turn) {
        if (!m.processor.write_msr(msr::simp, (turn << 31 | 1) & ((1ull << 48) - 1))) ++refused;
    }
    CHECK(refused < 2000);
    m.write(msr::simp, 0x8001);
    CHECK(m.load<std::uint32_t>(0x8000) == 0);
}

TEST_CASE("reference TSC page") {
    SyntheticMachine m;
    m.store<std::uint64_t>(0x8000, 42);
    m.write(msr::reference_tsc, 0x8001);
    const auto page = m.load<HvReferenceTscPage>(0x8000);
    CHECK(page.tsc_sequence == 1);
    CHECK(page.reserved1 == 0);
    CHECK(page.tsc_scale == 0x0147'ae14'7ae1'47ae);  // 2 GHz
    CHECK(page.tsc_offset == 0);
    m.write(msr::reference_tsc, 0);
    CHECK(m.load<std::uint64_t>(0x8000) == 42);
}

TEST_CASE("crash registers: parameters, the control word as the root reads it, reported writes") {
    SyntheticMachine m;
    for (std::uint32_t n = 0; n < 5; ++n) m.write(msr::crash_p0 + n, 0x1000 + n);
    for (std::uint32_t n = 0; n < 5; ++n) CHECK(m.read(msr::crash_p0 + n) == 0x1000 + n);
    m.write(msr::crash_ctl, crash_control::crash_notify | crash_control::crash_message);
    HvRegisterValue value{};
    CHECK(m.processor.get_register(HvRegister::guest_crash_ctl, value) == HvStatus::success);
    CHECK(value == HvRegisterValue{crash_control::crash_notify | crash_control::crash_message, 0});
    CHECK(m.processor.get_register(HvRegister::guest_crash_p4, value) == HvStatus::success);
    CHECK(value == HvRegisterValue{0x1004, 0});
    CHECK(SyntheticProcessor::is_reported(msr::crash_ctl));
    CHECK(SyntheticProcessor::is_reported(msr::reset));
    CHECK_FALSE(SyntheticProcessor::is_reported(msr::crash_p0));
}

TEST_CASE("APIC registers and idle go to the processor") {
    SyntheticMachine m;
    m.write(msr::eoi, 0);
    CHECK(m.port.eois == 1);
    m.write(msr::icr, 0x0100'0000'0000'40fd);
    CHECK(m.port.icr == 0x0100'0000'0000'40fd);
    m.write(msr::tpr, 0xf0);
    CHECK(m.port.tpr == 0xf0);
    CHECK(m.read(msr::guest_idle) == 0);
    CHECK(m.port.idles == 1);
}

// --- Registers by name (TLFS 7.8) ---------------------------------------------------------------------------------

TEST_CASE("the root reads and writes the same registers by name") {
    SyntheticMachine m;
    const struct {
        HvRegister name;
        std::uint32_t number;
        std::uint64_t value;
    } rows[] = {
        {HvRegister::guest_os_id, msr::guest_os_id, 0x1234},
        {HvRegister::x64_hypercall, msr::hypercall, 0x8001},
        {HvRegister::reference_tsc, msr::reference_tsc, 0x9001},
        {HvRegister::vp_assist_page, msr::vp_assist_page, 0xa001},
        {HvRegister::scontrol, msr::scontrol, 1},
        {HvRegister::siefp, msr::siefp, 0xb001},
        {HvRegister::simp, msr::simp, 0xc001},
        {static_cast<HvRegister>(0xa0002), msr::sint0 + 2, 0xf3},
        {HvRegister::stimer0_count, msr::stimer0_count, 5},
        {HvRegister::stimer3_count, msr::stimer3_count, 6},
        {HvRegister::guest_crash_p0, msr::crash_p0, 7},
    };
    for (const auto& row : rows) {
        CAPTURE(row.number);
        CHECK(m.processor.set_register(row.name, {row.value, 0}) == HvStatus::success);
        CHECK(m.read(row.number) == row.value);
        HvRegisterValue value{};
        CHECK(m.processor.get_register(row.name, value) == HvStatus::success);
        CHECK(value == HvRegisterValue{row.value, 0});
    }
    HvRegisterValue value{};
    CHECK(m.processor.set_register(HvRegister::sversion, {1, 0}) == HvStatus::access_denied);
    CHECK(m.processor.set_register(HvRegister::eom, {1, 0}) == HvStatus::invalid_register_value);
    CHECK(m.processor.set_register(HvRegister::sint0, {0x0f, 0}) == HvStatus::invalid_register_value);
    CHECK(m.processor.get_register(static_cast<HvRegister>(0xdead), value) == HvStatus::unknown_register_name);
}

}  // namespace synthetic_msrs_test
