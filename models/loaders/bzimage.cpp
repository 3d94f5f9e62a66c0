// Linux bzImage through its 64-bit entry point (Documentation/x86/boot.rst, "64-bit boot protocol").
#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "models/byte_writer.h"
#include "models/loaders/bzimage_header.h"
#include "models/loaders/efi.h"
#include "models/loaders/placement.h"
#include "sim/bits.h"
#include "sim/check.h"

namespace models::loaders {
namespace {

[[noreturn]] void refuse_kernel(const std::string& why) {
    throw sim::UserError("guest kernel (bzImage): " + why);
}

template <class T>
T header_field(View file, std::size_t offset) {
    T value = 0;
    if (!read_at(file, offset, value)) refuse_kernel("the file ends within its header; it is truncated");
    return value;
}

// The header, copied out of the file and checked.
struct Header {
    std::uint64_t protected_mode_offset;
    std::uint64_t protected_mode_bytes;
    std::size_t end;
    std::uint64_t alignment;
    std::uint64_t preferred_address;
    std::uint64_t init_size;
    std::uint64_t initramfs_address_max;
    std::uint32_t command_line_size;
};

Header read_header(View file) {
    if (header_field<std::uint32_t>(file, setup::header_magic) != setup::magic_hdrs)
        refuse_kernel("no \"HdrS\" signature");
    if (header_field<std::uint16_t>(file, setup::boot_flag) != setup::boot_flag_value)
        refuse_kernel("no boot signature");
    const auto version = header_field<std::uint16_t>(file, setup::version);
    if (version < setup::least_version) {
        refuse_kernel(fmt::format(
            "boot protocol {}.{:02} is too old; 2.12 (Linux 3.8) is the first that can start in 64-bit mode",
            version >> 8, version & 0xff));
    }
    if ((header_field<std::uint8_t>(file, setup::load_flags) & setup::loaded_high) == 0) {
        refuse_kernel("it wants to be loaded below 1 MiB (zImage)");
    }
    if ((header_field<std::uint16_t>(file, setup::extended_load_flags) & setup::entry_64) == 0) {
        refuse_kernel("it has no 64-bit entry point; is it a 32-bit kernel?");
    }
    Header h{};
    const auto sectors = header_field<std::uint8_t>(file, setup::setup_sectors);
    h.protected_mode_offset = (std::uint64_t{sectors == 0 ? std::uint8_t{4} : sectors} + 1) * 512;
    if (h.protected_mode_offset >= file.size())
        refuse_kernel("the file ends within its real-mode part; it is truncated");
    const std::uint64_t present = file.size() - h.protected_mode_offset;
    const std::uint64_t declared = std::uint64_t{header_field<std::uint32_t>(file, setup::system_size)} * 16;
    // A declared size is rounded up to 16 bytes; what lies behind it (a signature) is not loaded.
    if (declared > present + 15) {
        refuse_kernel(fmt::format("{} bytes are missing at its end; it is truncated", declared - present));
    }
    h.protected_mode_bytes = declared != 0 ? std::min(declared, present) : present;
    if (h.protected_mode_bytes <= setup::entry_64_offset) refuse_kernel("its protected-mode part is too short");
    h.end = setup::header_magic + header_field<std::uint8_t>(file, setup::jump_offset);
    if (h.end < setup::init_size + 4 || h.end > boot_parameters::header_end || h.end > file.size()) {
        refuse_kernel(fmt::format("its setup header ends at {:#x}", h.end));
    }
    h.alignment = header_field<std::uint32_t>(file, setup::kernel_alignment);
    if (h.alignment == 0 || (h.alignment & (h.alignment - 1)) != 0) {
        refuse_kernel(fmt::format("alignment {:#x} is no power of two", h.alignment));
    }
    h.preferred_address = header_field<std::uint64_t>(file, setup::preferred_address);
    if (h.preferred_address % 4096 != 0) refuse_kernel(fmt::format("load address {:#x} is odd", h.preferred_address));
    h.init_size = header_field<std::uint32_t>(file, setup::init_size);
    h.initramfs_address_max = header_field<std::uint32_t>(file, setup::initramfs_address_max);
    h.command_line_size = header_field<std::uint32_t>(file, setup::command_line_size);
    return h;
}

void describe_firmware(ByteWriter& parameters, const EfiTables& efi) {
    namespace at = boot_parameters;
    parameters.patch(at::efi_signature, at::efi_64_bit);
    parameters.patch(at::efi_system_table, efi.system_table);
    parameters.patch(at::efi_descriptor_bytes, efi.descriptor_bytes);
    parameters.patch(at::efi_descriptor_version, efi.descriptor_version);
    parameters.patch(at::efi_memory_map, efi.memory_map);
    parameters.patch(at::efi_memory_map_bytes, efi.memory_map_bytes);
    parameters.patch(at::secure_boot, at::secure_boot_disabled);
}

void describe_screen(ByteWriter& parameters, const Screen& screen) {
    namespace at = screen_info;
    parameters.patch(at::video_type, at::efi_framebuffer);
    parameters.patch(at::width, screen.width);
    parameters.patch(at::height, screen.height);
    parameters.patch(at::depth, std::uint16_t{32});
    parameters.patch(at::base, static_cast<std::uint32_t>(Screen::memory.first));
    parameters.patch(at::size, screen.pitch() * screen.height);
    parameters.patch(at::pitch, static_cast<std::uint16_t>(screen.pitch()));
    constexpr std::uint8_t colours[] = {8, 16, 8, 8, 8, 0, 8, 24};
    for (std::size_t i = 0; i < std::size(colours); ++i) parameters.patch(at::colours + i, colours[i]);
    parameters.patch(at::pages, std::uint16_t{1});
}

}  // namespace

BootImage load_bzimage(const BootInput& input) {
    const Header header = read_header(input.kernel);
    if (input.command_line.size() > header.command_line_size) {
        refuse_kernel(fmt::format("its command line takes at most {} characters, not {}", header.command_line_size,
                                  input.command_line.size()));
    }

    Placement placement{input.layout};
    add_common(placement, input);

    // The kernel unpacks itself within init_size bytes from its aligned address on, so the initramfs goes behind that.
    // The address is the preferred one, to which the kernel would otherwise move itself.
    const std::uint64_t load = header.preferred_address;
    const View image = input.kernel.subspan(header.protected_mode_offset, header.protected_mode_bytes);
    placement.add(load, {image.begin(), image.end()}, "guest kernel");
    const std::uint64_t image_end = load + image.size();
    const std::uint64_t unpacked_end = sim::align_up(load, header.alignment) + header.init_size;
    if (unpacked_end > image_end) placement.reserve(image_end, unpacked_end - image_end, "unpacked guest kernel");

    const Bytes initramfs = concatenate_initramfs(input.initramfs);
    std::uint64_t initramfs_gpa = 0;
    if (!initramfs.empty()) {
        initramfs_gpa = placement.find_room(load, initramfs.size(), 0x20'0000, "initramfs");
        if (initramfs_gpa + initramfs.size() - 1 > header.initramfs_address_max) {
            refuse_kernel(fmt::format("an initramfs of {} bytes would end above {:#x}, the highest address it takes",
                                      initramfs.size(), header.initramfs_address_max));
        }
        placement.add(initramfs_gpa, initramfs, "initramfs");
    }

    BootImage out;
    out.memory_map = input.layout.memory_map();

    // boot_params: zeros, then the setup header from the file. Nothing else of the first sector, or the kernel takes
    // the structure for one that was not cleared ("sentinel", 0x1ef).
    ByteWriter parameters;
    parameters.pad_to(setup::setup_sectors);
    parameters.bytes(input.kernel.subspan(setup::setup_sectors, header.end - setup::setup_sectors));
    parameters.pad_to(boot_parameters::map);
    for (const MemoryMapEntry& entry : out.memory_map) {
        parameters.u64(entry.first).u64(entry.length).u32(static_cast<std::uint32_t>(entry.type));
    }
    parameters.pad_to(boot_parameters::bytes);
    parameters.patch(boot_parameters::rsdp_address, input.acpi.gpa);
    parameters.patch(boot_parameters::map_entries, static_cast<std::uint8_t>(out.memory_map.size()));
    parameters.patch(setup::loader_type, boot_parameters::loader_undefined);
    parameters.patch(setup::command_line_address, static_cast<std::uint32_t>(command_line_gpa));
    parameters.patch(setup::initramfs_address, static_cast<std::uint32_t>(initramfs_gpa));
    parameters.patch(setup::initramfs_size, static_cast<std::uint32_t>(initramfs.size()));
    if (input.uefi) {
        EfiTables efi = efi_tables(out.memory_map);
        describe_firmware(parameters, efi);
        placement.add(efi_gpa, std::move(efi.bytes), "firmware's tables");
    }
    if (input.screen) describe_screen(parameters, *input.screen);
    placement.add(boot_parameters_gpa, parameters.take(), "boot parameters");

    out.registers = long_mode_registers(placement, input, load + setup::entry_64_offset);
    out.registers[cpu::Gpr::rsi] = boot_parameters_gpa;
    out.segments = placement.take();
    return out;
}

}  // namespace models::loaders
