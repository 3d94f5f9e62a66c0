// Bytes that stay: what a disk with a time model keeps its blocks in. An image file is one, memory another.
#pragma once

#include <cstddef>
#include <cstdint>
#include <set>
#include <span>
#include <vector>

#include "vmbus/storage/block_device.h"

namespace vmbus {

// Answers at once; the time is the disk's. Offsets and lengths are whole logical sectors within the geometry's size.
class ByteStore {
public:
    virtual ~ByteStore() = default;
    virtual BlockDevice::Geometry geometry() const = 0;
    virtual BlockStatus read(std::uint64_t offset, std::span<std::byte> out) = 0;
    virtual BlockStatus write(std::uint64_t offset, std::span<const std::byte> data) = 0;
    // What was written before is safe from a loss of power after.
    virtual BlockStatus flush() = 0;
    virtual BlockStatus unmap(std::uint64_t offset, std::uint64_t length) = 0;
};

class MemoryStore final : public ByteStore {
public:
    explicit MemoryStore(BlockDevice::Geometry geometry) : geometry_(geometry), bytes_(geometry.size_bytes) {}

    BlockDevice::Geometry geometry() const override { return geometry_; }
    BlockStatus read(std::uint64_t offset, std::span<std::byte> out) override;
    BlockStatus write(std::uint64_t offset, std::span<const std::byte> data) override;
    BlockStatus flush() override { return BlockStatus::success; }
    BlockStatus unmap(std::uint64_t offset, std::uint64_t length) override;

    std::span<std::byte> bytes() { return bytes_; }
    void resize(std::uint64_t size_bytes);
    void set_read_only(bool on) { geometry_.read_only = on; }
    // Whatever touches the sector at this offset fails from now on.
    void break_sector(std::uint64_t offset) { broken_.insert(offset / geometry_.logical_sector_bytes); }

    template <class Archive>
    void fields(Archive& archive) {
        archive(geometry_.size_bytes, geometry_.read_only, bytes_, broken_);
    }

private:
    bool is_broken(std::uint64_t offset, std::uint64_t length) const;

    BlockDevice::Geometry geometry_;
    std::vector<std::byte> bytes_;
    std::set<std::uint64_t> broken_;  // sector numbers
};

}  // namespace vmbus
