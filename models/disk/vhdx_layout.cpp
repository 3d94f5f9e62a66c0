#include "models/disk/vhdx_layout.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "models/disk/crc32c.h"
#include "models/disk/image_structure.h"
#include "models/disk/utf16.h"
#include "sim/check.h"

namespace models::vhdx {
namespace {

// Over the whole structure, with zeros where the checksum is (bytes 4 to 7).
bool checksum_holds(std::span<const std::byte> structure) {
    constexpr std::array<std::byte, 4> zeros{};
    const std::uint32_t head = crc32c(zeros, crc32c(structure.first(4)));
    return crc32c(structure.subspan(8), head) == structure_at<std::uint32_t>(structure, 4);
}

std::vector<std::byte> read_or_refuse(const ByteFile& file, std::uint64_t offset, std::size_t length,
                                      std::string_view what) {
    std::vector<std::byte> bytes(length);
    const auto status = file.read(offset, bytes);
    if (status == IoStatus::out_of_range)
        refuse(file, fmt::format("the file ends within its {}; it is truncated", what));
    if (status != IoStatus::ok) refuse(file, fmt::format("its {} cannot be read", what));
    return bytes;
}

struct Regions {
    std::optional<Extent> bat, metadata;
    std::vector<Extent> other;
};

Regions parse_regions(const ByteFile& file, std::span<const std::byte> table) {
    Regions regions;
    std::vector<Guid> seen;
    const auto count = structure_at<RegionTableHeader>(table).entry_count;
    if (count > most_table_entries) refuse(file, fmt::format("its region table has {} entries", count));
    for (std::uint32_t i = 0; i < count; ++i) {
        const auto entry = structure_at<RegionEntry>(table, sizeof(RegionTableHeader) + i * sizeof(RegionEntry));
        const Extent extent{entry.file_offset, entry.length};
        if (extent.offset % alignment != 0 || extent.length % alignment != 0 || extent.length == 0 ||
            extent.offset < header_section_bytes) {
            refuse(file, fmt::format("region {} at {:#x} with {:#x} bytes is not made of whole MiB after the headers",
                                     i, extent.offset, extent.length));
        }
        if (extent.offset > file.size() || extent.length > file.size() - extent.offset) {
            refuse(file, fmt::format("region {} at {:#x} with {:#x} bytes reaches past the end of the file at {:#x}", i,
                                     extent.offset, extent.length, file.size()));
        }
        if (std::find(seen.begin(), seen.end(), entry.guid) != seen.end()) {
            refuse(file, fmt::format("region {} is listed twice", braced(entry.guid)));
        }
        seen.push_back(entry.guid);
        if (entry.guid == bat_region) {
            regions.bat = extent;
        } else if (entry.guid == metadata_region) {
            regions.metadata = extent;
        } else if ((entry.required & 1) != 0) {
            refuse(file, fmt::format("it needs the unknown region {}", braced(entry.guid)));
        } else {
            regions.other.push_back(extent);
        }
    }
    return regions;
}

void find_regions(const ByteFile& file, Layout& layout) {
    std::optional<std::vector<std::byte>> found;
    for (unsigned copy = 0; copy < 2; ++copy) {
        auto table = read_or_refuse(file, region_table_offsets[copy], region_table_bytes, "region tables");
        layout.region_table_valid[copy] =
            structure_at<RegionTableHeader>(table).signature == region_signature && checksum_holds(table);
        if (layout.region_table_valid[copy] && !found) found = std::move(table);
    }
    if (!found) refuse(file, "neither of its region tables (at 0x30000 and 0x40000) is valid");
    const Regions regions = parse_regions(file, *found);
    if (!regions.bat) refuse(file, "its region table lists no block allocation table");
    if (!regions.metadata) refuse(file, "its region table lists no metadata");
    layout.bat = *regions.bat;
    layout.metadata = *regions.metadata;
    layout.other_regions = regions.other;
}

using Items = std::map<std::array<std::uint8_t, 16>, std::vector<std::byte>>;

bool known(const Guid& item) {
    constexpr Guid items[] = {file_parameters_item, disk_size_item,       disk_id_item,
                              logical_sector_item,  physical_sector_item, parent_locator_item};
    return std::find(std::begin(items), std::end(items), item) != std::end(items);
}

Items read_items(const ByteFile& file, const Extent& region) {
    const auto table = read_or_refuse(file, region.offset, metadata_table_bytes, "metadata table");
    const auto head = structure_at<MetadataTableHeader>(table);
    if (head.signature != metadata_signature) {
        refuse(file, fmt::format("no metadata table is at {:#x}, where the region table says", region.offset));
    }
    if (head.entry_count > most_table_entries) {
        refuse(file, fmt::format("its metadata table has {} entries", head.entry_count));
    }
    Items items;
    for (std::uint32_t i = 0; i < head.entry_count; ++i) {
        const auto entry = structure_at<MetadataEntry>(table, sizeof head + i * sizeof(MetadataEntry));
        if ((entry.flags & item_is_user) != 0) continue;
        if (!known(entry.item)) {
            if ((entry.flags & item_is_required) == 0) continue;
            refuse(file, fmt::format("it needs the unknown metadata item {}", braced(entry.item)));
        }
        if (entry.length > most_item_bytes || entry.offset < metadata_table_bytes || entry.offset > region.length ||
            entry.length > region.length - entry.offset) {
            refuse(file, fmt::format("metadata item {} at {:#x} with {:#x} bytes is not inside the metadata region", i,
                                     entry.offset, entry.length));
        }
        auto content = read_or_refuse(file, region.offset + entry.offset, entry.length, "metadata");
        if (!items.emplace(entry.item.bytes, std::move(content)).second) {
            refuse(file, fmt::format("metadata item {} is listed twice", braced(entry.item)));
        }
    }
    return items;
}

template <class T>
T item(const ByteFile& file, const Items& items, const Guid& id, std::string_view name) {
    const auto found = items.find(id.bytes);
    if (found == items.end()) refuse(file, fmt::format("its metadata has no {}", name));
    if (found->second.size() < sizeof(T)) {
        refuse(file, fmt::format("its {} has {} bytes, not {}", name, found->second.size(), sizeof(T)));
    }
    return structure_at<T>(found->second);
}

std::map<std::string, std::string> parse_locator(const ByteFile& file, std::span<const std::byte> locator) {
    if (locator.size() < sizeof(ParentLocatorHeader)) refuse(file, "its parent locator is too short");
    const auto head = structure_at<ParentLocatorHeader>(locator);
    if (head.type != vhdx_locator) {
        refuse(file, fmt::format("its parent locator is of the unknown type {}", braced(head.type)));
    }
    if (sizeof head + head.key_value_count * sizeof(ParentLocatorEntry) > locator.size()) {
        refuse(file, fmt::format("its parent locator has no room for {} entries", head.key_value_count));
    }
    // More than the specification knows would only take space: entries may share their text.
    constexpr std::uint16_t most_entries = 64;
    if (head.key_value_count > most_entries) {
        refuse(file, fmt::format("its parent locator has {} entries", head.key_value_count));
    }
    std::map<std::string, std::string> entries;
    for (std::uint32_t i = 0; i < head.key_value_count; ++i) {
        const auto entry = structure_at<ParentLocatorEntry>(locator, sizeof head + i * sizeof(ParentLocatorEntry));
        const auto text = [&](std::uint32_t offset, std::uint16_t length) {
            if (offset > locator.size() || length > locator.size() - offset) {
                refuse(file, fmt::format("entry {} of its parent locator points outside", i));
            }
            return text_of_utf16(locator.subspan(offset, length), ByteOrder::little);
        };
        const auto key = text(entry.key_offset, entry.key_bytes);
        if (!entries.emplace(key, text(entry.value_offset, entry.value_bytes)).second) {
            refuse(file, fmt::format("its parent locator has the key '{}' twice", key));
        }
    }
    return entries;
}

void read_metadata(const ByteFile& file, Layout& layout) {
    const Items items = read_items(file, layout.metadata);
    const auto parameters = item<FileParameters>(file, items, file_parameters_item, "file parameters");
    layout.block_bytes = parameters.block_bytes;
    layout.flags = parameters.flags;
    layout.disk.size_bytes = item<std::uint64_t>(file, items, disk_size_item, "virtual disk size");
    layout.disk.logical_sector_bytes = item<std::uint32_t>(file, items, logical_sector_item, "logical sector size");
    layout.disk.physical_sector_bytes = item<std::uint32_t>(file, items, physical_sector_item, "physical sector size");
    layout.disk_id = item<Guid>(file, items, disk_id_item, "virtual disk ID");
    const auto is_sector = [](std::uint32_t bytes) { return bytes == 512 || bytes == 4096; };
    if (!is_sector(layout.disk.logical_sector_bytes) || !is_sector(layout.disk.physical_sector_bytes)) {
        refuse(file, fmt::format("its sectors have {} bytes, and {} physically; only 512 and 4096 are possible",
                                 layout.disk.logical_sector_bytes, layout.disk.physical_sector_bytes));
    }
    if (!std::has_single_bit(layout.block_bytes) || layout.block_bytes < least_block_bytes ||
        layout.block_bytes > most_block_bytes) {
        refuse(file, fmt::format("its block size of {} is no power of two from 1 MiB to 256 MiB", layout.block_bytes));
    }
    if (layout.disk.size_bytes == 0 || layout.disk.size_bytes > most_disk_bytes ||
        layout.disk.size_bytes % layout.disk.logical_sector_bytes != 0) {
        refuse(file, fmt::format("its disk size of {} bytes is impossible", layout.disk.size_bytes));
    }
    if (layout.differencing()) {
        const auto locator = items.find(parent_locator_item.bytes);
        if (locator == items.end()) refuse(file, "it has a parent, but no parent locator");
        layout.parent = parse_locator(file, locator->second);
    }
    layout.payload_blocks = divide_up(layout.disk.size_bytes, layout.block_bytes);
    layout.chunk_ratio = sectors_per_chunk * layout.disk.logical_sector_bytes / layout.block_bytes;
    layout.chunks = divide_up(layout.payload_blocks, layout.chunk_ratio);
    if (layout.bat_entries() > layout.bat.length / sizeof(BatEntry)) {
        refuse(file, fmt::format("its block allocation table has {} bytes, too few for {} entries", layout.bat.length,
                                 layout.bat_entries()));
    }
}

}  // namespace

void refuse(const ByteFile& file, const std::string& why) {
    throw sim::UserError(fmt::format("disk image '{}' (VHDX): {}", file.name(), why));
}

Headers read_headers(const ByteFile& file) {
    if (file.size() > most_file_bytes) refuse(file, "larger than 128 TiB");
    std::array<std::byte, 8> signature{};
    if (file.read(0, signature) != IoStatus::ok ||
        !std::equal(signature.begin(), signature.end(), std::as_bytes(std::span{file_signature}).begin())) {
        refuse(file, "does not begin with 'vhdxfile'");
    }
    Headers headers;
    for (unsigned copy = 0; copy < 2; ++copy) {
        const auto bytes = read_or_refuse(file, header_offsets[copy], header_bytes, "headers");
        const auto header = structure_at<Header>(bytes);
        if (header.signature == header_signature && checksum_holds(bytes)) headers.valid[copy] = header;
    }
    if (!headers.valid[0] && !headers.valid[1]) {
        refuse(file, "neither of its headers (at 0x10000 and 0x20000) is valid");
    }
    // Disk2vhd writes two equal headers: the first is as good as the second.
    const bool second = headers.valid[1] &&
                        (!headers.valid[0] || headers.valid[1]->sequence_number > headers.valid[0]->sequence_number);
    headers.current = second ? 1 : 0;
    const Header& header = headers.get();
    if (header.version != format_version) refuse(file, fmt::format("of the unknown version {}", header.version));
    if (header.log_version != 0 && header.log_guid != Guid{}) {
        refuse(file, fmt::format("its log is of the unknown version {}", header.log_version));
    }
    if (header.log_offset % alignment != 0 || header.log_bytes % alignment != 0 ||
        (header.log_bytes != 0 && header.log_offset < header_section_bytes) || header.log_offset > file.size() ||
        header.log_bytes > file.size() - header.log_offset) {
        refuse(file, fmt::format("its log at {:#x} with {:#x} bytes is not in whole MiB inside the file",
                                 header.log_offset, header.log_bytes));
    }
    return headers;
}

Layout read_layout(const ByteFile& file, const Header& header) {
    if (file.size() > most_file_bytes) refuse(file, "larger than 128 TiB");
    Layout layout;
    layout.log = {header.log_offset, header.log_bytes};
    find_regions(file, layout);
    read_metadata(file, layout);
    return layout;
}

}  // namespace models::vhdx
