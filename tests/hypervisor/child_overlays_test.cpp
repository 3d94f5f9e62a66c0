// Pages that the hypervisor lays over a child's memory, and what they hold: hypercall page, reference TSC page and the
// clock that it describes.
#include "child_machine.h"

#include "sim/random.h"

using namespace hypervisor;
using namespace hypervisor::test;

namespace {

constexpr std::uint64_t page(std::uint64_t n) {
    return n << hv_page_shift;
}
constexpr std::uint64_t no_such_page = page(1ull << 36);  // beyond the 48 bits of the space

}  // namespace

TEST_CASE("an overlay hides memory, which is there again when it goes or moves") {
    ChildMachine m;
    m.store<std::uint64_t>(page(5), 0x5555);
    m.store<std::uint64_t>(page(6), 0x6666);
    m.write(msr::simp, page(5) | 1);
    CHECK(m.load<std::uint64_t>(page(5)) == 0);
    CHECK(m.partition().gpa_space().has_overlay(5));
    // Its content goes with it, and what was underneath comes back.
    m.store<std::uint64_t>(page(5), 0xabc);
    m.write(msr::simp, page(6) | 1);
    CHECK(m.load<std::uint64_t>(page(5)) == 0x5555);
    CHECK(m.load<std::uint64_t>(page(6)) == 0xabc);
    // Disabled, it keeps its address in the register and its content for the next time.
    m.write(msr::simp, page(6));
    CHECK(m.load<std::uint64_t>(page(6)) == 0x6666);
    CHECK(m.read(msr::simp) == page(6));
    CHECK_FALSE(m.partition().gpa_space().has_overlay(6));
    m.write(msr::simp, page(5) | 1);
    CHECK(m.load<std::uint64_t>(page(5)) == 0xabc);
    // Written again as it is, nothing changes.
    const std::uint64_t changes = m.mapping_changes;
    m.write(msr::simp, page(5) | 1);
    CHECK(m.mapping_changes == changes);
}

TEST_CASE("two overlays at one page: the last placed is seen, the other when that goes") {
    ChildMachine m;
    m.store<std::uint64_t>(page(5), 0x5555);
    m.write(msr::simp, page(5) | 1);
    m.store<std::uint64_t>(page(5), 1);
    m.write(msr::siefp, page(5) | 1);
    m.store<std::uint64_t>(page(5), 2);
    m.write(msr::simp, page(5));
    CHECK(m.load<std::uint64_t>(page(5)) == 2);
    m.write(msr::simp, page(5) | 1);
    CHECK(m.load<std::uint64_t>(page(5)) == 1);
    m.write(msr::simp, 0);
    m.write(msr::siefp, 0);
    CHECK(m.load<std::uint64_t>(page(5)) == 0x5555);
}

TEST_CASE("an overlay at a page without memory, and one that no space has") {
    ChildMachine m;
    const std::uint64_t hole = page(ChildMachine::guest_pages + 7);
    m.write(msr::siefp, hole | 1);
    CHECK(m.load<std::uint64_t>(hole) == 0);
    m.write(msr::siefp, 0);
    CHECK_FALSE(m.partition().gpa_space().translate(hole).has_value());
    for (const std::uint32_t number : {msr::simp, msr::siefp, msr::vp_assist_page, msr::reference_tsc}) {
        CAPTURE(number);
        m.write(number, page(9) | 1);
        CHECK_FALSE(m.child().write_msr(number, no_such_page | 1));
        CHECK(m.read(number) == (page(9) | 1));  // as if nothing had been written
        CHECK(m.partition().gpa_space().has_overlay(9));
        m.write(number, no_such_page);  // not enabled, it names nothing
        CHECK_FALSE(m.partition().gpa_space().has_overlay(9));
    }
}

TEST_CASE("without a page in the pool an overlay is #GP, and comes once there is one") {
    ChildMachine m;
    REQUIRE(m.client.withdraw_all(m.id) == HvStatus::success);
    CHECK_FALSE(m.child().write_msr(msr::simp, page(5) | 1));
    CHECK(m.read(msr::simp) == 0);
    REQUIRE(m.client.deposit(m.id, 4) == HvStatus::success);
    m.write(msr::simp, page(5) | 1);
}

TEST_CASE("all pages of the interface come back to the pool") {
    ChildMachine m{2};
    m.write(msr::guest_os_id, 1);
    std::uint64_t n = 10;
    for (const std::uint32_t number : {msr::hypercall, msr::reference_tsc}) m.write(number, page(n++) | 1);
    for (const std::uint32_t number : {msr::simp, msr::siefp, msr::vp_assist_page}) {
        m.write(number, page(n++) | 1, 0);
        m.write(number, page(n++) | 1, 1);
    }
    CHECK(m.client.finalize_partition(m.id) == HvStatus::success);
    CHECK(m.client.delete_partition(m.id) == HvStatus::success);
    CHECK(m.partitions.ownership().consistent());
}

TEST_CASE("the hypercall page: code, rights, identity, lock") {
    ChildMachine m;
    m.write(msr::hypercall, page(3) | 1);
    CHECK(m.read(msr::hypercall) == page(3));  // not before the guest has said who it is
    CHECK_FALSE(m.synthetic->hypercalls_enabled());
    m.write(msr::guest_os_id, 1);
    m.store<std::uint64_t>(page(3), 0x3333);
    m.write(msr::hypercall, page(3) | 1 | 0xff0);
    CHECK(m.read(msr::hypercall) == (page(3) | 1 | 0xff0));  // bits 11:2 are kept
    CHECK(m.synthetic->hypercalls_enabled());
    CHECK(m.load<std::uint32_t>(page(3)) == 0xc3c1'010f);  // vmcall; ret
    for (std::uint64_t i = 4; i < hv_page_size; ++i) REQUIRE(m.load<std::uint8_t>(page(3) + i) == 0xcc);
    const auto mapping = m.partition().gpa_space().translate(page(3));
    CHECK(mapping->rights == slat::PageRights{true, false, true});
    std::array<std::byte, 4> bytes{};
    CHECK_FALSE(m.partition().gpa_space().write(page(3), bytes));
    // Moved.
    m.write(msr::hypercall, page(4) | 1);
    CHECK(m.load<std::uint64_t>(page(3)) == 0x3333);
    CHECK(m.load<std::uint32_t>(page(4)) == 0xc3c1'010f);
    CHECK_FALSE(m.child().write_msr(msr::hypercall, no_such_page | 1));
    CHECK(m.read(msr::hypercall) == (page(4) | 1));
    // Without an identity it is gone.
    m.write(msr::guest_os_id, 0);
    CHECK(m.read(msr::hypercall) == page(4));
    CHECK_FALSE(m.synthetic->hypercalls_enabled());
    m.write(msr::guest_os_id, 1);
    m.write(msr::hypercall, page(4) | 3);
    CHECK_FALSE(m.child().write_msr(msr::hypercall, page(5) | 1));
    CHECK_FALSE(m.child().write_msr(msr::hypercall, 0));
    CHECK(m.read(msr::hypercall) == (page(4) | 3));
}

TEST_CASE("an AMD processor's hypercall page has VMMCALL") {
    ChildMachine m;
    SyntheticPartition amd{m.simulation.scope("amd"),    m.partition(), m.memory(), 1'000'000'000, 1'000'000,
                           HypercallInstruction::vmmcall};
    amd.write_guest_os_id(1);
    REQUIRE(amd.write_hypercall(page(20) | 1));
    CHECK(m.load<std::uint32_t>(page(20)) == 0xc3d9'010f);
}

TEST_CASE("the reference TSC page: content by frequency") {
    struct Row {
        std::uint64_t hz;
        std::uint64_t scale;
    };
    ChildMachine m;
    for (const Row& row : {Row{1'000'000'000, 0x028f'5c28'f5c2'8f5c}, Row{2'000'000'000, 0x0147'ae14'7ae1'47ae},
                           Row{2'500'000'000, 0x0106'24dd'2f1a'9fbe}, Row{3'000'000'000, 0x00da'740d'a740'da74}}) {
        CAPTURE(row.hz);
        const ReferenceTime time{sim::Time::zero(), row.hz};
        CHECK(time.page().tsc_scale == row.scale);
        CHECK(time.page().tsc_offset == 0);
        CHECK(time.page().tsc_sequence == 1);
    }
    m.store<std::uint64_t>(page(8), 0x8888);
    m.write(msr::reference_tsc, page(8) | 1);
    CHECK(m.load<std::uint64_t>(page(8)) == 1);
    CHECK(m.load<std::uint64_t>(page(8) + 8) == 0x0106'24dd'2f1a'9fbe);
    CHECK(m.load<std::uint64_t>(page(8) + 16) == 0);
    m.write(msr::reference_tsc, 0);
    CHECK(m.load<std::uint64_t>(page(8)) == 0x8888);
}

TEST_CASE("page, counter and timers tell one time, at any start and frequency") {
    sim::Random random{7, "reference_time"};
    for (int round = 0; round < 2000; ++round) {
        const std::uint64_t hz = 100'000'000 + random.below(5'000'000'000);
        const sim::Time start = sim::Time::ps(static_cast<std::int64_t>(random.below(1ull << 50)));
        const ReferenceTime time{start, hz};
        const HvReferenceTscPage page_now = time.page();
        const sim::Time t = start + sim::Time::ps(static_cast<std::int64_t>(random.below(1ull << 52)));
        // The guest's arithmetic on what RDTSC reads then.
        const std::uint64_t tsc = sim::time_to_cycles(t, hz);
        const auto by_page =
            static_cast<std::int64_t>((sim::u128{tsc} * page_now.tsc_scale) >> 64) + page_now.tsc_offset;
        CAPTURE(hz);
        REQUIRE(time.at(t) == static_cast<std::uint64_t>(by_page < 0 ? 0 : by_page));
        // 100 ns since the start, but for the rounding of scale and start.
        const auto exact = (t - start).ps() / 100'000;
        const auto error = exact - static_cast<std::int64_t>(time.at(t));
        REQUIRE(error >= -1);
        REQUIRE(error <= 1 + exact / 1'000'000'000);
        // A timer for `count` expires at the first picosecond at which the counter shows it.
        const std::uint64_t count = time.at(t) + random.below(1'000'000);
        const sim::Time due = time.when(count);
        REQUIRE(time.at(due) >= count);
        if (due > sim::Time::zero() && count > 0) REQUIRE(time.at(due - sim::Time::ps(1)) < count);
    }
    CHECK(ReferenceTime{sim::Time::zero(), 2'500'000'000}.when(~0ull).is_never());
    CHECK(ReferenceTime{sim::Time::s(5), 1'000'000'000}.at(sim::Time::s(1)) == 0);  // before its partition
}

TEST_CASE("the counter goes on from the partition's creation") {
    ChildMachine m;
    CHECK(m.read(msr::time_ref_count) == 0);
    m.run_until(sim::Time::ns(10'099));
    CHECK(m.read(msr::time_ref_count) == 100);
    m.simulation.agenda().set_local_time(sim::Time::ns(10'200));  // of a processor ahead within its quantum
    CHECK(m.read(msr::time_ref_count) == 101);                    // the scale is rounded down
}
