// An open VHDX: reading, writing, unmapping, and the session that keeps the file whole at every instant.
//
// Order of writes. Payload goes to its place at once. Changes of the block allocation table and of sector bitmaps wait
// in memory until a flush (or until they fill a log entry), which takes four steps:
//   1. flush the file: payload is safe, and so is what the entry before changed;
//   2. write one log entry with all changed pages, and flush: from here on a power cut keeps them;
//   3. write the pages to their places;
//   4. leave it to the next flush to make that safe: until then the log has it.
// So a block is never reachable before its content is safe, and space is reused only after step 2 has freed it.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "models/disk/disk_image.h"
#include "models/disk/page_cache.h"
#include "models/disk/space_map.h"
#include "models/disk/vhdx_layout.h"
#include "models/disk/vhdx_log.h"

namespace models::vhdx {

// Throws sim::UserError.
std::unique_ptr<DiskImage> open(std::unique_ptr<ByteFile> file, const OpenOptions& options);
void create(ByteFile& file, const ImageOptions& options, sim::Random& random);
void create_child(ByteFile& file, const DiskImage& parent, const ParentPaths& paths, std::uint32_t block_bytes,
                  sim::Random& random);

// Writes a header over the one that is not current, and flushes. `headers` then tells the new state.
IoStatus update_header(ByteFile& file, Headers& headers, Header header);

class VhdxImage final : public DiskImage {
public:
    VhdxImage(std::unique_ptr<ByteFile> file, Access access, Headers headers, Layout layout, SpaceMap space,
              std::unique_ptr<DiskImage> parent);
    ~VhdxImage() override { (void)close(); }

    ImageFormat format() const override { return ImageFormat::vhdx; }
    ImageKind kind() const override;
    Guid disk_id() const override { return layout_.disk_id; }
    Guid linkage() const override { return headers_.get().data_write_guid; }

private:
    struct Segment {  // of a transfer, inside one payload block
        std::uint64_t block = 0;
        std::uint64_t offset = 0;  // in the block
        std::uint64_t length = 0;
    };
    Segment segment_at(std::uint64_t offset, std::uint64_t most) const;

    IoStatus do_read(std::uint64_t offset, std::span<std::byte> out) override;
    IoStatus do_write(std::uint64_t offset, std::span<const std::byte> data) override;
    IoStatus do_unmap(std::uint64_t offset, std::uint64_t length) override;
    IoStatus do_flush() override;
    IoStatus do_close() override;

    IoStatus read_segment(const Segment& segment, std::span<std::byte> out);
    IoStatus read_partial(const Segment& segment, BatEntry entry, std::span<std::byte> out);
    IoStatus read_parent(std::uint64_t offset, std::span<std::byte> out);
    IoStatus write_segment(const Segment& segment, std::span<const std::byte> data);
    IoStatus write_new_block(const Segment& segment, BatEntry former, std::span<const std::byte> data);
    IoStatus unmap_segment(const Segment& segment);
    IoStatus zero_segment(const Segment& segment);

    IoStatus read_entry(std::uint64_t at, BatEntry& entry);
    IoStatus write_entry(std::uint64_t at, BatEntry entry);
    // Where the bits of a block begin; allocates their sector bitmap block where there is none.
    IoStatus find_bitmap(std::uint64_t block, std::uint64_t& file_offset);
    IoStatus make_bitmap(std::uint64_t block, std::uint64_t& file_offset);
    IoStatus set_bits(std::uint64_t bitmap_offset, std::uint64_t first, std::uint64_t count);

    // Space in the file; `zeroed` asks that it reads as zeros.
    enum class Content : std::uint8_t { zeros, any };
    IoStatus allocate(std::uint64_t bytes, Content content, std::uint64_t& file_offset);
    void free_later(BatEntry entry);

    // vhdx_session.cpp
    IoStatus begin_change();  // before every change of the file
    IoStatus make_room();     // so that the pages of one more change fit into a log entry
    IoStatus commit();
    IoStatus fail(IoStatus status);

    std::unique_ptr<ByteFile> file_;
    Headers headers_;
    Layout layout_;
    SpaceMap space_;
    std::unique_ptr<DiskImage> parent_;
    PageCache pages_;
    std::vector<std::pair<std::uint64_t, std::uint64_t>> freed_;  // MiB units, free after the next commit
    sim::Random guids_;
    LogWriter log_;
    enum class Session : std::uint8_t { untouched, changing, logging };
    Session session_ = Session::untouched;
    IoStatus failure_ = IoStatus::ok;  // once a flush or the log failed, nothing more is written
};

}  // namespace models::vhdx
