// Writes "newc" cpio archives, the form of an initramfs (Documentation/driver-api/early-userspace/buffer-format.rst).
// Deterministic: entries in the order they were added, inode numbers from 1, no owners and no times.
#pragma once

#include <cstddef>
#include <cstdint>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "models/byte_writer.h"

namespace models::loaders {

class CpioWriter final {
public:
    // Directories above are added by themselves. Throws sim::UserError for an empty path or one with "..".
    CpioWriter& file(std::string_view path, std::span<const std::byte> content, std::uint32_t permissions = 0644);
    CpioWriter& file(std::string_view path, std::string_view content, std::uint32_t permissions = 0644);
    CpioWriter& directory(std::string_view path);
    std::vector<std::byte> finish();

private:
    void parents(std::string_view path);
    void entry(std::string_view path, std::uint32_t mode, std::uint32_t links, std::span<const std::byte> content);

    ByteWriter out_;
    std::set<std::string, std::less<>> directories_;
    std::uint32_t next_inode_ = 1;
};

}  // namespace models::loaders
