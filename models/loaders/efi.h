// What a Linux kernel that is started directly is told of UEFI firmware, so that it takes the machine for what it is,
// one of the second generation: a system table and a memory map. There are no runtime services; the kernel is told not
// to look for them (efi=noruntime).
#pragma once

#include "models/loaders/boot_image.h"

namespace models::loaders {

inline constexpr std::uint64_t efi_gpa = 0xa000;  // both, within one page
inline constexpr std::size_t efi_bytes = 0x1000;

struct EfiTables {
    Bytes bytes;  // to be at efi_gpa
    std::uint32_t system_table = 0;
    std::uint32_t memory_map = 0;
    std::uint32_t memory_map_bytes = 0;
    std::uint32_t descriptor_bytes = 0;
    std::uint32_t descriptor_version = 0;
};

EfiTables efi_tables(const std::vector<MemoryMapEntry>& map);

}  // namespace models::loaders
