#include "vmbus/integration/volume_snapshot.h"

#include <array>

#include "vmbus/inband/bytes.h"

namespace vmbus {

namespace {

// Linux speaks 5.0 only, the first version with freeze and thaw.
constexpr std::array volume_snapshot_versions{ic::Version{5, 0}};

// Operation (u8), seven reserved bytes, then: flags (u32) of a check; or, of a freeze, kind of backup, flags and number
// of disks (u32 each) with room for 260 disks of 24 bytes.
constexpr std::size_t short_bytes = 8 + 24;
constexpr std::size_t freeze_bytes = 8 + 12 + 260 * 24;
static_assert(freeze_bytes == 6260);

}  // namespace

VolumeSnapshot::VolumeSnapshot(const sim::Scope& scope, const ServiceHost& host, SnapshotListener* listener)
    : listener_(listener),
      service_(scope, host,
               {ic::Type::volume_snapshot, interface_type::volume_snapshot, instance, volume_snapshot_versions}, *this),
      registration_(scope.register_state(*this)) {}

void VolumeSnapshot::ask(SnapshotOperation operation, sim::Time timeout) {
    const auto number = static_cast<std::uint8_t>(operation);
    ByteBuilder body;
    body.u8(number).zeros((operation == SnapshotOperation::freeze ? freeze_bytes : short_bytes) - 1);
    service_.ask(number, body.take(), timeout);
}

void VolumeSnapshot::answered(std::uint32_t token, const ic::Answer& answer) {
    SnapshotResult result{static_cast<SnapshotOperation>(token), answer.outcome, answer.status, 0};
    if (result.ok()) {
        ByteReader body{answer.body};
        body.skip(8);
        if (result.operation == SnapshotOperation::check_hot_backup) result.flags = body.u32();
        if (result.operation == SnapshotOperation::freeze) state_.frozen = true;
        if (result.operation == SnapshotOperation::thaw) state_.frozen = false;
    }
    if (listener_ != nullptr) listener_->snapshot_answered(result);
}

}  // namespace vmbus
