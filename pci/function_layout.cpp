#include "pci/function_layout.h"

#include <bit>

#include "sim/check.h"

namespace pci {
namespace {

// PCI 3.0, 6.2: what both header types have.
void add_header(ConfigLayout& layout, const Identity& identity, std::uint8_t type) {
    const std::uint32_t class_code = std::uint32_t{identity.class_of} << 8 | identity.programming_interface;
    const auto header_type = static_cast<std::uint8_t>(type | (identity.multi_function ? header::multi_function : 0));
    const ConfigRegister rows[] = {
        {"vendor id", header::vendor_id, 2, identity.vendor},
        {"device id", header::device_id, 2, identity.device},
        {"command", header::command, 2, 0, identity.command_writable},
        {"status", header::status, 2, identity.status, 0, status::errors},
        {"revision id", header::revision_id, 1, identity.revision},
        {"programming interface", header::class_code, 1, class_code & 0xff},
        {"class code", header::class_code + 1, 2, class_code >> 8},
        {"cache line size", header::cache_line_size, 1, 0, 0xff},
        {"latency timer", header::latency_timer, 1, 0, 0xff},
        {"header type", header::header_type, 1, header_type},
        {"bist", header::bist, 1},
        {"capabilities pointer", header::capabilities_pointer, 1},
        {"interrupt line", header::interrupt_line, 1, 0, 0xff},
        {"interrupt pin", header::interrupt_pin, 1, identity.interrupt_pin},
    };
    VG_CHECK(identity.interrupt_pin <= 4);
    layout.add(rows);
}

void add_bars(FunctionLayout& function, std::span<const Bar> bars, unsigned registers, std::uint16_t rom_offset) {
    for (unsigned i = 0; i < bars.size(); ++i) {
        const Bar& bar = bars[i];
        if (bar.kind == BarKind::absent) continue;
        VG_CHECK(std::has_single_bit(bar.size_bytes));
        const bool rom = bar.kind == BarKind::rom;
        VG_CHECK(rom == (i == rom_bar) && (rom || i < registers));
        const std::uint64_t least = bar.kind == BarKind::io ? 4 : rom ? 2048 : 16;
        VG_CHECK(bar.size_bytes >= least && (bar.kind != BarKind::io || bar.size_bytes <= 0x10000));
        VG_CHECK(bar.kind == BarKind::memory64 || bar.size_bytes <= 1ull << 31);
        function.bars[i] = bar;
        const std::uint64_t mask = ~(bar.size_bytes - 1);
        const auto offset = static_cast<std::uint16_t>(rom ? rom_offset : header::bar0 + 4 * i);
        const std::uint32_t enable_bit = rom ? bar_bits::rom_enable : 0;
        function.config.add(
            {rom ? "expansion ROM" : "BAR", offset, 4, type_bits(bar), static_cast<std::uint32_t>(mask) | enable_bit});
        if (bar.kind != BarKind::memory64) continue;
        VG_CHECK(i + 1 < registers && (i + 1 >= bars.size() || bars[i + 1].kind == BarKind::absent));
        function.config.add(
            {"BAR, upper half", static_cast<std::uint16_t>(offset + 4), 4, 0, static_cast<std::uint32_t>(mask >> 32)});
    }
}

}  // namespace

std::uint32_t type_bits(const Bar& bar) {
    switch (bar.kind) {
        case BarKind::io:
            return bar_bits::io;
        case BarKind::memory64:
            return bar_bits::memory64 | (bar.prefetchable ? bar_bits::prefetchable : 0);
        case BarKind::memory32:
            return bar.prefetchable ? bar_bits::prefetchable : 0;
        default:
            return 0;
    }
}

FunctionLayout device_function(const Identity& identity, std::span<const Bar> bars, unsigned config_bytes) {
    FunctionLayout function{config_bytes};
    add_header(function.config, identity, 0);
    add_bars(function, bars, header0::bars, header0::rom);
    const ConfigRegister rows[] = {
        {"subsystem vendor id", header0::subsystem_vendor_id, 2, identity.subsystem_vendor},
        {"subsystem id", header0::subsystem_id, 2, identity.subsystem},
        {"min gnt", header0::min_gnt, 1, identity.min_gnt},
        {"max lat", header0::max_lat, 1, identity.max_lat},
    };
    function.config.add(rows);
    return function;
}

// PCI-to-PCI bridges 1.2, 3.2.5. The windows decode 32 bits of I/O and 64 bits of prefetchable memory.
FunctionLayout bridge_function(const Identity& identity, std::span<const Bar> bars, unsigned config_bytes) {
    constexpr std::uint8_t wide = 1;
    static constexpr ConfigRegister rows[] = {
        {"primary bus", header1::primary_bus, 1, 0, 0xff},
        {"secondary bus", header1::secondary_bus, 1, 0, 0xff},
        {"subordinate bus", header1::subordinate_bus, 1, 0, 0xff},
        {"secondary latency timer", header1::secondary_latency, 1},
        {"io base", header1::io_base, 1, wide, 0xf0},
        {"io limit", header1::io_limit, 1, wide, 0xf0},
        {"secondary status", header1::secondary_status, 2, 0, 0, status::errors},
        {"memory base", header1::memory_base, 2, 0, 0xfff0},
        {"memory limit", header1::memory_limit, 2, 0, 0xfff0},
        {"prefetchable base", header1::prefetch_base, 2, wide, 0xfff0},
        {"prefetchable limit", header1::prefetch_limit, 2, wide, 0xfff0},
        {"prefetchable base, upper half", header1::prefetch_base_upper, 4, 0, 0xffffffff},
        {"prefetchable limit, upper half", header1::prefetch_limit_upper, 4, 0, 0xffffffff},
        {"io base, upper half", header1::io_base_upper, 2, 0, 0xffff},
        {"io limit, upper half", header1::io_limit_upper, 2, 0, 0xffff},
        {"bridge control", header1::bridge_control, 2, 0,
         bridge_control::parity_response | bridge_control::serr_enable | bridge_control::secondary_bus_reset},
    };
    FunctionLayout function{config_bytes};
    function.bridge = true;
    add_header(function.config, identity, 1);
    add_bars(function, bars, header1::bars, header1::rom);
    function.config.add(rows);
    return function;
}

}  // namespace pci
