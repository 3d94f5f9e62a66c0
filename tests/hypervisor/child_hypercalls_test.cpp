// The hypercalls of a Linux child one by one, as its code makes them.
#include <doctest/doctest.h>

#include "synthetic_machine.h"

namespace child_hypercalls_test {

using namespace hypervisor;
using namespace hypervisor::test;

namespace {

using Ipis = std::vector<std::pair<VpMask, std::uint8_t>>;

constexpr std::uint64_t in = 0x30'000;   // input page
constexpr std::uint64_t out = 0x31'000;  // output page

constexpr GuestResult ok{HvStatus::success, 0};

void put(SyntheticMachine& m, std::uint64_t gpa, std::initializer_list<std::uint64_t> words) {
    for (const std::uint64_t word : words) {
        m.store(gpa, word);
        gpa += 8;
    }
}

}  // namespace

TEST_CASE("flushes and whom they reach") {
    constexpr std::uint64_t all = flush_flag::all_processors;
    constexpr std::uint64_t spaces = flush_flag::all_virtual_address_spaces;
    constexpr HvCall plain = HvCall::flush_virtual_address_space;
    constexpr HvCall ex = HvCall::flush_virtual_address_space_ex;
    const struct {
        const char* reason;
        HvCall code;
        std::uint64_t header_words;
        std::array<std::uint64_t, 6> input;
        HvStatus status;
        VpMask targets;
    } rows[] = {
        {"a mask", plain, 0, {0x1000, 0, 0b110}, HvStatus::success, 0b110},
        {"processors that don't exist are left out", plain, 0, {0x1000, 0, ~0ull}, HvStatus::success, 0b111},
        {"all", plain, 0, {0, all | spaces, 0}, HvStatus::success, 0b111},
        {"nobody", plain, 0, {0, spaces, 0}, HvStatus::success, 0},
        {"an undefined flag", plain, 0, {0, all | 1ull << 4, 0}, HvStatus::invalid_parameter, 0},
        {"a set", ex, 1, {0x1000, 0, vp_set_sparse_4k, 1, 0b101}, HvStatus::success, 0b101},
        {"a set of all", ex, 0, {0, 0, vp_set_all, 0}, HvStatus::success, 0b111},
        {"an empty set", ex, 0, {0, 0, vp_set_sparse_4k, 0}, HvStatus::success, 0},
        {"the second bank alone", ex, 1, {0, 0, vp_set_sparse_4k, 2, ~0ull}, HvStatus::success, 0},
        {"two banks", ex, 2, {0, 0, vp_set_sparse_4k, 3, 0b1, ~0ull}, HvStatus::success, 0b1},
        {"a bank that wasn't given", ex, 1, {0, 0, vp_set_sparse_4k, 3, 0b1}, HvStatus::invalid_parameter, 0},
        {"all banks, none given", ex, 0, {0, 0, vp_set_sparse_4k, ~0ull}, HvStatus::invalid_parameter, 0},
        {"an unknown format", ex, 0, {0, 0, 2, 0}, HvStatus::invalid_parameter, 0},
    };
    for (const auto& row : rows) {
        CAPTURE(row.reason);
        SyntheticMachine m;
        m.store(in, row.input);
        CHECK(call(m, {code_of(row.code) | variable_header(row.header_words), in}).status == row.status);
        if (row.status == HvStatus::success) {
            CHECK(m.port.flushes == std::vector<VpMask>{row.targets});
        } else {
            CHECK(m.port.flushes.empty());
        }
    }
    // What a list names.
    const struct {
        const char* reason;
        std::uint64_t flags;
        std::vector<std::uint64_t> ranges;
        TranslationFlush what;
    } lists[] = {
        {"a page", all, {0x7000}, {false, false, false, {0x7000}}},
        {"pages and those that follow",
         all | spaces,
         {0x7002, 0xffff'8000'0000'0000},
         {true, false, false, {0x7000, 0x8000, 0x9000, 0xffff'8000'0000'0000}}},
        {"no global ones", all | flush_flag::non_global_mappings_only, {0x7000}, {false, true, false, {0x7000}}},
        {"up to the end of the address space", all, {0xffff'ffff'ffff'f001}, {false, false, false, {~0xfffull, 0}}},
        {"too many", all | spaces, {0x7000, 0x1003f}, {true, false, true, {}}},
        {"far too many", all | spaces, {0x7fff}, {true, false, true, {}}},
        {"none", all | spaces, {}, {true, false, true, {}}},
    };
    for (const auto& list : lists) {
        CAPTURE(list.reason);
        SyntheticMachine m;
        m.store(in, std::array<std::uint64_t, 3>{0, list.flags, 0});
        for (std::size_t i = 0; i < list.ranges.size(); ++i) m.store(in + 24 + 8 * i, list.ranges[i]);
        const auto n = static_cast<std::uint32_t>(list.ranges.size());
        CHECK(call(m, {code_of(HvCall::flush_virtual_address_list) | reps(n), in}).status == HvStatus::success);
        REQUIRE(m.port.flushed.size() == 1);
        CHECK(m.port.flushed[0] == list.what);
    }
    // Ranges of large pages need their privilege.
    for (const bool granted : {true, false}) {
        SyntheticMachine m(granted ? all_synthetic_privileges : child_privileges);
        put(m, in, {0, all | spaces | flush_flag::use_extended_range_format, 0, 0x20'0800});
        CHECK((call(m, {code_of(HvCall::flush_virtual_address_list) | reps(1), in}).status == HvStatus::success) ==
              granted);
    }
}

TEST_CASE("IPIs") {
    const struct {
        const char* reason;
        std::uint64_t first;
        std::uint64_t mask;
        HvStatus status;
        Ipis ipis;
    } rows[] = {
        {"two processors", 0xfd, 0b011, HvStatus::success, {{0b011, 0xfd}}},
        {"those that exist", 0x10, ~0ull, HvStatus::success, {{0b111, 0x10}}},
        {"highest vector", 0xff, 1, HvStatus::success, {{1, 0xff}}},
        {"vector too low", 0x0f, 1, HvStatus::invalid_parameter, {}},
        {"vector too high", 0x100, 1, HvStatus::invalid_parameter, {}},
        {"another trust level", 0xfd | 1ull << 32, 1, HvStatus::invalid_parameter, {}},
    };
    for (const auto& row : rows) {
        CAPTURE(row.reason);
        SyntheticMachine m;
        CHECK(call(m, {code_of(HvCall::send_synthetic_cluster_ipi) | fast_call, row.first, row.mask}).status ==
              row.status);
        CHECK(m.port.ipis == row.ipis);
        m.port.forget();
        put(m, in, {row.first, row.mask});
        CHECK(call(m, {code_of(HvCall::send_synthetic_cluster_ipi), in}).status == row.status);
        CHECK(m.port.ipis == row.ipis);
        m.port.forget();
        put(m, in, {row.first, vp_set_sparse_4k, 1, row.mask});
        CHECK(call(m, {code_of(HvCall::send_synthetic_cluster_ipi_ex) | variable_header(1), in}).status == row.status);
        CHECK(m.port.ipis == row.ipis);
    }
    SyntheticMachine m;
    put(m, in, {0xfb, vp_set_all, 0});
    CHECK(call(m, {code_of(HvCall::send_synthetic_cluster_ipi_ex), in}) == ok);
    CHECK(m.port.ipis == Ipis{{0b111, 0xfb}});
}

TEST_CASE("messages and events to the root") {
    SyntheticMachine m;
    const PortAddress port{root_partition, 40};
    const PortAddress connection{m.id, 4};
    REQUIRE(m.client.create_message_port(port, m.id, 0, 2) == HvStatus::success);
    REQUIRE(m.client.connect_port(connection, port, HvPortType::message) == HvStatus::success);
    HvInputPostMessage input{};
    input.connection_id = 4;
    input.message_type = 1;
    input.payload_size = 3;
    std::memcpy(input.payload, "abc", 3);
    m.store(in, input);
    const std::uint64_t post = code_of(HvCall::post_message);
    CHECK(call(m, {post, in}) == ok);
    m.run();
    CHECK(m.receiver.received == std::vector<Received>{{40, 1, false, "abc"}});
    input.connection_id = 5;
    m.store(in, input);
    CHECK(call(m, {post, in}).status == HvStatus::invalid_connection_id);
    input.connection_id = 4;
    input.payload_size = 241;
    m.store(in, input);
    CHECK(call(m, {post, in}).status == HvStatus::invalid_parameter);
    input.payload_size = 240;
    input.message_type = 0x8000'0001;  // the hypervisor's own
    m.store(in, input);
    CHECK(call(m, {post, in}).status == HvStatus::invalid_parameter);

    const PortAddress event_port{root_partition, 41};
    REQUIRE(m.client.create_event_port(event_port, m.id, 0, 2, 8, 2) == HvStatus::success);
    REQUIRE(m.client.connect_port({m.id, 6}, event_port, HvPortType::event) == HvStatus::success);
    const std::uint64_t signal = code_of(HvCall::signal_event) | fast_call;
    CHECK(call(m, {signal, 6 | 1ull << 32}) == ok);
    CHECK(call(m, {signal, 6 | 2ull << 32}).status == HvStatus::invalid_parameter);
    CHECK(call(m, {signal, 7}).status == HvStatus::invalid_connection_id);
    m.run();
    CHECK(m.receiver.received.back() == Received{41, 9, true, {}});
}

TEST_CASE("privileges") {
    const struct {
        HvCall code;
        std::uint64_t privilege;
        std::uint64_t control;
    } rows[] = {
        {HvCall::post_message, privilege::post_messages, 0},
        {HvCall::signal_event, privilege::signal_events, 0},
        {HvCall::get_vp_registers, privilege::access_vp_registers, reps(1)},
        {HvCall::set_vp_registers, privilege::access_vp_registers, reps(1)},
        {HvCall::ext_query_capabilities, privilege::enable_extended_hypercalls, 0},
        {HvCall::get_partition_id, privilege::access_partition_id, 0},
    };
    for (const auto& row : rows) {
        CAPTURE(code_of(row.code));
        SyntheticMachine without(all_synthetic_privileges & ~row.privilege);
        CHECK(call(without, {code_of(row.code) | row.control, in, out}).status == HvStatus::access_denied);
        SyntheticMachine with(all_synthetic_privileges | row.privilege);
        CHECK(call(with, {code_of(row.code) | row.control, in, out}).status != HvStatus::access_denied);
    }
    // No child manages partitions.
    SyntheticMachine m;
    for (const auto& row : RootHypercalls::table()) {
        if ((row.privilege & ~all_synthetic_privileges) == 0) continue;
        CAPTURE(row.name);
        const std::uint64_t count = row.kind == RootHypercalls::Kind::rep ? reps(1) : 0;
        CHECK(call(m, {code_of(row.code) | count, in, out}).status == HvStatus::access_denied);
    }
}

TEST_CASE("extended capabilities: none") {
    SyntheticMachine m;
    put(m, out, {~0ull, ~0ull});
    CHECK(call(m, {code_of(HvCall::ext_query_capabilities), 0, out}) == ok);
    CHECK(m.load<std::uint64_t>(out) == 0);
    CHECK(m.load<std::uint64_t>(out + 8) == ~0ull);
}

TEST_CASE("retargeting an interrupt of a device that does not exist") {
    SyntheticMachine m;
    const std::uint64_t code = code_of(HvCall::retarget_device_interrupt);
    HvInputRetargetDeviceInterrupt input{};
    input.partition_id = hv_partition_id_self;
    input.device_id = 5;
    input.entry.source = interrupt_source_msi;
    input.vector = 0x30;
    input.mask_or_format = 1;
    m.store(in, input);
    CHECK(call(m, {code, in}).status == HvStatus::invalid_device_id);
    input.entry.source = 0;
    m.store(in, input);
    CHECK(call(m, {code, in}).status == HvStatus::invalid_parameter);
    input.entry.source = interrupt_source_msi;
    input.partition_id = 1;
    m.store(in, input);
    CHECK(call(m, {code, in}).status == HvStatus::access_denied);
}

TEST_CASE("a child reaches its own registers, and nobody else's partition") {
    SyntheticMachine m;
    m.host.vp(m.id, 2).registers[HvRegister::x64_rip] = {0x2222, 0};
    m.store(in, HvInputVpRegisters{hv_partition_id_self, 2, 0, {}});
    m.store<std::uint32_t>(in + 16, static_cast<std::uint32_t>(HvRegister::x64_rip));
    CHECK(call(m, {code_of(HvCall::get_vp_registers) | reps(1), in, out}) == GuestResult{HvStatus::success, 1});
    CHECK(m.load<std::uint64_t>(out) == 0x2222);
    m.store(in, HvInputVpRegisters{hv_partition_id_self, 3, 0, {}});
    CHECK(call(m, {code_of(HvCall::get_vp_registers) | reps(1), in, out}).status == HvStatus::invalid_vp_index);
    const PartitionId other = m.child();
    m.store(in, HvInputVpRegisters{other, 0, 0, {}});
    CHECK(call(m, {code_of(HvCall::get_vp_registers) | reps(1), in, out}).status != HvStatus::success);
    // And writes its own.
    m.store(in, HvInputVpRegisters{hv_partition_id_self, hv_vp_index_self, 0, {}});
    m.store(in + 16, HvRegisterAssoc{static_cast<std::uint32_t>(HvRegister::x64_rax), 0, 0, {0x99, 0}});
    CHECK(call(m, {code_of(HvCall::set_vp_registers) | reps(1), in}) == GuestResult{HvStatus::success, 1});
    CHECK(m.host.vp(m.id, 0).registers[HvRegister::x64_rax].low == 0x99);
}

}  // namespace child_hypercalls_test
