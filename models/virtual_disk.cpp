#include "models/virtual_disk.h"

#include <utility>

namespace models {

namespace {

vmbus::BlockStatus block_status(IoStatus status) {
    switch (status) {
        case IoStatus::ok:
            return vmbus::BlockStatus::success;
        case IoStatus::out_of_range:
        case IoStatus::misaligned:
            return vmbus::BlockStatus::out_of_range;
        case IoStatus::read_only:
            return vmbus::BlockStatus::read_only;
        default:
            return vmbus::BlockStatus::medium_error;
    }
}

// A name for the guest to know the disk by: unique in the machine, the same in each run.
vmbus::ScsiDiskConfig unit_config(std::uint64_t number) {
    vmbus::ScsiDiskConfig config;
    config.disk_id = {0x76, 0x65, 0x72, 0x64, 0x69, 0x67, 0x72, 0x69, 0x73};
    for (unsigned i = 0; i < 4; ++i) config.disk_id[12 + i] = static_cast<std::uint8_t>(number >> (24 - 8 * i));
    return config;
}

}  // namespace

vmbus::BlockDevice::Geometry ImageStore::geometry() const {
    return {.size_bytes = image_.size_bytes(),
            .logical_sector_bytes = image_.logical_sector_bytes(),
            .physical_sector_bytes = image_.physical_sector_bytes(),
            .read_only = image_.read_only(),
            .unmap = !image_.read_only()};
}

vmbus::BlockStatus ImageStore::read(std::uint64_t offset, std::span<std::byte> out) {
    return block_status(image_.read(offset, out));
}

vmbus::BlockStatus ImageStore::write(std::uint64_t offset, std::span<const std::byte> data) {
    return block_status(image_.write(offset, data));
}

vmbus::BlockStatus ImageStore::flush() {
    return block_status(image_.flush());
}

vmbus::BlockStatus ImageStore::unmap(std::uint64_t offset, std::uint64_t length) {
    return block_status(image_.unmap(offset, length));
}

VirtualDisk::VirtualDisk(const sim::Scope& scope, std::unique_ptr<DiskImage> image, const DiskConfig& config,
                         std::uint64_t number)
    : scope_(scope),
      image_(std::move(image)),
      changes_([&]() -> sim::StateRegistration {
          if (config.in_place) return {};
          auto overlay = std::make_unique<OverlayImage>(std::move(image_));
          sim::StateRegistration registration = scope.child("changes").register_state(*overlay);
          image_ = std::move(overlay);
          return registration;
      }()),
      store_(*image_),
      timed_(scope, store_, config.timing),
      group_(scope.child("qos"), {.limit = {}, .in_flight = 0}),
      shaped_(scope.child("qos"), group_, timed_, {.limit = config.limit, .reserve_iops = config.reserve_iops}),
      number_(number) {}

vmbus::ScsiDisk& VirtualDisk::unit() {
    if (!unit_) unit_.emplace(scope_.child("unit"), shaped_, unit_config(number_));
    return *unit_;
}

VirtualDvd::VirtualDvd(const sim::Scope& scope, std::unique_ptr<DiskImage> image, std::uint64_t number)
    : image_(std::move(image)),
      store_(*image_),
      timed_(scope, store_, {}),
      unit_(scope.child("unit"), timed_, unit_config(number).disk_id) {}

}  // namespace models
