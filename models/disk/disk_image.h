// Disk images: raw, VHD and VHDX, each fixed, dynamic or differencing. What a storage provider reads and writes.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "models/disk/byte_file.h"
#include "models/disk/identifiers.h"
#include "models/disk/io_status.h"
#include "sim/random.h"

namespace models {

enum class ImageFormat : std::uint8_t { detect, raw, vhd, vhdx };
enum class ImageKind : std::uint8_t { fixed, dynamic, differencing };
std::string_view name_of(ImageFormat format);
std::string_view name_of(ImageKind kind);

struct DiskGeometry {
    std::uint64_t size_bytes = 0;
    std::uint32_t logical_sector_bytes = 512;
    std::uint32_t physical_sector_bytes = 512;

    friend bool operator==(const DiskGeometry&, const DiskGeometry&) = default;
};

class DiskImage {
public:
    virtual ~DiskImage() = default;
    DiskImage(const DiskImage&) = delete;
    DiskImage& operator=(const DiskImage&) = delete;

    std::uint64_t size_bytes() const { return geometry_.size_bytes; }
    std::uint32_t logical_sector_bytes() const { return geometry_.logical_sector_bytes; }
    std::uint32_t physical_sector_bytes() const { return geometry_.physical_sector_bytes; }
    const DiskGeometry& geometry() const { return geometry_; }
    bool read_only() const { return access_ == Access::read_only; }

    // In whole logical sectors inside the disk, else out_of_range or misaligned. No sectors is no error.
    IoStatus read(std::uint64_t offset, std::span<std::byte> out);
    IoStatus write(std::uint64_t offset, std::span<const std::byte> data);
    // Frees what the range takes where the format can; it reads as zeros afterwards.
    IoStatus unmap(std::uint64_t offset, std::uint64_t length);
    // Everything acknowledged before survives a power cut after.
    IoStatus flush();
    // Flushes and leaves the file as cleanly closed. Nothing may be written after; the destructor does the same.
    IoStatus close();

    virtual ImageFormat format() const = 0;
    virtual ImageKind kind() const = 0;
    // Zero where the format has none.
    virtual Guid disk_id() const { return {}; }
    // What a differencing image records of its parent, to know it again.
    virtual Guid linkage() const { return {}; }

protected:
    DiskImage(const DiskGeometry& geometry, Access access) : geometry_(geometry), access_(access) {}

private:
    // Arguments are checked.
    virtual IoStatus do_read(std::uint64_t offset, std::span<std::byte> out) = 0;
    virtual IoStatus do_write(std::uint64_t offset, std::span<const std::byte> data) = 0;
    virtual IoStatus do_unmap(std::uint64_t offset, std::uint64_t length) = 0;
    virtual IoStatus do_flush() = 0;
    virtual IoStatus do_close() { return do_flush(); }

    IoStatus check(std::uint64_t offset, std::uint64_t length) const;

    DiskGeometry geometry_;
    Access access_;
};

// Finds the files of a differencing image's ancestors.
class ParentFiles {
public:
    virtual ~ParentFiles() = default;
    // nullptr where there is no such file.
    virtual std::unique_ptr<ByteFile> open(const std::string& child_name, const std::string& path) = 0;
};

// Relative to the child's folder, on the host; Windows paths with their separators turned round.
class HostParentFiles final : public ParentFiles {
public:
    std::unique_ptr<ByteFile> open(const std::string& child_name, const std::string& path) override;
};

struct OpenOptions {
    Access access = Access::read_only;
    // Say raw for a raw image whose content another party controls: its first sector could pretend to be a format.
    ImageFormat format = ImageFormat::detect;
    ParentFiles* parents = nullptr;  // none: a differencing image is refused
    unsigned most_ancestors = 64;
};

// By content: never `detect`. Throws sim::UserError for the images of other programs.
ImageFormat detect_format(const ByteFile& file);

// Throws sim::UserError that says what is wrong and where. A VHDX that was not closed cleanly is repaired from its log:
// in the file if it may be written, else in memory.
std::unique_ptr<DiskImage> open_disk_image(std::unique_ptr<ByteFile> file, const OpenOptions& options);
std::unique_ptr<DiskImage> open_disk_image(const std::string& path, Access access,
                                           ImageFormat format = ImageFormat::detect);

struct ImageOptions {
    ImageFormat format = ImageFormat::vhdx;
    ImageKind kind = ImageKind::dynamic;  // raw is always fixed; differencing: see create_differencing_image
    DiskGeometry geometry;
    std::uint32_t block_bytes = 0;  // 0: 2 MiB for VHD, 32 MiB for VHDX
    std::uint32_t timestamp = 0;    // VHD: seconds since 2000-01-01
};

// Fills an empty file. The same options and random stream give the same bytes. Throws sim::UserError.
void create_disk_image(ByteFile& file, const ImageOptions& options, sim::Random& random);

struct ParentPaths {
    std::string relative;  // from the folder of the child
    std::string absolute;  // may be empty
};
// Of the parent's format and geometry. The parent must not change as long as the child is used.
void create_differencing_image(ByteFile& file, const DiskImage& parent, const ParentPaths& paths,
                               std::uint32_t block_bytes, sim::Random& random);

}  // namespace models
