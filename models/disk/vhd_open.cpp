// Opening a VHD: footer, header, table, parent.
#include <fmt/format.h>

#include "models/disk/image_structure.h"
#include "models/disk/vhd_image.h"

namespace models::vhd {
namespace {

std::unique_ptr<DiskImage> open_parent(const ByteFile& file, const Layout& layout, const OpenOptions& options) {
    if (options.parents == nullptr) refuse(file, "differencing, and nobody provides its parent");
    if (options.most_ancestors == 0) refuse(file, "its chain of parents is too long, or a circle");
    std::unique_ptr<ByteFile> found;
    std::string tried;
    for (const std::string& path : layout.parent_paths) {
        found = options.parents->open(file.name(), path);
        if (found != nullptr) break;
        tried += (tried.empty() ? "'" : ", '") + path + "'";
    }
    if (found == nullptr) refuse(file, tried.empty() ? "it names no parent" : "its parent is not at " + tried);
    OpenOptions above = options;
    above.access = Access::read_only;
    above.format = ImageFormat::vhd;
    --above.most_ancestors;
    auto parent = open(std::move(found), above);
    // The recorded time of the parent is the host's, and changes when files are copied: the identifier decides.
    if (parent->linkage() != layout.dynamic.parent_unique_id) {
        refuse(file, fmt::format("its parent is another disk: {}, and {} was recorded", braced(parent->linkage()),
                                 braced(layout.dynamic.parent_unique_id)));
    }
    return parent;
}

// What a power cut may have taken.
void restore_footers(ByteFile& file, Layout& layout, std::uint64_t data_end) {
    auto status = IoStatus::ok;
    if (!layout.footer_at_end_valid) {
        layout.footer_offset = round_up(std::max(file.size(), data_end), sector_bytes);
        status = file.write(layout.footer_offset, bytes_of(layout.footer));
    }
    if (status == IoStatus::ok && !layout.footer_at_start_valid) status = file.write(0, bytes_of(layout.footer));
    if (status == IoStatus::ok) status = file.flush();
    if (status != IoStatus::ok) refuse(file, fmt::format("its footer cannot be restored: {}", name_of(status)));
}

}  // namespace

std::unique_ptr<DiskImage> open(std::unique_ptr<ByteFile> file, const OpenOptions& options) {
    Layout layout = read_layout(*file);
    if (layout.type == DiskType::fixed) return std::make_unique<FixedImage>(std::move(file), options.access, layout);
    TableSummary table = check_table(*file, layout, [&](std::uint64_t at, const std::string& why) {
        refuse(*file, fmt::format("{} (table entry at {:#x})", why, at));
    });
    std::unique_ptr<DiskImage> parent;
    if (layout.differencing()) parent = open_parent(*file, layout, options);
    if (options.access == Access::read_write && !(layout.footer_at_end_valid && layout.footer_at_start_valid)) {
        restore_footers(*file, layout, table.data_end);
    }
    return std::make_unique<SparseImage>(std::move(file), options.access, std::move(layout), std::move(table),
                                         std::move(parent));
}

}  // namespace models::vhd
