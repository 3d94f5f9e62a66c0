#include "pci/config_access.h"

#include "sim/bits.h"
#include "sim/check.h"

namespace pci {

namespace {
constexpr std::uint32_t enable = 1u << 31;
constexpr std::uint32_t stored_bits = 0x80ff'fffc;
}  // namespace

bool ConfigPorts::reaches(std::uint16_t port) const {
    return port >= data_port && (state_.address & enable) != 0;
}

RequesterId ConfigPorts::target() const {
    return {static_cast<std::uint16_t>(state_.address >> 8)};
}

unsigned ConfigPorts::offset(std::uint16_t port) const {
    return (state_.address & 0xfc) + (port & 3u);
}

std::uint32_t ConfigPorts::read(std::uint16_t port, unsigned size) {
    VG_CHECK(port >= address_port && port + size <= address_port + ports && (size == 1 || size == 2 || size == 4));
    if (port == address_port && size == 4) return state_.address;
    if ((port & 3u) + size > 4) {
        std::uint32_t value = 0;
        for (unsigned i = 0; i < size; ++i) value |= read(static_cast<std::uint16_t>(port + i), 1) << 8 * i;
        return value;
    }
    if (reaches(port)) return root_.read_config(target(), offset(port), size);
    return static_cast<std::uint32_t>(sim::mask_of(8 * size - 1, 0));
}

void ConfigPorts::write(std::uint16_t port, unsigned size, std::uint32_t value) {
    VG_CHECK(port >= address_port && port + size <= address_port + ports && (size == 1 || size == 2 || size == 4));
    if (port == address_port && size == 4) {
        state_.address = value & stored_bits;
    } else if ((port & 3u) + size > 4) {
        for (unsigned i = 0; i < size; ++i) write(static_cast<std::uint16_t>(port + i), 1, value >> 8 * i & 0xff);
    } else if (reaches(port)) {
        root_.write_config(target(), offset(port), size, value);
    }
}

ConfigWindow::ConfigWindow(RootComplex& root, std::uint64_t base, unsigned first_bus, unsigned buses)
    : root_(root), base_(base), first_bus_(first_bus), buses_(buses) {
    VG_CHECK(base % bytes_per_bus == 0 && buses != 0 && first_bus + buses <= 256);
}

RequesterId ConfigWindow::target(std::uint64_t address) const {
    const std::uint64_t place = (address - base_) >> 12;
    return {static_cast<std::uint16_t>(place + (std::uint64_t{first_bus_} << 8))};
}

std::uint64_t ConfigWindow::read(std::uint64_t address, unsigned size) {
    VG_CHECK(address >= base_ && address - base_ <= bytes() - size);
    if (size <= 4 && (address & 3) + size <= 4) {
        return root_.read_config(target(address), address & 0xfff, size);
    }
    const unsigned step = size == 8 && address % 4 == 0 ? 4 : 1;
    std::uint64_t value = 0;
    for (unsigned i = 0; i < size; i += step) {
        value |= std::uint64_t{root_.read_config(target(address + i), (address + i) & 0xfff, step)} << 8 * i;
    }
    return value;
}

void ConfigWindow::write(std::uint64_t address, unsigned size, std::uint64_t value) {
    VG_CHECK(address >= base_ && address - base_ <= bytes() - size);
    if (size <= 4 && (address & 3) + size <= 4) {
        return root_.write_config(target(address), address & 0xfff, size, static_cast<std::uint32_t>(value));
    }
    const unsigned step = size == 8 && address % 4 == 0 ? 4 : 1;
    for (unsigned i = 0; i < size; i += step) {
        const auto part = static_cast<std::uint32_t>(value >> 8 * i & (step == 4 ? 0xffff'ffffu : 0xffu));
        root_.write_config(target(address + i), (address + i) & 0xfff, step, part);
    }
}

}  // namespace pci
