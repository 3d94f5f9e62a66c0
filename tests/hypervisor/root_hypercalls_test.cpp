// The root's hypercalls by their bytes: statuses, reps completed, memory asked for, and what a child may not do.
#include "hypervisor/root_hypercalls.h"

#include <doctest/doctest.h>

#include "partition_machine.h"

namespace root_hypercalls_test {

using namespace hypervisor;
using namespace hypervisor::test;

namespace {

constexpr std::uint32_t rwx = 0xf;

struct Words {
    std::uint64_t word[9] = {};
};

}  // namespace

TEST_CASE("root hypercalls: a partition's life and what each step costs in pages") {
    Machine m;
    HvInputCreatePartition create{};
    HvOutputCreatePartition created{};
    const auto output = std::as_writable_bytes(std::span{&created, 1});
    // The partition object is paid from the root's own pool.
    CHECK(raw_call(m, 1, HvCall::create_partition, create, output).status == HvStatus::insufficient_memory);
    REQUIRE(m.client.deposit(root_partition, 1) == HvStatus::success);
    REQUIRE(raw_call(m, 1, HvCall::create_partition, create, output).status == HvStatus::success);
    CHECK(created.partition_id == 2);
    const PartitionId id = created.partition_id;
    const HvInputPartition partition{id};

    CHECK(raw_call(m, 1, HvCall::create_vp, HvInputCreateVp{.partition_id = id}).status ==
          HvStatus::invalid_partition_state);
    CHECK(raw_call(m, 1, HvCall::delete_partition, partition).status == HvStatus::invalid_partition_state);
    REQUIRE(m.client.deposit(id, 3) == HvStatus::success);
    CHECK(raw_call(m, 1, HvCall::initialize_partition, partition).status == HvStatus::insufficient_memory);
    REQUIRE(m.client.deposit(id, 1) == HvStatus::success);
    CHECK(raw_call(m, 1, HvCall::initialize_partition, partition).status == HvStatus::success);
    CHECK(raw_call(m, 1, HvCall::initialize_partition, partition).status == HvStatus::invalid_partition_state);
    CHECK(m.client.memory_balance(id)->available == 0);
    CHECK(m.client.memory_balance(id)->in_use == 4);

    REQUIRE(m.client.deposit(id, 3) == HvStatus::success);
    CHECK(raw_call(m, 1, HvCall::create_vp, HvInputCreateVp{.partition_id = id}).status ==
          HvStatus::insufficient_memory);
    REQUIRE(m.client.deposit(id, 1) == HvStatus::success);
    CHECK(raw_call(m, 1, HvCall::create_vp, HvInputCreateVp{.partition_id = id}).status == HvStatus::success);
    CHECK(raw_call(m, 1, HvCall::create_vp, HvInputCreateVp{.partition_id = id}).status == HvStatus::invalid_vp_index);
    CHECK(m.host.vps.size() == 1);
    CHECK(raw_call(m, 1, HvCall::delete_partition, partition).status == HvStatus::invalid_partition_state);
    CHECK(raw_call(m, 1, HvCall::finalize_partition, partition).status == HvStatus::success);
    CHECK(raw_call(m, 1, HvCall::finalize_partition, partition).status == HvStatus::invalid_partition_state);
    CHECK(m.host.vps.empty());
    CHECK(m.client.memory_balance(id)->available == 8);
    CHECK(m.client.memory_balance(id)->in_use == 0);
    CHECK(raw_call(m, 1, HvCall::delete_partition, partition).status == HvStatus::object_in_use);
    std::uint64_t withdrawn[10] = {};
    CHECK(raw_call(m, 1, HvCall::withdraw_memory, HvInputWithdrawMemory{id, {}},
                   std::as_writable_bytes(std::span{withdrawn}), reps(10)) == RawResult{HvStatus::no_resources, 8});
    CHECK(raw_call(m, 1, HvCall::delete_partition, partition).status == HvStatus::success);
    CHECK(raw_call(m, 1, HvCall::delete_partition, partition).status == HvStatus::invalid_partition_id);
    CHECK(m.client.memory_balance(root_partition)->available == 1);
    CHECK(m.partitions.ownership().totals(id).none());
}

TEST_CASE("root hypercalls: what the control word must be") {
    struct Row {
        const char* reason;
        std::uint64_t control;
        std::size_t input, output;
        HvStatus expected;
    };
    constexpr auto get_balance = static_cast<std::uint64_t>(HvCall::get_memory_balance);
    constexpr auto deposit = static_cast<std::uint64_t>(HvCall::deposit_memory);
    constexpr auto unmap = static_cast<std::uint64_t>(HvCall::unmap_gpa_pages);
    constexpr auto get_registers = static_cast<std::uint64_t>(HvCall::get_vp_registers);
    const Row rows[] = {
        {"code 0", 0, 4096, 4096, HvStatus::invalid_hypercall_code},
        {"a code that is not used", 0x0100, 4096, 4096, HvStatus::invalid_hypercall_code},
        {"the last code", 0xffff, 4096, 4096, HvStatus::invalid_hypercall_code},
        {"a call as it should be", get_balance, 16, 16, HvStatus::success},
        {"reserved bits", get_balance | 1ull << 27, 16, 16, HvStatus::invalid_hypercall_input},
        {"more reserved bits", get_balance | 1ull << 44, 16, 16, HvStatus::invalid_hypercall_input},
        {"still more", get_balance | 1ull << 60, 16, 16, HvStatus::invalid_hypercall_input},
        {"nested", get_balance | 1ull << 31, 16, 16, HvStatus::invalid_hypercall_input},
        {"a variable header where there is none", get_balance | 1ull << 17, 16, 16, HvStatus::invalid_hypercall_input},
        {"a simple call with a count", get_balance | reps(1), 16, 16, HvStatus::invalid_hypercall_input},
        {"a simple call with a start", get_balance | reps(0, 1), 16, 16, HvStatus::invalid_hypercall_input},
        {"input too short", get_balance, 15, 16, HvStatus::invalid_hypercall_input},
        {"output too short", get_balance, 16, 15, HvStatus::invalid_hypercall_input},
        {"no input at all", get_balance, 0, 16, HvStatus::invalid_hypercall_input},
        {"fast, in registers", get_balance | 1ull << 16, 16, 16, HvStatus::success},
        {"a rep call without a count", deposit, 4096, 0, HvStatus::invalid_hypercall_input},
        {"start is the count", deposit | reps(1, 1), 4096, 0, HvStatus::invalid_hypercall_input},
        {"a list that ends too early", deposit | reps(2), 8 + 8, 0, HvStatus::invalid_hypercall_input},
        {"a list that leaves the page", deposit | reps(512), 8 + 512 * 8, 0, HvStatus::invalid_hypercall_input},
        {"more than registers hold", deposit | 1ull << 16 | reps(14), 4096, 0, HvStatus::invalid_hypercall_input},
        {"output that leaves the page", get_registers | reps(257), 4096, 8192, HvStatus::invalid_hypercall_input},
        {"no list: the count is all there is", unmap | reps(4095), 24, 0, HvStatus::operation_denied},
    };
    for (const Row& row : rows) {
        CAPTURE(std::string{row.reason});
        Machine m;
        std::vector<std::byte> input(row.input), output(row.output);
        const std::uint64_t self = hv_partition_id_self;
        if (row.input >= 8) std::memcpy(input.data(), &self, 8);
        const std::uint64_t result = m.hypercalls.hypercall(row.control, input, output);
        CHECK(HvStatus{static_cast<std::uint16_t>(result)} == row.expected);
    }
}

TEST_CASE("root hypercalls: each refusal with its status") {
    Machine m;
    const PartitionId id = m.child(2);
    const PartitionId fresh = *m.client.create_partition();
    REQUIRE(m.client.map_range(id, 0, 1024, 16, rwx) == HvStatus::success);
    struct Row {
        const char* reason;
        HvCall code;
        Words input;
        HvStatus expected;
        std::uint64_t control = 0;
    };
    using S = HvStatus;
    constexpr std::uint64_t padding_32 = 1ull << 32;
    const Row rows[] = {
        {"unknown creation flags", HvCall::create_partition, {{1}}, S::invalid_parameter},
        {"creation padding", HvCall::create_partition, {{0, 0, padding_32}}, S::invalid_parameter},
        {"isolation", HvCall::create_partition, {{0, 0, 0, 0, 0, 0, 2}}, S::feature_unavailable},
        {"no such partition", HvCall::initialize_partition, {{99}}, S::invalid_partition_id},
        {"partition 0", HvCall::initialize_partition, {{0}}, S::invalid_partition_id},
        {"the root is initialized", HvCall::initialize_partition, {{1}}, S::invalid_partition_state},
        {"the root can't be finalized", HvCall::finalize_partition, {{hv_partition_id_self}}, S::operation_denied},
        {"the root can't be deleted", HvCall::delete_partition, {{1}}, S::operation_denied},
        {"no such property", HvCall::get_partition_property, {{id, 0x12345}}, S::unknown_property},
        {"no such property to set", HvCall::set_partition_property, {{id, 0x12345, 0}}, S::unknown_property},
        {"a weight of 0", HvCall::set_partition_property, {{id, 0x20003, 0}}, S::property_value_out_of_range},
        {"a weight of 10001", HvCall::set_partition_property, {{id, 0x20003, 10001}}, S::property_value_out_of_range},
        {"a cap beyond all", HvCall::set_partition_property, {{id, 0x20002, 65537}}, S::property_value_out_of_range},
        {"a reserve that the machine has not", HvCall::set_partition_property, {{id, 0x20001, 40000}}, S::no_resources},
        {"privileges of a partition that runs",
         HvCall::set_partition_property,
         {{id, 0x10000, 0}},
         S::invalid_partition_state},
        {"a privilege that no child gets",
         HvCall::set_partition_property,
         {{fresh, 0x10000, privilege::create_partitions}},
         S::property_value_out_of_range},
        {"a read-only property", HvCall::set_partition_property, {{fresh, 0x70000, 1}}, S::operation_denied},
        {"a page that does not exist", HvCall::deposit_memory, {{id, Machine::pages}}, S::invalid_parameter, reps(1)},
        {"a page in a child", HvCall::deposit_memory, {{id, 1024}}, S::access_denied, reps(1)},
        {"a deposited page", HvCall::deposit_memory, {{id, 0}}, S::access_denied, reps(1)},
        {"mapping into a partition not initialized",
         HvCall::map_gpa_pages,
         {{fresh, 0, rwx, 2000}},
         S::invalid_partition_state,
         reps(1)},
        {"mapping into the root", HvCall::map_gpa_pages, {{1, 0, rwx, 2000}}, S::operation_denied, reps(1)},
        {"mapping a deposited page", HvCall::map_gpa_pages, {{id, 0, rwx, 0}}, S::access_denied, reps(1)},
        {"mapping a page that does not exist", HvCall::map_gpa_pages, {{id, 0, rwx, ~0ull}}, S::access_denied, reps(1)},
        {"mapping without rights", HvCall::map_gpa_pages, {{id, 0, 0, 2000}}, S::invalid_parameter, reps(1)},
        {"writable, not readable", HvCall::map_gpa_pages, {{id, 0, 2, 2000}}, S::invalid_parameter, reps(1)},
        {"executable by the kernel only", HvCall::map_gpa_pages, {{id, 0, 5, 2000}}, S::invalid_parameter, reps(1)},
        {"unknown flags", HvCall::map_gpa_pages, {{id, 0, 0x10f, 2000}}, S::invalid_parameter, reps(1)},
        {"padding", HvCall::map_gpa_pages, {{id, 0, rwx | padding_32, 2000}}, S::invalid_parameter, reps(1)},
        {"a large page askew", HvCall::map_gpa_pages, {{id, 1, rwx | 0x80000000, 2048}}, S::invalid_parameter, reps(1)},
        {"past 48 bits", HvCall::map_gpa_pages, {{id, 1ull << 36, rwx, 2000}}, S::invalid_parameter, reps(1)},
        {"around 64 bits", HvCall::map_gpa_pages, {{id, ~0ull, rwx, 2000, 2001}}, S::invalid_parameter, reps(2)},
        {"unmapping past 48 bits", HvCall::unmap_gpa_pages, {{id, 1ull << 36}}, S::invalid_parameter, reps(1)},
        {"unmapping far away", HvCall::unmap_gpa_pages, {{id, ~0ull}}, S::invalid_parameter, reps(1)},
        {"unmap flags", HvCall::unmap_gpa_pages, {{id, 0, 1}}, S::invalid_parameter, reps(1)},
        {"a large page askew to unmap", HvCall::unmap_gpa_pages, {{id, 1, 2}}, S::invalid_parameter, reps(1)},
        {"an intercept in the root", HvCall::install_intercept, {{1, 3, 0x70}}, S::operation_denied},
        {"an intercept type that is none", HvCall::install_intercept, {{id, 3 | 77ull << 32, 0}}, S::invalid_parameter},
        {"a result for a processor that can't be",
         HvCall::register_intercept_result,
         {{id, 64 | 2ull << 32}},
         S::invalid_vp_index},
        {"a result for exceptions",
         HvCall::register_intercept_result,
         {{id, 0xffffffff | 3ull << 32}},
         S::invalid_parameter},
        {"virtual processor 64", HvCall::create_vp, {{id, 64}}, S::invalid_vp_index},
        {"a virtual processor that exists", HvCall::create_vp, {{id, 1}}, S::invalid_vp_index},
        {"virtual processor flags", HvCall::create_vp, {{id, 5, 0, 0, 1}}, S::invalid_parameter},
        {"virtual processors of the root", HvCall::create_vp, {{1, 5}}, S::operation_denied},
        {"deleting what is not there", HvCall::delete_vp, {{id, 5}}, S::invalid_vp_index},
        {"registers of nobody", HvCall::get_vp_registers, {{id, 5, 0x20000}}, S::invalid_vp_index, reps(1)},
        {"registers of VTL 1", HvCall::get_vp_registers, {{id, 0x11ull << 32, 0x20000}}, S::invalid_parameter, reps(1)},
        {"a register that is none", HvCall::get_vp_registers, {{id, 0, 0x12345}}, S::unknown_register_name, reps(1)},
        {"a register assignment with padding",
         HvCall::set_vp_registers,
         {{id, 0, 0x20000 | padding_32, 0, 0, 0}},
         S::invalid_parameter,
         reps(1)},
        {"translation flags", HvCall::translate_virtual_address, {{id, 0, 0x40, 0}}, S::invalid_parameter},
        {"17 bytes", HvCall::read_gpa, {{id, 17ull << 32, 0, 0}}, S::invalid_parameter},
        {"around 64 bits", HvCall::read_gpa, {{id, 16ull << 32, ~0ull, 0}}, S::invalid_parameter},
        {"control flags", HvCall::write_gpa, {{id, 1ull << 32, 0, 1}}, S::invalid_parameter},
        {"reading for nobody", HvCall::read_gpa, {{id, 7, 0, 0}}, S::invalid_vp_index},
        {"vector 15", HvCall::assert_virtual_interrupt, {{id, 0, 0, 15}}, S::invalid_parameter},
        {"vector 256", HvCall::assert_virtual_interrupt, {{id, 0, 0, 256}}, S::invalid_parameter},
        {"an interrupt type that is none", HvCall::assert_virtual_interrupt, {{id, 10, 0, 32}}, S::invalid_parameter},
        {"an SMI", HvCall::assert_virtual_interrupt, {{id, 2, 0, 32}}, S::invalid_parameter},
        {"control bits", HvCall::assert_virtual_interrupt, {{id, 4ull << 32, 0, 32}}, S::invalid_parameter},
        {"VTL 1", HvCall::assert_virtual_interrupt, {{id, 0, 0, 32 | 1ull << 32}}, S::invalid_parameter},
        {"nobody with that APIC id", HvCall::assert_virtual_interrupt, {{id, 0, 9, 32}}, S::invalid_vp_index},
        {"an APIC id of nobody", HvCall::get_vp_index_from_apic_id, {{id, 0, 9}}, S::invalid_parameter, reps(1)},
        {"nothing in service", HvCall::clear_virtual_interrupt, {{id}}, S::not_acknowledged},
        {"port 0x1000000", HvCall::create_port, {{1, 0x1000000, id, 1, 2}}, S::invalid_port_id},
        {"a port type that is none", HvCall::create_port, {{1, 7, id, 9, 2}}, S::invalid_parameter},
        {"SINT 0", HvCall::create_port, {{1, 7, id, 1, 0}}, S::invalid_parameter},
        {"SINT 16", HvCall::create_port, {{1, 7, id, 1, 16}}, S::invalid_parameter},
        {"no such sender", HvCall::create_port, {{1, 7, 99, 1, 2}}, S::invalid_partition_id},
        {"no such target processor", HvCall::create_port, {{id, 7, 1, 1, 2 | 5ull << 32}}, S::invalid_vp_index},
        {"an event port without flags", HvCall::create_port, {{1, 7, id, 2, 2, 0}}, S::invalid_parameter},
        {"flags past 2048", HvCall::create_port, {{1, 7, id, 2, 2, 2047 | 2ull << 16}}, S::invalid_parameter},
        {"events for any processor",
         HvCall::create_port,
         {{1, 7, id, 2, 2 | 0xffffffffull << 32, 1ull << 16}},
         S::invalid_vp_index},
        {"deleting no port", HvCall::delete_port, {{1, 7}}, S::invalid_port_id},
        {"connecting to no port", HvCall::connect_port, {{id, 3, 1, 7, 1}}, S::invalid_port_id},
        {"connecting in a partition not initialized",
         HvCall::connect_port,
         {{fresh, 3, 1, 7, 1}},
         S::invalid_partition_state},
        {"disconnecting nothing", HvCall::disconnect_port, {{id, 3}}, S::invalid_connection_id},
        {"a property of no port", HvCall::get_port_property, {{1, 7, 0}}, S::invalid_port_id},
        {"signalling nothing", HvCall::signal_event, {{3}}, S::invalid_connection_id},
    };
    for (const Row& row : rows) {
        CAPTURE(std::string{row.reason});
        const auto before = sim::save_to_bytes(m.partitions);
        CHECK(raw_call(m, root_partition, row.code, row.input, {}, row.control).status == row.expected);
        CHECK(sim::save_to_bytes(m.partitions) == before);  // a refusal changes nothing
    }
}

TEST_CASE("root hypercalls: a child may do what its privileges say, to itself") {
    Machine m;
    const PartitionId plain = m.child(1, 0);
    const PartitionId able =
        m.child(1, privilege::access_partition_id | privilege::access_vp_registers | privilege::create_port);
    struct Row {
        HvCall code;
        Words input;
        HvStatus for_plain, for_able;
        std::uint64_t control = 0;
    };
    using S = HvStatus;
    const Row rows[] = {
        {HvCall::create_partition, {}, S::access_denied, S::access_denied},
        {HvCall::finalize_partition, {{plain}}, S::access_denied, S::access_denied},
        {HvCall::set_partition_property, {{hv_partition_id_self, 0x20003, 9}}, S::access_denied, S::access_denied},
        {HvCall::deposit_memory, {{hv_partition_id_self, 2000}}, S::access_denied, S::access_denied, reps(1)},
        {HvCall::withdraw_memory, {{plain}}, S::access_denied, S::access_denied, reps(1)},
        {HvCall::map_gpa_pages, {{hv_partition_id_self, 0, rwx, 2000}}, S::access_denied, S::access_denied, reps(1)},
        {HvCall::install_intercept, {{hv_partition_id_self}}, S::access_denied, S::access_denied},
        {HvCall::create_vp, {{hv_partition_id_self, 1}}, S::access_denied, S::access_denied},
        {HvCall::read_gpa, {{plain}}, S::access_denied, S::access_denied},
        {HvCall::assert_virtual_interrupt, {{plain, 0, 0, 32}}, S::access_denied, S::access_denied},
        {HvCall::get_partition_id, {}, S::access_denied, S::success},
        {HvCall::get_vp_registers, {{hv_partition_id_self, 0, 0x20000}}, S::access_denied, S::success, reps(1)},
        {HvCall::get_vp_registers, {{plain, 0, 0x20000}}, S::access_denied, S::access_denied, reps(1)},
        {HvCall::get_vp_registers, {{root_partition, 0, 0x20000}}, S::access_denied, S::access_denied, reps(1)},
        {HvCall::get_vp_registers, {{99, 0, 0x20000}}, S::access_denied, S::invalid_partition_id, reps(1)},
        {HvCall::create_port, {{root_partition, 7, plain, 1, 2}}, S::access_denied, S::access_denied},
        {HvCall::create_port,
         {{hv_partition_id_self, 7, root_partition, 1, 2}},
         S::access_denied,
         S::insufficient_memory},
        {HvCall::post_message, {{1}}, S::access_denied, S::access_denied},
        {HvCall::signal_event, {{1}}, S::access_denied, S::access_denied},
    };
    for (const Row& row : rows) {
        CAPTURE(static_cast<int>(row.code));
        struct {
            Words words;
            std::uint64_t rest[23] = {};
        } const input{row.input};
        static_assert(sizeof(input) == 256);
        CHECK(raw_call(m, plain, row.code, input, {}, row.control).status == row.for_plain);
        CHECK(raw_call(m, able, row.code, input, {}, row.control).status == row.for_able);
    }
}

TEST_CASE("root hypercalls: rep calls say how far they came and go on from there") {
    Machine m;
    const PartitionId id = m.child(1);
    struct {
        HvInputMapGpaPages header;
        std::uint64_t list[4];
    } map{{id, 0x100, rwx, 0}, {1000, 1001, 0 /* the pool's */, 1003}};
    REQUIRE(m.client.deposit(id, 8) == HvStatus::success);
    CHECK(raw_call(m, 1, HvCall::map_gpa_pages, map, {}, reps(4)) == RawResult{HvStatus::access_denied, 2});
    map.list[2] = 1002;
    CHECK(raw_call(m, 1, HvCall::map_gpa_pages, map, {}, reps(4, 2)) == RawResult{HvStatus::success, 4});
    const GpaSpace& space = m.partitions.find(id)->gpa_space();
    for (std::uint64_t i = 0; i < 4; ++i) CHECK(space.translate((0x100 + i) << 12)->spa == (1000 + i) << 12);

    struct {
        HvInputVpRegisters header;
        std::uint32_t names[4];
    } const get{{id, 0, 0, {}}, {0x20000, 0x20010, 0x99999, 0x20001}};
    m.host.vp(id, 0).registers[HvRegister::x64_rax] = {0x11, 0x22};
    m.host.vp(id, 0).registers[HvRegister::x64_rip] = {0xfff0, 0};
    HvRegisterValue values[4] = {};
    CHECK(raw_call(m, 1, HvCall::get_vp_registers, get, std::as_writable_bytes(std::span{values}), reps(4)) ==
          RawResult{HvStatus::unknown_register_name, 2});
    CHECK(values[0] == HvRegisterValue{0x11, 0x22});
    CHECK(values[1] == HvRegisterValue{0xfff0, 0});
    CHECK(values[2] == HvRegisterValue{});
    CHECK(raw_call(m, 1, HvCall::get_vp_registers, get, std::as_writable_bytes(std::span{values}), reps(4, 3)) ==
          RawResult{HvStatus::success, 4});

    struct {
        HvInputUnmapGpaPages header;
    } const unmap{{id, 0x100, 0, 0}};
    CHECK(raw_call(m, 1, HvCall::unmap_gpa_pages, unmap, {}, reps(4, 1)) == RawResult{HvStatus::success, 4});
    CHECK(space.translate(0x100'000).has_value());
    CHECK_FALSE(space.translate(0x101'000).has_value());
}

TEST_CASE("root hypercalls: guest memory through ReadGpa and WriteGpa") {
    Machine m;
    const PartitionId id = m.child(1);
    REQUIRE(m.client.map_pages(id, 1, std::vector<std::uint64_t>{1000, 1010}, rwx) == HvStatus::success);
    REQUIRE(m.client.map_pages(id, 3, std::vector<std::uint64_t>{1020}, map_gpa_flag::readable) == HvStatus::success);
    Partition& partition = *m.partitions.find(id);
    const std::uint64_t page = *partition.gpa_space().allocate_overlay_page();
    REQUIRE(partition.gpa_space().place_overlay(4, page, {true, false, true}) == GpaEdit::ok);
    struct Row {
        std::uint64_t gpa;
        HvAccessGpaResult read, write;
    };
    using R = HvAccessGpaResult;
    const Row rows[] = {
        {0x1000, R::success, R::success},
        {0x1ff8, R::success, R::success},          // across two pages
        {0x2ff8, R::success, R::write_intercept},  // into the read-only page
        {0x3800, R::success, R::write_intercept},
        {0x4000, R::success, R::illegal_overlay_access},
        {0x4ff8, R::unmapped, R::illegal_overlay_access},
        {0x0ff8, R::unmapped, R::unmapped},
        {1ull << 47, R::unmapped, R::unmapped},
        {~0ull - 16, R::unmapped, R::unmapped},
    };
    for (const Row& row : rows) {
        CAPTURE(row.gpa);
        std::byte data[16];
        for (std::size_t i = 0; i < 16; ++i) data[i] = static_cast<std::byte>(i + row.gpa);
        std::byte back[16] = {};
        CHECK(m.client.write_gpa(id, 0, row.gpa, data).value == row.write);
        CHECK(m.client.read_gpa(id, 0, row.gpa, back).value == row.read);
        if (row.write == R::success) CHECK(std::memcmp(data, back, 16) == 0);
    }
    CHECK(m.bytes[1000 * 4096 + 0xfff] == static_cast<std::byte>(0x1ff8 + 7));
    CHECK(m.bytes[1010 * 4096] == static_cast<std::byte>(0x1ff8 + 8));
}

TEST_CASE("root hypercalls: interrupts go to those addressed") {
    Machine m;
    const PartitionId id = m.child(4);
    const auto counts = [&] {
        std::vector<std::size_t> n;
        for (std::uint32_t vp = 0; vp < 4; ++vp) {
            n.push_back(m.host.vp(id, vp).interrupts.size());
            m.host.vp(id, vp).interrupts.clear();
        }
        return n;
    };
    using Counts = std::vector<std::size_t>;
    CHECK(m.client.assert_interrupt(id, {HvInterruptType::fixed, false, 0x31}, 2) == HvStatus::success);
    CHECK(m.host.vp(id, 2).interrupts.front() == InterruptRequest{HvInterruptType::fixed, false, 0x31});
    CHECK(counts() == Counts{0, 0, 1, 0});
    CHECK(m.client.assert_interrupt(id, {HvInterruptType::fixed, true, 0x31}, 0b1010, true) == HvStatus::success);
    CHECK(counts() == Counts{0, 1, 0, 1});
    CHECK(m.client.assert_interrupt(id, {HvInterruptType::lowest_priority, false, 0x31}, 0b1010, true) ==
          HvStatus::success);
    CHECK(counts() == Counts{0, 1, 0, 0});
    CHECK(m.client.assert_interrupt(id, {HvInterruptType::nmi, false, 0}, 0xff) == HvStatus::success);
    CHECK(counts() == Counts{1, 1, 1, 1});
    CHECK(m.client.assert_interrupt(id, {HvInterruptType::sipi, false, 8}, 3) == HvStatus::success);
    CHECK(counts() == Counts{0, 0, 0, 1});
}

TEST_CASE("root hypercalls: every call is in the trace") {
    struct Sink final : sim::TraceSink {
        void record(sim::Time, std::string_view component, const char* kind, std::span<const std::uint64_t> words,
                    std::span<const std::byte>) override {
            CHECK(component == "hypervisor");
            CHECK(std::string{kind} == "hypercall");
            records.emplace_back(words.begin(), words.end());
        }
        std::vector<std::vector<std::uint64_t>> records;
    } sink;
    Machine m;
    const std::string kinds[] = {"hypercall"};
    m.simulation.trace().add_sink(sink, kinds);
    REQUIRE(m.client.deposit(root_partition, 2) == HvStatus::success);
    const auto id = m.client.create_partition();
    CHECK(m.client.delete_partition(*id) == HvStatus::invalid_partition_state);
    raw_call(m, *id, HvCall::get_partition_id, Words{});
    CHECK(sink.records ==
          std::vector<std::vector<std::uint64_t>>{{1, 0x48, 0x00, 2, 1},      // deposit: two pages for partition 1
                                                  {1, 0x40, 0x00, 0, 0},      // create
                                                  {1, 0x49, 0x1d, 0, *id},    // withdraw: nothing there
                                                  {1, 0x43, 0x07, 0, *id},    // delete: invalid partition state
                                                  {*id, 0x46, 0x06, 0, 0}});  // the child: access denied
}

TEST_CASE("root client: bytes as a kernel would write them") {
    struct Recorder final : RootInterface {
        std::uint64_t hypercall(std::uint64_t control, std::span<const std::byte> input,
                                std::span<std::byte>) override {
            controls.push_back(control);
            last.assign(input.begin(), input.end());
            return static_cast<std::uint64_t>(reps(sim::bits(control, 43, 32)));
        }
        std::vector<std::uint64_t> controls;
        std::vector<std::byte> last;
    } recorder;
    RangeSource source{0, 100};
    RootClient client{recorder, source};
    REQUIRE(client.map_pages(5, 0x1234, std::vector<std::uint64_t>{7, 9}, rwx) == HvStatus::success);
    const std::uint64_t map[] = {5, 0x1234, rwx, 7, 9};
    CHECK(recorder.controls.back() == 0x0000'0002'0000'004b);
    CHECK(recorder.last ==
          std::vector<std::byte>(std::as_bytes(std::span{map}).begin(), std::as_bytes(std::span{map}).end()));

    REQUIRE(client.create_event_port({1, 0x20}, 5, 3, 2, 100, 4) == HvStatus::success);
    const std::uint64_t port[] = {1, 0x20, 5, 2, 2 | 3ull << 32, 100 | 4ull << 16, 0};
    CHECK(recorder.controls.back() == 0x95);
    CHECK(recorder.last ==
          std::vector<std::byte>(std::as_bytes(std::span{port}).begin(), std::as_bytes(std::span{port}).end()));

    // Long lists take several calls, large pages where both sides are aligned.
    recorder.controls.clear();
    REQUIRE(client.map_range(5, 510, 1022, 2 + 2 * 512 + 3, rwx) == HvStatus::success);
    CHECK(recorder.controls == std::vector<std::uint64_t>{0x2'0000'004b, 0x2'0000'004b, 0x3'0000'004b});
    recorder.controls.clear();
    REQUIRE(client.map_range(5, 0, 1, 1000, rwx) == HvStatus::success);
    CHECK(recorder.controls == std::vector<std::uint64_t>{509ull << 32 | 0x4b, 491ull << 32 | 0x4b});
    recorder.controls.clear();
    REQUIRE(client.deposit(5, 100) == HvStatus::success);
    CHECK(recorder.controls == std::vector<std::uint64_t>{100ull << 32 | 0x48});
    CHECK(client.deposit(5, 1) == HvStatus::insufficient_memory);
}

TEST_CASE("root client: a guest's memory is mapped with the deposits that it takes, and all of it comes back") {
    for (const slat::Format format : {slat::Format::npt, slat::Format::ept}) {
        Machine m{{.second_level = {.format = format}}};
        const PartitionId id = m.child(4);
        CHECK(*m.client.get_property(id, HvPartitionProperty::processor_vendor) ==
              (format == slat::Format::ept ? 1 : 0));
        // 3 MiB at an odd place, half of it aligned to large pages.
        REQUIRE(m.client.map_range(id, 0x300, 0x500, 768, rwx) == HvStatus::success);
        const GpaSpace& space = m.partitions.find(id)->gpa_space();
        CHECK(space.second_level().format == format);
        CHECK(space.mapped_pages() == 768);
        CHECK(space.translate(0x300'000)->page_shift == 12);
        CHECK(space.translate(0x400'000)->page_shift == 21);
        CHECK(space.translate(0x5ff'fff)->spa == 0x7ff'fff);
        REQUIRE(m.client.unmap_range(id, 0x480, 1) == HvStatus::success);
        CHECK(space.mapped_pages() == 767);
        m.destroy(id);
        // What the root keeps in its own pool for the next partition.
        CHECK(m.source.free.size() == Machine::source_pages - m.client.memory_balance(root_partition)->available);
        CHECK(m.client.withdraw_all(root_partition) == HvStatus::success);
        CHECK(m.source.free.size() == Machine::source_pages);
        CHECK(m.partitions.ownership().consistent());
    }
}

TEST_CASE("root hypercalls: properties of a partition, and the policy that comes of them") {
    Machine m;
    const auto id = m.client.create_partition();
    REQUIRE(m.client.set_property(*id, HvPartitionProperty::processor_vendor, 0) == HvStatus::success);
    REQUIRE(m.client.initialize_partition(*id) == HvStatus::success);
    CHECK(m.partitions.find(*id)->gpa_space().second_level().format == slat::Format::npt);
    CHECK(m.client.set_property(*id, HvPartitionProperty::processor_vendor, 1) == HvStatus::invalid_partition_state);
    CHECK(m.partitions.find(*id)->vp_policy() == VpPolicy{.cap = full_share});
    REQUIRE(m.client.set_property(*id, HvPartitionProperty::cpu_weight, 300) == HvStatus::success);
    REQUIRE(m.client.set_property(*id, HvPartitionProperty::cpu_reserve, 6554) == HvStatus::success);
    REQUIRE(m.client.set_property(*id, HvPartitionProperty::cpu_cap, 32768) == HvStatus::success);
    REQUIRE(m.client.set_property(*id, scheduling_affinity_set, 0b10) == HvStatus::success);
    CHECK(m.partitions.find(*id)->vp_policy() == VpPolicy{.weight = 300, .reserve = 6554, .cap = 32768, .affinity = 2});
    CHECK(*m.client.get_property(*id, HvPartitionProperty::cpu_weight) == 300);
    CHECK(*m.client.partition_id() == root_partition);
    const auto second = m.client.create_partition();
    CHECK(*m.client.next_child(0) == *id);
    CHECK(*m.client.next_child(*id) == *second);
    CHECK(*m.client.next_child(*second) == 0);
}

}  // namespace root_hypercalls_test
