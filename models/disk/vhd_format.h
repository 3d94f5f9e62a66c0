// Layout of VHD files: Microsoft, "Virtual Hard Disk Image Format Specification", version 1.0 of October 11, 2006.
// Big-endian throughout, but for the text of Windows parent locators.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "models/disk/identifiers.h"

namespace models::vhd {

// An integer as the file holds it.
template <class T>
struct Big {
    std::array<std::uint8_t, sizeof(T)> bytes{};

    constexpr Big() = default;
    constexpr Big(T value) {  // NOLINT(google-explicit-constructor): a field is set like any integer
        for (std::size_t i = 0; i < sizeof(T); ++i) {
            bytes[i] = static_cast<std::uint8_t>(value >> (8 * (sizeof(T) - 1 - i)));
        }
    }
    constexpr operator T() const {  // NOLINT(google-explicit-constructor)
        std::uint64_t value = 0;
        for (const std::uint8_t byte : bytes) value = value << 8 | byte;
        return static_cast<T>(value);
    }
};
using BigU16 = Big<std::uint16_t>;
using BigU32 = Big<std::uint32_t>;
using BigU64 = Big<std::uint64_t>;
using Text4 = std::array<char, 4>;

inline constexpr std::uint32_t sector_bytes = 512;

// "Hard Disk Footer Format": the last 512 bytes of the file; of dynamic and differencing images also the first.
inline constexpr std::string_view footer_cookie = "conectix";
enum class DiskType : std::uint32_t { fixed = 2, dynamic = 3, differencing = 4 };
struct Footer {
    std::array<char, 8> cookie{};
    BigU32 features;
    BigU32 version;
    BigU64 data_offset;  // of the dynamic header
    BigU32 timestamp;    // seconds since 2000-01-01 00:00 UTC
    Text4 creator_application{};
    BigU32 creator_version;
    Text4 creator_host{};
    BigU64 original_size;
    BigU64 current_size;
    BigU16 cylinders;
    std::uint8_t heads = 0;
    std::uint8_t sectors_per_track = 0;
    BigU32 disk_type;
    BigU32 checksum;
    Guid unique_id;
    std::uint8_t saved_state = 0;
    std::array<std::uint8_t, 427> reserved{};
};
static_assert(sizeof(Footer) == 512 && offsetof(Footer, current_size) == 48 && offsetof(Footer, checksum) == 64);
inline constexpr std::uint32_t features_reserved = 2;  // always set
inline constexpr std::uint32_t footer_version = 0x0001'0000;
inline constexpr std::uint64_t no_offset = ~std::uint64_t{0};

// "Dynamic Disk Header Format".
inline constexpr std::string_view dynamic_cookie = "cxsparse";
struct ParentLocator {
    BigU32 platform;
    BigU32 data_space;  // bytes; in files of Windows also in sectors
    BigU32 data_length;
    BigU32 reserved;
    BigU64 data_offset;
};
static_assert(sizeof(ParentLocator) == 24);
struct DynamicHeader {
    std::array<char, 8> cookie{};
    BigU64 data_offset;
    BigU64 table_offset;
    BigU32 version;
    BigU32 max_table_entries;
    BigU32 block_size;
    BigU32 checksum;
    Guid parent_unique_id;
    BigU32 parent_timestamp;
    BigU32 reserved;
    std::array<std::byte, 512> parent_name{};  // UTF-16, big-endian
    std::array<ParentLocator, 8> locators{};
    std::array<std::uint8_t, 256> reserved2{};
};
static_assert(sizeof(DynamicHeader) == 1024 && offsetof(DynamicHeader, checksum) == 36);
static_assert(offsetof(DynamicHeader, locators) == 576);
inline constexpr std::uint32_t dynamic_version = 0x0001'0000;
inline constexpr std::uint32_t platform_relative = 0x5732'7275;  // "W2ru": UTF-16, little-endian
inline constexpr std::uint32_t platform_absolute = 0x5732'6b75;  // "W2ku"

// "Block Allocation Table and Data Blocks". An entry is the sector where a block begins: first its sector bitmap,
// padded to whole sectors, then its data. In a bitmap the most significant bit comes first; 1: the sector is in this
// file.
inline constexpr std::uint32_t no_block = 0xffff'ffff;
inline constexpr std::uint32_t default_block_bytes = 2 << 20;
// "Overview": at most 2040 GB.
inline constexpr std::uint64_t most_disk_bytes = std::uint64_t{2040} << 30;

}  // namespace models::vhd
