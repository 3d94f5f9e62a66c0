// Where everything lies in a VHD file, read and checked: footer, dynamic header, parent locators. Behind it the block
// allocation table is checked as a whole.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "models/disk/byte_file.h"
#include "models/disk/disk_image.h"
#include "models/disk/vhd_format.h"

namespace models::vhd {

// Throws sim::UserError.
[[noreturn]] void refuse(const ByteFile& file, const std::string& why);

// Of a footer or a dynamic header: the complement of the sum of all other bytes.
template <class T>
std::uint32_t checksum_of(T structure) {
    structure.checksum = 0;
    std::uint32_t sum = 0;
    for (const std::byte byte : std::as_bytes(std::span{&structure, 1})) sum += static_cast<std::uint32_t>(byte);
    return ~sum;
}
bool valid(const Footer& footer);

struct Layout {
    Footer footer;  // the copy that is used
    bool footer_at_end_valid = false;
    bool footer_at_start_valid = false;  // dynamic and differencing
    std::uint64_t footer_offset = 0;     // of the one at the end, valid or not
    DiskType type = DiskType::fixed;
    std::uint64_t disk_bytes = 0;

    // Dynamic and differencing only.
    DynamicHeader dynamic;
    std::uint64_t table_offset = 0;
    std::uint64_t blocks = 0;
    std::uint32_t block_bytes = 0;
    std::uint32_t bitmap_bytes = 0;  // of each block, in whole sectors

    bool differencing() const { return type == DiskType::differencing; }
    std::uint64_t entry_offset(std::uint64_t block) const { return table_offset + 4 * block; }
    std::uint64_t stride() const { return std::uint64_t{bitmap_bytes} + block_bytes; }
    // Behind the headers, table and parent locators: where the first block may lie.
    std::uint64_t structures_end = 0;
    std::vector<std::string> parent_paths;  // in the order to try
};

// Throws sim::UserError.
Layout read_layout(const ByteFile& file);

// Reads the whole table. Calls `wrong` with the file offset of each entry that cannot be right, and goes on.
struct TableSummary {
    std::uint64_t allocated_blocks = 0;
    std::uint64_t data_end = 0;       // behind the last block
    std::vector<std::uint64_t> free;  // offsets between blocks where another one fits
    std::uint64_t unused_bytes = 0;   // between blocks
};
using Wrong = std::function<void(std::uint64_t file_offset, const std::string& why)>;
TableSummary check_table(const ByteFile& file, const Layout& layout, const Wrong& wrong);

}  // namespace models::vhd
