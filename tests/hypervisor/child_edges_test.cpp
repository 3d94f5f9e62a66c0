// Corners of a child's interface where hostile values would leave something behind: refused page registers, periods
// that wrap, lists that are refused or begun in their middle, a controller that is off for a while.
#include <string>

#include "synthetic_machine.h"

namespace child_edges_test {

using namespace hypervisor;
using namespace hypervisor::test;

namespace {

constexpr std::uint64_t in = 0x20'000;
constexpr std::uint64_t out = 0x21'000;
constexpr std::uint64_t untouched = 0xeeee'eeee'eeee'eeee;
constexpr std::uint64_t page_nine = 9ull << hv_page_shift | 1;
constexpr std::uint64_t no_such_page = 1ull << 48 | 1;

}  // namespace

TEST_CASE("a page register that is refused keeps its value and its page") {
    for (const std::uint32_t number :
         {msr::hypercall, msr::simp, msr::siefp, msr::vp_assist_page, msr::reference_tsc}) {
        CAPTURE(number);
        SyntheticMachine m;
        m.write(msr::guest_os_id, 1);
        m.write(number, page_nine);
        CHECK_FALSE(m.processor.write_msr(number, no_such_page));
        CHECK(m.read(number) == page_nine);
        CHECK(m.partition.gpa_space().has_overlay(9));
        m.write(number, no_such_page & ~1ull);  // not enabled, it names nothing
        CHECK_FALSE(m.partition.gpa_space().has_overlay(9));
    }
    SyntheticMachine m;
    REQUIRE(m.client.withdraw_all(m.id) == HvStatus::success);
    CHECK_FALSE(m.processor.write_msr(msr::simp, page_nine));
    CHECK(m.read(msr::simp) == 0);
    REQUIRE(m.client.deposit(m.id, 4) == HvStatus::success);
    m.write(msr::simp, page_nine);
}

TEST_CASE("a period beyond the end of time never ends, at first or later") {
    SyntheticMachine m;
    m.run_until(sim::Time::ms(1));
    m.write(msr::stimer0_config, stimer_config::direct_mode | 0x40 << stimer_config::apic_vector_shift |
                                     stimer_config::periodic | stimer_config::auto_enable);
    m.write(msr::stimer0_count, ~0ull);
    CHECK(m.simulation.agenda().next_event().is_never());
    // Due once within the years that time has, and then not again in the past.
    m.write(msr::stimer0_count, 80'000'000'000'000);
    REQUIRE(m.simulation.agenda().run_next());
    CHECK(m.port.interrupts.size() == 1);
    CHECK(m.simulation.agenda().next_event().is_never());
}

TEST_CASE("a controller that is off, or has lost its page, keeps what waits") {
    for (const std::uint32_t off : {msr::scontrol, msr::simp}) {
        CAPTURE(off);
        SyntheticMachine m;
        m.enable_synic();
        m.write(msr::sint0 + 2, 0xf3);
        HvMessage message{};
        message.header.message_type = 1;
        for (int i = 0; i < 2; ++i) REQUIRE(m.processor.post_message(2, message) == HvStatus::success);
        m.store<std::uint32_t>(m.slot(2), 0);
        m.write(off, 0);
        m.write(msr::eom, 0);
        CHECK(m.processor.post_message(2, message) == HvStatus::invalid_synic_state);
        m.port.forget();
        m.write(off, off == msr::simp ? m.simp | 1 : 1);
        CHECK(m.load<std::uint32_t>(m.slot(2)) == 1);
        CHECK(m.port.interrupts.size() == 1);
    }
}

TEST_CASE("EOI assist: what the guest has ended is carried out before the page goes") {
    SyntheticMachine m;
    m.write(msr::vp_assist_page, page_nine);
    m.processor.excuse_eoi(0x50, false);
    m.store<std::uint32_t>(9ull << hv_page_shift, 0);
    m.write(msr::vp_assist_page, 0);
    CHECK(m.port.eois == 1);
}

TEST_CASE("a refused list costs nothing and counts what it skipped; its output page stays as it was") {
    SyntheticMachine m;
    for (const RootHypercalls::Row& row : RootHypercalls::table()) {
        if (m.partition.has_privilege(row.privilege)) continue;
        const std::string name{row.name};
        CAPTURE(name);
        m.store(out, untouched);
        const bool rep = row.kind == RootHypercalls::Kind::rep;
        const std::uint64_t control = code_of(row.code) | (rep ? reps(5, 3) : 0);
        CHECK(call(m, {control, in, out}) == GuestResult{HvStatus::access_denied, rep ? 3u : 0u});
        CHECK(m.load<std::uint64_t>(out) == untouched);
    }
    CHECK(m.port.charged == 0);
}

TEST_CASE("a list of registers begun at its second element leaves the first one's place alone") {
    SyntheticMachine m;
    m.host.vp(m.id, 0).registers[HvRegister::x64_rip] = {0x11, 0};
    m.store(out, std::array<std::uint64_t, 3>{untouched, untouched, untouched});
    m.store(in, HvInputVpRegisters{hv_partition_id_self, hv_vp_index_self, 0, {}});
    const auto rip = static_cast<std::uint32_t>(HvRegister::x64_rip);
    m.store(in + 16, std::array<std::uint32_t, 2>{rip, rip});
    const std::uint64_t control = code_of(HvCall::get_vp_registers) | reps(2, 1);
    CHECK(call(m, {control, in, out}) == GuestResult{HvStatus::success, 2});
    CHECK(m.load<std::array<std::uint64_t, 3>>(out) == std::array<std::uint64_t, 3>{untouched, untouched, 0x11});
    CHECK(m.port.charged == 1);
    // The same in registers: header in RDX and R8, names in XMM0, values from XMM1 on.
    m.port.guest.set_xmm(0, {std::uint64_t{rip} << 32 | rip, 0});
    m.port.guest.set_xmm(1, {untouched, untouched});
    CHECK(call(m, {fast_call | control, hv_partition_id_self, hv_vp_index_self}) == GuestResult{HvStatus::success, 2});
    CHECK(m.port.guest.xmm(1) == std::array<std::uint64_t, 2>{untouched, untouched});
    CHECK(m.port.guest.xmm(2) == std::array<std::uint64_t, 2>{0x11, 0});
}

}  // namespace child_edges_test
