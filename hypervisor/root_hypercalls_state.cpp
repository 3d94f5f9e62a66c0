// Hypercalls with which a root moves a partition to another machine: what was written to, and the state.
#include "hypervisor/root_hypercalls.h"

namespace hypervisor {

// Only dirty flags can be cleared: nothing asks for the others.
HvStatus RootHypercalls::get_gpa_pages_access_state(Call& call) {
    const auto input = call.header<HvInputGetGpaPagesAccessState>();
    HvStatus status = HvStatus::success;
    Partition* partition = child(call, input.partition_id, status);
    if (partition == nullptr) return status;
    if ((input.flags & ~gpa_access_flag::clear_dirty) != 0) return HvStatus::invalid_parameter;
    GpaSpace& space = partition->gpa_space();
    if (!space.tracking()) return HvStatus::feature_unavailable;
    const bool clear = (input.flags & gpa_access_flag::clear_dirty) != 0;
    const std::uint32_t begin = call.done;
    bool cleared = false;
    for (; call.done < call.count; ++call.done) {
        const auto state = space.access_state(input.gpa_page_number + call.done, clear);
        if (!state) {
            status = HvStatus::invalid_parameter;
            break;
        }
        cleared = cleared || (clear && (*state & gpa_access_state::dirty) != 0);
        call.write(*state, call.done);
    }
    if (cleared) space.dirty_cleared(input.gpa_page_number + begin, call.done - begin);
    return status;
}

HvStatus RootHypercalls::save_partition_state(Call& call) {
    const auto input = call.header<HvInputSavePartitionState>();
    HvStatus status = HvStatus::success;
    Partition* partition = child(call, input.partition_id, status);
    if (partition == nullptr) return status;
    if (input.flags > 1) return HvStatus::invalid_parameter;
    HvPartitionStatePart part{};
    status = partition->save_part(input.flags == 1, part);
    if (status == HvStatus::success) call.write(part);
    return status;
}

HvStatus RootHypercalls::restore_partition_state(Call& call) {
    const auto input = call.header<HvInputRestorePartitionState>();
    HvStatus status = HvStatus::success;
    Partition* partition = child(call, input.partition_id, status);
    if (partition == nullptr) return status;
    if (input.part.more > 1) return HvStatus::invalid_parameter;
    return partition->restore_part(input.part);
}

}  // namespace hypervisor
