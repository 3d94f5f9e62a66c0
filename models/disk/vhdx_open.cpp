// Opening a VHDX: headers, log, layout, tables, parent.
#include <fmt/format.h>

#include "models/disk/image_structure.h"
#include "models/disk/overlay_file.h"
#include "models/disk/vhdx_image.h"
#include "sim/check.h"

namespace models::vhdx {
namespace {

// A log that was left behind is replayed: into the file if it may be written, else into memory on top of it.
std::unique_ptr<ByteFile> settle_log(std::unique_ptr<ByteFile> file, Access access, Headers& headers) {
    if (headers.get().log_guid == Guid{}) return file;
    const LogSequence sequence = read_log(*file, headers.get());
    if (access == Access::read_only) {
        auto overlay = std::make_unique<OverlayFile>(std::move(file));
        if (replay(sequence, *overlay) != IoStatus::ok) refuse(*overlay, "its log cannot be replayed");
        return overlay;
    }
    // 2.2.2: a new FileWriteGuid before anything else changes. The log stays valid until its changes are safe.
    Header header = headers.get();
    sim::Random random{header.sequence_number ^ structure_at<std::uint64_t>(bytes_of(header.log_guid)), "vhdx replay"};
    header.file_write_guid = draw_guid(random);
    auto status = update_header(*file, headers, header);
    if (status == IoStatus::ok) status = replay(sequence, *file);
    if (status == IoStatus::ok) status = file->flush();
    header.log_guid = Guid{};
    for (int copy = 0; copy < 2 && status == IoStatus::ok; ++copy) status = update_header(*file, headers, header);
    if (status != IoStatus::ok) refuse(*file, fmt::format("its log cannot be replayed: {}", name_of(status)));
    return file;
}

std::unique_ptr<DiskImage> open_parent(const ByteFile& file, const Layout& layout, const OpenOptions& options) {
    if (options.parents == nullptr) refuse(file, "differencing, and nobody provides its parent");
    if (options.most_ancestors == 0) refuse(file, "its chain of parents is too long, or a circle");
    const auto linkage = layout.parent.find("parent_linkage");
    if (linkage == layout.parent.end()) refuse(file, "its parent locator does not identify the parent");
    std::unique_ptr<ByteFile> found;
    std::string tried;
    for (const char* key : {"relative_path", "volume_path", "absolute_win32_path"}) {  // in this order: 2.6.2.6.3
        const auto path = layout.parent.find(key);
        if (path == layout.parent.end()) continue;
        found = options.parents->open(file.name(), path->second);
        if (found != nullptr) break;
        tried += (tried.empty() ? "'" : ", '") + path->second + "'";
    }
    if (found == nullptr) {
        refuse(file, tried.empty() ? "its parent locator has no path" : "its parent is not at " + tried);
    }
    OpenOptions above = options;
    above.access = Access::read_only;
    above.format = ImageFormat::vhdx;
    --above.most_ancestors;
    auto parent = open(std::move(found), above);
    const auto same = [&](const std::string& text) {
        std::string lower = text;
        for (char& c : lower) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
        return lower == braced(parent->linkage());
    };
    const auto second = layout.parent.find("parent_linkage2");
    if (!same(linkage->second) && (second == layout.parent.end() || !same(second->second))) {
        refuse(file, fmt::format("its parent has changed since: its data is {}, and {} was recorded",
                                 braced(parent->linkage()), linkage->second));
    }
    if (parent->logical_sector_bytes() != layout.disk.logical_sector_bytes) {
        refuse(file, "its parent has sectors of another size");
    }
    return parent;
}

}  // namespace

std::unique_ptr<DiskImage> open(std::unique_ptr<ByteFile> file, const OpenOptions& options) {
    Headers headers = read_headers(*file);
    file = settle_log(std::move(file), options.access, headers);
    Layout layout = read_layout(*file, headers.get());
    SpaceMap space;
    check_bat(*file, layout, space,
              [&](std::uint64_t at, const std::string& why) { refuse(*file, fmt::format("{} (at {:#x})", why, at)); });
    std::unique_ptr<DiskImage> parent;
    if (layout.differencing()) parent = open_parent(*file, layout, options);
    if (options.access == Access::read_write && layout.log.length == 0)
        refuse(*file, "without a log; cannot be written");
    return std::make_unique<VhdxImage>(std::move(file), options.access, std::move(headers), std::move(layout),
                                       std::move(space), std::move(parent));
}

}  // namespace models::vhdx
