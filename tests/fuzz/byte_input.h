// Values off a fuzzer's input, from its front; zeros once it is used up.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace fuzz {

class ByteInput {
public:
    explicit ByteInput(std::span<const std::uint8_t> data) : data_(data) {}
    template <class T>
    T take() {
        T value{};
        const std::size_t n = data_.size() < sizeof value ? data_.size() : sizeof value;
        if (n != 0) std::memcpy(&value, data_.data(), n);
        data_ = data_.subspan(n);
        return value;
    }
    std::uint8_t byte() { return take<std::uint8_t>(); }
    bool flag() { return (byte() & 1) != 0; }
    bool empty() const { return data_.empty(); }

private:
    std::span<const std::uint8_t> data_;
};

}  // namespace fuzz
