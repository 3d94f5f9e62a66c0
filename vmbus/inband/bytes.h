// Little-endian messages: taken apart with every read checked, and put together.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace vmbus {

// Takes values off the front. A read past the end gives zeros and is remembered, so a parser checks once, at its end.
class ByteReader {
public:
    explicit ByteReader(std::span<const std::byte> data) : data_(data) {}

    std::uint8_t u8() { return number<std::uint8_t>(); }
    std::uint16_t u16() { return number<std::uint16_t>(); }
    std::uint32_t u32() { return number<std::uint32_t>(); }
    std::uint64_t u64() { return number<std::uint64_t>(); }
    std::int32_t i32() { return static_cast<std::int32_t>(u32()); }
    std::span<const std::byte> bytes(std::size_t n) {
        if (n > data_.size()) {
            complete_ = false;
            data_ = {};
            return {};
        }
        const auto taken = data_.first(n);
        data_ = data_.subspan(n);
        return taken;
    }
    void skip(std::size_t n) { (void)bytes(n); }
    std::span<const std::byte> rest() const { return data_; }
    // Nothing was read that was not there.
    bool complete() const { return complete_; }

private:
    template <class T>
    T number() {
        T value = 0;
        const auto taken = bytes(sizeof(T));
        for (std::size_t n = taken.size(); n-- > 0;) {
            value = static_cast<T>(static_cast<T>(value << 7 << 1) | std::to_integer<T>(taken[n]));
        }
        return value;
    }

    std::span<const std::byte> data_;
    bool complete_ = true;
};

class ByteBuilder {
public:
    ByteBuilder& u8(std::uint8_t value) { return number(value); }
    ByteBuilder& u16(std::uint16_t value) { return number(value); }
    ByteBuilder& u32(std::uint32_t value) { return number(value); }
    ByteBuilder& u64(std::uint64_t value) { return number(value); }
    ByteBuilder& i32(std::int32_t value) { return u32(static_cast<std::uint32_t>(value)); }
    ByteBuilder& zeros(std::size_t n) {
        data_.resize(data_.size() + n);
        return *this;
    }
    ByteBuilder& bytes(std::span<const std::byte> data) {
        data_.insert(data_.end(), data.begin(), data.end());
        return *this;
    }
    // `room` bytes in all, zeros after the data; what does not fit is left out.
    ByteBuilder& field(std::span<const std::byte> data, std::size_t room) {
        bytes(data.first(data.size() < room ? data.size() : room));
        return zeros(data.size() < room ? room - data.size() : 0);
    }
    std::size_t size() const { return data_.size(); }
    std::vector<std::byte> take() { return std::move(data_); }

private:
    template <class T>
    ByteBuilder& number(T value) {
        for (std::size_t n = 0; n < sizeof(T); ++n) {
            data_.push_back(static_cast<std::byte>(static_cast<std::uint64_t>(value) >> (8 * n)));
        }
        return *this;
    }

    std::vector<std::byte> data_;
};

inline std::span<const std::byte> as_bytes(std::string_view text) {
    return std::as_bytes(std::span{text.data(), text.size()});
}

}  // namespace vmbus
