// The table, the checks that every call shares, and the calls about partitions and their memory. Those about virtual
// processors and ports are in root_hypercalls_vp.cpp.
#include "hypervisor/root_hypercalls.h"

#include "sim/bits.h"
#include "sim/check.h"

namespace hypervisor {

namespace {

constexpr auto simple = RootHypercalls::Kind::simple;
constexpr auto rep = RootHypercalls::Kind::rep;

// HV_INPUT_REGISTER_INTERCEPT_RESULT ends after its union; some callers pad it to 64 bytes.
constexpr std::uint16_t register_intercept_result_bytes = 60;

}  // namespace

std::span<const RootHypercalls::Row> RootHypercalls::table() {
    using H = RootHypercalls;
    namespace p = privilege;
    // clang-format off
    static constexpr Row rows[] = {
        //                                                                        input element output
        {HvCall::create_partition,          "HvCallCreatePartition",          simple, 56,  0,  8, p::create_partitions, &H::create_partition},
        {HvCall::initialize_partition,      "HvCallInitializePartition",      simple,  8,  0,  0, p::create_partitions, &H::initialize_partition},
        {HvCall::finalize_partition,        "HvCallFinalizePartition",        simple,  8,  0,  0, p::create_partitions, &H::finalize_partition},
        {HvCall::delete_partition,          "HvCallDeletePartition",          simple,  8,  0,  0, p::create_partitions, &H::delete_partition},
        {HvCall::get_partition_property,    "HvCallGetPartitionProperty",     simple, 16,  0,  8, p::create_partitions, &H::get_partition_property},
        {HvCall::set_partition_property,    "HvCallSetPartitionProperty",     simple, 24,  0,  0, p::create_partitions, &H::set_partition_property},
        {HvCall::get_partition_id,          "HvCallGetPartitionId",           simple,  0,  0,  8, p::access_partition_id, &H::get_partition_id},
        {HvCall::get_next_child_partition,  "HvCallGetNextChildPartition",    simple, 16,  0,  8, p::create_partitions, &H::get_next_child_partition},
        {HvCall::deposit_memory,            "HvCallDepositMemory",            rep,     8,  8,  0, p::access_memory_pool, &H::deposit_memory},
        {HvCall::withdraw_memory,           "HvCallWithdrawMemory",           rep,    16,  0,  8, p::access_memory_pool, &H::withdraw_memory},
        {HvCall::get_memory_balance,        "HvCallGetMemoryBalance",         simple, 16,  0, 16, p::access_memory_pool, &H::get_memory_balance},
        {HvCall::map_gpa_pages,             "HvCallMapGpaPages",              rep,    24,  8,  0, p::create_partitions, &H::map_gpa_pages},
        {HvCall::unmap_gpa_pages,           "HvCallUnmapGpaPages",            rep,    24,  0,  0, p::create_partitions, &H::unmap_gpa_pages},
        {HvCall::install_intercept,         "HvCallInstallIntercept",         simple, 24,  0,  0, p::create_partitions, &H::install_intercept},
        {HvCall::create_vp,                 "HvCallCreateVp",                 simple, 40,  0,  0, p::create_partitions, &H::create_vp},
        {HvCall::delete_vp,                 "HvCallDeleteVp",                 simple, 16,  0,  0, p::create_partitions, &H::delete_vp},
        {HvCall::get_vp_registers,          "HvCallGetVpRegisters",           rep,    16,  4, 16, p::access_vp_registers, &H::get_vp_registers},
        {HvCall::set_vp_registers,          "HvCallSetVpRegisters",           rep,    16, 32,  0, p::access_vp_registers, &H::set_vp_registers},
        {HvCall::translate_virtual_address, "HvCallTranslateVirtualAddress",  simple, 32,  0, 16, p::create_partitions, &H::translate_virtual_address},
        {HvCall::read_gpa,                  "HvCallReadGpa",                  simple, 32,  0, 24, p::create_partitions, &H::read_gpa},
        {HvCall::write_gpa,                 "HvCallWriteGpa",                 simple, 48,  0,  8, p::create_partitions, &H::write_gpa},
        {HvCall::clear_virtual_interrupt,   "HvCallClearVirtualInterrupt",    simple,  8,  0,  0, p::create_partitions, &H::clear_virtual_interrupt},
        {HvCall::delete_port,               "HvCallDeletePort",               simple, 16,  0,  0, p::create_port, &H::delete_port},
        {HvCall::get_port_property,         "HvCallGetPortProperty",          simple, 24,  0,  8, p::create_port, &H::get_port_property},
        {HvCall::disconnect_port,           "HvCallDisconnectPort",           simple, 16,  0,  0, p::connect_port, &H::disconnect_port},
        {HvCall::post_message,              "HvCallPostMessage",              simple, 256, 0,  0, p::post_messages, &H::post_message},
        {HvCall::signal_event,              "HvCallSignalEvent",              simple,  8,  0,  0, p::signal_events, &H::signal_event},
        {HvCall::save_partition_state,      "HvCallSavePartitionState",       simple, 16,  0, sizeof(HvPartitionStatePart), p::create_partitions, &H::save_partition_state},
        {HvCall::restore_partition_state,   "HvCallRestorePartitionState",    simple, 4096, 0, 0, p::create_partitions, &H::restore_partition_state},
        {HvCall::map_device_interrupt,      "HvCallMapDeviceInterrupt",       simple, 72,  0, 16, p::create_partitions, &H::map_device_interrupt},
        {HvCall::unmap_device_interrupt,    "HvCallUnmapDeviceInterrupt",     simple, 32,  0,  0, p::create_partitions, &H::unmap_device_interrupt},
        {HvCall::attach_device,             "HvCallAttachDevice",             simple, 32,  0,  0, p::create_partitions, &H::attach_device},
        {HvCall::detach_device,             "HvCallDetachDevice",             simple, 16,  0,  0, p::create_partitions, &H::detach_device},
        {HvCall::register_intercept_result, "HvCallRegisterInterceptResult",  simple, register_intercept_result_bytes, 0, 0, p::create_partitions, &H::register_intercept_result},
        {HvCall::assert_virtual_interrupt,  "HvCallAssertVirtualInterrupt",   simple, 32,  0,  0, p::create_partitions, &H::assert_virtual_interrupt},
        {HvCall::create_port,               "HvCallCreatePort",               simple, 56,  0,  0, p::create_port, &H::create_port},
        {HvCall::connect_port,              "HvCallConnectPort",              simple, 72,  0,  0, p::connect_port, &H::connect_port},
        {HvCall::get_gpa_pages_access_state, "HvCallGetGpaPagesAccessState",  rep,    24,  0,  1, p::create_partitions, &H::get_gpa_pages_access_state},
        {HvCall::get_vp_index_from_apic_id, "HvCallGetVpIndexFromApicId",     rep,    16,  4,  4, p::create_partitions, &H::get_vp_index_from_apic_id},
    };
    // clang-format on
    return rows;
}

const RootHypercalls::Row* RootHypercalls::find(std::uint16_t code) {
    for (const Row& row : table()) {
        if (row.code == HvCall{code}) return &row;
    }
    return nullptr;
}

RootHypercalls::RootHypercalls(const sim::Scope& scope, Partitions& partitions, Ports& ports)
    : scope_(scope),
      partitions_(partitions),
      ports_(ports),
      calls_(scope.counter("root_hypercalls", "count", "hypercalls that manage partitions")),
      failures_(scope.counter("root_hypercall_failures", "count", "those that did not succeed")) {}

// TLFS 3.4 to 3.7, in the order in which the conditions are looked at.
HvStatus RootHypercalls::check(const Row* row, const Partition& caller, std::uint64_t control,
                               std::span<const std::byte> input, std::span<std::byte> output) const {
    namespace c = hypercall_control;
    if (row == nullptr) return HvStatus::invalid_hypercall_code;
    const std::uint64_t variable_header = sim::bits(control, c::variable_header_high, c::variable_header_low);
    if ((control & c::reserved) != 0 || sim::bit(control, c::nested_bit) || variable_header != 0) {
        return HvStatus::invalid_hypercall_input;
    }
    const std::uint64_t count = sim::bits(control, c::rep_count_high, c::rep_count_low);
    const std::uint64_t start = sim::bits(control, c::rep_start_high, c::rep_start_low);
    if (row->kind == Kind::simple ? count != 0 || start != 0 : count == 0 || start >= count) {
        return HvStatus::invalid_hypercall_input;
    }
    if (!caller.has_privilege(row->privilege)) return HvStatus::access_denied;
    const std::uint64_t elements = row->kind == Kind::rep ? count : 1;
    const std::uint64_t input_bytes = row->input_bytes + elements * row->element_bytes;
    const std::uint64_t output_bytes = elements * row->output_bytes;
    const bool fast = sim::bit(control, c::fast_bit);
    const std::uint64_t most = fast ? hypercall_fast_bytes : hv_page_size;
    if (input_bytes > most || output_bytes > most || (fast && input_bytes + output_bytes > most)) {
        return HvStatus::invalid_hypercall_input;
    }
    if (input.size() < input_bytes || output.size() < output_bytes) return HvStatus::invalid_hypercall_input;
    return HvStatus::success;
}

std::uint64_t RootHypercalls::call(PartitionId caller_id, std::uint64_t control, std::span<const std::byte> input,
                                   std::span<std::byte> output) {
    namespace c = hypercall_control;
    Partition* caller = partitions_.find(caller_id);
    VG_CHECK(caller != nullptr, "a partition that does not exist makes a hypercall");
    const auto code = static_cast<std::uint16_t>(sim::bits(control, c::code_high, c::code_low));
    const Row* row = find(code);
    std::uint32_t done = 0;
    std::uint64_t first_word = 0;
    HvStatus status = check(row, *caller, control, input, output);
    if (status == HvStatus::success) {
        Call under_way{.caller = *caller,
                       .input = input,
                       .output = output,
                       .start = static_cast<std::uint32_t>(sim::bits(control, c::rep_start_high, c::rep_start_low)),
                       .count = static_cast<std::uint32_t>(sim::bits(control, c::rep_count_high, c::rep_count_low)),
                       .header_bytes = row->input_bytes,
                       .element_bytes = row->element_bytes};
        under_way.done = under_way.start;
        if (row->input_bytes >= sizeof(first_word)) std::memcpy(&first_word, input.data(), sizeof(first_word));
        status = (this->*row->handler)(under_way);
        done = under_way.done;
    }
    ++calls_;
    if (status != HvStatus::success) ++failures_;
    // The first word of nearly every input is the partition that the call is about.
    scope_.trace("hypercall", caller_id, code, static_cast<std::uint16_t>(status), done, first_word);
    return static_cast<std::uint16_t>(status) | static_cast<std::uint64_t>(done) << hypercall_result_reps_shift;
}

Partition* RootHypercalls::target(Call& call, std::uint64_t id, HvStatus& status) {
    if (id == hv_partition_id_self || id == call.caller.id()) return &call.caller;
    Partition* found = partitions_.find(id);
    if (found == nullptr) {
        status = HvStatus::invalid_partition_id;
    } else if (!call.caller.is_root()) {
        status = HvStatus::access_denied;
        found = nullptr;
    }
    return found;
}

Partition* RootHypercalls::child(Call& call, std::uint64_t id, HvStatus& status) {
    Partition* found = target(call, id, status);
    if (found == nullptr) return nullptr;
    if (found->is_root()) {
        status = HvStatus::operation_denied;
    } else if (found->state() != PartitionState::initialized) {
        status = HvStatus::invalid_partition_state;
    }
    return status == HvStatus::success ? found : nullptr;
}

// Partitions
// -------------------------------------------------------------------------------------------------------------

HvStatus RootHypercalls::create_partition(Call& call) {
    HvOutputCreatePartition output{};
    const HvStatus status = partitions_.create(call.header<HvInputCreatePartition>(), output.partition_id);
    if (status == HvStatus::success) call.write(output);
    return status;
}

HvStatus RootHypercalls::initialize_partition(Call& call) {
    HvStatus status = HvStatus::success;
    Partition* partition = target(call, call.header<HvInputPartition>().partition_id, status);
    return partition == nullptr ? status : partition->initialize();
}

HvStatus RootHypercalls::finalize_partition(Call& call) {
    HvStatus status = HvStatus::success;
    Partition* partition = target(call, call.header<HvInputPartition>().partition_id, status);
    if (partition == nullptr) return status;
    status = partition->finalize();
    if (status == HvStatus::success) ports_.remove_partition(partition->id());
    return status;
}

HvStatus RootHypercalls::delete_partition(Call& call) {
    HvStatus status = HvStatus::success;
    Partition* partition = target(call, call.header<HvInputPartition>().partition_id, status);
    return partition == nullptr ? status : partitions_.remove(*partition);
}

HvStatus RootHypercalls::get_partition_property(Call& call) {
    const auto input = call.header<HvInputGetPartitionProperty>();
    HvStatus status = HvStatus::success;
    const Partition* partition = target(call, input.partition_id, status);
    if (partition == nullptr) return status;
    HvOutputGetPartitionProperty output{};
    status = partition->get_property(HvPartitionProperty{input.property_code}, output.property_value);
    if (status == HvStatus::success) call.write(output);
    return status;
}

HvStatus RootHypercalls::set_partition_property(Call& call) {
    const auto input = call.header<HvInputSetPartitionProperty>();
    HvStatus status = HvStatus::success;
    Partition* partition = target(call, input.partition_id, status);
    if (partition == nullptr) return status;
    return partition->set_property(HvPartitionProperty{input.property_code}, input.property_value);
}

HvStatus RootHypercalls::get_partition_id(Call& call) {
    call.write(HvOutputGetPartitionId{call.caller.id()});
    return HvStatus::success;
}

HvStatus RootHypercalls::get_next_child_partition(Call& call) {
    const auto input = call.header<HvInputGetNextChildPartition>();
    HvStatus status = HvStatus::success;
    const Partition* parent = target(call, input.parent_id, status);
    if (parent == nullptr) return status;
    const PartitionId next =
        parent->is_root() ? partitions_.next_child(input.previous_child_id) : hv_partition_id_invalid;
    call.write(HvOutputGetNextChildPartition{next});
    return HvStatus::success;
}

// Memory
// -----------------------------------------------------------------------------------------------------------------

// The root's guest physical pages are the host's pages.
HvStatus RootHypercalls::deposit_memory(Call& call) {
    HvStatus status = HvStatus::success;
    Partition* partition = target(call, call.header<HvInputDepositMemory>().partition_id, status);
    if (partition == nullptr) return status;
    if (partition->state() == PartitionState::finalized) return HvStatus::invalid_partition_state;
    for (; call.done < call.count; ++call.done) {
        const auto page = call.element<std::uint64_t>(call.done);
        if (!partitions_.ownership().exists(page)) return HvStatus::invalid_parameter;
        if (!partition->pool().deposit(page)) return HvStatus::access_denied;
    }
    return HvStatus::success;
}

HvStatus RootHypercalls::withdraw_memory(Call& call) {
    HvStatus status = HvStatus::success;
    Partition* partition = target(call, call.header<HvInputWithdrawMemory>().partition_id, status);
    if (partition == nullptr) return status;
    for (; call.done < call.count; ++call.done) {
        const std::optional<std::uint64_t> page = partition->pool().withdraw();
        if (!page) return HvStatus::no_resources;
        call.write(*page, call.done);
    }
    return HvStatus::success;
}

HvStatus RootHypercalls::get_memory_balance(Call& call) {
    HvStatus status = HvStatus::success;
    const Partition* partition = target(call, call.header<HvInputGetMemoryBalance>().partition_id, status);
    if (partition == nullptr) return status;
    call.write(HvOutputGetMemoryBalance{partition->pool().available(), partition->pool().in_use()});
    return HvStatus::success;
}

namespace {

HvStatus status_of(GpaEdit edit) {
    switch (edit) {
        case GpaEdit::ok:
            return HvStatus::success;
        case GpaEdit::insufficient_memory:
            return HvStatus::insufficient_memory;
        case GpaEdit::not_owned:
            return HvStatus::access_denied;
        case GpaEdit::invalid:
            break;
    }
    return HvStatus::invalid_parameter;
}

// Without mode-based execute control, executable is one right, and it must be given to both modes or none.
std::optional<slat::PageRights> rights_of(std::uint32_t flags) {
    constexpr std::uint32_t executable = map_gpa_flag::kernel_executable | map_gpa_flag::user_executable;
    if ((flags & executable) != 0 && (flags & executable) != executable) return std::nullopt;
    return slat::PageRights{.readable = (flags & map_gpa_flag::readable) != 0,
                            .writable = (flags & map_gpa_flag::writable) != 0,
                            .executable = (flags & executable) != 0};
}

}  // namespace

HvStatus RootHypercalls::map_gpa_pages(Call& call) {
    const auto input = call.header<HvInputMapGpaPages>();
    HvStatus status = HvStatus::success;
    Partition* partition = child(call, input.target_partition_id, status);
    if (partition == nullptr) return status;
    constexpr std::uint32_t known =
        map_gpa_flag::permissions_mask | map_gpa_flag::adjustable | map_gpa_flag::not_cached | map_gpa_flag::large_page;
    const std::optional<slat::PageRights> rights = rights_of(input.map_flags);
    if ((input.map_flags & ~known) != 0 || input.padding != 0 || !rights) return HvStatus::invalid_parameter;
    const bool large = (input.map_flags & map_gpa_flag::large_page) != 0;
    const std::uint64_t step = large ? 512 : 1;
    const slat::MemoryType type = (input.map_flags & map_gpa_flag::not_cached) != 0 ? slat::MemoryType::uncacheable
                                                                                    : slat::MemoryType::write_back;
    for (; call.done < call.count; ++call.done) {
        const std::uint64_t gpa_page = input.target_gpa_base + call.done * step;
        if (gpa_page < input.target_gpa_base) return HvStatus::invalid_parameter;
        const auto spa_page = call.element<std::uint64_t>(call.done);
        const bool device = spa_page >= first_device_spa >> hv_page_shift;
        const GpaEdit done = device ? map_device_page(*partition, gpa_page, spa_page, large)
                                    : partition->gpa_space().map(gpa_page, spa_page,
                                                                 large ? mmu::shift_2m : mmu::shift_4k, *rights, type);
        if (done != GpaEdit::ok) return status_of(done);
        if (!device) partition->devices().unmap_pages(gpa_page, step);
    }
    return HvStatus::success;
}

HvStatus RootHypercalls::unmap_gpa_pages(Call& call) {
    const auto input = call.header<HvInputUnmapGpaPages>();
    HvStatus status = HvStatus::success;
    Partition* partition = child(call, input.target_partition_id, status);
    if (partition == nullptr) return status;
    if ((input.unmap_flags & ~unmap_gpa_large_page) != 0 || input.padding != 0) return HvStatus::invalid_parameter;
    const std::uint64_t step = (input.unmap_flags & unmap_gpa_large_page) != 0 ? 512 : 1;
    if (input.target_gpa_base % step != 0) return HvStatus::invalid_parameter;
    if (input.target_gpa_base > (std::uint64_t{1} << (48 - hv_page_shift))) return HvStatus::invalid_parameter;
    partition->devices().unmap_pages(input.target_gpa_base + call.start * step, (call.count - call.start) * step);
    const GpaEdit done =
        partition->gpa_space().unmap(input.target_gpa_base + call.start * step, (call.count - call.start) * step);
    if (done == GpaEdit::ok) call.done = call.count;
    return status_of(done);
}

}  // namespace hypervisor
