#include "pci/config_layout.h"

#include "sim/check.h"

namespace pci {

namespace {
constexpr std::uint16_t first_capability = 0x40;
}

ConfigLayout::ConfigLayout(unsigned size_bytes) : bytes_(size_bytes) {
    VG_CHECK(size_bytes == legacy_config_bytes || size_bytes == extended_config_bytes);
}

void ConfigLayout::add(std::span<const ConfigRegister> rows) {
    for (const ConfigRegister& row : rows) add(row);
}

void ConfigLayout::add_at(std::uint16_t start, ConfigRegister row) {
    VG_CHECK(row.width_bytes == 1 || row.width_bytes == 2 || row.width_bytes == 4);
    row.offset = static_cast<std::uint16_t>(row.offset + start);
    VG_CHECK(row.offset % row.width_bytes == 0 && row.offset + row.width_bytes <= size_bytes());
    VG_CHECK((row.writable & row.clear_on_one) == 0);
    VG_CHECK((row.sticky & ~(row.writable | row.clear_on_one)) == 0);
    for (unsigned i = 0; i < row.width_bytes; ++i) {
        Byte& byte = bytes_[row.offset + i];
        VG_CHECK(!byte.declared, row.name);
        byte = {static_cast<std::uint8_t>(row.reset >> 8 * i), static_cast<std::uint8_t>(row.writable >> 8 * i),
                static_cast<std::uint8_t>(row.clear_on_one >> 8 * i), static_cast<std::uint8_t>(row.sticky >> 8 * i),
                true};
    }
    registers_.push_back(row);
}

void ConfigLayout::change_reset(std::uint16_t offset, unsigned width_bytes, std::uint32_t value) {
    for (unsigned i = 0; i < width_bytes; ++i) bytes_[offset + i].reset = static_cast<std::uint8_t>(value >> 8 * i);
}

std::uint16_t ConfigLayout::place(std::uint16_t length, std::uint16_t at, std::uint16_t first, unsigned end) const {
    const auto fits = [&](unsigned offset) {
        if (offset % 4 != 0 || offset + length > end) return false;
        for (unsigned i = 0; i < length; ++i) {
            if (bytes_[offset + i].declared) return false;
        }
        return true;
    };
    if (at != 0) {
        VG_CHECK(at >= first && fits(at));
        return at;
    }
    unsigned offset = first;
    while (offset < end && !fits(offset)) offset += 4;
    VG_CHECK(offset < end);
    return static_cast<std::uint16_t>(offset);
}

// What a capability leaves undeclared is reserved, and its own.
void ConfigLayout::close(std::uint16_t start, std::uint16_t length) {
    for (unsigned i = 0; i < length; ++i) bytes_[start + i].declared = true;
}

// PCI 3.0, 6.7: identifier, then the offset of the next one.
std::uint16_t ConfigLayout::add_capability(std::uint8_t id, std::uint16_t length, std::span<const ConfigRegister> rows,
                                           std::uint16_t at) {
    const std::uint16_t start = place(length, at, first_capability, legacy_config_bytes);
    add_at(start, {"capability", 0, 2, id});
    for (const ConfigRegister& row : rows) {
        VG_CHECK(row.offset + row.width_bytes <= length);
        add_at(start, row);
    }
    if (capabilities_.empty()) {
        VG_CHECK(bytes_[header::capabilities_pointer].declared && bytes_[header::status].declared);
        change_reset(header::capabilities_pointer, 1, start);
        bytes_[header::status].reset |= static_cast<std::uint8_t>(status::capabilities_list);
    } else {
        change_reset(static_cast<std::uint16_t>(capabilities_.back().offset + 1), 1, start);
    }
    close(start, length);
    capabilities_.push_back({id, start});
    return start;
}

// PCIe 6.0, 7.6.3: identifier, version and the next one's offset in 32 bits; the list starts at 0x100.
std::uint16_t ConfigLayout::add_extended_capability(std::uint16_t id, std::uint8_t version, std::uint16_t length,
                                                    std::span<const ConfigRegister> rows, std::uint16_t at) {
    VG_CHECK(size_bytes() == extended_config_bytes);
    const std::uint16_t start = place(length, at, first_extended_capability, extended_config_bytes);
    VG_CHECK(!extended_.empty() || start == first_extended_capability);
    add_at(start, {"extended capability", 0, 4, id | std::uint32_t{version} << 16});
    for (const ConfigRegister& row : rows) {
        VG_CHECK(row.offset + row.width_bytes <= length);
        add_at(start, row);
    }
    if (!extended_.empty()) {
        const std::uint16_t last = extended_.back().offset;
        const auto low = static_cast<std::uint8_t>((bytes_[last + 2u].reset & 0x0f) | (start & 0xf) << 4);
        change_reset(static_cast<std::uint16_t>(last + 2), 2, std::uint32_t{low} | std::uint32_t{start} >> 4 << 8);
    }
    close(start, length);
    extended_.push_back({id, start});
    return start;
}

std::uint16_t ConfigLayout::capability(std::uint8_t id) const {
    for (const Capability& c : capabilities_) {
        if (c.id == id) return c.offset;
    }
    return 0;
}

std::uint16_t ConfigLayout::extended_capability(std::uint16_t id) const {
    for (const Capability& c : extended_) {
        if (c.id == id) return c.offset;
    }
    return 0;
}

}  // namespace pci
