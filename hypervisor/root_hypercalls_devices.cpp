// Hypercalls about devices that are assigned to partitions. The table is in root_hypercalls.cpp.
#include "hypervisor/root_hypercalls.h"

namespace hypervisor {

HvStatus RootHypercalls::attach_device(Call& call) {
    const auto input = call.header<HvInputAttachDevice>();
    HvStatus status = HvStatus::success;
    Partition* partition = child(call, input.partition_id, status);
    if (partition == nullptr) return status;
    if (input.attach_flags != 0) return HvStatus::invalid_parameter;
    return partitions_.attach_device(*partition, input.device_id, input.logical_device_id);
}

HvStatus RootHypercalls::detach_device(Call& call) {
    const auto input = call.header<HvInputDetachDevice>();
    HvStatus status = HvStatus::success;
    Partition* partition = child(call, input.partition_id, status);
    return partition == nullptr ? status : partitions_.detach_device(*partition, input.logical_device_id);
}

HvStatus RootHypercalls::map_device_interrupt(Call& call) {
    const auto input = call.header<HvInputMapDeviceInterrupt>();
    HvStatus status = HvStatus::success;
    Partition* partition = child(call, input.partition_id, status);
    if (partition == nullptr) return status;
    const HvDeviceInterruptDescriptor& wanted = input.descriptor;
    // Messages are edges, and are delivered as fixed interrupts.
    if (input.flags != 0 || wanted.trigger_mode != 0 || wanted.reserved != 0 ||
        wanted.interrupt_type != static_cast<std::uint32_t>(HvInterruptType::fixed) ||
        (wanted.flags & ~interrupt_target_flag::multicast) != 0) {
        return HvStatus::invalid_parameter;
    }
    const InterruptTarget target{.vector = wanted.vector,
                                 .processors = wanted.vp_mask & partition->vp_mask(),
                                 .multicast = (wanted.flags & interrupt_target_flag::multicast) != 0};
    DeviceMessage message;
    status = partition->devices().map_interrupt(input.device_id, target, wanted.vector_count, message);
    if (status != HvStatus::success) return status;
    call.write(HvOutputMapDeviceInterrupt{{interrupt_source_msi, 0, message.address, message.data}});
    return HvStatus::success;
}

HvStatus RootHypercalls::unmap_device_interrupt(Call& call) {
    const auto input = call.header<HvInputUnmapDeviceInterrupt>();
    HvStatus status = HvStatus::success;
    Partition* partition = child(call, input.partition_id, status);
    if (partition == nullptr) return status;
    if (input.entry.source != interrupt_source_msi) return HvStatus::invalid_parameter;
    return partition->devices().unmap_interrupt(input.device_id, {input.entry.msi_address, input.entry.msi_data});
}

// A device's registers: nothing of memory, so nothing of the second level's tables.
GpaEdit RootHypercalls::map_device_page(Partition& partition, std::uint64_t gpa_page, std::uint64_t spa_page,
                                        bool large) {
    if (spa_page >= std::uint64_t{1} << (52 - hv_page_shift)) return GpaEdit::not_owned;
    if (large || gpa_page >= std::uint64_t{1} << (48 - hv_page_shift)) return GpaEdit::invalid;
    if (partition.gpa_space().translate(gpa_page << hv_page_shift)) return GpaEdit::invalid;
    partition.devices().map_page(gpa_page, spa_page);
    partition.mapping_changed(gpa_page << hv_page_shift, hv_page_size);
    return GpaEdit::ok;
}

}  // namespace hypervisor
