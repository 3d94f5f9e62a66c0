// Hypercalls about intercepts, virtual processors, ports and connections. The table is in root_hypercalls.cpp.
#include "hypervisor/root_hypercalls.h"
#include "sim/check.h"

namespace hypervisor {

// Intercepts
// -------------------------------------------------------------------------------------------------------------

HvStatus RootHypercalls::install_intercept(Call& call) {
    const auto input = call.header<HvInputInstallIntercept>();
    HvStatus status = HvStatus::success;
    Partition* partition = target(call, input.partition_id, status);
    if (partition == nullptr) return status;
    if (partition->is_root()) return HvStatus::operation_denied;
    if (partition->state() == PartitionState::finalized) return HvStatus::invalid_partition_state;
    return partition->intercepts().install(input.access_type_mask, input.intercept_type, input.intercept_parameters)
               ? HvStatus::success
               : HvStatus::invalid_parameter;
}

HvStatus RootHypercalls::register_intercept_result(Call& call) {
    const auto input = call.header<HvInputRegisterInterceptResultCpuid>();
    HvStatus status = HvStatus::success;
    Partition* partition = target(call, input.partition_id, status);
    if (partition == nullptr) return status;
    if (partition->is_root()) return HvStatus::operation_denied;
    if (partition->state() == PartitionState::finalized) return HvStatus::invalid_partition_state;
    if (input.vp_index != hv_any_vp && input.vp_index >= max_vps_per_partition) return HvStatus::invalid_vp_index;
    switch (HvInterceptType{input.intercept_type}) {
        case HvInterceptType::x64_cpuid: {
            if (input.subleaf_specific > 1 || input.always_override > 1 || input.padding != 0) break;
            const CpuidResult result{.leaf = input.input_eax,
                                     .subleaf = input.input_ecx,
                                     .subleaf_specific = input.subleaf_specific != 0,
                                     .always_override = input.always_override != 0,
                                     .vp_index = input.vp_index,
                                     .value = {input.eax, input.ebx, input.ecx, input.edx},
                                     .mask = {input.eax_mask, input.ebx_mask, input.ecx_mask, input.edx_mask}};
            return partition->intercepts().register_cpuid_result(result) ? HvStatus::success : HvStatus::no_resources;
        }
        case HvInterceptType::x64_msr: {
            // The union's other member: MSR index, access mask, action, where CPUID has EAX, ECX and the flags.
            std::uint32_t msr_words[3];
            std::memcpy(msr_words, call.input.data() + offsetof(HvInputRegisterInterceptResultCpuid, input_eax),
                        sizeof(msr_words));
            if (partition->intercepts().register_msr_result(msr_words[0], msr_words[1], msr_words[2])) {
                return HvStatus::success;
            }
            break;
        }
        default:
            break;
    }
    return HvStatus::invalid_parameter;
}

// Virtual processors
// -----------------------------------------------------------------------------------------------------

HvStatus RootHypercalls::create_vp(Call& call) {
    const auto input = call.header<HvInputCreateVp>();
    HvStatus status = HvStatus::success;
    Partition* partition = target(call, input.partition_id, status);
    if (partition == nullptr) return status;
    if (partition->is_root()) return HvStatus::operation_denied;
    if (input.flags != 0 || input.padding[0] != 0 || input.padding[1] != 0 || input.padding[2] != 0) {
        return HvStatus::invalid_parameter;
    }
    return partition->create_vp(input.vp_index);
}

HvStatus RootHypercalls::delete_vp(Call& call) {
    const auto input = call.header<HvInputDeleteVp>();
    HvStatus status = HvStatus::success;
    Partition* partition = target(call, input.partition_id, status);
    if (partition == nullptr) return status;
    if (partition->is_root()) return HvStatus::operation_denied;
    return partition->delete_vp(input.vp_index);
}

namespace {

// Only VTL 0 exists: named outright (bit 4 set), or not named.
bool is_vtl0(std::uint8_t input_vtl) {
    return input_vtl == 0 || input_vtl == 0x10;
}

bool header_is_clean(const HvInputVpRegisters& input) {
    return is_vtl0(input.input_vtl) && input.reserved[0] == 0 && input.reserved[1] == 0 && input.reserved[2] == 0;
}

}  // namespace

HvStatus RootHypercalls::get_vp_registers(Call& call) {
    const auto input = call.header<HvInputVpRegisters>();
    HvStatus status = HvStatus::success;
    const Partition* partition = target(call, input.partition_id, status);
    if (partition == nullptr) return status;
    if (!header_is_clean(input)) return HvStatus::invalid_parameter;
    VpControl* vp = partition->vp(input.vp_index);
    if (vp == nullptr) return HvStatus::invalid_vp_index;
    for (; call.done < call.count; ++call.done) {
        HvRegisterValue value{};
        status = vp->get_register(HvRegister{call.element<std::uint32_t>(call.done)}, value);
        if (status != HvStatus::success) return status;
        call.write(value, call.done);
    }
    return HvStatus::success;
}

HvStatus RootHypercalls::set_vp_registers(Call& call) {
    const auto input = call.header<HvInputVpRegisters>();
    HvStatus status = HvStatus::success;
    const Partition* partition = target(call, input.partition_id, status);
    if (partition == nullptr) return status;
    if (!header_is_clean(input)) return HvStatus::invalid_parameter;
    VpControl* vp = partition->vp(input.vp_index);
    if (vp == nullptr) return HvStatus::invalid_vp_index;
    for (; call.done < call.count; ++call.done) {
        const auto element = call.element<HvRegisterAssoc>(call.done);
        if (element.reserved1 != 0 || element.reserved2 != 0) return HvStatus::invalid_parameter;
        status = vp->set_register(HvRegister{element.name}, element.value);
        if (status != HvStatus::success) return status;
    }
    return HvStatus::success;
}

HvStatus RootHypercalls::translate_virtual_address(Call& call) {
    const auto input = call.header<HvInputTranslateVirtualAddress>();
    HvStatus status = HvStatus::success;
    const Partition* partition = target(call, input.partition_id, status);
    if (partition == nullptr) return status;
    VpControl* vp = partition->vp(input.vp_index);
    if (vp == nullptr) return HvStatus::invalid_vp_index;
    if ((input.control_flags & ~translate_gva_flag::control_mask) != 0 || input.padding != 0) {
        return HvStatus::invalid_parameter;
    }
    call.write(vp->translate(input.gva_page, input.control_flags));
    return HvStatus::success;
}

namespace {

constexpr std::uint64_t access_gpa_cache_type = 0xff00'0000'0000'0000;  // the only control there is; no effect here

HvAccessGpaResult access_result(const GpaSpace& space, std::uint64_t gpa, std::uint32_t bytes, bool write) {
    for (std::uint64_t at = gpa, end = gpa + bytes; at < end; at = (at | (hv_page_size - 1)) + 1) {
        const std::optional<GpaMapping> mapping = space.translate(at);
        if (!mapping) return HvAccessGpaResult::unmapped;
        if (write ? mapping->rights.writable : mapping->rights.readable) continue;
        if (mapping->overlay) return HvAccessGpaResult::illegal_overlay_access;
        return write ? HvAccessGpaResult::write_intercept : HvAccessGpaResult::read_intercept;
    }
    return HvAccessGpaResult::success;
}

template <class Input>
HvStatus check_gpa_access(const Partition& partition, const Input& input) {
    if (partition.is_root()) return HvStatus::operation_denied;
    if (partition.vp(input.vp_index) == nullptr) return HvStatus::invalid_vp_index;
    if (input.byte_count > 16 || (input.control_flags & ~access_gpa_cache_type) != 0)
        return HvStatus::invalid_parameter;
    if (input.base_gpa + input.byte_count < input.base_gpa) return HvStatus::invalid_parameter;
    return HvStatus::success;
}

}  // namespace

HvStatus RootHypercalls::read_gpa(Call& call) {
    const auto input = call.header<HvInputReadGpa>();
    HvStatus status = HvStatus::success;
    Partition* partition = target(call, input.partition_id, status);
    if (partition == nullptr) return status;
    status = check_gpa_access(*partition, input);
    if (status != HvStatus::success) return status;
    HvOutputReadGpa output{};
    const HvAccessGpaResult result = access_result(partition->gpa_space(), input.base_gpa, input.byte_count, false);
    output.result_code = static_cast<std::uint32_t>(result);
    if (result == HvAccessGpaResult::success) {
        std::span<std::byte> data = std::as_writable_bytes(std::span{output.data}).first(input.byte_count);
        VG_CHECK(partition->gpa_space().read(input.base_gpa, data));
    }
    call.write(output);
    return HvStatus::success;
}

HvStatus RootHypercalls::write_gpa(Call& call) {
    const auto input = call.header<HvInputWriteGpa>();
    HvStatus status = HvStatus::success;
    Partition* partition = target(call, input.partition_id, status);
    if (partition == nullptr) return status;
    status = check_gpa_access(*partition, input);
    if (status != HvStatus::success) return status;
    HvOutputWriteGpa output{};
    const HvAccessGpaResult result = access_result(partition->gpa_space(), input.base_gpa, input.byte_count, true);
    output.result_code = static_cast<std::uint32_t>(result);
    if (result == HvAccessGpaResult::success) {
        const std::span<const std::byte> data = std::as_bytes(std::span{input.data}).first(input.byte_count);
        VG_CHECK(partition->gpa_space().write(input.base_gpa, data));
    }
    call.write(output);
    return HvStatus::success;
}

// HV_INPUT_GET_VP_INDEX_FROM_APIC_ID: partition, VTL, then APIC ids.
HvStatus RootHypercalls::get_vp_index_from_apic_id(Call& call) {
    struct Input {
        std::uint64_t partition_id;
        std::uint8_t target_vtl;
        std::uint8_t padding[7];
    };
    static_assert(sizeof(Input) == 16);
    const auto input = call.header<Input>();
    HvStatus status = HvStatus::success;
    const Partition* partition = target(call, input.partition_id, status);
    if (partition == nullptr) return status;
    if (!is_vtl0(input.target_vtl)) return HvStatus::invalid_parameter;
    for (; call.done < call.count; ++call.done) {
        const auto apic_id = call.element<std::uint32_t>(call.done);
        std::optional<std::uint32_t> found;
        partition->for_each_vp([&](std::uint32_t index, const VpControl& vp) {
            if (!found && vp.accepts_destination(apic_id, false)) found = index;
        });
        if (!found) return HvStatus::invalid_parameter;
        call.write(*found, call.done);
    }
    return HvStatus::success;
}

// Interrupts
// -------------------------------------------------------------------------------------------------------------

// It ends the service of an external interrupt, and there is no 8259 here whose interrupts could be in service.
HvStatus RootHypercalls::clear_virtual_interrupt(Call& call) {
    HvStatus status = HvStatus::success;
    const Partition* partition = target(call, call.header<HvInputPartition>().partition_id, status);
    return partition == nullptr ? status : HvStatus::not_acknowledged;
}

HvStatus RootHypercalls::assert_virtual_interrupt(Call& call) {
    const auto input = call.header<HvInputAssertVirtualInterrupt>();
    HvStatus status = HvStatus::success;
    const Partition* partition = child(call, input.partition_id, status);
    if (partition == nullptr) return status;
    constexpr std::uint32_t known = interrupt_control_level_triggered | interrupt_control_logical_destination;
    if ((input.control & ~known) != 0 || !is_vtl0(input.target_vtl) || input.reserved0 != 0 || input.reserved1 != 0) {
        return HvStatus::invalid_parameter;
    }
    InterruptRequest request{.type = HvInterruptType{input.interrupt_type},
                             .level_triggered = (input.control & interrupt_control_level_triggered) != 0,
                             .vector = input.requested_vector};
    switch (request.type) {
        case HvInterruptType::fixed:
        case HvInterruptType::lowest_priority:
            // Vectors below 16 are illegal in a local APIC (SDM 10.5.2).
            if (request.vector < 16 || request.vector > 255) return HvStatus::invalid_parameter;
            break;
        case HvInterruptType::sipi:
            if (request.vector > 255) return HvStatus::invalid_parameter;
            break;
        case HvInterruptType::nmi:
        case HvInterruptType::init:
            break;
        case HvInterruptType::smi:
        case HvInterruptType::remote_read:
        case HvInterruptType::ext_int:
        case HvInterruptType::local_int0:
        case HvInterruptType::local_int1:
        default:
            return HvStatus::invalid_parameter;
    }
    const bool logical = (input.control & interrupt_control_logical_destination) != 0;
    // Lowest priority goes to one of those addressed, here the first; the others to all of them.
    const bool to_one = request.type == HvInterruptType::lowest_priority;
    status = HvStatus::invalid_vp_index;
    bool accepted = false;
    partition->for_each_vp([&](std::uint32_t, VpControl& vp) {
        if ((to_one && accepted) || !vp.accepts_destination(input.destination_address, logical)) return;
        const HvStatus asserted = vp.assert_interrupt(request);
        if (!accepted || asserted != HvStatus::success) status = asserted;
        accepted = true;
    });
    return status;
}

// Ports
// ------------------------------------------------------------------------------------------------------------------

// Changes the number of a partition's ports and connections, with the pool pages that it takes.
template <class Change>
HvStatus RootHypercalls::with_object(Partition& partition, std::size_t more, Change change) {
    const auto objects = [&] { return ports_.port_count(partition.id()) + ports_.connection_count(partition.id()); };
    HvStatus status = partition.resize_port_objects(objects() + more);
    if (status == HvStatus::success) status = change();
    VG_CHECK(partition.resize_port_objects(objects()) == HvStatus::success);
    return status;
}

HvStatus RootHypercalls::create_port(Call& call) {
    const auto input = call.header<HvInputCreatePort>();
    HvStatus status = HvStatus::success;
    Partition* owner = target(call, input.port_partition_id, status);
    if (owner == nullptr) return status;
    if (owner->state() != PartitionState::initialized) return HvStatus::invalid_partition_state;
    std::uint64_t sender = input.connection_partition_id;
    if (sender == hv_partition_id_self) sender = call.caller.id();
    if (partitions_.find(sender) == nullptr) return HvStatus::invalid_partition_id;
    if (!is_vtl0(input.port_vtl) || input.min_connection_vtl != 0 || input.padding != 0) {
        return HvStatus::invalid_parameter;
    }
    const bool targets_vp = HvPortType{input.port_info.port_type} != HvPortType::monitor;
    if (targets_vp && !owner->is_root() && input.port_info.target_vp != hv_any_vp &&
        owner->vp(input.port_info.target_vp) == nullptr) {
        return HvStatus::invalid_vp_index;
    }
    return with_object(*owner, 1, [&] { return ports_.create({owner->id(), input.port_id}, sender, input.port_info); });
}

HvStatus RootHypercalls::delete_port(Call& call) {
    const auto input = call.header<HvInputDeletePort>();
    HvStatus status = HvStatus::success;
    Partition* owner = target(call, input.port_partition_id, status);
    if (owner == nullptr) return status;
    return with_object(*owner, 0, [&] { return ports_.remove({owner->id(), input.port_id}); });
}

HvStatus RootHypercalls::connect_port(Call& call) {
    const auto input = call.header<HvInputConnectPort>();
    HvStatus status = HvStatus::success;
    Partition* sender = target(call, input.connection_partition_id, status);
    if (sender == nullptr) return status;
    if (sender->state() != PartitionState::initialized) return HvStatus::invalid_partition_state;
    std::uint64_t owner = input.port_partition_id;
    if (owner == hv_partition_id_self) owner = call.caller.id();
    if (partitions_.find(owner) == nullptr) return HvStatus::invalid_partition_id;
    if (!is_vtl0(input.connection_vtl) || input.reserved0 != 0 || input.reserved1 != 0 || input.reserved2 != 0) {
        return HvStatus::invalid_parameter;
    }
    return with_object(*sender, 1, [&] {
        return ports_.connect({sender->id(), input.connection_id}, {owner, input.port_id}, input.connection_info);
    });
}

HvStatus RootHypercalls::disconnect_port(Call& call) {
    const auto input = call.header<HvInputDisconnectPort>();
    HvStatus status = HvStatus::success;
    Partition* sender = target(call, input.connection_partition_id, status);
    if (sender == nullptr) return status;
    if (input.flags != 0) return HvStatus::invalid_parameter;  // doorbells are not modelled
    return with_object(*sender, 0, [&] { return ports_.disconnect({sender->id(), input.connection_id}); });
}

HvStatus RootHypercalls::get_port_property(Call& call) {
    const auto input = call.header<HvInputGetPortProperty>();
    HvStatus status = HvStatus::success;
    const Partition* owner = target(call, input.port_partition_id, status);
    if (owner == nullptr) return status;
    std::uint64_t value = 0;
    status = ports_.property({owner->id(), input.port_id}, input.property_code, value);
    if (status == HvStatus::success) call.write(value);
    return status;
}

HvStatus RootHypercalls::post_message(Call& call) {
    const auto input = call.header<HvInputPostMessage>();
    if (input.reserved != 0 || input.payload_size > message_payload_bytes) return HvStatus::invalid_parameter;
    return ports_.post_message(call.caller.id(), input.connection_id, input.message_type,
                               std::as_bytes(std::span{input.payload}).first(input.payload_size));
}

HvStatus RootHypercalls::signal_event(Call& call) {
    const auto input = call.header<HvInputSignalEvent>();
    if (input.reserved != 0) return HvStatus::invalid_parameter;
    return ports_.signal_event(call.caller.id(), input.connection_id, input.flag_number);
}

}  // namespace hypervisor
