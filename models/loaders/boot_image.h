// What a loader produces: bytes to write into the guest's physical memory and the registers its first processor starts
// with. A loader is a pure function of the files it gets.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cpu/registers.h"
#include "models/acpi/tables.h"
#include "models/memory_layout.h"

namespace models::loaders {

using Bytes = std::vector<std::byte>;
using View = std::span<const std::byte>;

struct Segment {
    std::uint64_t gpa = 0;
    Bytes bytes;
    std::string what;  // for the trace and for messages
};

struct BootImage {
    std::vector<Segment> segments;  // inside RAM, not overlapping, by address
    std::vector<MemoryMapEntry> memory_map;
    cpu::Registers registers;  // of the boot processor; everything not set by the protocol is as after reset
};

// What every loader gets. Views must stay valid during the call.
struct BootInput {
    View kernel;
    std::vector<View> initramfs;  // archives; concatenated, or one multiboot module each
    std::string command_line;
    MemoryLayout layout;
    acpi::Image acpi;
    std::optional<Screen> screen;
    bool uefi = true;                 // a bzImage is told of such firmware
    std::uint32_t cpu_signature = 0;  // CPUID.1:EAX, in EDX after reset
};

enum class Format : std::uint8_t { bzimage, pvh, multiboot };

// What the file is: a bzImage by its header, else an ELF file with a multiboot header or else with a PVH note.
// Throws sim::UserError for anything else.
Format detect(View kernel);

// Each throws sim::UserError, one line, for a file that is damaged, of the wrong kind, or that does not fit.
BootImage load(const BootInput& input);
BootImage load_bzimage(const BootInput& input);
BootImage load_pvh(const BootInput& input);
BootImage load_multiboot(const BootInput& input);

// Archives one after the other, each padded to a multiple of 4 bytes, as the kernel's unpacker wants them.
Bytes concatenate_initramfs(std::span<const View> archives);

// Options joined by single spaces, `nokaslr` first unless one of them says something about it. Throws sim::UserError
// for control characters and for more than 2047 characters.
std::string assemble_command_line(std::span<const std::string> options);

// Fixed places below 1 MiB.
inline constexpr std::uint64_t gdt_gpa = 0x1000;
inline constexpr std::uint64_t boot_parameters_gpa = 0x2000;  // boot_params, hvm_start_info or multiboot information
inline constexpr std::uint64_t command_line_gpa = 0x3000;
inline constexpr std::uint64_t page_tables_gpa = 0x4000;     // PML4, PDPT, 4 PDs: 4 GiB with 2 MiB pages
inline constexpr std::uint64_t low_structures_end = 0xb000;  // efi.h has the page below
inline constexpr std::size_t longest_command_line = 2047;

}  // namespace models::loaders
