// New VHDX files: headers, log, metadata, block allocation table, in this order from the start of the file.
#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "models/disk/crc32c.h"
#include "models/disk/image_structure.h"
#include "models/disk/utf16.h"
#include "models/disk/vhdx_image.h"
#include "sim/check.h"

namespace models::vhdx {
namespace {

constexpr std::uint64_t log_offset = header_section_bytes, log_length = mib;
constexpr std::uint64_t metadata_offset = log_offset + log_length, metadata_length = mib;
constexpr std::uint64_t bat_offset = metadata_offset + metadata_length;
constexpr std::uint32_t default_block_bytes = 32 << 20;

using Bytes = std::vector<std::byte>;

void put(ByteFile& file, std::uint64_t offset, std::span<const std::byte> bytes) {
    if (const auto status = file.write(offset, bytes); status != IoStatus::ok) {
        refuse(file, fmt::format("cannot be written: {}", name_of(status)));
    }
}

void put_identifier(ByteFile& file) {
    Bytes bytes(creator_offset + creator_bytes);
    const auto signature = std::as_bytes(std::span{file_signature});
    std::copy(signature.begin(), signature.end(), bytes.begin());
    const auto creator = utf16_of("Verdigris", ByteOrder::little);
    std::copy(creator.begin(), creator.end(), bytes.begin() + creator_offset);
    put(file, 0, bytes);
}

void put_headers(ByteFile& file, sim::Random& random) {
    Header header;
    header.signature = header_signature;
    header.version = format_version;
    header.log_bytes = static_cast<std::uint32_t>(log_length);
    header.log_offset = log_offset;
    header.file_write_guid = draw_guid(random);
    header.data_write_guid = draw_guid(random);
    for (unsigned copy = 0; copy < 2; ++copy) {
        header.sequence_number = 1 + copy;
        header.checksum = 0;
        Bytes bytes(header_bytes);
        put_structure(bytes, 0, header);
        put_structure(bytes, 4, crc32c(bytes));
        put(file, header_offsets[copy], bytes);
    }
}

void put_region_tables(ByteFile& file, std::uint64_t bat_length) {
    Bytes bytes(region_table_bytes);
    put_structure(bytes, 0, RegionTableHeader{region_signature, 0, 2, 0});
    put_structure(bytes, sizeof(RegionTableHeader),
                  RegionEntry{bat_region, bat_offset, static_cast<std::uint32_t>(bat_length), 1});
    put_structure(bytes, sizeof(RegionTableHeader) + sizeof(RegionEntry),
                  RegionEntry{metadata_region, metadata_offset, static_cast<std::uint32_t>(metadata_length), 1});
    put_structure(bytes, 4, crc32c(bytes));
    for (const std::uint64_t offset : region_table_offsets) put(file, offset, bytes);
}

Bytes locator(const Guid& linkage, const ParentPaths& paths) {
    const auto backslashes = [](std::string path) {
        std::replace(path.begin(), path.end(), '/', '\\');
        return path;
    };
    std::vector<std::pair<std::string, std::string>> entries = {{"parent_linkage", braced(linkage)}};
    if (!paths.relative.empty()) entries.emplace_back("relative_path", backslashes(paths.relative));
    if (!paths.absolute.empty()) entries.emplace_back("absolute_win32_path", "\\\\?" + backslashes(paths.absolute));
    Bytes bytes(sizeof(ParentLocatorHeader) + entries.size() * sizeof(ParentLocatorEntry));
    put_structure(bytes, 0, ParentLocatorHeader{vhdx_locator, 0, static_cast<std::uint16_t>(entries.size())});
    for (std::size_t i = 0; i < entries.size(); ++i) {
        const auto key = utf16_of(entries[i].first, ByteOrder::little);
        const auto value = utf16_of(entries[i].second, ByteOrder::little);
        ParentLocatorEntry entry;
        entry.key_offset = static_cast<std::uint32_t>(bytes.size());
        entry.key_bytes = static_cast<std::uint16_t>(key.size());
        bytes.insert(bytes.end(), key.begin(), key.end());
        entry.value_offset = static_cast<std::uint32_t>(bytes.size());
        entry.value_bytes = static_cast<std::uint16_t>(value.size());
        bytes.insert(bytes.end(), value.begin(), value.end());
        put_structure(bytes, sizeof(ParentLocatorHeader) + i * sizeof entry, entry);
    }
    return bytes;
}

struct Plan {
    DiskGeometry disk;
    std::uint32_t block_bytes = 0;
    std::uint32_t flags = 0;
    Guid disk_id;
    Bytes locator;  // of a differencing image
};

void put_metadata(ByteFile& file, const Plan& plan) {
    struct Item {
        Guid id;
        std::uint32_t flags;
        Bytes content;
    };
    const auto content = [](const auto& value) {
        const auto bytes = bytes_of(value);
        return Bytes(bytes.begin(), bytes.end());
    };
    constexpr std::uint32_t of_disk = item_is_virtual_disk | item_is_required;
    std::vector<Item> items = {
        {file_parameters_item, item_is_required, content(FileParameters{plan.block_bytes, plan.flags})},
        {disk_size_item, of_disk, content(plan.disk.size_bytes)},
        {disk_id_item, of_disk, content(plan.disk_id)},
        {logical_sector_item, of_disk, content(plan.disk.logical_sector_bytes)},
        {physical_sector_item, of_disk, content(plan.disk.physical_sector_bytes)},
    };
    if (!plan.locator.empty()) items.push_back({parent_locator_item, item_is_required, plan.locator});
    Bytes bytes(metadata_table_bytes);
    MetadataTableHeader head;
    head.signature = metadata_signature;
    head.entry_count = static_cast<std::uint16_t>(items.size());
    put_structure(bytes, 0, head);
    for (std::size_t i = 0; i < items.size(); ++i) {
        MetadataEntry entry{items[i].id, static_cast<std::uint32_t>(bytes.size()),
                            static_cast<std::uint32_t>(items[i].content.size()), items[i].flags};
        put_structure(bytes, sizeof head + i * sizeof entry, entry);
        bytes.insert(bytes.end(), items[i].content.begin(), items[i].content.end());
    }
    put(file, metadata_offset, bytes);
}

void build(ByteFile& file, const Plan& plan, sim::Random& random) {
    if (!std::has_single_bit(plan.block_bytes) || plan.block_bytes < least_block_bytes ||
        plan.block_bytes > most_block_bytes) {
        refuse(file, fmt::format("a block size of {} is no power of two from 1 MiB to 256 MiB", plan.block_bytes));
    }
    if (plan.disk.size_bytes > most_disk_bytes) refuse(file, "a VHDX holds at most 64 TiB");
    const std::uint64_t ratio = sectors_per_chunk * plan.disk.logical_sector_bytes / plan.block_bytes;
    const std::uint64_t blocks = divide_up(plan.disk.size_bytes, plan.block_bytes);
    const std::uint64_t bat_length = round_up(divide_up(blocks, ratio) * (ratio + 1) * sizeof(BatEntry), mib);
    const bool fixed = (plan.flags & leave_blocks_allocated) != 0;
    const std::uint64_t data_offset = bat_offset + bat_length;
    const std::uint64_t file_bytes = data_offset + (fixed ? blocks * plan.block_bytes : 0);
    if (file.resize(file_bytes) != IoStatus::ok) refuse(file, fmt::format("cannot hold {} bytes", file_bytes));

    put_headers(file, random);
    put_region_tables(file, bat_length);
    put_metadata(file, plan);
    if (fixed) {
        Bytes bat(blocks / ratio * 8 + blocks * 8);
        for (std::uint64_t block = 0; block < blocks; ++block) {
            const auto entry = bat_entry(BlockState::fully_present, data_offset + block * plan.block_bytes);
            put_structure(bat, (block + block / ratio) * sizeof entry, entry);
        }
        put(file, bat_offset, bat);
    }
    // Last, so that a file that was not finished is no image.
    if (file.flush() != IoStatus::ok) refuse(file, "cannot be flushed");
    put_identifier(file);
    if (file.flush() != IoStatus::ok) refuse(file, "cannot be flushed");
}

}  // namespace

void create(ByteFile& file, const ImageOptions& options, sim::Random& random) {
    Plan plan;
    plan.disk = options.geometry;
    plan.block_bytes = options.block_bytes != 0 ? options.block_bytes : default_block_bytes;
    plan.flags = options.kind == ImageKind::fixed ? leave_blocks_allocated : 0;
    plan.disk_id = draw_guid(random);
    build(file, plan, random);
}

void create_child(ByteFile& file, const DiskImage& parent, const ParentPaths& paths, std::uint32_t block_bytes,
                  sim::Random& random) {
    Plan plan;
    plan.disk = parent.geometry();
    plan.block_bytes = block_bytes != 0 ? block_bytes : 2 << 20;
    plan.flags = has_parent;
    plan.disk_id = parent.disk_id();  // 2.6.1.2: what belongs to the virtual disk goes along
    plan.locator = locator(parent.linkage(), paths);
    build(file, plan, random);
}

}  // namespace models::vhdx
