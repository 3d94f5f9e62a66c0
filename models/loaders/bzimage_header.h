// Offsets of the x86 Linux boot protocol, version 2.15 (Documentation/x86/boot.rst and zero-page.rst): the setup header
// in the file, which is also part of boot_params, and the rest of boot_params.
#pragma once

#include <cstddef>
#include <cstdint>

namespace models::loaders {

namespace setup {
inline constexpr std::size_t setup_sectors = 0x1f1;  // u8
inline constexpr std::size_t system_size = 0x1f4;    // u32, in 16 bytes
inline constexpr std::size_t boot_flag = 0x1fe;      // u16
inline constexpr std::size_t jump_offset = 0x201;    // u8: the header ends at 0x202 + this
inline constexpr std::size_t header_magic = 0x202;   // u32
inline constexpr std::size_t version = 0x206;        // u16
inline constexpr std::size_t loader_type = 0x210;    // u8
inline constexpr std::size_t load_flags = 0x211;     // u8
inline constexpr std::size_t initramfs_address = 0x218;
inline constexpr std::size_t initramfs_size = 0x21c;
inline constexpr std::size_t command_line_address = 0x228;
inline constexpr std::size_t initramfs_address_max = 0x22c;
inline constexpr std::size_t kernel_alignment = 0x230;
inline constexpr std::size_t relocatable = 0x234;  // u8
inline constexpr std::size_t extended_load_flags = 0x236;
inline constexpr std::size_t command_line_size = 0x238;
inline constexpr std::size_t preferred_address = 0x258;  // u64
inline constexpr std::size_t init_size = 0x260;          // u32

inline constexpr std::uint32_t magic_hdrs = 0x5372'6448;
inline constexpr std::uint16_t boot_flag_value = 0xaa55;
inline constexpr std::uint16_t least_version = 0x020c;
inline constexpr std::uint8_t loaded_high = 1u << 0;
inline constexpr std::uint16_t entry_64 = 1u << 0;
inline constexpr std::uint64_t entry_64_offset = 0x200;
}  // namespace setup

namespace boot_parameters {
inline constexpr std::size_t bytes = 4096;
inline constexpr std::size_t rsdp_address = 0x070;   // u64
inline constexpr std::size_t efi_signature = 0x1c0;  // u32: "EL64"
inline constexpr std::size_t efi_system_table = 0x1c4;
inline constexpr std::size_t efi_descriptor_bytes = 0x1c8;
inline constexpr std::size_t efi_descriptor_version = 0x1cc;
inline constexpr std::size_t efi_memory_map = 0x1d0;
inline constexpr std::size_t efi_memory_map_bytes = 0x1d4;
inline constexpr std::uint32_t efi_64_bit = 0x3436'4c45;
inline constexpr std::size_t map_entries = 0x1e8;  // u8
inline constexpr std::size_t secure_boot = 0x1ec;  // u8
inline constexpr std::uint8_t secure_boot_disabled = 2;
inline constexpr std::size_t header_end = 0x290;  // where the header's room ends
inline constexpr std::size_t map = 0x2d0;         // 20 bytes each
inline constexpr std::size_t most_map_entries = 128;
inline constexpr std::uint8_t loader_undefined = 0xff;
}  // namespace boot_parameters

// The first bytes of boot_params (include/uapi/linux/screen_info.h).
namespace screen_info {
inline constexpr std::size_t video_type = 0x0f;  // u8
inline constexpr std::size_t width = 0x12;       // u16
inline constexpr std::size_t height = 0x14;      // u16
inline constexpr std::size_t depth = 0x16;       // u16
inline constexpr std::size_t base = 0x18;        // u32
inline constexpr std::size_t size = 0x1c;        // u32, in bytes
inline constexpr std::size_t pitch = 0x24;       // u16
inline constexpr std::size_t colours = 0x26;     // size and position of red, green, blue, unused: u8 each
inline constexpr std::size_t pages = 0x32;       // u16
inline constexpr std::uint8_t efi_framebuffer = 0x70;
}  // namespace screen_info

}  // namespace models::loaders
