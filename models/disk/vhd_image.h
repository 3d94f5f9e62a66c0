// An open VHD.
//
// Order of writes, as there is no log. Payload, a new block's zeros and first bitmap, and the footer behind it go to
// their places at once. Changed sectors of the block allocation table and of bitmaps wait in memory until a flush,
// which flushes the file, writes them, and flushes again. A sector of 512 bytes is never torn and each is right by
// itself, so that a power cut in between leaves blocks either as they were or with new content. Only the footer at the
// end may be lost, for which dynamic images have a copy at the start; opening for writing puts it back.
#pragma once

#include <memory>
#include <vector>

#include "models/disk/disk_image.h"
#include "models/disk/page_cache.h"
#include "models/disk/vhd_layout.h"

namespace models::vhd {

// Throws sim::UserError.
std::unique_ptr<DiskImage> open(std::unique_ptr<ByteFile> file, const OpenOptions& options);
void create(ByteFile& file, const ImageOptions& options, sim::Random& random);
void create_child(ByteFile& file, const DiskImage& parent, const ParentPaths& paths, std::uint32_t block_bytes,
                  sim::Random& random);

class FixedImage final : public DiskImage {
public:
    FixedImage(std::unique_ptr<ByteFile> file, Access access, const Layout& layout)
        : DiskImage({layout.disk_bytes, sector_bytes, sector_bytes}, access),
          file_(std::move(file)),
          id_(layout.footer.unique_id) {}
    ~FixedImage() override { (void)close(); }

    ImageFormat format() const override { return ImageFormat::vhd; }
    ImageKind kind() const override { return ImageKind::fixed; }
    Guid disk_id() const override { return id_; }
    Guid linkage() const override { return id_; }

private:
    IoStatus do_read(std::uint64_t offset, std::span<std::byte> out) override { return file_->read(offset, out); }
    IoStatus do_write(std::uint64_t offset, std::span<const std::byte> data) override {
        return file_->write(offset, data);
    }
    IoStatus do_unmap(std::uint64_t offset, std::uint64_t length) override { return file_->zero(offset, length); }
    IoStatus do_flush() override { return file_->flush(); }

    std::unique_ptr<ByteFile> file_;
    Guid id_;
};

class SparseImage final : public DiskImage {  // dynamic and differencing
public:
    SparseImage(std::unique_ptr<ByteFile> file, Access access, Layout layout, TableSummary table,
                std::unique_ptr<DiskImage> parent);
    ~SparseImage() override { (void)close(); }

    ImageFormat format() const override { return ImageFormat::vhd; }
    ImageKind kind() const override { return layout_.differencing() ? ImageKind::differencing : ImageKind::dynamic; }
    Guid disk_id() const override { return layout_.footer.unique_id; }
    Guid linkage() const override { return layout_.footer.unique_id; }

private:
    struct Segment {  // of a transfer, inside one block
        std::uint64_t block = 0;
        std::uint64_t offset = 0;  // in the block
        std::uint64_t length = 0;
    };
    Segment segment_at(std::uint64_t offset, std::uint64_t most) const;

    IoStatus do_read(std::uint64_t offset, std::span<std::byte> out) override;
    IoStatus do_write(std::uint64_t offset, std::span<const std::byte> data) override;
    IoStatus do_unmap(std::uint64_t offset, std::uint64_t length) override;
    IoStatus do_flush() override;

    IoStatus read_segment(const Segment& segment, std::span<std::byte> out);
    IoStatus read_elsewhere(std::uint64_t offset, std::span<std::byte> out);
    IoStatus write_segment(const Segment& segment, std::span<const std::byte> data);
    IoStatus unmap_segment(const Segment& segment);
    // no_block where the block is not in the file.
    IoStatus read_entry(std::uint64_t block, std::uint32_t& sector);
    IoStatus write_entry(std::uint64_t block, std::uint32_t sector);
    IoStatus new_block(std::uint32_t& sector);
    IoStatus set_bits(std::uint64_t bitmap_offset, std::uint64_t first, std::uint64_t count);
    IoStatus make_room();
    IoStatus fail(IoStatus status);

    std::unique_ptr<ByteFile> file_;
    Layout layout_;
    std::unique_ptr<DiskImage> parent_;
    PageCache pages_;
    std::uint64_t data_end_;
    std::vector<std::uint64_t> free_;   // offsets where a block fits
    std::vector<std::uint64_t> freed_;  // are free after the next flush
    IoStatus failure_ = IoStatus::ok;   // once a flush failed, nothing more is written
};

}  // namespace models::vhd
