// The check of a whole block allocation table (see vhdx_layout.h).
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "models/disk/image_structure.h"
#include "models/disk/vhdx_layout.h"

namespace models::vhdx {
namespace {

class BatCheck final {
public:
    BatCheck(const ByteFile& file, const Layout& layout, SpaceMap& space, const Wrong& wrong)
        : layout_(layout), file_bytes_(file.size()), space_(space), wrong_(wrong) {}

    BatSummary summary;

    void payload(std::uint64_t block, BatEntry entry, std::uint64_t at) {
        const auto name = [&] { return fmt::format("the table entry of block {}", block); };
        if (entry.reserved() != 0) wrong_(at, name() + " has reserved bits set");
        switch (entry.state()) {
            case BlockState::not_present:
            case BlockState::zero:
                return;  // the offset is reserved
            case BlockState::undefined:
            case BlockState::unmapped:
                if (entry.file_offset() == 0) return;  // else it may keep its former place
                break;
            case BlockState::fully_present:
                break;
            case BlockState::partially_present:
                if (!layout_.differencing()) {
                    return wrong_(at, name() + " is partially present, but the image has no parent");
                }
                partial_in_chunk_ = true;
                break;
            default:
                return wrong_(at, fmt::format("{} has the unknown state {}", name(), entry.raw & 7));
        }
        // The last block may be shorter than the others if the disk is.
        const std::uint64_t used =
            std::min<std::uint64_t>(layout_.block_bytes, layout_.disk.size_bytes - block * layout_.block_bytes);
        take(name, entry, layout_.block_bytes, used, at);
        ++summary.allocated_blocks;
    }

    void bitmap(std::uint64_t chunk, BatEntry entry, std::uint64_t at) {
        const auto name = [&] { return fmt::format("the table entry of sector bitmap {}", chunk); };
        const bool needed = std::exchange(partial_in_chunk_, false);
        if (entry.state() == BlockState::not_present) {
            if (needed) wrong_(at, name() + " is empty, but blocks that need it are partially present");
            return;
        }
        if (entry.state() != BlockState::fully_present || !layout_.differencing()) {
            return wrong_(at, fmt::format("{} has the state {}, impossible here", name(), entry.raw & 7));
        }
        take(name, entry, sector_bitmap_block_bytes, sector_bitmap_block_bytes, at);
        ++summary.bitmap_blocks;
    }

private:
    template <class Name>
    void take(const Name& name, BatEntry entry, std::uint64_t length, std::uint64_t used, std::uint64_t at) {
        const std::uint64_t offset = entry.file_offset();
        if (offset > file_bytes_ || used > file_bytes_ - offset) {
            return wrong_(
                at, fmt::format("{} points to {:#x}, past the end of the file at {:#x}", name(), offset, file_bytes_));
        }
        if (offset < header_section_bytes) return wrong_(at, fmt::format("{} points into the headers", name()));
        if (!space_.take(offset / mib, length / mib)) {
            wrong_(at, fmt::format("{} points to {:#x}, where another structure is", name(), offset));
        }
    }

    const Layout& layout_;
    std::uint64_t file_bytes_;
    SpaceMap& space_;
    const Wrong& wrong_;
    bool partial_in_chunk_ = false;
};

}  // namespace

BatSummary check_bat(const ByteFile& file, const Layout& layout, SpaceMap& space, const Wrong& wrong) {
    space = SpaceMap{divide_up(file.size(), mib)};
    (void)space.take(0, header_section_bytes / mib);
    const auto reserve = [&](const Extent& extent, std::string_view what) {
        if (!space.take(extent.offset / mib, extent.length / mib)) {
            wrong(extent.offset, fmt::format("the {} lies where another structure is", what));
        }
    };
    reserve(layout.log, "log");
    reserve(layout.bat, "block allocation table");
    reserve(layout.metadata, "metadata region");
    for (const Extent& extent : layout.other_regions) reserve(extent, "unknown region");

    BatCheck check(file, layout, space, wrong);
    std::vector<std::byte> part(64 * kib);
    const std::uint64_t count = layout.bat_entries();
    for (std::uint64_t first = 0; first < count; first += part.size() / sizeof(BatEntry)) {
        const std::uint64_t entries = std::min<std::uint64_t>(count - first, part.size() / sizeof(BatEntry));
        const std::uint64_t at = layout.bat.offset + first * sizeof(BatEntry);
        if (file.read(at, std::span{part}.first(entries * sizeof(BatEntry))) != IoStatus::ok) {
            wrong(at, "the block allocation table cannot be read");
            break;
        }
        for (std::uint64_t i = 0; i < entries; ++i) {
            const auto entry = structure_at<BatEntry>(part, i * sizeof(BatEntry));
            const std::uint64_t index = first + i, chunk = index / (layout.chunk_ratio + 1);
            const std::uint64_t in_chunk = index % (layout.chunk_ratio + 1);
            const std::uint64_t entry_at = at + i * sizeof(BatEntry);
            const std::uint64_t block = chunk * layout.chunk_ratio + in_chunk;
            if (in_chunk == layout.chunk_ratio) {
                check.bitmap(chunk, entry, entry_at);
            } else if (block < layout.payload_blocks) {  // the last chunk may have entries without blocks
                check.payload(block, entry, entry_at);
            }
        }
    }
    return check.summary;
}

}  // namespace models::vhdx
