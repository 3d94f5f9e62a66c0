// The PVH boot protocol: a 32-bit entry named by an ELF note, and hvm_start_info (Xen,
// public/arch-x86/hvm/start_info.h).
#include <fmt/format.h>

#include "models/byte_writer.h"
#include "models/loaders/elf.h"
#include "models/loaders/placement.h"
#include "sim/check.h"

namespace models::loaders {
namespace {
constexpr std::uint32_t start_info_magic = 0x336e'c578;
constexpr std::size_t start_info_bytes = 56, module_bytes = 32;
}  // namespace

BootImage load_pvh(const BootInput& input) {
    const elf::File file = elf::parse(input.kernel);
    const auto entry = elf::pvh_entry(file, input.kernel);
    if (!entry) throw sim::UserError("guest kernel (ELF): it has no PVH entry note");

    Placement placement{input.layout};
    add_common(placement, input);
    const std::uint64_t end = elf::place_segments(placement, file, input.kernel);

    const Bytes initramfs = concatenate_initramfs(input.initramfs);
    std::uint64_t initramfs_gpa = 0;
    if (!initramfs.empty()) {
        initramfs_gpa = placement.find_room(end, initramfs.size(), 0x20'0000, "initramfs");
        placement.add(initramfs_gpa, initramfs, "initramfs");
    }

    BootImage out;
    out.memory_map = input.layout.memory_map();
    constexpr std::uint64_t modules_gpa = boot_parameters_gpa + start_info_bytes;
    constexpr std::uint64_t map_gpa = modules_gpa + module_bytes;
    ByteWriter info;
    info.u32(start_info_magic).u32(1).u32(0).u32(initramfs.empty() ? 0 : 1);
    info.u64(initramfs.empty() ? 0 : modules_gpa).u64(command_line_gpa).u64(input.acpi.gpa).u64(map_gpa);
    info.u32(static_cast<std::uint32_t>(out.memory_map.size())).u32(0);
    info.pad_to(start_info_bytes);
    info.u64(initramfs_gpa).u64(initramfs.size()).u64(0).u64(0);
    for (const MemoryMapEntry& e : out.memory_map) {
        info.u64(e.first).u64(e.length).u32(static_cast<std::uint32_t>(e.type)).u32(0);
    }
    placement.add(boot_parameters_gpa, info.take(), "start information");

    out.registers = protected_mode_registers(placement, input, *entry);
    out.registers[cpu::Gpr::rbx] = boot_parameters_gpa;
    out.segments = placement.take();
    return out;
}

}  // namespace models::loaders
