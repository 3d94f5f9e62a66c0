#include "models/disk/disk_image.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <optional>

#include "models/disk/host_file.h"
#include "models/disk/raw_image.h"
#include "models/disk/vhd_format.h"
#include "models/disk/vhd_image.h"
#include "models/disk/vhdx_format.h"
#include "models/disk/vhdx_image.h"
#include "sim/check.h"

namespace models {
namespace {

[[noreturn]] void refuse(const ByteFile& file, const std::string& why) {
    throw sim::UserError(fmt::format("disk image '{}': {}", file.name(), why));
}

struct Foreign {
    std::string_view signature, name;
};
constexpr Foreign foreign_formats[] = {
    {"QFI\xfb", "qcow2"}, {"KDMV", "VMDK"}, {"COWD", "VMDK"}, {"# Disk DescriptorFile", "VMDK"}, {"<<< ", "VDI"},
};

bool starts_with(std::span<const std::byte> data, std::string_view text) {
    return data.size() >= text.size() && std::memcmp(data.data(), text.data(), text.size()) == 0;
}

}  // namespace

ImageFormat detect_format(const ByteFile& file) {
    std::array<std::byte, 512> head{}, tail{};
    const std::uint64_t size = file.size();
    const auto head_bytes = static_cast<std::size_t>(std::min<std::uint64_t>(size, head.size()));
    if (file.read(0, std::span{head}.first(head_bytes)) != IoStatus::ok) refuse(file, "cannot be read");
    if (starts_with(head, vhdx::file_signature)) return ImageFormat::vhdx;
    if (starts_with(head, vhd::footer_cookie)) return ImageFormat::vhd;
    for (const auto& [signature, name] : foreign_formats) {
        if (starts_with(head, signature)) {
            refuse(file, fmt::format("a {} image; convert it: qemu-img convert -O vhdx FROM TO", name));
        }
    }
    // A fixed VHD has its footer at the end only; before Virtual PC 2004 the footer was a byte shorter.
    for (const std::uint64_t footer : {std::uint64_t{512}, std::uint64_t{511}}) {
        if (size < footer) continue;
        if (file.read(size - footer, std::span{tail}.first(footer)) != IoStatus::ok) refuse(file, "cannot be read");
        if (starts_with(tail, vhd::footer_cookie)) return ImageFormat::vhd;
    }
    return ImageFormat::raw;
}

std::string_view name_of(ImageFormat format) {
    constexpr std::string_view names[] = {"unknown", "raw", "VHD", "VHDX"};
    return names[static_cast<std::size_t>(format)];
}

std::string_view name_of(ImageKind kind) {
    constexpr std::string_view names[] = {"fixed", "dynamic", "differencing"};
    return names[static_cast<std::size_t>(kind)];
}

IoStatus DiskImage::check(std::uint64_t offset, std::uint64_t length) const {
    if (offset % geometry_.logical_sector_bytes != 0 || length % geometry_.logical_sector_bytes != 0) {
        return IoStatus::misaligned;
    }
    const bool inside = offset <= geometry_.size_bytes && length <= geometry_.size_bytes - offset;
    return inside ? IoStatus::ok : IoStatus::out_of_range;
}

IoStatus DiskImage::read(std::uint64_t offset, std::span<std::byte> out) {
    if (const auto status = check(offset, out.size()); status != IoStatus::ok) return status;
    return out.empty() ? IoStatus::ok : do_read(offset, out);
}

IoStatus DiskImage::write(std::uint64_t offset, std::span<const std::byte> data) {
    if (const auto status = check(offset, data.size()); status != IoStatus::ok) return status;
    if (read_only()) return IoStatus::read_only;
    return data.empty() ? IoStatus::ok : do_write(offset, data);
}

IoStatus DiskImage::unmap(std::uint64_t offset, std::uint64_t length) {
    if (const auto status = check(offset, length); status != IoStatus::ok) return status;
    if (read_only()) return IoStatus::read_only;
    return length == 0 ? IoStatus::ok : do_unmap(offset, length);
}

IoStatus DiskImage::flush() {
    return read_only() ? IoStatus::ok : do_flush();
}

IoStatus DiskImage::close() {
    if (read_only()) return IoStatus::ok;
    access_ = Access::read_only;
    return do_close();
}

std::unique_ptr<ByteFile> HostParentFiles::open(const std::string& child_name, const std::string& path) {
    std::string turned = path;
    std::replace(turned.begin(), turned.end(), '\\', '/');
    if (turned.starts_with("//?/")) turned.erase(0, 3);
    const std::filesystem::path from = std::filesystem::path(child_name).parent_path();
    const std::filesystem::path there = from / turned;  // an absolute path stays what it is
    std::error_code ignored;
    if (!std::filesystem::is_regular_file(there, ignored)) return nullptr;
    return open_host_file(there.lexically_normal().string(), Access::read_only);
}

std::unique_ptr<DiskImage> open_disk_image(std::unique_ptr<ByteFile> file, const OpenOptions& options) {
    if (options.access == Access::read_write && !file->writable()) refuse(*file, "opened for reading only");
    if (file->size() == 0) refuse(*file, "an empty file");
    switch (options.format == ImageFormat::detect ? detect_format(*file) : options.format) {
        case ImageFormat::vhd:
            return vhd::open(std::move(file), options);
        case ImageFormat::vhdx:
            return vhdx::open(std::move(file), options);
        default:
            return open_raw_image(std::move(file), options.access);
    }
}

std::unique_ptr<DiskImage> open_disk_image(const std::string& path, Access access, ImageFormat format) {
    HostParentFiles parents;
    return open_disk_image(open_host_file(path, access), {access, format, &parents});
}

void create_disk_image(ByteFile& file, const ImageOptions& options, sim::Random& random) {
    if (file.size() != 0) refuse(file, "not empty; a new image needs an empty file");
    const DiskGeometry& disk = options.geometry;
    const auto is_sector = [](std::uint32_t bytes) { return bytes == 512 || bytes == 4096; };
    if (!is_sector(disk.logical_sector_bytes) || !is_sector(disk.physical_sector_bytes) ||
        disk.logical_sector_bytes > disk.physical_sector_bytes) {
        refuse(file, "sectors have 512 or 4096 bytes, logical ones not more than physical ones");
    }
    if (disk.size_bytes == 0 || disk.size_bytes % disk.logical_sector_bytes != 0) {
        refuse(file, fmt::format("{} bytes are no whole number of sectors", disk.size_bytes));
    }
    if (options.kind == ImageKind::differencing) refuse(file, "a differencing image needs a parent");
    switch (options.format) {
        case ImageFormat::vhd:
            return vhd::create(file, options, random);
        case ImageFormat::vhdx:
            return vhdx::create(file, options, random);
        default:
            if (file.resize(disk.size_bytes) != IoStatus::ok || file.flush() != IoStatus::ok) {
                refuse(file, "cannot be made as large as its disk");
            }
    }
}

void create_differencing_image(ByteFile& file, const DiskImage& parent, const ParentPaths& paths,
                               std::uint32_t block_bytes, sim::Random& random) {
    if (file.size() != 0) refuse(file, "not empty; a new image needs an empty file");
    if (paths.relative.empty() && paths.absolute.empty()) refuse(file, "no path to the parent");
    switch (parent.format()) {
        case ImageFormat::vhd:
            return vhd::create_child(file, parent, paths, block_bytes, random);
        case ImageFormat::vhdx:
            return vhdx::create_child(file, parent, paths, block_bytes, random);
        default:
            refuse(file, "the parent of a differencing image is a VHD or a VHDX");
    }
}

}  // namespace models
