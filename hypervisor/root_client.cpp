#include "hypervisor/root_client.h"

#include <algorithm>
#include <cstring>

#include "sim/check.h"

namespace hypervisor {

namespace {

constexpr std::uint64_t deposit_step = 4;   // pages at a time when the hypervisor is short of memory
constexpr std::uint64_t large_pages = 512;  // 4 KiB pages of a large one

template <class T>
std::span<const std::byte> bytes_of(const T& value) {
    return std::as_bytes(std::span{&value, 1});
}

// A header and the elements of a rep call, as they lie in the input page.
template <class Header, class Element>
std::vector<std::byte> rep_input(const Header& header, std::span<const Element> elements) {
    std::vector<std::byte> input(sizeof(Header) + elements.size_bytes());
    std::memcpy(input.data(), &header, sizeof(Header));
    if (!elements.empty()) std::memcpy(input.data() + sizeof(Header), elements.data(), elements.size_bytes());
    return input;
}

// How many elements fit into a page beside the header, and their output into another.
constexpr std::size_t reps_per_call(std::size_t header, std::size_t element, std::size_t output_element = 0) {
    std::size_t most = 4095;  // of 12 bits
    if (element != 0) most = std::min(most, (hv_page_size - header) / element);
    if (output_element != 0) most = std::min(most, hv_page_size / output_element);
    return most;
}

}  // namespace

RootClient::Outcome RootClient::raw(HvCall code, std::span<const std::byte> input, std::span<std::byte> output,
                                    std::uint32_t count, std::uint32_t start) {
    namespace c = hypercall_control;
    const std::uint64_t control = static_cast<std::uint64_t>(code) | std::uint64_t{count} << c::rep_count_low |
                                  std::uint64_t{start} << c::rep_start_low;
    const std::uint64_t result = interface_.hypercall(control, input, output);
    return {HvStatus{static_cast<std::uint16_t>(result)},
            static_cast<std::uint32_t>(result >> hypercall_result_reps_shift & 0xfff)};
}

template <class Input>
HvStatus RootClient::simple(HvCall code, const Input& input) {
    return raw(code, bytes_of(input), {}).status;
}

template <class Input, class Output>
HvStatus RootClient::simple(HvCall code, const Input& input, Output& output) {
    return raw(code, bytes_of(input), std::as_writable_bytes(std::span{&output, 1})).status;
}

// Calls again as long as memory is short and there is some to give.
template <class Function>
HvStatus RootClient::with_deposits(PartitionId partition, Function function) {
    for (;;) {
        const HvStatus status = function();
        if (status != HvStatus::insufficient_memory) return status;
        if (deposit(partition, deposit_step) != HvStatus::success) return status;
    }
}

// Partitions
// -------------------------------------------------------------------------------------------------------------

HvResult<PartitionId> RootClient::create_partition(std::uint64_t flags) {
    HvInputCreatePartition input{};
    input.flags = flags;
    HvOutputCreatePartition output{};
    const HvStatus status =
        with_deposits(root_partition, [&] { return simple(HvCall::create_partition, input, output); });
    return {status, output.partition_id};
}

HvStatus RootClient::initialize_partition(PartitionId partition) {
    return with_deposits(partition, [&] { return simple(HvCall::initialize_partition, HvInputPartition{partition}); });
}

HvStatus RootClient::finalize_partition(PartitionId partition) {
    return simple(HvCall::finalize_partition, HvInputPartition{partition});
}

HvStatus RootClient::delete_partition(PartitionId partition) {
    const HvStatus status = withdraw_all(partition);
    return status != HvStatus::success ? status : simple(HvCall::delete_partition, HvInputPartition{partition});
}

HvResult<std::uint64_t> RootClient::get_property(PartitionId partition, HvPartitionProperty property) {
    HvOutputGetPartitionProperty output{};
    const HvInputGetPartitionProperty input{partition, static_cast<std::uint32_t>(property), 0};
    const HvStatus status = simple(HvCall::get_partition_property, input, output);
    return {status, output.property_value};
}

HvStatus RootClient::set_property(PartitionId partition, HvPartitionProperty property, std::uint64_t value) {
    return simple(HvCall::set_partition_property,
                  HvInputSetPartitionProperty{partition, static_cast<std::uint32_t>(property), 0, value});
}

HvResult<PartitionId> RootClient::partition_id() {
    HvOutputGetPartitionId output{};
    const HvStatus status = raw(HvCall::get_partition_id, {}, std::as_writable_bytes(std::span{&output, 1})).status;
    return {status, output.partition_id};
}

HvResult<PartitionId> RootClient::next_child(PartitionId previous) {
    HvOutputGetNextChildPartition output{};
    const HvStatus status =
        simple(HvCall::get_next_child_partition, HvInputGetNextChildPartition{hv_partition_id_self, previous}, output);
    return {status, output.next_child_id};
}

// Memory
// -----------------------------------------------------------------------------------------------------------------

HvStatus RootClient::deposit(PartitionId partition, std::uint64_t count) {
    while (count > 0) {
        std::vector<std::uint64_t> list;
        for (; count > 0 && list.size() < reps_per_call(sizeof(HvInputDepositMemory), sizeof(std::uint64_t)); --count) {
            const std::optional<std::uint64_t> spa = pages_.allocate_page();
            if (!spa) break;
            list.push_back(*spa >> hv_page_shift);
        }
        if (list.empty()) return HvStatus::insufficient_memory;
        const auto input = rep_input(HvInputDepositMemory{partition}, std::span<const std::uint64_t>{list});
        const auto [status, done] = raw(HvCall::deposit_memory, input, {}, static_cast<std::uint32_t>(list.size()));
        for (std::size_t i = done; i < list.size(); ++i) pages_.free_page(list[i] << hv_page_shift);
        if (status != HvStatus::success) return status;
    }
    return HvStatus::success;
}

HvStatus RootClient::withdraw_all(PartitionId partition) {
    for (;;) {
        std::uint64_t list[hv_page_size / sizeof(std::uint64_t)];
        const auto [status, done] = raw(HvCall::withdraw_memory, bytes_of(HvInputWithdrawMemory{partition, {}}),
                                        std::as_writable_bytes(std::span{list}), std::size(list));
        for (std::size_t i = 0; i < done; ++i) pages_.free_page(list[i] << hv_page_shift);
        if (status == HvStatus::no_resources) return HvStatus::success;  // the pool is empty
        if (status != HvStatus::success) return status;
    }
}

HvResult<MemoryBalance> RootClient::memory_balance(PartitionId partition) {
    HvOutputGetMemoryBalance output{};
    const HvStatus status = simple(HvCall::get_memory_balance, HvInputGetMemoryBalance{partition, {}}, output);
    return {status, {output.pages_available, output.pages_in_use}};
}

HvStatus RootClient::map_list(PartitionId partition, std::uint64_t gpa_page, std::span<const std::uint64_t> list,
                              std::uint64_t step, std::uint32_t flags) {
    constexpr std::size_t most = reps_per_call(sizeof(HvInputMapGpaPages), sizeof(std::uint64_t));
    while (!list.empty()) {
        const auto part = list.first(std::min(most, list.size()));
        const auto count = static_cast<std::uint32_t>(part.size());
        const auto input = rep_input(HvInputMapGpaPages{partition, gpa_page, flags, 0}, part);
        std::uint32_t start = 0;
        const HvStatus status = with_deposits(partition, [&] {
            const auto [call_status, done] = raw(HvCall::map_gpa_pages, input, {}, count, start);
            start = done;
            return call_status;
        });
        if (status != HvStatus::success) return status;
        gpa_page += count * step;
        list = list.subspan(count);
    }
    return HvStatus::success;
}

HvStatus RootClient::map_pages(PartitionId partition, std::uint64_t gpa_page, std::span<const std::uint64_t> spa_pages,
                               std::uint32_t flags) {
    return map_list(partition, gpa_page, spa_pages, 1, flags);
}

HvStatus RootClient::map_range(PartitionId partition, std::uint64_t gpa_page, std::uint64_t spa_page,
                               std::uint64_t count, std::uint32_t flags) {
    const bool same_offset = gpa_page % large_pages == spa_page % large_pages;
    while (count > 0) {
        // Up to the next large boundary in small pages, then as many large ones as fit, then the rest.
        const bool large = same_offset && gpa_page % large_pages == 0 && count >= large_pages;
        const std::uint64_t step = large ? large_pages : 1;
        std::uint64_t n = count;
        if (large) {
            n = count / large_pages;
        } else if (same_offset) {
            n = std::min(count, large_pages - gpa_page % large_pages);
        }
        std::vector<std::uint64_t> list(n);
        for (std::uint64_t i = 0; i < n; ++i) list[i] = spa_page + i * step;
        const HvStatus status =
            map_list(partition, gpa_page, list, step, flags | (large ? map_gpa_flag::large_page : 0));
        if (status != HvStatus::success) return status;
        gpa_page += n * step;
        spa_page += n * step;
        count -= n * step;
    }
    return HvStatus::success;
}

HvStatus RootClient::unmap_range(PartitionId partition, std::uint64_t gpa_page, std::uint64_t count) {
    while (count > 0) {
        const std::uint64_t n = std::min<std::uint64_t>(count, reps_per_call(sizeof(HvInputUnmapGpaPages), 0));
        const HvInputUnmapGpaPages input{partition, gpa_page, 0, 0};
        std::uint32_t start = 0;
        const HvStatus status = with_deposits(partition, [&] {
            const auto [call_status, done] =
                raw(HvCall::unmap_gpa_pages, bytes_of(input), {}, static_cast<std::uint32_t>(n), start);
            start = done;
            return call_status;
        });
        if (status != HvStatus::success) return status;
        gpa_page += n;
        count -= n;
    }
    return HvStatus::success;
}

// Moving a partition
// ----------------------------------------------------------------------------------------------------------------

HvStatus RootClient::track_accesses(PartitionId partition, bool on) {
    return with_deposits(
        partition, [&] { return set_property(partition, HvPartitionProperty::gpa_page_access_tracking, on ? 1 : 0); });
}

HvStatus RootClient::take_access_states(PartitionId partition, std::uint64_t gpa_page, std::span<std::uint8_t> states) {
    constexpr std::size_t most = reps_per_call(sizeof(HvInputGetGpaPagesAccessState), 0, 1);
    while (!states.empty()) {
        const auto part = states.first(std::min(most, states.size()));
        const HvInputGetGpaPagesAccessState input{partition, gpa_access_flag::clear_dirty, gpa_page};
        const auto [status, done] = raw(HvCall::get_gpa_pages_access_state, bytes_of(input),
                                        std::as_writable_bytes(part), static_cast<std::uint32_t>(part.size()));
        if (status != HvStatus::success) return status;
        gpa_page += part.size();
        states = states.subspan(part.size());
    }
    return HvStatus::success;
}

HvResult<std::vector<std::byte>> RootClient::save_state(PartitionId partition) {
    std::vector<std::byte> state;
    HvPartitionStatePart part{.count = 0, .more = 1, .data = {}};
    for (std::uint64_t flags = 1; part.more != 0; flags = 0) {
        const HvStatus status = simple(HvCall::save_partition_state, HvInputSavePartitionState{partition, flags}, part);
        if (status != HvStatus::success) return {status, {}};
        const auto* bytes = reinterpret_cast<const std::byte*>(part.data);
        state.insert(state.end(), bytes, bytes + part.count);
    }
    return {HvStatus::success, std::move(state)};
}

HvStatus RootClient::restore_state(PartitionId partition, std::span<const std::byte> state) {
    return with_deposits(partition, [&] {
        std::span<const std::byte> left = state;
        HvStatus status = HvStatus::success;
        HvInputRestorePartitionState input{partition, {.count = 0, .more = 1, .data = {}}};
        while (status == HvStatus::success && input.part.more != 0) {
            const std::size_t count = std::min<std::size_t>(partition_state_bytes, left.size());
            std::memcpy(input.part.data, left.data(), count);
            left = left.subspan(count);
            input.part.count = static_cast<std::uint32_t>(count);
            input.part.more = left.empty() ? 0 : 1;
            status = simple(HvCall::restore_partition_state, input);
        }
        return status;
    });
}

// Intercepts
// -------------------------------------------------------------------------------------------------------------

HvStatus RootClient::install_intercept(PartitionId partition, std::uint32_t access_mask, HvInterceptType type,
                                       std::uint64_t parameter) {
    return simple(HvCall::install_intercept,
                  HvInputInstallIntercept{partition, access_mask, static_cast<std::uint32_t>(type), parameter});
}

HvStatus RootClient::register_cpuid_result(PartitionId partition, const CpuidResult& result) {
    HvInputRegisterInterceptResultCpuid input{};
    input.partition_id = partition;
    input.vp_index = result.vp_index;
    input.intercept_type = static_cast<std::uint32_t>(HvInterceptType::x64_cpuid);
    input.input_eax = result.leaf;
    input.input_ecx = result.subleaf;
    input.subleaf_specific = result.subleaf_specific ? 1 : 0;
    input.always_override = result.always_override ? 1 : 0;
    input.eax = result.value.eax;
    input.eax_mask = result.mask.eax;
    input.ebx = result.value.ebx;
    input.ebx_mask = result.mask.ebx;
    input.ecx = result.value.ecx;
    input.ecx_mask = result.mask.ecx;
    input.edx = result.value.edx;
    input.edx_mask = result.mask.edx;
    return simple(HvCall::register_intercept_result, input);
}

HvStatus RootClient::register_msr_result(PartitionId partition, std::uint32_t msr, std::uint32_t access_mask,
                                         MsrAction action) {
    HvInputRegisterInterceptResultCpuid input{};
    input.partition_id = partition;
    input.vp_index = hv_any_vp;
    input.intercept_type = static_cast<std::uint32_t>(HvInterceptType::x64_msr);
    const std::uint32_t words[] = {msr, access_mask, static_cast<std::uint32_t>(action)};
    std::memcpy(reinterpret_cast<std::byte*>(&input) + offsetof(HvInputRegisterInterceptResultCpuid, input_eax), words,
                sizeof(words));
    return simple(HvCall::register_intercept_result, input);
}

// Virtual processors
// -----------------------------------------------------------------------------------------------------

HvStatus RootClient::create_vp(PartitionId partition, std::uint32_t index) {
    HvInputCreateVp input{};
    input.partition_id = partition;
    input.vp_index = index;
    return with_deposits(partition, [&] { return simple(HvCall::create_vp, input); });
}

HvStatus RootClient::delete_vp(PartitionId partition, std::uint32_t index) {
    return simple(HvCall::delete_vp, HvInputDeleteVp{partition, index, 0});
}

HvStatus RootClient::get_registers(PartitionId partition, std::uint32_t vp, std::span<const HvRegister> names,
                                   std::span<HvRegisterValue> values) {
    VG_CHECK(values.size() >= names.size());
    constexpr std::size_t most = reps_per_call(sizeof(HvInputVpRegisters), sizeof(HvRegister), sizeof(HvRegisterValue));
    while (!names.empty()) {
        const auto part = names.first(std::min(most, names.size()));
        const auto input = rep_input(HvInputVpRegisters{partition, vp, 0, {}}, part);
        const HvStatus status = raw(HvCall::get_vp_registers, input, std::as_writable_bytes(values.first(part.size())),
                                    static_cast<std::uint32_t>(part.size()))
                                    .status;
        if (status != HvStatus::success) return status;
        names = names.subspan(part.size());
        values = values.subspan(part.size());
    }
    return HvStatus::success;
}

HvStatus RootClient::set_registers(PartitionId partition, std::uint32_t vp,
                                   std::span<const std::pair<HvRegister, HvRegisterValue>> registers) {
    constexpr std::size_t most = reps_per_call(sizeof(HvInputVpRegisters), sizeof(HvRegisterAssoc));
    while (!registers.empty()) {
        std::vector<HvRegisterAssoc> part;
        for (const auto& [name, value] : registers.first(std::min(most, registers.size()))) {
            part.push_back({static_cast<std::uint32_t>(name), 0, 0, value});
        }
        const auto input = rep_input(HvInputVpRegisters{partition, vp, 0, {}}, std::span<const HvRegisterAssoc>{part});
        const HvStatus status =
            raw(HvCall::set_vp_registers, input, {}, static_cast<std::uint32_t>(part.size())).status;
        if (status != HvStatus::success) return status;
        registers = registers.subspan(part.size());
    }
    return HvStatus::success;
}

HvResult<HvRegisterValue> RootClient::get_register(PartitionId partition, std::uint32_t vp, HvRegister name) {
    HvRegisterValue value{};
    const HvStatus status = get_registers(partition, vp, std::span{&name, 1}, std::span{&value, 1});
    return {status, value};
}

HvStatus RootClient::set_register(PartitionId partition, std::uint32_t vp, HvRegister name, HvRegisterValue value) {
    const std::pair<HvRegister, HvRegisterValue> one{name, value};
    return set_registers(partition, vp, std::span{&one, 1});
}

HvResult<GvaTranslation> RootClient::translate(PartitionId partition, std::uint32_t vp, std::uint64_t gva_page,
                                               std::uint64_t flags) {
    HvOutputTranslateVirtualAddress output{};
    const HvStatus status = simple(HvCall::translate_virtual_address,
                                   HvInputTranslateVirtualAddress{partition, vp, 0, flags, gva_page}, output);
    return {status, {HvTranslateGvaResult{output.result_code}, output.gpa_page, (output.overlay_page & 1) != 0}};
}

HvResult<HvAccessGpaResult> RootClient::read_gpa(PartitionId partition, std::uint32_t vp, std::uint64_t gpa,
                                                 std::span<std::byte> out) {
    while (!out.empty()) {
        HvOutputReadGpa output{};
        const auto n = std::min(out.size(), sizeof(output.data));
        const HvStatus status =
            simple(HvCall::read_gpa, HvInputReadGpa{partition, vp, static_cast<std::uint32_t>(n), gpa, 0}, output);
        const HvAccessGpaResult result{output.result_code};
        if (status != HvStatus::success || result != HvAccessGpaResult::success) return {status, result};
        std::memcpy(out.data(), output.data, n);
        out = out.subspan(n);
        gpa += n;
    }
    return {};
}

HvResult<HvAccessGpaResult> RootClient::write_gpa(PartitionId partition, std::uint32_t vp, std::uint64_t gpa,
                                                  std::span<const std::byte> in) {
    while (!in.empty()) {
        HvInputWriteGpa input{partition, vp, 0, gpa, 0, {}};
        const auto n = std::min(in.size(), sizeof(input.data));
        input.byte_count = static_cast<std::uint32_t>(n);
        std::memcpy(input.data, in.data(), n);
        HvOutputWriteGpa output{};
        const HvStatus status = simple(HvCall::write_gpa, input, output);
        const HvAccessGpaResult result{output.result_code};
        if (status != HvStatus::success || result != HvAccessGpaResult::success) return {status, result};
        in = in.subspan(n);
        gpa += n;
    }
    return {};
}

HvStatus RootClient::assert_interrupt(PartitionId partition, const InterruptRequest& request, std::uint64_t destination,
                                      bool logical) {
    HvInputAssertVirtualInterrupt input{};
    input.partition_id = partition;
    input.interrupt_type = static_cast<std::uint32_t>(request.type);
    input.control = (request.level_triggered ? interrupt_control_level_triggered : 0) |
                    (logical ? interrupt_control_logical_destination : 0);
    input.destination_address = destination;
    input.requested_vector = request.vector;
    return simple(HvCall::assert_virtual_interrupt, input);
}

// Devices
// ----------------------------------------------------------------------------------------------------------------

HvStatus RootClient::attach_device(PartitionId partition, std::uint64_t device, std::uint64_t logical) {
    return simple(HvCall::attach_device, HvInputAttachDevice{partition, device, 0, logical});
}

HvStatus RootClient::detach_device(PartitionId partition, std::uint64_t logical) {
    return simple(HvCall::detach_device, HvInputDetachDevice{partition, logical});
}

HvResult<DeviceMessage> RootClient::map_device_interrupt(PartitionId partition, std::uint64_t logical,
                                                         const InterruptTarget& target, std::uint32_t count) {
    HvInputMapDeviceInterrupt input{};
    input.partition_id = partition;
    input.device_id = logical;
    input.descriptor.vector_count = count;
    input.descriptor.vector = target.vector;
    input.descriptor.flags = target.multicast ? interrupt_target_flag::multicast : 0;
    input.descriptor.vp_mask = target.processors;
    HvOutputMapDeviceInterrupt output{};
    const HvStatus status = simple(HvCall::map_device_interrupt, input, output);
    return {status, {output.entry.msi_address, output.entry.msi_data}};
}

HvStatus RootClient::unmap_device_interrupt(PartitionId partition, std::uint64_t logical,
                                            const DeviceMessage& message) {
    const HvInterruptEntry entry{interrupt_source_msi, 0, message.address, message.data};
    return simple(HvCall::unmap_device_interrupt, HvInputUnmapDeviceInterrupt{partition, logical, entry});
}

// Ports
// ------------------------------------------------------------------------------------------------------------------

HvStatus RootClient::create_message_port(PortAddress port, PartitionId sender, std::uint32_t vp, std::uint32_t sint) {
    HvInputCreatePort input{};
    input.port_partition_id = port.partition;
    input.port_id = port.id;
    input.connection_partition_id = sender;
    input.port_info = {static_cast<std::uint32_t>(HvPortType::message), 0, sint, vp, 0, 0, 0};
    return with_deposits(port.partition, [&] { return simple(HvCall::create_port, input); });
}

HvStatus RootClient::create_event_port(PortAddress port, PartitionId sender, std::uint32_t vp, std::uint32_t sint,
                                       std::uint16_t base_flag, std::uint16_t flag_count) {
    HvInputCreatePort input{};
    input.port_partition_id = port.partition;
    input.port_id = port.id;
    input.connection_partition_id = sender;
    input.port_info = {static_cast<std::uint32_t>(HvPortType::event), 0, sint, vp, base_flag, flag_count, 0};
    return with_deposits(port.partition, [&] { return simple(HvCall::create_port, input); });
}

HvStatus RootClient::delete_port(PortAddress port) {
    return simple(HvCall::delete_port, HvInputDeletePort{port.partition, port.id, 0});
}

HvStatus RootClient::connect_port(PortAddress connection, PortAddress port, HvPortType type) {
    HvInputConnectPort input{};
    input.connection_partition_id = connection.partition;
    input.connection_id = connection.id;
    input.port_partition_id = port.partition;
    input.port_id = port.id;
    input.connection_info.port_type = static_cast<std::uint32_t>(type);
    return with_deposits(connection.partition, [&] { return simple(HvCall::connect_port, input); });
}

HvStatus RootClient::disconnect_port(PortAddress connection) {
    return simple(HvCall::disconnect_port, HvInputDisconnectPort{connection.partition, connection.id, 0});
}

HvResult<std::uint64_t> RootClient::port_property(PortAddress port, HvPortProperty property) {
    std::uint64_t value = 0;
    const HvInputGetPortProperty input{port.partition, port.id, 0, static_cast<std::uint32_t>(property), 0};
    const HvStatus status = simple(HvCall::get_port_property, input, value);
    return {status, value};
}

HvStatus RootClient::post_message(ConnectionId connection, std::uint32_t message_type,
                                  std::span<const std::byte> payload) {
    if (payload.size() > message_payload_bytes) return HvStatus::invalid_parameter;
    HvInputPostMessage input{};
    input.connection_id = connection;
    input.message_type = message_type;
    input.payload_size = static_cast<std::uint32_t>(payload.size());
    if (!payload.empty()) std::memcpy(input.payload, payload.data(), payload.size());
    return simple(HvCall::post_message, input);
}

HvStatus RootClient::signal_event(ConnectionId connection, std::uint16_t flag) {
    return simple(HvCall::signal_event, HvInputSignalEvent{connection, flag, 0});
}

}  // namespace hypervisor
