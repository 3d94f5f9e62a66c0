// Multiboot 1 (Multiboot Specification 0.6.96): a 32-bit entry, its magic in EAX and the information structure in EBX.
#include <fmt/format.h>

#include <algorithm>

#include "models/byte_writer.h"
#include "models/loaders/elf.h"
#include "models/loaders/multiboot_header.h"
#include "models/loaders/placement.h"
#include "sim/check.h"

namespace models::loaders {
namespace {

constexpr std::uint32_t header_magic = 0x1bad'b002, loader_magic = 0x2bad'b002;
constexpr std::uint64_t searched_bytes = 8192;
constexpr std::uint32_t flag_align_modules = 1u << 0, flag_memory_wanted = 1u << 1, flag_address_fields = 1u << 16;
// 3.3: what the information structure holds
constexpr std::uint32_t has_memory = 1u << 0, has_command_line = 1u << 2, has_modules = 1u << 3, has_map = 1u << 6,
                        has_loader_name = 1u << 9;
constexpr std::size_t information_bytes = 116;

[[noreturn]] void refuse_image(const std::string& why) {
    throw sim::UserError("guest kernel (multiboot): " + why);
}

struct Loaded {
    std::uint32_t entry;
    std::uint64_t end;
};

// An entry point is a virtual address; it becomes a physical one by the segment that holds it.
Loaded load_elf(Placement& placement, const BootInput& input) {
    const elf::File file = elf::parse(input.kernel);
    const std::uint64_t end = elf::place_segments(placement, file, input.kernel);
    std::uint64_t entry = file.entry;
    for (const elf::ProgramHeader& h : file.program_headers) {
        if (h.type == 1 && file.entry >= h.virtual_address && file.entry - h.virtual_address < h.memory_bytes) {
            entry = h.physical_address + (file.entry - h.virtual_address);
            break;
        }
    }
    if (entry >> 32 != 0) refuse_image(fmt::format("its entry point {:#x} is not below 4 GiB", entry));
    return {static_cast<std::uint32_t>(entry), end};
}

// 3.1.3: the header itself says where the file goes.
Loaded load_flat(Placement& placement, const BootInput& input, const MultibootHeader& h) {
    if (h.load_address > h.header_address || h.header_address - h.load_address > h.file_offset) {
        refuse_image("its load address and header address contradict each other");
    }
    const std::uint64_t first = h.file_offset - (h.header_address - h.load_address);
    const std::uint64_t present = input.kernel.size() - first;
    if (h.load_end_address != 0 && h.load_end_address < h.load_address) refuse_image("it ends before its load address");
    const std::uint64_t wanted = h.load_end_address != 0 ? h.load_end_address - h.load_address : present;
    if (wanted > present) refuse_image("the file is shorter than its header says; it is truncated");
    const View bytes = input.kernel.subspan(first, wanted);
    placement.add(h.load_address, {bytes.begin(), bytes.end()}, "guest kernel");
    std::uint64_t end = h.load_address + wanted;
    if (h.bss_end_address > end) {
        placement.reserve(end, h.bss_end_address - end, "guest kernel data");
        end = h.bss_end_address;
    }
    return {h.entry_address, end};
}

}  // namespace

std::optional<MultibootHeader> find_multiboot_header(View file) {
    for (std::uint64_t at = 0; at + 12 <= std::min<std::uint64_t>(searched_bytes, file.size()); at += 4) {
        std::uint32_t magic = 0, flags = 0, checksum = 0;
        if (!read_at(file, at, magic) || magic != header_magic) continue;
        if (!read_at(file, at + 4, flags) || !read_at(file, at + 8, checksum)) continue;
        if (magic + flags + checksum != 0) continue;
        MultibootHeader h;
        h.file_offset = at;
        h.flags = flags;
        if ((flags & flag_address_fields) != 0 &&
            !(read_at(file, at + 12, h.header_address) && read_at(file, at + 16, h.load_address) &&
              read_at(file, at + 20, h.load_end_address) && read_at(file, at + 24, h.bss_end_address) &&
              read_at(file, at + 28, h.entry_address))) {
            continue;
        }
        return h;
    }
    return std::nullopt;
}

BootImage load_multiboot(const BootInput& input) {
    const auto header = find_multiboot_header(input.kernel);
    if (!header) refuse_image("no header in its first 8192 bytes");
    // A loader must refuse what it doesn't know among the low 16 bits (3.1.2); a video mode is one of these.
    const std::uint32_t unknown = header->flags & 0xffff & ~(flag_align_modules | flag_memory_wanted);
    if (unknown != 0)
        refuse_image(fmt::format("it asks for something that is not offered here (flags {:#x})", unknown));

    Placement placement{input.layout};
    add_common(placement, input);
    std::uint32_t magic = 0;
    const bool is_elf = read_at(input.kernel, 0, magic) && magic == elf::magic;
    if (!is_elf && (header->flags & flag_address_fields) == 0)
        refuse_image("it is no ELF file and names no load address");
    const Loaded loaded =
        (header->flags & flag_address_fields) != 0 ? load_flat(placement, input, *header) : load_elf(placement, input);

    BootImage out;
    out.memory_map = input.layout.memory_map();

    // The information structure, then what it points to.
    constexpr std::uint64_t base = boot_parameters_gpa;
    ByteWriter tail;
    const auto tail_gpa = [&tail] { return static_cast<std::uint32_t>(base + information_bytes + tail.size()); };
    const std::uint32_t map_gpa = tail_gpa();
    for (const MemoryMapEntry& e : out.memory_map) {
        tail.u32(20).u64(e.first).u64(e.length).u32(static_cast<std::uint32_t>(e.type));
    }
    const std::uint32_t map_bytes = tail_gpa() - map_gpa;
    const std::uint32_t name_gpa = tail_gpa();
    tail.text("Verdigris").u8(0).align(4);
    const std::uint32_t modules_gpa = tail_gpa();
    std::uint64_t from = std::max<std::uint64_t>(loaded.end, 0x10'0000);
    for (const View module : input.initramfs) {
        const std::uint64_t gpa = placement.find_room(from, module.size(), 4096, "module");
        placement.add(gpa, {module.begin(), module.end()}, "module");
        from = gpa + module.size();
        tail.u32(static_cast<std::uint32_t>(gpa)).u32(static_cast<std::uint32_t>(from)).u32(0).u32(0);
    }
    const std::uint64_t upper_kib = (input.layout.low_ram.end() - (1u << 20)) >> 10;
    const auto modules = static_cast<std::uint32_t>(input.initramfs.size());
    ByteWriter info;
    info.u32(has_memory | has_command_line | (modules != 0 ? has_modules : 0) | has_map | has_loader_name);
    info.u32(conventional_end >> 10).u32(static_cast<std::uint32_t>(upper_kib)).u32(0);
    info.u32(static_cast<std::uint32_t>(command_line_gpa)).u32(modules).u32(modules != 0 ? modules_gpa : 0);
    info.pad_to(44).u32(map_bytes).u32(map_gpa);
    info.pad_to(64).u32(name_gpa);
    info.pad_to(information_bytes).bytes(tail.data());
    placement.add(base, info.take(), "multiboot information");

    out.registers = protected_mode_registers(placement, input, loaded.entry);
    out.registers[cpu::Gpr::rax] = loader_magic;
    out.registers[cpu::Gpr::rbx] = base;
    out.segments = placement.take();
    return out;
}

}  // namespace models::loaders
