#include "models/loaders/placement.h"

#include <fmt/format.h>

#include <algorithm>

#include "models/byte_writer.h"
#include "sim/bits.h"
#include "sim/check.h"

namespace models::loaders {
namespace {
// Descriptors (SDM volume 3A, 3.4.5): base 0, limit 4 GiB, accessed.
constexpr std::uint64_t flat_code_32 = 0x00cf'9b00'0000'ffff;
constexpr std::uint64_t flat_code_64 = 0x00af'9b00'0000'ffff;
constexpr std::uint64_t flat_data = 0x00cf'9300'0000'ffff;
constexpr std::uint64_t task_state = 0x0000'8b00'0000'0067;
constexpr std::uint16_t code_selector = 0x10, data_selector = 0x18, task_selector = 0x20;

cpu::Segment flat(std::uint16_t selector, std::uint64_t descriptor) {
    const auto attributes =
        static_cast<std::uint16_t>(sim::bits(descriptor, 47, 40) | sim::bits(descriptor, 55, 52) << 8);
    return {selector, attributes, 0xffff'ffff, 0};
}

// GDT and segment registers with the given code segment.
cpu::Registers flat_registers(Placement& placement, const BootInput& input, std::uint64_t code_descriptor) {
    ByteWriter gdt;
    gdt.u64(0).u64(0).u64(code_descriptor).u64(flat_data).u64(task_state);
    cpu::Registers r = cpu::reset_registers(input.cpu_signature);
    r.gdtr = {gdt_gpa, static_cast<std::uint32_t>(gdt.size() - 1)};
    r.idtr = {0, 0};
    placement.add(gdt_gpa, gdt.take(), "descriptor table");
    for (cpu::Segment& segment : r.segments) segment = flat(data_selector, flat_data);
    r[cpu::SegmentName::cs] = flat(code_selector, code_descriptor);
    r.tr = {task_selector, cpu::segment::present | cpu::segment::tss32_busy, 0x67, 0};
    r.ldtr = {};
    r.cr0 = cpu::cr0::pe | cpu::cr0::et;
    return r;
}
}  // namespace

void Placement::claim(std::uint64_t gpa, std::uint64_t length, const std::string& what) {
    const std::uint64_t end = layout_.low_ram.end();
    if (gpa > end || length > end - gpa) {
        throw sim::UserError(fmt::format("{} needs {} bytes of memory at {:#x}, the guest has {} MiB: give it more",
                                         what, length, gpa, end >> 20));
    }
    const bool tables = what == "firmware tables";
    if (!tables && gpa < conventional_end + 0x6'0000 && gpa + length > conventional_end) {
        throw sim::UserError(fmt::format("{} wants the addresses {:#x} to {:#x}, where a PC has no memory for it", what,
                                         gpa, gpa + length));
    }
    for (const Taken& other : taken_) {
        if (length != 0 && gpa < other.end && other.first < gpa + length) {
            throw sim::UserError(fmt::format("{} at {:#x} overlaps {} at {:#x}", what, gpa, other.what, other.first));
        }
    }
    taken_.push_back({gpa, gpa + length, what});
}

void Placement::add(std::uint64_t gpa, Bytes bytes, std::string what) {
    claim(gpa, bytes.size(), what);
    if (!bytes.empty()) segments_.push_back({gpa, std::move(bytes), std::move(what)});
}

void Placement::reserve(std::uint64_t gpa, std::uint64_t length, std::string what) {
    claim(gpa, length, what);
}

std::uint64_t Placement::find_room(std::uint64_t from, std::uint64_t length, std::uint64_t align,
                                   std::string_view what) const {
    std::uint64_t gpa = sim::align_up(from, align);
    for (bool moved = true; moved;) {
        moved = false;
        for (const Taken& other : taken_) {
            if (gpa < other.end && other.first < gpa + length) {
                gpa = sim::align_up(other.end, align);
                moved = true;
            }
        }
    }
    const std::uint64_t end = layout_.low_ram.end();
    if (gpa > end || length > end - gpa) {
        throw sim::UserError(
            fmt::format("{} of {} bytes does not fit into the guest's {} MiB behind its kernel: give "
                        "the guest more memory",
                        what, length, end >> 20));
    }
    return gpa;
}

std::vector<Segment> Placement::take() {
    std::sort(segments_.begin(), segments_.end(), [](const Segment& a, const Segment& b) { return a.gpa < b.gpa; });
    return std::move(segments_);
}

Bytes command_line_bytes(const std::string& command_line) {
    return ByteWriter{}.text(command_line).u8(0).take();
}

void add_common(Placement& placement, const BootInput& input) {
    if (input.command_line.size() > longest_command_line || input.command_line.find('\0') != std::string::npos) {
        throw sim::UserError(fmt::format("kernel command line of {} characters: at most {} and no NUL",
                                         input.command_line.size(), longest_command_line));
    }
    placement.add(command_line_gpa, command_line_bytes(input.command_line), "kernel command line");
    placement.add(input.acpi.gpa, input.acpi.bytes, "firmware tables");
}

cpu::Registers protected_mode_registers(Placement& placement, const BootInput& input, std::uint32_t entry) {
    cpu::Registers r = flat_registers(placement, input, flat_code_32);
    r.rip = entry;
    return r;
}

cpu::Registers long_mode_registers(Placement& placement, const BootInput& input, std::uint64_t entry) {
    constexpr std::uint64_t present_writable = 0x3, large = 0x80, page = 0x1000, large_page = 0x20'0000;
    constexpr unsigned directories = 4;
    ByteWriter tables;
    tables.u64((page_tables_gpa + page) | present_writable);
    tables.pad_to(page);
    for (unsigned i = 0; i < directories; ++i) tables.u64((page_tables_gpa + (2 + i) * page) | present_writable);
    tables.pad_to(2 * page);
    for (std::uint64_t i = 0; i < 512 * directories; ++i) tables.u64(i * large_page | large | present_writable);
    placement.add(page_tables_gpa, tables.take(), "page tables");

    cpu::Registers r = flat_registers(placement, input, flat_code_64);
    r.rip = entry;
    r.cr3 = page_tables_gpa;
    r.cr4 = cpu::cr4::pae;
    r.efer = cpu::efer::lme | cpu::efer::lma;
    r.cr0 |= cpu::cr0::pg;
    return r;
}

}  // namespace models::loaders
