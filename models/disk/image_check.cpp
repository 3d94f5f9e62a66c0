#include "models/disk/image_check.h"

#include <fmt/format.h>

#include "models/disk/image_structure.h"
#include "models/disk/overlay_file.h"
#include "models/disk/vhd_layout.h"
#include "models/disk/vhdx_layout.h"
#include "models/disk/vhdx_log.h"
#include "sim/check.h"

namespace models {
namespace {

constexpr std::size_t most_findings = 100;

void add(ImageCheck& check, ImageFinding::Kind kind, std::string text) {
    ++(kind == ImageFinding::Kind::error ? check.errors : check.recoverable);
    if (check.findings.size() < most_findings) check.findings.push_back({kind, std::move(text)});
}

void error_at(ImageCheck& check, std::uint64_t file_offset, const std::string& why) {
    add(check, ImageFinding::Kind::error, fmt::format("{:#x}: {}", file_offset, why));
}

void check_vhdx(const ByteFile& file, ImageCheck& check) {
    const vhdx::Headers headers = vhdx::read_headers(file);
    for (unsigned copy = 0; copy < 2; ++copy) {
        if (!headers.valid[copy]) {
            add(check, ImageFinding::Kind::recoverable,
                fmt::format("{:#x}: one header is damaged, the other is used", vhdx::header_offsets[copy]));
        }
    }
    OverlayFile settled(file);
    if (headers.get().log_guid != Guid{}) {
        const vhdx::LogSequence log = vhdx::read_log(file, headers.get());
        add(check, ImageFinding::Kind::recoverable,
            fmt::format("{:#x}: the log holds {} entries with {} changes to replay", headers.get().log_offset,
                        log.entries, log.writes.size()));
        if (vhdx::replay(log, settled) != IoStatus::ok) error_at(check, headers.get().log_offset, "cannot be replayed");
    }
    const vhdx::Layout layout = vhdx::read_layout(settled, headers.get());
    for (unsigned copy = 0; copy < 2; ++copy) {
        if (!layout.region_table_valid[copy])
            error_at(check, vhdx::region_table_offsets[copy], "a damaged region table");
    }
    SpaceMap space;
    const auto wrong = [&](std::uint64_t at, const std::string& why) { error_at(check, at, why); };
    const auto summary = vhdx::check_bat(settled, layout, space, wrong);
    check.allocated_blocks = summary.allocated_blocks;
    check.unused_bytes = space.count_free() * vhdx::mib;
}

void check_vhd(const ByteFile& file, ImageCheck& check) {
    const vhd::Layout layout = vhd::read_layout(file);
    if (!layout.footer_at_end_valid) {
        add(check, ImageFinding::Kind::recoverable,
            fmt::format("{:#x}: the footer is damaged, its copy at the start is used", layout.footer_offset));
    }
    if (layout.type == vhd::DiskType::fixed) return;
    if (!layout.footer_at_start_valid) {
        add(check, ImageFinding::Kind::recoverable,
            "0x0: the copy of the footer is damaged, the one at the end is used");
    }
    const auto wrong = [&](std::uint64_t at, const std::string& why) { error_at(check, at, why); };
    const auto summary = vhd::check_table(file, layout, wrong);
    check.allocated_blocks = summary.allocated_blocks;
    check.unused_bytes = summary.unused_bytes;
    if (layout.footer_offset > summary.data_end) check.unused_bytes += layout.footer_offset - summary.data_end;
}

}  // namespace

std::string ImageCheck::text() const {
    std::string lines;
    for (const ImageFinding& finding : findings) {
        lines += (finding.kind == ImageFinding::Kind::error ? "error " : "recoverable ") + finding.text + "\n";
    }
    return lines;
}

ImageCheck check_image(const ByteFile& file, ImageFormat format) {
    ImageCheck check;
    try {
        check.format = format == ImageFormat::detect ? detect_format(file) : format;
        if (check.format == ImageFormat::vhdx) check_vhdx(file, check);
        if (check.format == ImageFormat::vhd) check_vhd(file, check);
    } catch (const sim::UserError& error) {
        add(check, ImageFinding::Kind::error, error.what());
    }
    return check;
}

}  // namespace models
