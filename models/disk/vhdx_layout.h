// Where everything lies in a VHDX file, read and checked: headers, regions, metadata, parent locator. Then the block
// allocation table is checked as a whole.
#pragma once

#include <array>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "models/disk/byte_file.h"
#include "models/disk/disk_image.h"
#include "models/disk/space_map.h"
#include "models/disk/vhdx_format.h"

namespace models::vhdx {

// Files and disks beyond this are refused, so that no table in memory grows without bound.
inline constexpr std::uint64_t most_file_bytes = 128 * tib;

// Throws sim::UserError.
[[noreturn]] void refuse(const ByteFile& file, const std::string& why);

struct Headers {
    std::array<std::optional<Header>, 2> valid;  // absent: damaged
    unsigned current = 0;

    const Header& get() const { return *valid[current]; }
};
// Throws sim::UserError where none is valid.
Headers read_headers(const ByteFile& file);

struct Extent {
    std::uint64_t offset = 0;
    std::uint64_t length = 0;
};

struct Layout {
    Extent log, bat, metadata;
    std::vector<Extent> other_regions;
    std::array<bool, 2> region_table_valid{};

    std::uint32_t block_bytes = 0;
    std::uint32_t flags = 0;  // leave_blocks_allocated, has_parent
    DiskGeometry disk;
    Guid disk_id;
    std::map<std::string, std::string> parent;  // the locator's keys and values

    std::uint64_t payload_blocks = 0;
    std::uint64_t chunk_ratio = 0;  // payload blocks per sector bitmap block
    std::uint64_t chunks = 0;

    bool differencing() const { return (flags & has_parent) != 0; }
    std::uint64_t bat_entries() const {
        return differencing() ? chunks * (chunk_ratio + 1) : payload_blocks + (payload_blocks - 1) / chunk_ratio;
    }
    // File offsets of entries.
    std::uint64_t payload_entry(std::uint64_t block) const { return bat.offset + 8 * (block + block / chunk_ratio); }
    std::uint64_t bitmap_entry(std::uint64_t chunk) const {
        return bat.offset + 8 * (chunk * (chunk_ratio + 1) + chunk_ratio);
    }
    // Bytes of a sector bitmap that one payload block takes.
    std::uint64_t bitmap_bytes_per_block() const { return block_bytes / disk.logical_sector_bytes / 8; }
};

// The log must have been replayed. Throws sim::UserError.
Layout read_layout(const ByteFile& file, const Header& header);

// Reads the whole table and takes what it points to, besides header section, log and regions. Calls `wrong` with the
// file offset of each entry that cannot be right, and goes on.
struct BatSummary {
    std::uint64_t allocated_blocks = 0;
    std::uint64_t bitmap_blocks = 0;
};
using Wrong = std::function<void(std::uint64_t file_offset, const std::string& why)>;
BatSummary check_bat(const ByteFile& file, const Layout& layout, SpaceMap& space, const Wrong& wrong);

}  // namespace models::vhdx
