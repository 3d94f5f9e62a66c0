// Just enough of ELF (System V ABI, chapters 4 and 5) to load an x86 kernel: program headers, entry, PVH note.
#pragma once

#include <optional>

#include "models/loaders/boot_image.h"

namespace models::loaders {

class Placement;

namespace elf {

inline constexpr std::uint32_t magic = 0x464c'457f;  // "\177ELF"

struct ProgramHeader {
    std::uint32_t type = 0;
    std::uint64_t offset = 0;
    std::uint64_t virtual_address = 0;
    std::uint64_t physical_address = 0;
    std::uint64_t file_bytes = 0;
    std::uint64_t memory_bytes = 0;
};

struct File {
    bool is_64bit = false;
    std::uint64_t entry = 0;
    std::vector<ProgramHeader> program_headers;  // all inside the file
};

// Throws sim::UserError for a file that is damaged or for another processor.
File parse(View file);

// The 32-bit entry point of the Xen note PHYS32_ENTRY (18), if there is one.
std::optional<std::uint32_t> pvh_entry(const File& elf, View file);

// Loads the PT_LOAD segments to their physical addresses; returns the end of the highest.
std::uint64_t place_segments(Placement& placement, const File& elf, View file);

}  // namespace elf
}  // namespace models::loaders
