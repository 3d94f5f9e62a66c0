// Declares a kind of function: who it says it is, its base address registers, its configuration space. Devices build
// one, add their capabilities and share it among all functions of the kind.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "pci/config_layout.h"

namespace pci {

enum class BarKind : std::uint8_t { absent, memory32, memory64, io, rom };

// Sizes are powers of two: I/O at least 4, memory at least 16, ROM at least 2 KiB. A 64-bit one takes two registers.
struct Bar {
    BarKind kind = BarKind::absent;
    std::uint64_t size_bytes = 0;
    bool prefetchable = false;
};

inline constexpr unsigned rom_bar = 6;  // the expansion ROM's number among a function's BARs

struct Identity {
    std::uint16_t vendor = 0xffff;
    std::uint16_t device = 0xffff;
    std::uint8_t revision = 0;
    std::uint16_t class_of = 0;  // base class and sub-class
    std::uint8_t programming_interface = 0;
    std::uint16_t subsystem_vendor = 0;
    std::uint16_t subsystem = 0;
    std::uint8_t interrupt_pin = 0;  // 1 to 4 for INTA to INTD; 0: none
    bool multi_function = false;
    std::uint16_t status = 0;  // fixed bits of the status register
    std::uint16_t command_writable = 0x0547;
    std::uint8_t min_gnt = 0;
    std::uint8_t max_lat = 0;
};

struct FunctionLayout {
    explicit FunctionLayout(unsigned config_bytes) : config(config_bytes) {}
    ConfigLayout config;
    std::array<Bar, 7> bars{};  // by register; the second half of a 64-bit one is absent
    bool bridge = false;
};

// Header type 0. `bars` are in order of their registers; the seventh is the ROM.
FunctionLayout device_function(const Identity& identity, std::span<const Bar> bars, unsigned config_bytes);
// Header type 1, a bridge: two BARs at most, and its I/O, memory and prefetchable windows.
FunctionLayout bridge_function(const Identity& identity, std::span<const Bar> bars, unsigned config_bytes);

// The type bits of a BAR's register.
std::uint32_t type_bits(const Bar& bar);

}  // namespace pci
