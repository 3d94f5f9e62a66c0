// Layout of VHDX files: [MS-VHDX] "Virtual Hard Disk v2 (VHDX) File Format", revision 8.0. Little-endian throughout.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "models/disk/identifiers.h"

namespace models::vhdx {

inline constexpr std::uint64_t kib = 1024, mib = 1024 * kib, tib = mib * mib;

// 2.2: the header section.
inline constexpr std::string_view file_signature = "vhdxfile";
inline constexpr std::uint64_t creator_offset = 8;
inline constexpr std::size_t creator_bytes = 512;
inline constexpr std::array<std::uint64_t, 2> header_offsets = {64 * kib, 128 * kib};
inline constexpr std::array<std::uint64_t, 2> region_table_offsets = {192 * kib, 256 * kib};
inline constexpr std::uint64_t header_section_bytes = mib;
inline constexpr std::uint64_t alignment = mib;  // 2.1: of every object after it

// 2.2.2. The checksum covers all 4 KiB.
inline constexpr std::size_t header_bytes = 4096;
struct Header {
    std::uint32_t signature = 0;
    std::uint32_t checksum = 0;
    std::uint64_t sequence_number = 0;
    Guid file_write_guid;
    Guid data_write_guid;
    Guid log_guid;
    std::uint16_t log_version = 0;
    std::uint16_t version = 0;
    std::uint32_t log_bytes = 0;
    std::uint64_t log_offset = 0;
};
static_assert(sizeof(Header) == 80 && offsetof(Header, log_guid) == 48 && offsetof(Header, log_offset) == 72);
inline constexpr std::uint32_t header_signature = 0x6461'6568;  // "head"
inline constexpr std::uint16_t format_version = 1;

// 2.2.3. The checksum covers all 64 KiB.
inline constexpr std::size_t region_table_bytes = 64 * kib;
inline constexpr std::uint32_t most_table_entries = 2047;
struct RegionTableHeader {
    std::uint32_t signature = 0;
    std::uint32_t checksum = 0;
    std::uint32_t entry_count = 0;
    std::uint32_t reserved = 0;
};
static_assert(sizeof(RegionTableHeader) == 16);
inline constexpr std::uint32_t region_signature = 0x6967'6572;  // "regi"
struct RegionEntry {
    Guid guid;
    std::uint64_t file_offset = 0;
    std::uint32_t length = 0;
    std::uint32_t required = 0;
};
static_assert(sizeof(RegionEntry) == 32);
inline constexpr Guid bat_region = vmbus::guid("2dc27766-f623-4200-9d64-115e9bfd4a08");
inline constexpr Guid metadata_region = vmbus::guid("8b7ca206-4790-4b9a-b8fe-575f050f886e");

// 2.3.1: log entries, in sectors of 4 KiB.
inline constexpr std::size_t log_sector_bytes = 4096;
struct LogEntryHeader {
    std::uint32_t signature = 0;
    std::uint32_t checksum = 0;  // over the whole entry
    std::uint32_t entry_bytes = 0;
    std::uint32_t tail = 0;
    std::uint64_t sequence_number = 0;
    std::uint32_t descriptor_count = 0;
    std::uint32_t reserved = 0;
    Guid log_guid;
    std::uint64_t flushed_file_offset = 0;
    std::uint64_t last_file_offset = 0;
};
static_assert(sizeof(LogEntryHeader) == 64);
inline constexpr std::uint32_t log_entry_signature = 0x6567'6f6c;  // "loge"
// 2.3.1.2 and 2.3.1.3: both kinds of descriptor.
struct LogDescriptor {
    std::uint32_t signature = 0;
    std::uint32_t trailing_bytes = 0;  // data: bytes 4092 to 4095 of the sector; zero: reserved
    std::uint64_t leading_bytes = 0;   // data: bytes 0 to 7 of the sector; zero: the length
    std::uint64_t file_offset = 0;
    std::uint64_t sequence_number = 0;
};
static_assert(sizeof(LogDescriptor) == 32);
inline constexpr std::uint32_t zero_signature = 0x6f72'657a;  // "zero"
inline constexpr std::uint32_t data_signature = 0x6373'6564;  // "desc"
inline constexpr std::size_t first_sector_descriptors = 126;
inline constexpr std::size_t later_sector_descriptors = 128;
static_assert(sizeof(LogEntryHeader) + first_sector_descriptors * sizeof(LogDescriptor) == log_sector_bytes);
// 2.3.1.4
struct LogDataSector {
    std::uint32_t signature = 0;
    std::uint32_t sequence_high = 0;
    std::array<std::uint8_t, 4084> data{};
    std::uint32_t sequence_low = 0;
};
static_assert(sizeof(LogDataSector) == log_sector_bytes);
inline constexpr std::uint32_t data_sector_signature = 0x6174'6164;  // "data"

// 2.4 and 2.5: blocks and the block allocation table.
inline constexpr std::uint64_t sector_bitmap_block_bytes = mib;
inline constexpr std::uint64_t sectors_per_chunk = std::uint64_t{1} << 23;
inline constexpr std::uint32_t least_block_bytes = 1 << 20, most_block_bytes = 256 << 20;
inline constexpr std::uint64_t most_disk_bytes = 64 * tib;
enum class BlockState : std::uint8_t {  // 2.5.1.1, 2.5.1.2
    not_present = 0,
    undefined = 1,
    zero = 2,
    unmapped = 3,
    fully_present = 6,  // of a sector bitmap block: present
    partially_present = 7,
};
struct BatEntry {
    std::uint64_t raw = 0;

    constexpr BlockState state() const { return static_cast<BlockState>(raw & 7); }
    constexpr std::uint64_t reserved() const { return (raw >> 3) & 0x1ffff; }
    constexpr std::uint64_t file_offset() const { return (raw >> 20) * mib; }
};
constexpr BatEntry bat_entry(BlockState state, std::uint64_t file_offset) {
    return {file_offset / mib << 20 | static_cast<std::uint64_t>(state)};
}

// 2.6.1: the metadata table.
inline constexpr std::uint32_t metadata_table_bytes = 64 * kib;
inline constexpr std::uint32_t most_item_bytes = mib;
struct MetadataTableHeader {
    std::uint64_t signature = 0;
    std::uint16_t reserved = 0;
    std::uint16_t entry_count = 0;
    std::array<std::uint32_t, 5> reserved2{};
};
static_assert(sizeof(MetadataTableHeader) == 32);
inline constexpr std::uint64_t metadata_signature = 0x6174'6164'6174'656d;  // "metadata"
struct MetadataEntry {
    Guid item;
    std::uint32_t offset = 0;  // from the start of the region
    std::uint32_t length = 0;
    std::uint32_t flags = 0;
    std::uint32_t reserved = 0;
};
static_assert(sizeof(MetadataEntry) == 32);
inline constexpr std::uint32_t item_is_user = 1, item_is_virtual_disk = 2, item_is_required = 4;

// 2.6.2: known items.
inline constexpr Guid file_parameters_item = vmbus::guid("caa16737-fa36-4d43-b3b6-33f0aa44e76b");
inline constexpr Guid disk_size_item = vmbus::guid("2fa54224-cd1b-4876-b211-5dbed83bf4b8");
inline constexpr Guid disk_id_item = vmbus::guid("beca12ab-b2e6-4523-93ef-c309e000c746");
inline constexpr Guid logical_sector_item = vmbus::guid("8141bf1d-a96f-4709-ba47-f233a8faab5f");
inline constexpr Guid physical_sector_item = vmbus::guid("cda348c7-445d-4471-9cc9-e9885251c556");
inline constexpr Guid parent_locator_item = vmbus::guid("a8d35f2d-b30b-454d-abf7-d3d84834ab0c");
struct FileParameters {
    std::uint32_t block_bytes = 0;
    std::uint32_t flags = 0;
};
static_assert(sizeof(FileParameters) == 8);
inline constexpr std::uint32_t leave_blocks_allocated = 1, has_parent = 2;

// 2.6.2.6: the parent locator.
inline constexpr Guid vhdx_locator = vmbus::guid("b04aefb7-d19e-4a81-b789-25b8e9445913");
struct ParentLocatorHeader {
    Guid type;
    std::uint16_t reserved = 0;
    std::uint16_t key_value_count = 0;
};
static_assert(sizeof(ParentLocatorHeader) == 20);
struct ParentLocatorEntry {
    std::uint32_t key_offset = 0;
    std::uint32_t value_offset = 0;
    std::uint16_t key_bytes = 0;
    std::uint16_t value_bytes = 0;
};
static_assert(sizeof(ParentLocatorEntry) == 12);

}  // namespace models::vhdx
