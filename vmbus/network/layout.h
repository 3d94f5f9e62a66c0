// Structures of a protocol in bytes that somebody else wrote, and rows that describe messages for tables.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>
#include <vector>

namespace vmbus {

// Nothing if the bytes end too early.
template <class T>
std::optional<T> read_layout(std::span<const std::byte> bytes, std::size_t at = 0) {
    static_assert(std::is_trivially_copyable_v<T>);
    if (at > bytes.size() || bytes.size() - at < sizeof(T)) return std::nullopt;
    T value;
    std::memcpy(&value, bytes.data() + at, sizeof(T));
    return value;
}

// `length` bytes at `at`; nothing if they are not all there.
inline std::optional<std::span<const std::byte>> part(std::span<const std::byte> bytes, std::uint64_t at,
                                                      std::uint64_t length) {
    if (at > bytes.size() || bytes.size() - at < length) return std::nullopt;
    return bytes.subspan(static_cast<std::size_t>(at), static_cast<std::size_t>(length));
}

template <class T>
void append_layout(std::vector<std::byte>& bytes, const T& value) {
    static_assert(std::is_trivially_copyable_v<T>);
    const auto* first = reinterpret_cast<const std::byte*>(&value);
    bytes.insert(bytes.end(), first, first + sizeof(T));
}

template <class T>
std::span<const std::byte> layout_bytes(const T& value) {
    static_assert(std::is_trivially_copyable_v<T>);
    return std::as_bytes(std::span{&value, 1});
}

// A field of a message: where it lies, for whoever prints, parses or mistreats messages.
struct MessageField {
    std::string_view name;
    std::uint8_t offset = 0;
    std::uint8_t bytes = 4;
};

}  // namespace vmbus
