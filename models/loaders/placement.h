// Puts segments into guest memory: refuses what does not fit or overlaps. And the register states that the boot
// protocols share.
#pragma once

#include "models/loaders/boot_image.h"

namespace models::loaders {

class Placement final {
public:
    explicit Placement(const MemoryLayout& layout) : layout_(layout) {}

    // Throws sim::UserError if [gpa, gpa + bytes) is not RAM below the gap or overlaps an earlier segment.
    void add(std::uint64_t gpa, Bytes bytes, std::string what);
    // As add(), for zeros that need not be written: fresh guest memory is zero.
    void reserve(std::uint64_t gpa, std::uint64_t length, std::string what);
    // The lowest place from `from` on, at a multiple of `align`, where `length` bytes fit.
    std::uint64_t find_room(std::uint64_t from, std::uint64_t length, std::uint64_t align, std::string_view what) const;

    std::vector<Segment> take();

private:
    struct Taken {
        std::uint64_t first;
        std::uint64_t end;
        std::string what;
    };
    void claim(std::uint64_t gpa, std::uint64_t length, const std::string& what);

    MemoryLayout layout_;
    std::vector<Segment> segments_;
    std::vector<Taken> taken_;
};

// Little-endian reads of a file that may be shorter: nothing, if it is.
template <class T>
bool read_at(View file, std::uint64_t offset, T& value) {
    if (offset > file.size() || file.size() - offset < sizeof(T)) return false;
    value = 0;
    for (std::size_t i = 0; i < sizeof(T); ++i) {
        value = static_cast<T>(value | std::to_integer<std::uint64_t>(file[offset + i]) << (8 * i));
    }
    return true;
}

Bytes command_line_bytes(const std::string& command_line);
// The common low structures: command line, ACPI tables.
void add_common(Placement& placement, const BootInput& input);

// 32-bit protected mode, flat segments, paging and interrupts off: what PVH and multiboot ask for. The GDT is written
// too, although the protocols don't promise one, so that reloading a selector works.
cpu::Registers protected_mode_registers(Placement& placement, const BootInput& input, std::uint32_t entry);
// 64-bit mode with the first 4 GiB mapped one to one.
cpu::Registers long_mode_registers(Placement& placement, const BootInput& input, std::uint64_t entry);

}  // namespace models::loaders
