// The multiboot header in a kernel file (Multiboot Specification 0.6.96, 3.1).
#pragma once

#include <optional>

#include "models/loaders/boot_image.h"

namespace models::loaders {

struct MultibootHeader {
    std::uint64_t file_offset = 0;
    std::uint32_t flags = 0;
    // With flag 16: where a file that is no ELF wants to be.
    std::uint32_t header_address = 0;
    std::uint32_t load_address = 0;
    std::uint32_t load_end_address = 0;
    std::uint32_t bss_end_address = 0;
    std::uint32_t entry_address = 0;
};

// In the first 8192 bytes, aligned to 4, with a right checksum.
std::optional<MultibootHeader> find_multiboot_header(View file);

}  // namespace models::loaders
