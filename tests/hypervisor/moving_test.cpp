// What a root asks for when a partition moves elsewhere: the pages that were written to, no others; and state in parts.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <vector>

#include "hypervisor/gpa_space.h"
#include "sim/archive.h"
#include "tests/hypervisor/partition_machine.h"

namespace moving_test {

using namespace hypervisor;
using hypervisor::test::Machine;

namespace {

constexpr std::uint32_t all_rights = 0xf;
constexpr std::array<std::byte, 3> some{std::byte{1}, std::byte{2}, std::byte{3}};

// Pages 0..1023 of a child, of which the first 512 are one large page.
struct Child {
    Child() {
        id = *m.client.create_partition();
        REQUIRE(m.client.initialize_partition(id) == HvStatus::success);
        REQUIRE(m.client.map_range(id, 0, 1024, 1024, all_rights) == HvStatus::success);
    }
    GpaSpace& space() { return m.partitions.find(id)->gpa_space(); }
    // The numbers of the dirty ones; they are clear afterwards.
    std::vector<std::uint64_t> dirty(std::uint64_t count = 1024) {
        std::vector<std::uint8_t> states(count);
        REQUIRE(m.client.take_access_states(id, 0, states) == HvStatus::success);
        std::vector<std::uint64_t> pages;
        for (std::uint64_t page = 0; page < count; ++page) {
            if ((states[page] & gpa_access_state::dirty) != 0) pages.push_back(page);
        }
        return pages;
    }
    Machine m;
    PartitionId id = 0;
};

using Pages = std::vector<std::uint64_t>;

}  // namespace

TEST_CASE("moving: tracked pages are the written ones and no others, once") {
    Child child;
    std::vector<std::uint8_t> states(1);
    CHECK(child.m.client.take_access_states(child.id, 0, states) == HvStatus::feature_unavailable);
    REQUIRE(child.space().write(5 << 12, some));
    CHECK(child.space().translate(0)->page_shift == mmu::shift_2m);
    REQUIRE(child.m.client.track_accesses(child.id, true) == HvStatus::success);
    CHECK(child.space().translate(0)->page_shift == mmu::shift_4k);
    CHECK(child.dirty() == Pages{});  // what was before does not count

    REQUIRE(child.space().write(7 << 12, some));
    REQUIRE(child.space().write((900 << 12) - 1, some));  // over a boundary
    std::array<std::byte, 8> out{};
    REQUIRE(child.space().read(20 << 12, out));
    CHECK(child.dirty() == Pages{7, 899, 900});
    CHECK(child.dirty() == Pages{});
    REQUIRE(child.space().write(7 << 12, some));
    CHECK(child.dirty() == Pages{7});

    // Whoever caches translations has been told, or a processor would write on without a flag.
    child.m.host.flushes.clear();
    REQUIRE(child.space().write(9 << 12, some));
    (void)child.dirty(16);
    REQUIRE(child.m.host.flushes.size() == 1);

    REQUIRE(child.m.client.track_accesses(child.id, false) == HvStatus::success);
    CHECK(child.m.client.take_access_states(child.id, 0, states) == HvStatus::feature_unavailable);
}

TEST_CASE("moving: a page keeps its flag beneath an overlay, and one that is mapped anew counts as written") {
    Child child;
    REQUIRE(child.m.client.track_accesses(child.id, true) == HvStatus::success);
    REQUIRE(child.m.client.deposit(child.id, 8) == HvStatus::success);
    REQUIRE(child.space().write(3 << 12, some));
    const auto overlay = child.space().allocate_overlay_page();
    REQUIRE(overlay.has_value());
    for (const std::uint64_t page : {3, 4}) {
        REQUIRE(child.space().place_overlay(page, *overlay, {true, true, false}) == GpaEdit::ok);
        REQUIRE(child.space().write(page << 12, some));  // into the overlay: the hypervisor's
    }
    CHECK(child.dirty() == Pages{3});
    for (const std::uint64_t page : {3, 4}) child.space().remove_overlay(page, *overlay);
    child.space().free_overlay_page(*overlay);
    CHECK(child.dirty() == Pages{});

    REQUIRE(child.m.client.unmap_range(child.id, 512, 512) == HvStatus::success);
    REQUIRE(child.m.client.map_range(child.id, 512, 1536, 512, all_rights) == HvStatus::success);
    CHECK(child.space().translate(512 << 12)->page_shift == mmu::shift_4k);
    CHECK(child.dirty().size() == 512);
    CHECK(child.dirty() == Pages{});
}

TEST_CASE("moving: what is asked for wrongly") {
    Child child;
    REQUIRE(child.m.client.track_accesses(child.id, true) == HvStatus::success);
    std::vector<std::uint8_t> states(2);
    CHECK(child.m.client.take_access_states(child.id, 1023, states) == HvStatus::invalid_parameter);  // the second
    CHECK(child.m.client.take_access_states(root_partition, 0, states) == HvStatus::operation_denied);
    CHECK(child.m.client.take_access_states(77, 0, states) == HvStatus::invalid_partition_id);
    const PartitionId fresh = *child.m.client.create_partition();
    CHECK(child.m.client.track_accesses(fresh, true) == HvStatus::invalid_partition_state);
    CHECK(child.m.client.save_state(fresh).status == HvStatus::invalid_partition_state);
    CHECK(child.m.client.save_state(root_partition).status == HvStatus::operation_denied);
}

TEST_CASE("moving: state goes in parts and comes whole, or not at all") {
    Child child;
    const auto state = child.m.client.save_state(child.id);
    REQUIRE(state.status == HvStatus::success);
    CHECK(state.value.size() == 8 + 8 + 5000);
    CHECK(child.m.client.restore_state(child.id, state.value) == HvStatus::success);
    CHECK(child.m.client.restore_state(child.id, std::span{state.value}.first(4000)) ==
          HvStatus::invalid_save_restore_state);
    std::vector<std::byte> longer = state.value;
    longer.push_back({});
    CHECK(child.m.client.restore_state(child.id, longer) == HvStatus::invalid_save_restore_state);
    CHECK(child.m.client.restore_state(child.id, state.value) == HvStatus::success);
}

TEST_CASE("moving: tracking is in a checkpoint") {
    Child child;
    REQUIRE(child.m.client.track_accesses(child.id, true) == HvStatus::success);
    REQUIRE(child.space().write(7 << 12, some));
    const auto saved = sim::save_to_bytes(child.m.partitions);
    Machine other;
    other.bytes = child.m.bytes;
    sim::restore_from_bytes(other.partitions, saved);
    CHECK(other.partitions.find(child.id)->gpa_space().tracking());
    CHECK(sim::save_to_bytes(other.partitions) == saved);
    CHECK(child.dirty() == Pages{7});
}

}  // namespace moving_test
