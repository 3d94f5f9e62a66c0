#include "models/disk/vhd_layout.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <optional>

#include "models/disk/image_structure.h"
#include "models/disk/utf16.h"
#include "sim/check.h"

namespace models::vhd {
namespace {

// Tables in memory stay below 64 MiB. Larger ones need blocks smaller than 128 KiB, which nobody makes.
constexpr std::uint32_t most_blocks = 16 << 20;
constexpr std::uint32_t least_block_bytes = 4096, most_block_bytes = 256 << 20;
constexpr std::uint32_t most_locator_bytes = 64 << 10;

template <class T>
std::optional<T> read_structure(const ByteFile& file, std::uint64_t offset, std::size_t bytes = sizeof(T)) {
    std::array<std::byte, sizeof(T)> raw{};
    if (file.read(offset, std::span{raw}.first(bytes)) != IoStatus::ok) return std::nullopt;
    return structure_at<T>(raw);
}

void find_footer(const ByteFile& file, Layout& layout) {
    const std::uint64_t size = file.size();
    if (size < sizeof(Footer)) refuse(file, "shorter than a footer; it is truncated");
    layout.footer_offset = size - sizeof(Footer);
    auto at_end = read_structure<Footer>(file, layout.footer_offset);
    if (!at_end || !valid(*at_end)) {
        // Before Virtual PC 2004 the last byte was not written.
        const auto shorter = read_structure<Footer>(file, layout.footer_offset + 1, sizeof(Footer) - 1);
        if (shorter && valid(*shorter)) {
            at_end = shorter;
            ++layout.footer_offset;
        }
    }
    const auto at_start = read_structure<Footer>(file, 0);
    layout.footer_at_end_valid = at_end && valid(*at_end);
    layout.footer_at_start_valid = at_start && valid(*at_start);
    const auto type_of = [](const Footer& footer) { return static_cast<DiskType>(std::uint32_t{footer.disk_type}); };
    // A guest may write what looks like a footer to the first sector of a fixed disk: the end decides.
    if (layout.footer_at_end_valid) {
        layout.footer = *at_end;
    } else if (layout.footer_at_start_valid && type_of(*at_start) != DiskType::fixed) {
        layout.footer = *at_start;
    } else {
        refuse(file, fmt::format("its footer, in the last 512 bytes, is damaged{}",
                                 layout.footer_at_start_valid ? "" : ", and so is the copy at the start"));
    }
    layout.type = type_of(layout.footer);
}

void check_footer(const ByteFile& file, Layout& layout) {
    const std::uint32_t version = layout.footer.version;
    if (version >> 16 != footer_version >> 16) refuse(file, fmt::format("of the unknown version {:#x}", version));
    if (layout.type != DiskType::fixed && layout.type != DiskType::dynamic && layout.type != DiskType::differencing) {
        refuse(file, fmt::format("of the unknown type {}", static_cast<std::uint32_t>(layout.type)));
    }
    layout.disk_bytes = layout.footer.current_size;
    if (layout.disk_bytes == 0 || layout.disk_bytes % sector_bytes != 0 || layout.disk_bytes > most_disk_bytes) {
        refuse(file, fmt::format("its disk size of {} bytes is impossible", layout.disk_bytes));
    }
    if (layout.type == DiskType::fixed && layout.disk_bytes > layout.footer_offset) {
        refuse(file, fmt::format("truncated: its disk has {} bytes, the file only {}", layout.disk_bytes,
                                 layout.footer_offset));
    }
}

void read_dynamic_header(const ByteFile& file, Layout& layout) {
    const std::uint64_t offset = layout.footer.data_offset;
    const auto header = read_structure<DynamicHeader>(file, offset);
    if (!header || offset % sector_bytes != 0) {
        refuse(file, fmt::format("its dynamic header at {:#x} is not in the file", offset));
    }
    if (std::memcmp(header->cookie.data(), dynamic_cookie.data(), dynamic_cookie.size()) != 0 ||
        header->checksum != checksum_of(*header)) {
        refuse(file, fmt::format("its dynamic header at {:#x} is damaged", offset));
    }
    layout.dynamic = *header;
    const std::uint32_t version = header->version;
    if (version >> 16 != dynamic_version >> 16) {
        refuse(file, fmt::format("its dynamic header is of the unknown version {:#x}", version));
    }
    layout.block_bytes = header->block_size;
    if (!std::has_single_bit(layout.block_bytes) || layout.block_bytes < least_block_bytes ||
        layout.block_bytes > most_block_bytes) {
        refuse(file, fmt::format("its block size of {} is no power of two from 4 KiB to 256 MiB", layout.block_bytes));
    }
    layout.bitmap_bytes =
        static_cast<std::uint32_t>(round_up(divide_up(layout.block_bytes / sector_bytes, 8), sector_bytes));
    layout.blocks = divide_up(layout.disk_bytes, layout.block_bytes);
    if (layout.blocks > header->max_table_entries) {
        refuse(file, fmt::format("its table has {} entries, too few for {} blocks",
                                 std::uint32_t{header->max_table_entries}, layout.blocks));
    }
    if (layout.blocks > most_blocks) refuse(file, fmt::format("its table has {} entries, too many", layout.blocks));
    layout.table_offset = header->table_offset;
    const std::uint64_t table_bytes = round_up(4 * layout.blocks, sector_bytes);
    if (layout.table_offset % sector_bytes != 0 || layout.table_offset > file.size() ||
        table_bytes > file.size() - layout.table_offset) {
        refuse(file,
               fmt::format("its table at {:#x} with {:#x} bytes is not in the file", layout.table_offset, table_bytes));
    }
    const std::uint64_t header_end = offset + sizeof(DynamicHeader);
    if (layout.table_offset < header_end && offset < layout.table_offset + table_bytes) {
        refuse(file, "its table lies over its dynamic header");
    }
    layout.structures_end = std::max(header_end, layout.table_offset + table_bytes);
}

void read_locators(const ByteFile& file, Layout& layout) {
    std::vector<std::string> relative, absolute;
    for (const ParentLocator& locator : layout.dynamic.locators) {
        const std::uint32_t platform = locator.platform, length = locator.data_length;
        const std::uint64_t offset = locator.data_offset;
        if (platform != platform_relative && platform != platform_absolute) continue;
        if (length > most_locator_bytes || offset > file.size() || length > file.size() - offset) {
            refuse(file, fmt::format("a parent locator at {:#x} with {:#x} bytes is not in the file", offset, length));
        }
        std::vector<std::byte> text(length);
        if (file.read(offset, text) != IoStatus::ok) refuse(file, "a parent locator cannot be read");
        auto& paths = platform == platform_relative ? relative : absolute;
        paths.push_back(text_of_utf16(text, ByteOrder::little));
        layout.structures_end = std::max(layout.structures_end, round_up(offset + length, sector_bytes));
    }
    layout.parent_paths = std::move(relative);
    layout.parent_paths.insert(layout.parent_paths.end(), absolute.begin(), absolute.end());
    const std::string name = text_of_utf16(layout.dynamic.parent_name, ByteOrder::big);
    if (!name.empty()) layout.parent_paths.push_back(name);
}

}  // namespace

void refuse(const ByteFile& file, const std::string& why) {
    throw sim::UserError(fmt::format("disk image '{}' (VHD): {}", file.name(), why));
}

bool valid(const Footer& footer) {
    return std::memcmp(footer.cookie.data(), footer_cookie.data(), footer_cookie.size()) == 0 &&
           footer.checksum == checksum_of(footer);
}

Layout read_layout(const ByteFile& file) {
    Layout layout;
    find_footer(file, layout);
    check_footer(file, layout);
    if (layout.type != DiskType::fixed) read_dynamic_header(file, layout);
    if (layout.differencing()) read_locators(file, layout);
    return layout;
}

TableSummary check_table(const ByteFile& file, const Layout& layout, const Wrong& wrong) {
    TableSummary summary;
    struct Place {
        std::uint32_t sector;
        std::uint32_t block;
    };
    std::vector<Place> places;
    std::vector<std::byte> part(64 << 10);
    for (std::uint64_t first = 0; first < layout.blocks; first += part.size() / 4) {
        const std::uint64_t count = std::min<std::uint64_t>(layout.blocks - first, part.size() / 4);
        if (file.read(layout.entry_offset(first), std::span{part}.first(count * 4)) != IoStatus::ok) {
            wrong(layout.entry_offset(first), "the block allocation table cannot be read");
            return summary;
        }
        for (std::uint64_t i = 0; i < count; ++i) {
            const std::uint32_t sector = structure_at<BigU32>(part, i * 4);
            if (sector != no_block) places.push_back({sector, static_cast<std::uint32_t>(first + i)});
        }
    }
    std::sort(places.begin(), places.end(), [](const Place& a, const Place& b) {
        return a.sector != b.sector ? a.sector < b.sector : a.block < b.block;
    });
    const std::uint64_t header = layout.footer.data_offset;
    const std::uint64_t table_end = layout.table_offset + round_up(4 * layout.blocks, sector_bytes);
    std::uint64_t former_end = 0;
    summary.data_end = layout.structures_end;
    for (const Place& place : places) {
        const std::uint64_t offset = std::uint64_t{place.sector} * sector_bytes, end = offset + layout.stride();
        const auto complain = [&](const std::string& what) {
            wrong(layout.entry_offset(place.block), fmt::format("block {} at {:#x} {}", place.block, offset, what));
        };
        // The last block may be shorter than the others if the disk is.
        const std::uint64_t used = std::min<std::uint64_t>(
            layout.block_bytes, layout.disk_bytes - std::uint64_t{place.block} * layout.block_bytes);
        const auto over = [&](std::uint64_t from, std::uint64_t to) { return offset < to && from < end; };
        const std::uint64_t limit = layout.footer_at_end_valid ? layout.footer_offset : file.size();
        if (offset + layout.bitmap_bytes + used > limit) {
            complain(fmt::format("reaches past the end of the file, or over its footer, at {:#x}", limit));
        } else if (over(0, sizeof(Footer)) || over(header, header + sizeof(DynamicHeader)) ||
                   over(layout.table_offset, table_end)) {
            complain("lies over the headers or the table");
        } else if (offset < former_end) {
            complain("lies over another block");
        } else if (summary.allocated_blocks > 0 && offset > former_end) {
            summary.unused_bytes += offset - former_end;
            if (offset - former_end >= layout.stride()) summary.free.push_back(former_end);
        }
        ++summary.allocated_blocks;
        former_end = std::max(former_end, end);
        summary.data_end = std::max(summary.data_end, end);
    }
    return summary;
}

}  // namespace models::vhd
