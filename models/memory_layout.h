// Where a guest's RAM and device windows lie in its physical address space, as in a Generation 2 machine: RAM from 0 up
// to a gap below 4 GiB, the rest from 4 GiB on, and one window for devices below and one above.
#pragma once

#include <cstdint>
#include <vector>

namespace models {

struct AddressRange {
    std::uint64_t first = 0;
    std::uint64_t length = 0;

    constexpr std::uint64_t end() const { return first + length; }
    bool operator==(const AddressRange&) const = default;
};

// Types of the E820 map (ACPI 6.4, table 15.6).
enum class MemoryType : std::uint32_t { ram = 1, reserved = 2, acpi_reclaimable = 3 };

struct MemoryMapEntry {
    std::uint64_t first = 0;
    std::uint64_t length = 0;
    MemoryType type = MemoryType::ram;

    bool operator==(const MemoryMapEntry&) const = default;
};

struct MemoryLayout {
    static constexpr std::uint64_t four_gib = 1ull << 32;
    static constexpr std::uint64_t gap_first = 0xf800'0000;         // RAM below 4 GiB ends here at the latest
    static constexpr std::uint64_t low_window_end = 0xfec0'0000;    // then come the I/O APIC and the local APICs
    static constexpr std::uint64_t high_window_align = 1ull << 36;  // 64 GiB
    static constexpr std::uint64_t high_window_bytes = 1ull << 36;
    static constexpr std::uint64_t address_space_end = 1ull << 40;  // physical address width of the guest's processor
    static constexpr std::uint64_t least_bytes = 4ull << 20;

    AddressRange low_ram;
    AddressRange high_ram;  // empty for small guests
    AddressRange low_window;
    AddressRange high_window;

    // Throws sim::UserError for a size that is no multiple of 4 KiB, below 4 MiB or beyond the address space.
    static MemoryLayout of_size(std::uint64_t ram_bytes);

    // What the guest is told: conventional memory up to 640 KiB, the firmware area with its tables, everything above.
    std::vector<MemoryMapEntry> memory_map() const;

    bool operator==(const MemoryLayout&) const = default;
};

// The memory of a screen, at the start of the low window, and the picture that the firmware has set up there.
struct Screen {
    // More than video memory: a guest that keeps the firmware's picture for a while puts its own behind it.
    static constexpr AddressRange memory = {MemoryLayout::gap_first, 16ull << 20};
    static constexpr std::uint16_t video_megabytes = 8;
    std::uint16_t width = 1024;
    std::uint16_t height = 768;

    constexpr std::uint32_t pitch() const { return width * 4u; }  // blue, green, red, unused
};

// Below 1 MiB (what the loaders write where).
inline constexpr std::uint64_t conventional_end = 0xa'0000;
inline constexpr AddressRange firmware_tables = {0xe'0000, 0x2'0000};

}  // namespace models
