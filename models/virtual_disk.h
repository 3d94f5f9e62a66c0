// A disk of a partition: the image, what the run has changed of it, its time model, and the SCSI unit that a guest sees
// unless the disk is another controller's.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "models/disk/overlay.h"
#include "vmbus/storage/block_timing.h"
#include "vmbus/storage/byte_store.h"
#include "vmbus/storage/scsi_disk.h"
#include "vmbus/storage/scsi_dvd.h"
#include "vmbus/storage/storage_qos.h"

namespace models {

// An image as the time model's byte store.
class ImageStore final : public vmbus::ByteStore {
public:
    explicit ImageStore(DiskImage& image) : image_(image) {}

    vmbus::BlockDevice::Geometry geometry() const override;
    vmbus::BlockStatus read(std::uint64_t offset, std::span<std::byte> out) override;
    vmbus::BlockStatus write(std::uint64_t offset, std::span<const std::byte> data) override;
    vmbus::BlockStatus flush() override;
    vmbus::BlockStatus unmap(std::uint64_t offset, std::uint64_t length) override;

private:
    DiskImage& image_;
};

struct DiskConfig {
    std::string name;  // of its statistics
    vmbus::BlockTiming timing;
    vmbus::QosLimits limit;  // 0: none
    std::uint64_t reserve_iops = 0;
    bool in_place = false;  // the image itself is written; else changes stay in memory
};

class VirtualDisk final {
public:
    VirtualDisk(const sim::Scope& scope, std::unique_ptr<DiskImage> image, const DiskConfig& config,
                std::uint64_t number);

    // What of it a controller uses: the unit of a SCSI target, or the blocks themselves.
    vmbus::ScsiDisk& unit();
    vmbus::BlockDevice& blocks() { return shaped_; }
    DiskImage& image() { return *image_; }

private:
    sim::Scope scope_;
    std::unique_ptr<DiskImage> image_;
    sim::StateRegistration changes_;  // of an overlay
    ImageStore store_;
    vmbus::TimedDisk timed_;
    vmbus::QosGroup group_;
    vmbus::QosDisk shaped_;
    std::uint64_t number_;
    std::optional<vmbus::ScsiDisk> unit_;
};

// A DVD drive with a disc in it: the image is only read.
class VirtualDvd final {
public:
    VirtualDvd(const sim::Scope& scope, std::unique_ptr<DiskImage> image, std::uint64_t number);

    vmbus::ScsiDvd& unit() { return unit_; }

private:
    std::unique_ptr<DiskImage> image_;
    ImageStore store_;
    vmbus::TimedDisk timed_;
    vmbus::ScsiDvd unit_;
};

}  // namespace models
