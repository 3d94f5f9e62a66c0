// Network byte order in bytes that were checked to be there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "models/network/addresses.h"
#include "sim/check.h"

namespace models {

template <class T>
T load_be(std::span<const std::byte> bytes, std::size_t offset) {
    VG_CHECK(offset <= bytes.size() && sizeof(T) <= bytes.size() - offset);
    T value = 0;
    for (std::size_t i = 0; i < sizeof(T); ++i) {
        value = static_cast<T>(value << 8 | std::to_integer<T>(bytes[offset + i]));
    }
    return value;
}
inline std::uint8_t load_u8(std::span<const std::byte> bytes, std::size_t offset) {
    VG_CHECK(offset < bytes.size());
    return std::to_integer<std::uint8_t>(bytes[offset]);
}
inline std::uint16_t load_be16(std::span<const std::byte> bytes, std::size_t offset) {
    return load_be<std::uint16_t>(bytes, offset);
}
inline std::uint32_t load_be32(std::span<const std::byte> bytes, std::size_t offset) {
    return load_be<std::uint32_t>(bytes, offset);
}

template <class T>
void store_be(std::span<std::byte> bytes, std::size_t offset, T value) {
    VG_CHECK(offset <= bytes.size() && sizeof(T) <= bytes.size() - offset);
    for (std::size_t i = 0; i < sizeof(T); ++i) {
        bytes[offset + i] = static_cast<std::byte>(value >> (8 * (sizeof(T) - 1 - i)));
    }
}
inline void store_be16(std::span<std::byte> bytes, std::size_t offset, std::uint16_t value) {
    store_be(bytes, offset, value);
}
inline void store_be32(std::span<std::byte> bytes, std::size_t offset, std::uint32_t value) {
    store_be(bytes, offset, value);
}

inline MacAddress load_mac(std::span<const std::byte> bytes, std::size_t offset) {
    VG_CHECK(offset <= bytes.size() && 6 <= bytes.size() - offset);
    MacAddress mac;
    std::memcpy(mac.bytes.data(), bytes.data() + offset, 6);
    return mac;
}
inline void store_mac(std::span<std::byte> bytes, std::size_t offset, const MacAddress& mac) {
    VG_CHECK(offset <= bytes.size() && 6 <= bytes.size() - offset);
    std::memcpy(bytes.data() + offset, mac.bytes.data(), 6);
}
inline IpAddress load_ip(std::span<const std::byte> bytes, std::size_t offset, IpFamily family) {
    IpAddress address;
    address.family = family;
    VG_CHECK(offset <= bytes.size() && address.size() <= bytes.size() - offset);
    std::memcpy(address.bytes.data(), bytes.data() + offset, address.size());
    return address;
}
inline void store_ip(std::span<std::byte> bytes, std::size_t offset, const IpAddress& address) {
    VG_CHECK(offset <= bytes.size() && address.size() <= bytes.size() - offset);
    std::memcpy(bytes.data() + offset, address.bytes.data(), address.size());
}

}  // namespace models
