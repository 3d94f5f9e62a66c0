// New VHD files. Dynamic ones: copy of the footer, dynamic header, table, parent locators, footer.
#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "models/disk/image_structure.h"
#include "models/disk/utf16.h"
#include "models/disk/vhd_image.h"

namespace models::vhd {
namespace {

constexpr std::uint64_t header_offset = sizeof(Footer), table_offset = header_offset + sizeof(DynamicHeader);

struct Geometry {
    std::uint16_t cylinders;
    std::uint8_t heads, sectors;
};

// Appendix "CHS Calculation": the geometry that an ATA disk of this size reports.
Geometry geometry_of(std::uint64_t disk_bytes) {
    const auto total =
        static_cast<std::uint32_t>(std::min<std::uint64_t>(disk_bytes / sector_bytes, std::uint64_t{65535} * 16 * 255));
    std::uint32_t sectors = 255, heads = 16, tracks = total / 255;
    if (total < 65535u * 16 * 63) {
        sectors = 17;
        tracks = total / sectors;
        heads = std::max((tracks + 1023) / 1024, 4u);
        if (tracks >= heads * 1024 || heads > 16) {
            sectors = 31;
            heads = 16;
            tracks = total / sectors;
        }
        if (tracks >= heads * 1024) {
            sectors = 63;
            heads = 16;
            tracks = total / sectors;
        }
    }
    return {static_cast<std::uint16_t>(tracks / heads), static_cast<std::uint8_t>(heads),
            static_cast<std::uint8_t>(sectors)};
}

Footer make_footer(DiskType type, std::uint64_t disk_bytes, std::uint32_t timestamp, sim::Random& random) {
    Footer footer;
    std::copy(footer_cookie.begin(), footer_cookie.end(), footer.cookie.begin());
    footer.features = features_reserved;
    footer.version = footer_version;
    footer.data_offset = type == DiskType::fixed ? no_offset : header_offset;
    footer.timestamp = timestamp;
    // Of Windows: readers believe the size of other creators less than their geometry, which is coarser.
    footer.creator_application = {'w', 'i', 'n', ' '};
    footer.creator_version = 0x000a'0000;
    footer.creator_host = {'W', 'i', '2', 'k'};
    footer.original_size = disk_bytes;
    footer.current_size = disk_bytes;
    const Geometry geometry = geometry_of(disk_bytes);
    footer.cylinders = geometry.cylinders;
    footer.heads = geometry.heads;
    footer.sectors_per_track = geometry.sectors;
    footer.disk_type = static_cast<std::uint32_t>(type);
    footer.unique_id = draw_guid(random);
    footer.checksum = checksum_of(footer);
    return footer;
}

void put(ByteFile& file, std::uint64_t offset, std::span<const std::byte> bytes) {
    if (const auto status = file.write(offset, bytes); status != IoStatus::ok) {
        refuse(file, fmt::format("cannot be written: {}", name_of(status)));
    }
}

void finish(ByteFile& file) {
    if (file.flush() != IoStatus::ok) refuse(file, "cannot be flushed");
}

DynamicHeader make_header(const ByteFile& file, std::uint64_t disk_bytes, std::uint32_t block_bytes) {
    if (!std::has_single_bit(block_bytes) || block_bytes < 4096 || block_bytes > 256 << 20) {
        refuse(file, fmt::format("a block size of {} is no power of two from 4 KiB to 256 MiB", block_bytes));
    }
    DynamicHeader header;
    std::copy(dynamic_cookie.begin(), dynamic_cookie.end(), header.cookie.begin());
    header.data_offset = no_offset;
    header.table_offset = table_offset;
    header.version = dynamic_version;
    header.max_table_entries = static_cast<std::uint32_t>(divide_up(disk_bytes, block_bytes));
    header.block_size = block_bytes;
    return header;
}

// `locators` follow the table.
void put_sparse(ByteFile& file, const Footer& footer, DynamicHeader header, std::span<const std::byte> locators) {
    header.checksum = checksum_of(header);
    const std::uint64_t table_bytes = round_up(std::uint64_t{4} * header.max_table_entries, sector_bytes);
    const std::vector<std::byte> entries(64 << 10, std::byte{0xff});
    put(file, header_offset, bytes_of(header));
    for (std::uint64_t done = 0; done < table_bytes; done += entries.size()) {
        const auto part = std::min<std::uint64_t>(table_bytes - done, entries.size());
        put(file, table_offset + done, std::span{entries}.first(part));
    }
    put(file, table_offset + table_bytes, locators);
    put(file, table_offset + table_bytes + round_up(locators.size(), sector_bytes), bytes_of(footer));
    finish(file);
    put(file, 0, bytes_of(footer));
    finish(file);
}

}  // namespace

void create(ByteFile& file, const ImageOptions& options, sim::Random& random) {
    const std::uint64_t bytes = options.geometry.size_bytes;
    if (bytes > most_disk_bytes) refuse(file, "a VHD holds at most 2040 GiB; take VHDX");
    if (options.geometry.logical_sector_bytes != sector_bytes ||
        options.geometry.physical_sector_bytes != sector_bytes) {
        refuse(file, "a VHD has sectors of 512 bytes; take VHDX");
    }
    if (options.kind == ImageKind::fixed) {
        const Footer footer = make_footer(DiskType::fixed, bytes, options.timestamp, random);
        put(file, bytes, bytes_of(footer));
        return finish(file);
    }
    const Footer footer = make_footer(DiskType::dynamic, bytes, options.timestamp, random);
    const std::uint32_t block_bytes = options.block_bytes != 0 ? options.block_bytes : default_block_bytes;
    put_sparse(file, footer, make_header(file, bytes, block_bytes), {});
}

void create_child(ByteFile& file, const DiskImage& parent, const ParentPaths& paths, std::uint32_t block_bytes,
                  sim::Random& random) {
    const std::uint64_t bytes = parent.size_bytes();
    const Footer footer = make_footer(DiskType::differencing, bytes, 0, random);
    DynamicHeader header = make_header(file, bytes, block_bytes != 0 ? block_bytes : default_block_bytes);
    header.parent_unique_id = parent.linkage();
    std::vector<std::byte> locators;
    std::uint64_t at = table_offset + round_up(std::uint64_t{4} * header.max_table_entries, sector_bytes);
    std::size_t used = 0;
    const auto add = [&](std::uint32_t platform, std::string path) {
        if (path.empty()) return;
        std::replace(path.begin(), path.end(), '/', '\\');
        const auto text = utf16_of(path, ByteOrder::little);
        ParentLocator& locator = header.locators[used++];
        locator.platform = platform;
        locator.data_space = static_cast<std::uint32_t>(round_up(text.size(), sector_bytes));
        locator.data_length = static_cast<std::uint32_t>(text.size());
        locator.data_offset = at;
        locators.insert(locators.end(), text.begin(), text.end());
        locators.resize(round_up(locators.size(), sector_bytes));
        at += locator.data_space;
    };
    add(platform_relative, paths.relative);
    add(platform_absolute, paths.absolute);
    const std::string& full = paths.relative.empty() ? paths.absolute : paths.relative;
    const auto name = utf16_of(full.substr(full.find_last_of('/') + 1), ByteOrder::big);
    std::copy_n(name.begin(), std::min(name.size(), header.parent_name.size()), header.parent_name.begin());
    put_sparse(file, footer, header, locators);
}

}  // namespace models::vhd
