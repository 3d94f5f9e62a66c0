// Four hundred thousand random hypercalls of the root and of children: no check of ours fails, no page is lost or in
// two places, and at the end all memory comes back.
#include <doctest/doctest.h>

#include "partition_machine.h"
#include "sim/random.h"
#include "tests/effort.h"

namespace hostile_hypercalls_test {

using namespace hypervisor;
using namespace hypervisor::test;

namespace {

// Words that a hostile caller would try: small numbers, sizes, limits, flags, page numbers, noise.
std::uint64_t word(sim::Random& random) {
    switch (random.below(9)) {
        case 0:
            return random.below(4);
        case 1:
            return random.below(Machine::pages + 8);
        case 2:
            return random.below(2) << 32 | random.below(16);
        case 3:
            return std::uint64_t{1} << random.below(64);
        case 4:
            return (std::uint64_t{1} << random.below(64)) - 1;
        case 5:
            return 0 - random.below(32);
        case 6:
            return 0x2'0000 + random.below(0x14);
        case 7:
            return random.below(8) * 512;
        default:
            return random.next_u64();
    }
}

PartitionId any_partition(sim::Random& random, Machine& m) {
    std::vector<PartitionId> ids;
    m.partitions.for_each([&](const Partition& p) { ids.push_back(p.id()); });
    return ids[random.below(ids.size())];
}

// A partition id in a call: mostly one that exists.
std::uint64_t partition(sim::Random& random, Machine& m) {
    if (random.one_in(12)) return word(random);
    return random.one_in(6) ? hv_partition_id_self : any_partition(random, m);
}

using Successes = std::map<HvCall, std::uint64_t>;

void call_at_random(sim::Random& random, Machine& m, PartitionId caller, Successes& successes) {
    const auto rows = RootHypercalls::table();
    const auto& row = rows[random.below(rows.size())];
    std::uint64_t code = static_cast<std::uint64_t>(row.code);
    // Rarely the end of a partition, or there would be nothing to play with.
    if (row.code == HvCall::finalize_partition && !random.one_in(20))
        code = static_cast<std::uint64_t>(HvCall::create_vp);
    if (random.one_in(50)) code = random.below(0x10000);
    std::vector<std::uint64_t> input(1 + random.below(40));
    const std::uint64_t tame = random.below(4);
    for (std::uint64_t& w : input) w = random.below(4) < tame ? 0 : word(random);
    input[0] = partition(random, m);
    const bool pages = row.code == HvCall::map_gpa_pages || row.code == HvCall::unmap_gpa_pages;
    if (pages && input.size() > 4 && !random.one_in(4)) {
        const bool large = random.one_in(3);
        input[1] = large ? random.below(4) * 512 : random.below(1024);
        input[2] = row.code == HvCall::unmap_gpa_pages ? (large ? 2 : 0)
                                                       : (large              ? 0x8000'000f
                                                          : random.one_in(3) ? 1
                                                                             : 15);
        for (std::size_t i = 3; i < input.size(); ++i)
            input[i] = large ? random.below(8) * 512 : random.below(Machine::pages);
    }
    if (row.code == HvCall::create_port && input.size() > 6 && !random.one_in(4)) {
        input[1] = random.below(8);
        input[2] = partition(random, m);
        input[3] = random.between(1, 3);
        input[4] = random.between(1, 15);
        input[5] = input[3] == 2 ? random.below(256) | 8 << 16 : 0;
        input[6] = 0;
    }
    if (row.code == HvCall::connect_port && input.size() > 8 && !random.one_in(4)) {
        input = {input[0], random.below(8), partition(random, m), random.below(8), random.between(1, 3), 0, 0, 0, 0};
    }
    if (row.code == HvCall::post_message && !random.one_in(4)) {
        input.assign(32, 0);
        input[0] = random.below(8);
        input[1] = 1 | random.below(250) << 32;
    }
    if (row.code == HvCall::register_intercept_result && input.size() > 1)
        input[1] = (random.one_in(2) ? hv_any_vp : 0) | 2ull << 32;
    const bool registers = row.code == HvCall::get_vp_registers || row.code == HvCall::set_vp_registers;
    if (registers && !random.one_in(4)) {
        input.assign(40, 0);
        input[0] = partition(random, m);
        for (std::size_t i = 2; i < input.size(); i += row.element_bytes == 4 ? 1 : 4) {
            input[i] = 0x2'0000 + random.below(0x12);
            if (row.element_bytes == 4) input[i] |= input[i] << 32;
        }
    }
    if (row.code == HvCall::save_partition_state && !random.one_in(4)) input = {input[0], random.below(2)};
    if (row.code == HvCall::restore_partition_state && !random.one_in(4)) {
        // The parts that the test's machine saves, or some that it does not.
        input.resize(512);
        const bool first = random.one_in(2);
        input[1] = first ? 4080 | 1ull << 32 : 5016 - 4080;
        if (!random.one_in(4)) std::fill(input.begin() + 2, input.end(), 0);
        if (first) input[3] = 5000;
    }
    if (row.code == HvCall::get_gpa_pages_access_state && !random.one_in(4)) {
        input = {input[0], 4 * random.below(2), random.below(1024)};
    }
    if (row.code == HvCall::create_partition && random.one_in(2)) input.assign(7, 0);
    if (row.code == HvCall::assert_virtual_interrupt && !random.one_in(8)) {
        input = {input[0], random.below(8) | random.below(4) << 32, random.below(2), random.below(256)};
    }
    if (row.code == HvCall::set_partition_property && random.one_in(2)) {
        input = {input[0], 0x2'0000 + random.below(6), random.below(20'000)};
        if (random.one_in(4)) input = {input[0], 0x5'0005, random.below(2)};
    }
    const bool objects = row.code == HvCall::disconnect_port || row.code == HvCall::get_port_property;
    if (objects && random.one_in(2)) input = {input[0], random.below(8), random.below(2)};
    const std::uint64_t device = random.one_in(8) ? 1 : 0;
    if (row.code == HvCall::attach_device && !random.one_in(4)) {
        input = {input[0], device_id::of_pci(static_cast<std::uint16_t>(random.below(8))), 0, device};
    }
    if (row.code == HvCall::detach_device && !random.one_in(4)) input = {input[0], device};
    if (row.code == HvCall::map_device_interrupt && !random.one_in(4)) {
        input = {input[0],     device, 0, 0, 0, 0, random.below(5), random.below(256) | random.below(2) << 32,
                 ~word(random)};
    }
    if (row.code == HvCall::unmap_device_interrupt && !random.one_in(4)) {
        input = {input[0], device, 1, 0xfee0'0010 + 8 * random.below(2)};
    }
    if (row.code == HvCall::signal_event) input[0] = random.below(8) | random.below(12) << 32;

    std::uint64_t control = code;
    if (row.kind == RootHypercalls::Kind::rep) {
        const std::uint64_t count = random.between(1, 8);
        control |= reps(count, random.one_in(4) ? random.below(count) : 0);
    }
    if (random.one_in(30)) control |= std::uint64_t{1} << random.below(64);
    std::vector<std::byte> output(random.one_in(10) ? random.below(64) : 4096);
    const std::uint64_t result = m.hypercalls.call(caller, control, std::as_bytes(std::span{input}), output);
    if ((result & 0xffff) == 0) ++successes[HvCall{static_cast<std::uint16_t>(control)}];
    // Never more done than asked for.
    CHECK((result >> 32) <= sim::bits(control, 43, 32));
    CHECK((result & 0xffff'f000'ffff'0000) == 0);
}

void check_pages(Machine& m) {
    const PageOwnership& ownership = m.partitions.ownership();
    CHECK(ownership.consistent());
    std::map<std::uint64_t, PartitionId> seen;
    m.partitions.for_each([&](const Partition& p) {
        const PageTotals totals = ownership.totals(p.id());
        CHECK(totals.deposited == p.pool().available());
        CHECK(totals.in_use == p.pool().in_use());
        CHECK(totals.mapped == p.gpa_space().mapped_pages());
        for (std::uint64_t gpa_page = 0; gpa_page < 2048; ++gpa_page) {
            const auto mapping = p.gpa_space().translate(gpa_page << 12);
            if (!mapping) continue;
            const std::uint64_t page = mapping->spa >> 12;
            CHECK(ownership.use_of(page) == PageUse::mapped);
            CHECK(ownership.owner_of(page) == p.id());
            CHECK(seen.try_emplace(page, p.id()).first->second == p.id());
        }
    });
}

// The end of all children, and then no page is anybody's but the root's.
void take_down(Machine& m) {
    check_pages(m);
    while (const PartitionId child = m.partitions.next_child(hv_partition_id_invalid)) {
        if (m.partitions.find(child)->state() != PartitionState::finalized) {
            REQUIRE(m.client.finalize_partition(child) == HvStatus::success);
        }
        REQUIRE(m.client.delete_partition(child) == HvStatus::success);
        CHECK(m.partitions.ownership().totals(child).none());
    }
    for (std::uint32_t id = 0; id < 64; ++id) {
        (void)m.client.delete_port({root_partition, id});
        (void)m.client.disconnect_port({root_partition, id});
    }
    CHECK(m.host.vps.empty());
    check_pages(m);
    REQUIRE(m.client.withdraw_all(root_partition) == HvStatus::success);
    std::uint64_t not_the_roots = 0;
    for (std::uint64_t page = 0; page < Machine::pages; ++page) {
        not_the_roots += m.partitions.ownership().use_of(page) != PageUse::root;
    }
    // Ports of odd numbers may still hold pages of the root's own pool.
    CHECK(not_the_roots == m.client.memory_balance(root_partition)->in_use);
    CHECK(not_the_roots <= (m.ports.port_count(root_partition) + m.ports.connection_count(root_partition)) / 32 + 1);
    m.source = RangeSource{0, Machine::source_pages};
}

}  // namespace

TEST_CASE("hostile hypercalls: 400,000 of the root and its children break nothing and lose no page") {
    Successes successes;
    for (std::uint64_t seed = 1; seed <= 4; ++seed) {
        CAPTURE(seed);
        sim::Random random{seed, "hostile"};
        Machine m{{.second_level = {.format = seed % 2 == 0 ? slat::Format::npt : slat::Format::ept}}};
        for (int step = 0; step < effort(100'000); ++step) {
            if (m.partitions.count() < 4 || random.one_in(2'000)) {
                // A new child, as far as memory allows; privileges of all sorts.
                const auto id = m.client.create_partition();
                if (id && m.partitions.count() < 10) {
                    (void)m.client.set_property(*id, HvPartitionProperty::privilege_flags,
                                                random.next_u64() | privilege::post_messages);
                    (void)m.client.set_property(*id, HvPartitionProperty::privilege_flags,
                                                privilege::post_messages | privilege::signal_events |
                                                    privilege::create_port | privilege::connect_port |
                                                    privilege::access_vp_registers);
                    (void)m.client.initialize_partition(*id);
                    (void)m.client.create_vp(*id, 0);
                    const auto number = static_cast<std::uint32_t>(random.below(8));
                    (void)m.client.create_message_port({root_partition, number}, *id, 0, 2);
                    (void)m.client.connect_port({*id, number}, {root_partition, number}, HvPortType::message);
                    (void)m.client.create_event_port({root_partition, 7 - number}, *id, 0, 2, 0, 8);
                    (void)m.client.connect_port({*id, 7 - number}, {root_partition, 7 - number}, HvPortType::event);
                    (void)m.client.map_range(*id, 0, 1024 + random.below(3) * 512, 512, 0xf);
                }
            }
            if (random.one_in(500)) {
                (void)m.client.deposit(any_partition(random, m), 5);
            }
            const PartitionId caller = random.one_in(3) ? any_partition(random, m) : root_partition;
            call_at_random(random, m, caller, successes);
            if (random.one_in(100)) m.run();
            if (step % 1'000 == 999) check_pages(m);
            if (step % 10'000 == 4'999) take_down(m);
        }
        // Saved, restored and saved again, it is the same machine.
        Machine other;
        other.bytes = m.bytes;
        m.run();
        const auto saved = sim::save_to_bytes(m.partitions);
        sim::restore_from_bytes(other.partitions, saved);
        CHECK(sim::save_to_bytes(other.partitions) == saved);
        CHECK(other.host.vps.size() == m.host.vps.size());

        take_down(m);
    }
    // The test does reach the other side of the checks, in every call there is (this one has nothing to clear).
    for (const auto& row : RootHypercalls::table()) {
        CAPTURE(std::string{row.name});
        if (row.code != HvCall::clear_virtual_interrupt) CHECK(successes[row.code] >= effort(10u));
    }
}

}  // namespace hostile_hypercalls_test
