// The small structures of an image (allocation tables, bitmaps) in memory: pages that were read, and pages that were
// changed and wait until their image decides to write them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

#include "models/disk/byte_file.h"

namespace models {

class PageCache final {
public:
    using Page = std::vector<std::byte>;
    using Pages = std::map<std::uint64_t, Page>;  // by file offset

    PageCache(const ByteFile& file, std::uint32_t page_bytes, std::size_t most_clean_pages)
        : file_(file), page_bytes_(page_bytes), most_clean_pages_(most_clean_pages) {}

    IoStatus read(std::uint64_t offset, std::span<std::byte> out);
    IoStatus write(std::uint64_t offset, std::span<const std::byte> data);
    // Sets all bytes of a range to one value.
    IoStatus fill(std::uint64_t offset, std::uint64_t length, std::byte value);

    const Pages& dirty() const { return dirty_; }
    // All dirty pages are in the file now.
    void mark_written();

private:
    // nullptr with the reason in `status` where the file cannot be read.
    Page* find(std::uint64_t page, IoStatus& status);
    Page* find_dirty(std::uint64_t page, IoStatus& status);
    void limit_clean();

    const ByteFile& file_;
    std::uint32_t page_bytes_;
    std::size_t most_clean_pages_;
    Pages clean_;
    Pages dirty_;
};

}  // namespace models
