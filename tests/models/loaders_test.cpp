// The direct loaders: what they write where, the entry state of each protocol, and what they say about bad files.
#include <doctest/doctest.h>

#include <functional>
#include <string>

#include "models/byte_writer.h"
#include "models/loaders/boot_image.h"
#include "models/loaders/cpio.h"
#include "models/loaders/multiboot_header.h"
#include "sim/check.h"

namespace loaders_test {

namespace {

using namespace models::loaders;
using models::ByteWriter;
using models::MemoryLayout;

std::uint64_t field(const Bytes& bytes, std::size_t offset, std::size_t width) {
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < width; ++i) value |= std::to_integer<std::uint64_t>(bytes.at(offset + i)) << (8 * i);
    return value;
}

const Segment& segment_at(const BootImage& image, std::uint64_t gpa) {
    for (const Segment& s : image.segments) {
        if (s.gpa == gpa) return s;
    }
    FAIL("no segment at that address");
    return image.segments.front();
}

std::string text(const Bytes& bytes) {
    std::string out;
    for (const std::byte b : bytes) out += static_cast<char>(b);
    return out;
}

BootInput input_of(const Bytes& kernel, std::uint64_t ram_bytes = 64ull << 20) {
    BootInput input;
    input.kernel = kernel;
    input.command_line = "nokaslr console=ttyS0";
    input.layout = MemoryLayout::of_size(ram_bytes);
    input.acpi = {0xe0000, Bytes(100, std::byte{0xac})};
    input.cpu_signature = 0x206d7;
    return input;
}

// A bzImage with 2 setup sectors and 0x1234 bytes of protected mode.
struct BzImage {
    std::uint8_t sectors = 2, load_flags = 1, jump = 0x6a;
    std::uint16_t version = 0x020f, extended_flags = 0x3f, boot_flag = 0xaa55;
    std::uint32_t system_size = 0x124, alignment = 0x200000, init_size = 0x300000, command_line_size = 2047;
    std::uint32_t magic = 0x53726448, initramfs_max = 0x7fffffff;
    std::uint64_t preferred = 0x1000000;

    Bytes build() const {
        ByteWriter out;
        out.pad_to(0x1ef)
            .u16(0xffff)
            .u8(sectors)
            .u16(0)
            .u32(system_size)
            .pad_to(0x1fe)
            .u16(boot_flag)
            .u8(0xeb)
            .u8(jump);
        out.u32(magic).u16(version).pad_to(0x211).u8(load_flags).pad_to(0x22c).u32(initramfs_max).u32(alignment);
        out.u8(1).u8(21).u16(extended_flags).u32(command_line_size).pad_to(0x258).u64(preferred).u32(init_size);
        out.pad_to((sectors == 0 ? 5u : sectors + 1u) * 512);
        for (int i = 0; i < 0x1234; ++i) out.u8(static_cast<std::uint8_t>(i * 7));
        return out.take();
    }
};

// An ELF file: one loadable segment at 1 MiB that holds the whole file, and a PVH note, a multiboot header, or both.
struct ElfImage {
    bool is_64bit = false, pvh = true, multiboot = true;
    std::uint16_t machine = 3, type = 2;
    std::uint64_t physical = 0x100000, virtual_address = 0x100000, entry = 0x100200, memory_bytes = 0x2000;
    std::uint64_t pvh_entry = 0x100100, note_bytes = 8;
    std::uint32_t multiboot_flags = 3;

    Bytes build() const {
        constexpr std::size_t header_at = 64, note_at = 0x100, multiboot_at = 0x140, size = 0x400;
        ByteWriter out;
        out.u32(0x464c457f).u8(is_64bit ? 2 : 1).u8(1).u8(1).zeros(9).u16(type).u16(machine).u32(1);
        const auto word = [&](std::uint64_t v) {
            if (is_64bit) {
                out.u64(v);
            } else {
                out.u32(static_cast<std::uint32_t>(v));
            }
        };
        word(entry);
        word(header_at);
        word(0);
        out.u32(0).u16(is_64bit ? 64 : 52).u16(is_64bit ? 56 : 32).u16(2).u16(0).u16(0).u16(0);
        out.pad_to(header_at);
        const auto program_header = [&](std::uint32_t kind, std::uint64_t offset, std::uint64_t bytes,
                                        std::uint64_t memory) {
            out.u32(kind);
            if (is_64bit) out.u32(7);
            word(offset);
            word(virtual_address + offset);
            word(physical + offset);
            word(bytes);
            word(memory);
            if (!is_64bit) out.u32(7);
            word(4096);
        };
        program_header(1, 0, size, memory_bytes);
        program_header(4, note_at, pvh ? 16 + note_bytes : 0, 0);
        out.pad_to(note_at).u32(4).u32(static_cast<std::uint32_t>(note_bytes)).u32(18).text("Xen").u8(0).u64(pvh_entry);
        out.pad_to(multiboot_at);
        if (multiboot) out.u32(0x1badb002).u32(multiboot_flags).u32(0 - 0x1badb002 - multiboot_flags);
        return out.pad_to(size).take();
    }
};

void check_sane(const BootImage& image, const MemoryLayout& layout) {
    std::uint64_t end = 0;
    for (const Segment& s : image.segments) {
        REQUIRE(s.gpa >= end);
        end = s.gpa + s.bytes.size();
        REQUIRE(end <= layout.low_ram.end());
        REQUIRE(!s.bytes.empty());
    }
}

}  // namespace

TEST_CASE("bzImage: memory and registers as the 64-bit boot protocol wants them") {
    const Bytes kernel = BzImage{}.build();
    const Bytes archive1(5, std::byte{1}), archive2(4, std::byte{2});
    BootInput input = input_of(kernel);
    input.initramfs = {archive1, archive2};
    const BootImage image = load(input);
    check_sane(image, input.layout);

    const Bytes& parameters = segment_at(image, 0x2000).bytes;
    REQUIRE(parameters.size() == 4096);
    struct Row {
        const char* name;
        std::size_t offset, width;
        std::uint64_t value;
    };
    for (const Row& row : {
             Row{"acpi_rsdp_addr", 0x070, 8, 0xe0000},
             Row{"e820_entries", 0x1e8, 1, 3},
             Row{"sentinel stays clear", 0x1ef, 2, 0},
             Row{"setup_sects from the file", 0x1f1, 1, 2},
             Row{"header magic", 0x202, 4, 0x53726448},
             Row{"type_of_loader", 0x210, 1, 0xff},
             Row{"loadflags", 0x211, 1, 1},
             Row{"ramdisk_image", 0x218, 4, 0x1400000},
             Row{"ramdisk_size", 0x21c, 4, 12},
             Row{"cmd_line_ptr", 0x228, 4, 0x3000},
             Row{"init_size", 0x260, 4, 0x300000},
             Row{"first byte behind the header", 0x26c, 1, 0},
             Row{"map 0 address", 0x2d0, 8, 0},
             Row{"map 0 size", 0x2d8, 8, 0xa0000},
             Row{"map 0 type", 0x2e0, 4, 1},
             Row{"map 1 address", 0x2e4, 8, 0xe0000},
             Row{"map 1 size", 0x2ec, 8, 0x20000},
             Row{"map 1 type", 0x2f4, 4, 2},
             Row{"map 2 address", 0x2f8, 8, 0x100000},
             Row{"map 2 size", 0x300, 8, 0x3f00000},
             Row{"map 2 type", 0x308, 4, 1},
         }) {
        CAPTURE(row.name);
        CHECK(field(parameters, row.offset, row.width) == row.value);
    }
    CHECK(text(segment_at(image, 0x3000).bytes) == std::string("nokaslr console=ttyS0\0", 22));
    CHECK(segment_at(image, 0x1000000).bytes == Bytes(kernel.begin() + 3 * 512, kernel.end()));
    CHECK(text(segment_at(image, 0x1400000).bytes) == std::string("\1\1\1\1\1\0\0\0\2\2\2\2", 12));
    CHECK(segment_at(image, 0xe0000).bytes.size() == 100);

    const Bytes& tables = segment_at(image, 0x4000).bytes;
    REQUIRE(tables.size() == 0x6000);
    CHECK(field(tables, 0, 8) == 0x5003);
    CHECK(field(tables, 8, 8) == 0);
    CHECK(field(tables, 0x1000 + 3 * 8, 8) == 0x9003);
    CHECK(field(tables, 0x1000 + 4 * 8, 8) == 0);
    CHECK(field(tables, 0x2000, 8) == 0x83);
    CHECK(field(tables, 0x2000 + 2047 * 8, 8) == 0xffe00083);

    const cpu::Registers& r = image.registers;
    CHECK(r.rip == 0x1000200);
    CHECK(r[cpu::Gpr::rsi] == 0x2000);
    CHECK(r[cpu::Gpr::rdx] == 0x206d7);
    CHECK(r.rflags == 2);
    CHECK(r.cr0 == 0x80000011);
    CHECK(r.cr3 == 0x4000);
    CHECK(r.cr4 == 0x20);
    CHECK(r.efer == 0x500);
    CHECK(r.code_64bit());
    CHECK(r.cpl() == 0);
    CHECK(r[cpu::SegmentName::cs] == cpu::Segment{0x10, 0xa9b, 0xffffffff, 0});
    CHECK(r[cpu::SegmentName::ds] == cpu::Segment{0x18, 0xc93, 0xffffffff, 0});
    CHECK(r.gdtr == cpu::DescriptorTable{0x1000, 39});
    CHECK(field(segment_at(image, 0x1000).bytes, 0x10, 8) == 0x00af9b000000ffff);
    CHECK(image.memory_map == input.layout.memory_map());
}

TEST_CASE("bzImage: what is refused, and in which words") {
    struct Row {
        std::function<void(BzImage&)> spoil;
        const char* message;
    };
    const std::string prefix = "guest kernel (bzImage): ";
    for (const Row& row : {
             Row{[](BzImage& b) { b.version = 0x0204; },
                 "boot protocol 2.04 is too old; 2.12 (Linux 3.8) is the first that can start in 64-bit mode"},
             Row{[](BzImage& b) { b.load_flags = 0; }, "it wants to be loaded below 1 MiB (zImage)"},
             Row{[](BzImage& b) { b.extended_flags = 0; }, "it has no 64-bit entry point; is it a 32-bit kernel?"},
             Row{[](BzImage& b) { b.boot_flag = 0; }, "no boot signature"},
             Row{[](BzImage& b) { b.system_size = 0x125; }, "28 bytes are missing at its end; it is truncated"},
             Row{[](BzImage& b) { b.system_size = 0x20; }, "its protected-mode part is too short"},
             Row{[](BzImage& b) { b.jump = 0xff; }, "its setup header ends at 0x301"},
             Row{[](BzImage& b) { b.jump = 0x10; }, "its setup header ends at 0x212"},
             Row{[](BzImage& b) { b.alignment = 0; }, "alignment 0x0 is no power of two"},
             Row{[](BzImage& b) { b.alignment = 3; }, "alignment 0x3 is no power of two"},
             Row{[](BzImage& b) { b.preferred = 0x1000001; }, "load address 0x1000001 is odd"},
             Row{[](BzImage& b) { b.command_line_size = 10; }, "its command line takes at most 10 characters, not 21"},
             Row{[](BzImage& b) { b.initramfs_max = 0x1400000; },
                 "an initramfs of 4 bytes would end above 0x1400000, the highest address it takes"},
         }) {
        BzImage spoilt;
        row.spoil(spoilt);
        const Bytes kernel = spoilt.build(), archive(4);
        BootInput input = input_of(kernel);
        input.initramfs = {archive};
        CHECK_THROWS_WITH_AS(load_bzimage(input), (prefix + row.message).c_str(), sim::UserError);
    }
    // The system size is in units of 16 bytes, so up to 15 bytes may be missing.
    CHECK(Bytes{BzImage{}.build()}.size() == 3 * 512 + 0x1234);
}

TEST_CASE("what does not fit into the guest is refused, whoever loads it") {
    BzImage high, low, hole;
    high.preferred = 0x8000'0000'0000'0000;
    low.preferred = 0x2000;
    hole.preferred = 0x90000;
    struct Row {
        Bytes kernel;
        std::uint64_t ram_bytes;
        std::size_t initramfs;
        const char* message;
    };
    for (const Row& row : {
             Row{high.build(), 64 << 20, 0,
                 "guest kernel needs 4660 bytes of memory at 0x8000000000000000, the guest has 64 MiB: give it more"},
             Row{low.build(), 64 << 20, 0, "guest kernel at 0x2000 overlaps kernel command line at 0x3000"},
             Row{hole.build(), 64 << 20, 0,
                 "unpacked guest kernel wants the addresses 0x91234 to 0x500000, where a PC has no memory for it"},
             Row{BzImage{}.build(), 16 << 20, 0,
                 "guest kernel needs 4660 bytes of memory at 0x1000000, the guest has 16 MiB: give it more"},
             Row{BzImage{}.build(), 17 << 20, 0,
                 "unpacked guest kernel needs 3141068 bytes of memory at 0x1001234, the guest has 17 MiB: give it "
                 "more"},
             Row{BzImage{}.build(), 24 << 20, 5 << 20,
                 "initramfs of 5242880 bytes does not fit into the guest's 24 MiB behind its kernel: give the guest "
                 "more memory"},
         }) {
        const Bytes archive(row.initramfs);
        BootInput input = input_of(row.kernel, row.ram_bytes);
        if (!archive.empty()) input.initramfs = {archive};
        CHECK_THROWS_WITH_AS(load(input), row.message, sim::UserError);
    }
}

TEST_CASE("PVH: start information and 32-bit entry") {
    for (const bool is_64bit : {false, true}) {
        ElfImage elf;
        elf.is_64bit = is_64bit;
        elf.machine = is_64bit ? 62 : 3;
        elf.multiboot = false;
        if (is_64bit) elf.virtual_address = 0xffffffff80100000;
        const Bytes kernel = elf.build(), archive(6, std::byte{9});
        BootInput input = input_of(kernel);
        input.initramfs = {archive};
        CHECK(detect(kernel) == Format::pvh);
        const BootImage image = load(input);
        check_sane(image, input.layout);
        CHECK(segment_at(image, 0x100000).bytes == kernel);
        CHECK(segment_at(image, 0x200000).bytes.size() == 8);

        const Bytes& info = segment_at(image, 0x2000).bytes;
        struct Row {
            const char* name;
            std::size_t offset, width;
            std::uint64_t value;
        };
        for (const Row& row : {
                 Row{"magic", 0, 4, 0x336ec578},
                 Row{"version", 4, 4, 1},
                 Row{"modules", 12, 4, 1},
                 Row{"module list", 16, 8, 0x2038},
                 Row{"command line", 24, 8, 0x3000},
                 Row{"rsdp", 32, 8, 0xe0000},
                 Row{"map", 40, 8, 0x2058},
                 Row{"map entries", 48, 4, 3},
                 Row{"module address", 56, 8, 0x200000},
                 Row{"module size", 64, 8, 8},
                 Row{"map 1 address", 88 + 24, 8, 0xe0000},
                 Row{"map 1 type", 88 + 24 + 16, 4, 2},
                 Row{"map 2 size", 88 + 48 + 8, 8, 0x3f00000},
             }) {
            CAPTURE(row.name);
            CHECK(field(info, row.offset, row.width) == row.value);
        }
        const cpu::Registers& r = image.registers;
        CHECK(r.rip == 0x100100);
        CHECK(r[cpu::Gpr::rbx] == 0x2000);
        CHECK(r.cr0 == 0x11);
        CHECK(r.cr3 == 0);
        CHECK(r.cr4 == 0);
        CHECK(r.efer == 0);
        CHECK(r.rflags == 2);
        CHECK(r[cpu::SegmentName::cs] == cpu::Segment{0x10, 0xc9b, 0xffffffff, 0});
        CHECK(r[cpu::SegmentName::ss] == cpu::Segment{0x18, 0xc93, 0xffffffff, 0});
        CHECK(r.tr == cpu::Segment{0x20, 0x8b, 0x67, 0});
    }
}

TEST_CASE("multiboot: information structure and entry state") {
    const Bytes kernel = ElfImage{}.build(), module1(10, std::byte{1}), module2(4096, std::byte{2});
    CHECK(detect(kernel) == Format::multiboot);
    BootInput input = input_of(kernel);
    input.initramfs = {module1, module2};
    const BootImage image = load(input);
    check_sane(image, input.layout);
    CHECK(segment_at(image, 0x100000).bytes == kernel);
    CHECK(segment_at(image, 0x102000).bytes == module1);
    CHECK(segment_at(image, 0x103000).bytes == module2);

    const Bytes& info = segment_at(image, 0x2000).bytes;
    struct Row {
        const char* name;
        std::size_t offset, width;
        std::uint64_t value;
    };
    for (const Row& row : {
             Row{"flags", 0, 4, 0x24d},
             Row{"mem_lower", 4, 4, 640},
             Row{"mem_upper", 8, 4, 63 * 1024},
             Row{"cmdline", 16, 4, 0x3000},
             Row{"mods_count", 20, 4, 2},
             Row{"mods_addr", 24, 4, 0x20c8},
             Row{"mmap_length", 44, 4, 72},
             Row{"mmap_addr", 48, 4, 0x2074},
             Row{"loader name", 64, 4, 0x20bc},
             Row{"map 0 size", 116, 4, 20},
             Row{"map 0 length", 128, 8, 0xa0000},
             Row{"map 2 address", 116 + 52, 8, 0x100000},
             Row{"map 2 type", 116 + 68, 4, 1},
             Row{"module 1 start", 0xc8, 4, 0x102000},
             Row{"module 1 end", 0xcc, 4, 0x10200a},
             Row{"module 2 start", 0xd8, 4, 0x103000},
         }) {
        CAPTURE(row.name);
        CHECK(field(info, row.offset, row.width) == row.value);
    }
    const cpu::Registers& r = image.registers;
    CHECK(r[cpu::Gpr::rax] == 0x2badb002);
    CHECK(r[cpu::Gpr::rbx] == 0x2000);
    CHECK(r.rip == 0x100200);
    CHECK(r.cr0 == 0x11);
    CHECK(r[cpu::SegmentName::cs] == cpu::Segment{0x10, 0xc9b, 0xffffffff, 0});
}

TEST_CASE("multiboot: a virtual entry address, and a flat file with address fields") {
    ElfImage high;
    high.virtual_address = 0xc0100000;
    high.entry = 0xc0100200;
    const Bytes kernel = high.build();
    CHECK(load(input_of(kernel)).registers.rip == 0x100200);

    ByteWriter flat;
    const std::uint32_t flags = 0x10003;
    flat.zeros(64).u32(0x1badb002).u32(flags).u32(0 - 0x1badb002 - flags);
    flat.u32(0x200020).u32(0x200000).u32(0x200100).u32(0x201000).u32(0x200080).pad_to(1024);
    const BootImage image = load_multiboot(input_of(flat.data()));
    CHECK(image.registers.rip == 0x200080);
    CHECK(segment_at(image, 0x200000).bytes.size() == 0x100);
    CHECK(field(segment_at(image, 0x200000).bytes, 0x20, 4) == 0x1badb002);
}

TEST_CASE("ELF files that are refused, and in which words") {
    struct Row {
        std::function<void(ElfImage&)> spoil;
        const char* message;
    };
    for (const Row& row : {
             Row{[](ElfImage& e) { e.multiboot = e.pvh = false; },
                 "guest kernel: the ELF file has neither a multiboot header nor a PVH entry note"},
             Row{[](ElfImage& e) { e.machine = 183; },
                 "guest kernel (ELF): it is for another processor (machine 183), not for x86"},
             Row{[](ElfImage& e) { e.type = 1; }, "guest kernel (ELF): it is no executable"},
             Row{[](ElfImage& e) { e.memory_bytes = 0x10; },
                 "guest kernel (ELF): program header 0 has more bytes in the file than in memory"},
             Row{[](ElfImage& e) { e.physical = 0xffff0000; },
                 "guest kernel needs 1024 bytes of memory at 0xffff0000, the guest has 64 MiB: give it more"},
             Row{[](ElfImage& e) { e.physical = 0x9ff00; },
                 "guest kernel wants the addresses 0x9ff00 to 0xa0300, where a PC has no memory for it"},
             Row{[](ElfImage& e) { e.multiboot_flags = 7; },
                 "guest kernel (multiboot): it asks for something that is not offered here (flags 0x4)"},
             Row{[](ElfImage& e) {
                     e.multiboot = false;
                     e.pvh_entry = 0x1'0000'0000;
                 },
                 "guest kernel (ELF): its PVH entry point is not below 4 GiB"},
         }) {
        ElfImage spoilt;
        row.spoil(spoilt);
        const Bytes kernel = spoilt.build();
        CHECK_THROWS_WITH_AS(load(input_of(kernel)), row.message, sim::UserError);
    }
    CHECK_THROWS_WITH_AS(load(input_of({})),
                         "guest kernel of 0 bytes: neither a bzImage nor an ELF file; is it the right file?",
                         sim::UserError);
}

TEST_CASE("truncated and damaged files give one line or a sane image, never more") {
    ElfImage elf64;
    elf64.is_64bit = true;
    elf64.machine = 62;
    elf64.multiboot = false;
    std::uint64_t random = 2024;
    const auto draw = [&random] {
        random = random * 6364136223846793005ull + 1442695040888963407ull;
        return random >> 33;
    };
    for (const Bytes& good : {BzImage{}.build(), ElfImage{}.build(), elf64.build()}) {
        const auto attempt = [](const Bytes& kernel) {
            const BootInput input = input_of(kernel);
            try {
                check_sane(load(input), input.layout);
                return true;
            } catch (const sim::UserError& error) {
                REQUIRE(std::string{error.what()}.find('\n') == std::string::npos);
                return false;
            }
        };
        CHECK(attempt(good));
        for (std::size_t n = 0; n < good.size(); ++n)
            (void)attempt({good.begin(), good.begin() + static_cast<long>(n)});
        for (int i = 0; i < 5000; ++i) {
            Bytes bad = good;
            for (std::uint64_t k = draw() % 4 + 1; k > 0; --k) {
                // Mostly in the headers.
                const std::size_t at = draw() % (draw() % 2 != 0 ? bad.size() : 0x280);
                bad[at] = static_cast<std::byte>(draw() % 4 == 0 ? 0xff : draw());
            }
            (void)attempt(bad);
        }
    }
}

TEST_CASE("command line") {
    struct Row {
        std::vector<std::string> options;
        const char* line;
    };
    for (const Row& row : {
             Row{{}, "nokaslr"},
             Row{{"console=ttyS0", "", "  panic=-1   quiet "}, "nokaslr console=ttyS0 panic=-1 quiet"},
             Row{{"quiet nokaslr"}, "quiet nokaslr"},
             Row{{"kaslr"}, "kaslr"},
             Row{{"xnokaslr"}, "nokaslr xnokaslr"},
         }) {
        CHECK(assemble_command_line(row.options) == row.line);
    }
    const std::vector<std::string> newline = {"a\nb"}, longest = {std::string(2039, 'x')},
                                   longer = {std::string(2040, 'x')};
    CHECK_THROWS_WITH_AS(assemble_command_line(newline), "kernel command line: option 'a' has a control character",
                         sim::UserError);
    CHECK(assemble_command_line(longest).size() == 2047);
    CHECK_THROWS_WITH_AS(assemble_command_line(longer),
                         "kernel command line of 2048 characters: a kernel takes at most 2047", sim::UserError);
}

TEST_CASE("cpio archive, byte by byte") {
    const Bytes archive = CpioWriter{}.file("/vg/script.sh", "echo", 0755).finish();
    CHECK(text(archive) == std::string("0707010000000100"
                                       "0041ED0000000000000000000000020000000000000000000000000000000000000000"
                                       "000000000000000300000000"
                                       "vg\0\0\0\0",
                                       116) +
                               std::string("0707010000000200"
                                           "0081ED0000000000000000000000010000000000000004000000000000000000000000"
                                           "000000000000000D00000000"
                                           "vg/script.sh\0\0echo",
                                           128) +
                               std::string("0707010000000000"
                                           "0000000000000000000000000000010000000000000000000000000000000000000000"
                                           "000000000000000B00000000"
                                           "TRAILER!!!\0\0\0\0",
                                           124));
    for (const char* path : {"", "/", "a//b", "../x", "a/../b", "a/"}) {
        CHECK_THROWS_AS(CpioWriter{}.file(path, "x"), sim::UserError);
    }
    // A directory comes once and before what is in it.
    const std::string two = text(CpioWriter{}.file("d/a", "").directory("d").file("d/b", "").finish());
    CHECK(two.find("d\0", 0, 2) != std::string::npos);
    CHECK(two.find("0041ED", two.find("0041ED") + 1) == std::string::npos);
}

}  // namespace loaders_test
