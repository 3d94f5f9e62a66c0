// What a function's configuration space consists of: registers declared in tables, each bit read-only, read-write or
// cleared by writing one, and the two lists of capabilities. A layout doesn't change once devices use it, so that all
// functions of a kind share one.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "pci/config_registers.h"

namespace pci {

struct ConfigRegister {
    std::string_view name;
    std::uint16_t offset;
    std::uint8_t width_bytes;  // 1, 2 or 4
    std::uint32_t reset = 0;
    std::uint32_t writable = 0;      // bits that take what is written
    std::uint32_t clear_on_one = 0;  // bits that a written one clears
    std::uint32_t sticky = 0;        // of both kinds: what only power-on resets (PCIe 6.0, 7.4, "S")
};

class ConfigLayout {
public:
    // 256 bytes, or 4096 for a function with extended capabilities.
    explicit ConfigLayout(unsigned size_bytes);

    void add(const ConfigRegister& row) { add_at(0, row); }
    void add(std::span<const ConfigRegister> rows);

    // Appends to the list; rows' offsets count from the capability's start, the header is added here. `at` 0 is the
    // next free place from 0x40 on (0x100 for extended ones). Gives the capability's offset.
    std::uint16_t add_capability(std::uint8_t id, std::uint16_t length, std::span<const ConfigRegister> rows,
                                 std::uint16_t at = 0);
    std::uint16_t add_extended_capability(std::uint16_t id, std::uint8_t version, std::uint16_t length,
                                          std::span<const ConfigRegister> rows, std::uint16_t at = 0);

    // 0 if there is none.
    std::uint16_t capability(std::uint8_t id) const;
    std::uint16_t extended_capability(std::uint16_t id) const;

    unsigned size_bytes() const { return static_cast<unsigned>(bytes_.size()); }
    struct Byte {
        std::uint8_t reset = 0;
        std::uint8_t writable = 0;
        std::uint8_t clear_on_one = 0;
        std::uint8_t sticky = 0;
        bool declared = false;
    };
    const Byte& byte(unsigned offset) const { return bytes_[offset]; }
    const std::vector<ConfigRegister>& registers() const { return registers_; }

private:
    struct Capability {
        std::uint16_t id;
        std::uint16_t offset;
    };
    void add_at(std::uint16_t start, ConfigRegister row);
    void change_reset(std::uint16_t offset, unsigned width_bytes, std::uint32_t value);
    void close(std::uint16_t start, std::uint16_t length);
    std::uint16_t place(std::uint16_t length, std::uint16_t at, std::uint16_t first, unsigned end) const;

    std::vector<Byte> bytes_;
    std::vector<ConfigRegister> registers_;  // as declared, with absolute offsets
    std::vector<Capability> capabilities_;
    std::vector<Capability> extended_;
};

}  // namespace pci
