// Builds little-endian structures byte by byte. For tables whose layout is a sequence and not a C struct.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <type_traits>
#include <vector>

#include "sim/check.h"

namespace models {

class ByteWriter final {
public:
    template <class T>
    ByteWriter& put(T value) {
        static_assert(std::is_unsigned_v<T>);
        for (std::size_t i = 0; i < sizeof(T); ++i) bytes_.push_back(static_cast<std::byte>(value >> (8 * i)));
        return *this;
    }
    ByteWriter& u8(std::uint8_t v) { return put(v); }
    ByteWriter& u16(std::uint16_t v) { return put(v); }
    ByteWriter& u32(std::uint32_t v) { return put(v); }
    ByteWriter& u64(std::uint64_t v) { return put(v); }
    ByteWriter& text(std::string_view s) {
        for (const char c : s) bytes_.push_back(static_cast<std::byte>(c));
        return *this;
    }
    ByteWriter& bytes(std::span<const std::byte> data) {
        bytes_.insert(bytes_.end(), data.begin(), data.end());
        return *this;
    }
    ByteWriter& zeros(std::size_t n) {
        bytes_.resize(bytes_.size() + n);
        return *this;
    }
    // Zeros up to an offset: states in the code where a field lies.
    ByteWriter& pad_to(std::size_t offset) {
        VG_CHECK(offset >= bytes_.size());
        bytes_.resize(offset);
        return *this;
    }
    ByteWriter& align(std::size_t power_of_two) {
        return pad_to((bytes_.size() + power_of_two - 1) & ~(power_of_two - 1));
    }
    template <class T>
    void patch(std::size_t offset, T value) {
        VG_CHECK(offset + sizeof(T) <= bytes_.size());
        for (std::size_t i = 0; i < sizeof(T); ++i) bytes_[offset + i] = static_cast<std::byte>(value >> (8 * i));
    }

    std::size_t size() const { return bytes_.size(); }
    const std::vector<std::byte>& data() const { return bytes_; }
    std::vector<std::byte> take() { return std::move(bytes_); }

private:
    std::vector<std::byte> bytes_;
};

}  // namespace models
