// Who sent a transaction, and whom a configuration cycle addresses: bus, device and function number (PCIe 6.0,
// 2.2.4.2).
#pragma once

#include <compare>
#include <cstdint>

namespace pci {

struct RequesterId {
    std::uint16_t value = 0;

    static constexpr RequesterId of(unsigned bus, unsigned device, unsigned function) {
        return {static_cast<std::uint16_t>(bus << 8 | (device & 31) << 3 | (function & 7))};
    }
    constexpr std::uint8_t bus() const { return static_cast<std::uint8_t>(value >> 8); }
    // Device and function in one, which is the function number alone where devices use ARI (6.13).
    constexpr std::uint8_t devfn() const { return static_cast<std::uint8_t>(value); }
    constexpr unsigned device() const { return devfn() >> 3; }
    constexpr unsigned function() const { return devfn() & 7; }

    auto operator<=>(const RequesterId&) const = default;
    template <class Archive>
    void fields(Archive& archive) {
        archive(value);
    }
};

}  // namespace pci
