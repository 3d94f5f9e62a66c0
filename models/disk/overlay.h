// A disk whose changes stay in memory, over an image that is only read: the disk of a run, which so never changes its
// input. The changes are its state, saved and restored; export_to() makes an image of the whole.
#pragma once

#include <memory>

#include "models/disk/disk_image.h"
#include "models/disk/written_blocks.h"
#include "sim/archive.h"

namespace models {

class OverlayImage final : public DiskImage, private Beneath {
public:
    static constexpr std::uint64_t unlimited = ~std::uint64_t{0};

    // Writes that would hold more than so many bytes in memory end with no_space.
    explicit OverlayImage(std::unique_ptr<DiskImage> image, std::uint64_t most_bytes = unlimited);

    ImageFormat format() const override { return image_->format(); }
    ImageKind kind() const override { return image_->kind(); }
    Guid disk_id() const override { return image_->disk_id(); }

    std::uint64_t bytes_held() const { return blocks_.bytes_held(); }
    // Writes all of the disk to an image of the same size, zeros as unmapped, and flushes it.
    IoStatus export_to(DiskImage& target);

    // Of the image beneath only the size is checked: a checkpoint belongs to the same scenario and the same file.
    void save(sim::Writer& writer) const;
    void restore(sim::Reader& reader);

private:
    IoStatus do_read(std::uint64_t offset, std::span<std::byte> out) override;
    IoStatus do_write(std::uint64_t offset, std::span<const std::byte> data) override;
    IoStatus do_unmap(std::uint64_t offset, std::uint64_t length) override;
    IoStatus do_flush() override { return IoStatus::ok; }  // memory, as the whole simulated machine
    IoStatus read_beneath(std::uint64_t offset, std::span<std::byte> out) override;

    std::unique_ptr<DiskImage> image_;
    std::uint64_t most_bytes_;
    WrittenBlocks blocks_;
};

}  // namespace models
