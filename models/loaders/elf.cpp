#include "models/loaders/elf.h"

#include <fmt/format.h>

#include <algorithm>

#include "models/loaders/placement.h"
#include "sim/check.h"

namespace models::loaders::elf {
namespace {

constexpr std::uint8_t class_32 = 1, class_64 = 2, little_endian = 1;
constexpr std::uint16_t type_executable = 2, type_shared = 3, machine_386 = 3, machine_x86_64 = 62;
constexpr std::uint32_t segment_load = 1, segment_note = 4, note_phys32_entry = 18;
constexpr unsigned most_program_headers = 128;

[[noreturn]] void refuse_elf(const std::string& why) {
    throw sim::UserError("guest kernel (ELF): " + why);
}

template <class T>
std::uint64_t field(View file, std::uint64_t offset) {
    T value = 0;
    if (!read_at(file, offset, value)) refuse_elf("the file ends within its headers; it is truncated");
    return value;
}

// Offsets of the two classes side by side.
struct Offsets {
    std::uint64_t entry, header_table, entry_size, entry_count, least_entry_size;
};
constexpr Offsets offsets_32 = {24, 28, 42, 44, 32};
constexpr Offsets offsets_64 = {24, 32, 54, 56, 56};

ProgramHeader read_program_header(View file, std::uint64_t at, bool is_64bit) {
    ProgramHeader h;
    h.type = static_cast<std::uint32_t>(field<std::uint32_t>(file, at));
    if (is_64bit) {
        h.offset = field<std::uint64_t>(file, at + 8);
        h.virtual_address = field<std::uint64_t>(file, at + 16);
        h.physical_address = field<std::uint64_t>(file, at + 24);
        h.file_bytes = field<std::uint64_t>(file, at + 32);
        h.memory_bytes = field<std::uint64_t>(file, at + 40);
    } else {
        h.offset = field<std::uint32_t>(file, at + 4);
        h.virtual_address = field<std::uint32_t>(file, at + 8);
        h.physical_address = field<std::uint32_t>(file, at + 12);
        h.file_bytes = field<std::uint32_t>(file, at + 16);
        h.memory_bytes = field<std::uint32_t>(file, at + 20);
    }
    return h;
}

}  // namespace

File parse(View file) {
    if (field<std::uint32_t>(file, 0) != magic) refuse_elf("no ELF signature");
    const auto elf_class = field<std::uint8_t>(file, 4);
    if ((elf_class != class_32 && elf_class != class_64) || field<std::uint8_t>(file, 5) != little_endian) {
        refuse_elf("neither 32-bit nor 64-bit little-endian");
    }
    const auto type = field<std::uint16_t>(file, 16);
    if (type != type_executable && type != type_shared) refuse_elf("it is no executable");
    const auto machine = field<std::uint16_t>(file, 18);
    if (machine != machine_386 && machine != machine_x86_64) {
        refuse_elf(fmt::format("it is for another processor (machine {}), not for x86", machine));
    }
    File elf;
    elf.is_64bit = elf_class == class_64;
    const Offsets& at = elf.is_64bit ? offsets_64 : offsets_32;
    elf.entry = elf.is_64bit ? field<std::uint64_t>(file, at.entry) : field<std::uint32_t>(file, at.entry);
    const std::uint64_t table =
        elf.is_64bit ? field<std::uint64_t>(file, at.header_table) : field<std::uint32_t>(file, at.header_table);
    const auto size = field<std::uint16_t>(file, at.entry_size);
    const auto count = field<std::uint16_t>(file, at.entry_count);
    if (count == 0 || count > most_program_headers) refuse_elf(fmt::format("it has {} program headers", count));
    if (size < at.least_entry_size) refuse_elf(fmt::format("its program headers have {} bytes", size));
    if (table > file.size()) refuse_elf("the file ends before its program headers; it is truncated");
    for (std::uint64_t i = 0; i < count; ++i) {
        const ProgramHeader h = read_program_header(file, table + i * size, elf.is_64bit);
        if (h.type == segment_load || h.type == segment_note) {
            if (h.offset > file.size() || h.file_bytes > file.size() - h.offset) {
                refuse_elf(fmt::format("program header {} reaches past the end of the file; it is truncated", i));
            }
            if (h.type == segment_load && h.file_bytes > h.memory_bytes) {
                refuse_elf(fmt::format("program header {} has more bytes in the file than in memory", i));
            }
        }
        elf.program_headers.push_back(h);
    }
    return elf;
}

std::optional<std::uint32_t> pvh_entry(const File& elf, View file) {
    constexpr std::uint32_t xen = 0x006e'6558;  // "Xen\0"
    const auto padded = [](std::uint64_t n) { return (n + 3) & ~std::uint64_t{3}; };
    for (const ProgramHeader& h : elf.program_headers) {
        if (h.type != segment_note) continue;
        const View notes = file.subspan(h.offset, h.file_bytes);
        std::uint64_t at = 0;
        std::uint32_t name_bytes = 0, data_bytes = 0, type = 0, name = 0;
        while (read_at(notes, at, name_bytes) && read_at(notes, at + 4, data_bytes) && read_at(notes, at + 8, type)) {
            const std::uint64_t data = at + 12 + padded(name_bytes);
            std::uint32_t low = 0;
            std::uint64_t wide = 0;
            if (type == note_phys32_entry && name_bytes == 4 && read_at(notes, at + 12, name) && name == xen &&
                data_bytes >= 4 && read_at(notes, data, low)) {
                if (data_bytes >= 8 && (!read_at(notes, data, wide) || wide >> 32 != 0)) {
                    refuse_elf("its PVH entry point is not below 4 GiB");
                }
                return low;
            }
            at = data + padded(data_bytes);
        }
    }
    return std::nullopt;
}

std::uint64_t place_segments(Placement& placement, const File& elf, View file) {
    std::uint64_t end = 0;
    for (const ProgramHeader& h : elf.program_headers) {
        if (h.type != segment_load || h.memory_bytes == 0) continue;
        const View bytes = file.subspan(h.offset, h.file_bytes);
        placement.add(h.physical_address, {bytes.begin(), bytes.end()}, "guest kernel");
        placement.reserve(h.physical_address + h.file_bytes, h.memory_bytes - h.file_bytes, "guest kernel data");
        end = std::max(end, h.physical_address + h.memory_bytes);
    }
    if (end == 0) refuse_elf("it has nothing to load");
    return end;
}

}  // namespace models::loaders::elf
