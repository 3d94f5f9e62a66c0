// Timing profiles: exact picoseconds, the published sums that they are calibrated to, and docs/timing.md in step.
#include "models/profiles.h"

#include <doctest/doctest.h>

#include <fstream>
#include <iterator>
#include <set>
#include <string>
#include <utility>

#include "sim/check.h"

namespace profiles_test {

using models::Constant;
using models::Origin;
using models::Profile;
using namespace sim::literals;

TEST_CASE("sandy-bridge-ep: exact times") {
    const Profile p = models::find_profile("sandy-bridge-ep");
    CHECK(p.core_hz == 2'100'000'000);
    CHECK(p.cycles(1) == 476_ps);
    CHECK(p.cycles(2'100'000'000) == 1_s);
    const std::array<std::int64_t, cpu::instruction_classes> ps = {159, 238, 476,   476,   476,  11905,
                                                                   476, 238, 10476, 47619, 13333};
    CHECK(p.instruction_costs.ps == ps);
    CHECK(p.exit_costs.exit == 373'333_ps);
    CHECK(p.memory_timing.l2_tlb_ps == 3'333);
    const cpu::CacheHierarchyConfig& caches = p.memory_timing.caches;
    CHECK(caches.l1_instruction.bytes == 32 << 10);
    CHECK(caches.l1_data.ways == 8);
    CHECK(caches.l2.bytes == 256 << 10);
    CHECK(caches.l3.bytes == 20 << 20);
    CHECK(caches.l3.ways == 20);
    // Beyond a first-level hit: 8 cycles, 26 cycles, 26 cycles and 67 ns.
    CHECK(caches.extra_ps == std::array<std::int64_t, 4>{0, 3'809, 12'381, 79'381});

    // The same geometry as the translation hardware's own Sandy Bridge.
    const mmu::TlbConfig expected = mmu::TlbConfig::sandy_bridge();
    const auto same = [](const std::vector<mmu::TlbArrayConfig>& a, const std::vector<mmu::TlbArrayConfig>& b) {
        REQUIRE(a.size() == b.size());
        for (std::size_t i = 0; i < a.size(); ++i) {
            CHECK(a[i].shape == b[i].shape);
            CHECK(a[i].pages_4k == b[i].pages_4k);
            CHECK(a[i].pages_2m == b[i].pages_2m);
            CHECK(a[i].pages_1g == b[i].pages_1g);
        }
    };
    same(p.memory_timing.translation.tlb.l1_instruction, expected.l1_instruction);
    same(p.memory_timing.translation.tlb.l1_data, expected.l1_data);
    same(p.memory_timing.translation.tlb.l2, expected.l2);
}

TEST_CASE("calibrated exits add up to what was published, to a nanosecond") {
    const Profile p = models::find_profile("sandy-bridge-ep");
    const hypervisor::ExitCosts& e = p.exit_costs;
    struct Row {
        const char* what;
        sim::Time sum;
        std::int64_t published_cycles;
    };
    for (const Row& row : {
             Row{"null hypercall", e.exit + e.hypercall, 1300},
             Row{"CPUID, the middle of 1,018 to 1,098", e.exit + e.cpuid, 1058},
             Row{"virtual end of interrupt", e.exit + e.msr + e.apic_register, 1556},
             Row{"exit to the kernel", e.exit + e.nested_fault, 2565},
             Row{"exit to user space", e.exit + e.root_round_trip, 6732},
             Row{"IPI", e.exit + e.msr + e.apic_register + e.ipi_latency + e.interrupt_delivery, 3102},
             Row{"VM switch", e.exit + e.context_switch, 4812},
         }) {
        CAPTURE(row.what);
        CHECK(row.sum >= p.cycles(row.published_cycles) - 1_ns);
        CHECK(row.sum <= p.cycles(row.published_cycles) + 1_ns);
    }
}

TEST_CASE("one-nanosecond: every instruction 1 ns, every exit 1 us") {
    const Profile p = models::find_profile("one-nanosecond");
    CHECK(p.instruction_costs.ps ==
          std::array<std::int64_t, 11>{1000, 0, 0, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000});
    CHECK(p.exit_costs.exit == 1_us);
    CHECK(p.memory_timing.caches.extra_ps == std::array<std::int64_t, 4>{0, 9'000, 29'000, 99'000});
    CHECK(p.service_costs.bus == vmbus::Costs{150_ns, 1_us, 500_ns, 102'400_ps});
}

TEST_CASE("every constant has a source, a meaning or a row above that gives it, and a name of its own") {
    for (const std::string_view name : models::profile_names()) {
        const Profile p = models::find_profile(name);
        std::set<std::string_view> keys;
        const Constant* previous = nullptr;
        for (const Constant& c : p.constants) {
            CAPTURE(c.key);
            CHECK(keys.insert(c.key).second);
            CHECK(c.source.size() >= 8);
            CHECK((!c.meaning.empty() || (previous != nullptr && c.unit == models::Unit::ways)));
            CHECK(c.value >= 0);
            previous = &c;
        }
        CHECK(keys.size() == 113);
    }
    CHECK_THROWS_WITH_AS(models::find_profile("pentium"),
                         "timing profile 'pentium' does not exist; there are: sandy-bridge-ep, one-nanosecond",
                         sim::UserError);
}

TEST_CASE("a variant of a profile differs in one thing") {
    const Profile plain = models::find_profile("sandy-bridge-ep");
    CHECK(models::find_profile("sandy-bridge-ep:posted").pci_costs.posted_descriptors == 64);
    CHECK(models::find_profile("sandy-bridge-ep:posted").exit_costs.exit == plain.exit_costs.exit);
    CHECK(models::find_profile("sandy-bridge-ep:3400MHz").cycles(3'400) == 1_us);
    const hypervisor::ExitCosts bare = models::find_profile("sandy-bridge-ep:bare-metal").exit_costs;
    CHECK(bare.exit + bare.halt + bare.interrupt_delivery + bare.ipi_latency == sim::Time::zero());
    CHECK(bare.wake_up(19_us) == 2_us);
    CHECK(bare.wake_up(20_us) == 10_us);
    CHECK_THROWS_AS(models::find_profile("sandy-bridge-ep:other"), sim::UserError);
}

TEST_CASE("constants that a name gives") {
    const Profile plain = models::find_profile("sandy-bridge-ep");
    const Profile p = models::find_profile("sandy-bridge-ep:exit.hypercall=2100:idle.c1.exit=0:posted");
    CHECK(p.exit_costs.hypercall == 1_us);
    CHECK(p.exit_costs.idle_states[0].exit == sim::Time::zero());
    CHECK(p.exit_costs.exit == plain.exit_costs.exit);
    CHECK(p.pci_costs.posted_descriptors == 64);
    CHECK(p.constants.data() == plain.constants.data());
    CHECK(models::find_profile("sandy-bridge-ep:core_hz=1000000000").cycles(1) == 1_ns);
    static constexpr std::pair<const char*, const char*> wrong[] = {
        {"exit.hyper=1", "the timing profile has no constant exit.hyper; docs/timing.md lists all"},
        {"exit.any=-1", "exit.any: -1 is not a whole number of cycles from 0 to 1000000000"},
        {"exit.any=", "exit.any:  is not a whole number of cycles from 0 to 1000000000"},
        {"core_hz=0", "core_hz: 0 is not a whole number of Hz from 1000000 to 100000000000"},
        {"numa.fill_buffers=0", "numa.fill_buffers: 0 is not a whole number of entries from 1 to 1000000000"},
        {"cache.l2.latency=1", "cache.l1_latency, cache.l2.latency and cache.l3.latency must not fall"},
        {"cache.l3.ways=3", "the constant cache.l3.ways is a shape, not a time, and cannot be set"},
    };
    for (const auto& [variant, message] : wrong) {
        CHECK_THROWS_WITH_AS(models::find_profile(std::string{"sandy-bridge-ep:"} + variant), message, sim::UserError);
    }
    CHECK_THROWS_AS(models::find_profile("sandy-bridge-ep:"), sim::UserError);
}

TEST_CASE("docs/timing.md shows these constants") {
    std::ifstream file{std::string{VG_SOURCE_DIR} + "/docs/timing.md"};
    REQUIRE(file.good());
    const std::string text{std::istreambuf_iterator<char>{file}, {}};
    const std::string begin = "<!-- constants: begin -->\n", end = "<!-- constants: end -->";
    const std::size_t first = text.find(begin), last = text.find(end);
    REQUIRE(first != std::string::npos);
    REQUIRE(last != std::string::npos);
    const std::string shown = text.substr(first + begin.size(), last - first - begin.size());
    const bool in_step = shown == models::constants_as_markdown();
    if (!in_step) {
        const std::string path = std::string{VG_BINARY_DIR} + "/timing-constants.md";
        std::ofstream{path} << models::constants_as_markdown();
        MESSAGE("put the text of " << path << " between the marks in docs/timing.md");
    }
    CHECK(in_step);
}

}  // namespace profiles_test
