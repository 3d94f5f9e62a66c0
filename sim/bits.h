// Bit fields of registers and table entries.
#pragma once

#include <bit>
#include <concepts>
#include <cstdint>
#include <type_traits>

namespace sim {

// 128-bit products and quotients; __extension__ because ISO C++ has no name for them.
__extension__ using u128 = unsigned __int128;
__extension__ using i128 = __int128;

// bits(v, 11, 4) is v[11:4], right-aligned.
constexpr std::uint64_t bits(std::uint64_t value, unsigned high, unsigned low) {
    const std::uint64_t mask = high - low == 63 ? ~0ull : (1ull << (high - low + 1)) - 1;
    return (value >> low) & mask;
}
constexpr bool bit(std::uint64_t value, unsigned n) {
    return ((value >> n) & 1) != 0;
}
constexpr std::uint64_t mask_of(unsigned high, unsigned low) {
    return (high == 63 ? ~0ull : (1ull << (high + 1)) - 1) & ~((1ull << low) - 1);
}
constexpr std::uint64_t with_bits(std::uint64_t value, unsigned high, unsigned low, std::uint64_t field) {
    const std::uint64_t mask = mask_of(high, low);
    return (value & ~mask) | ((field << low) & mask);
}
constexpr std::uint64_t with_bit(std::uint64_t value, unsigned n, bool set) {
    return with_bits(value, n, n, set ? 1 : 0);
}
constexpr std::uint64_t sign_extend(std::uint64_t value, unsigned width_bits) {
    const unsigned shift = 64 - width_bits;
    return static_cast<std::uint64_t>(static_cast<std::int64_t>(value << shift) >> shift);
}
// The numbers of a mask's ones, from the lowest on.
class Ones final {
public:
    constexpr explicit Ones(std::uint64_t mask) : left_(mask) {}
    class Iterator final {
    public:
        using value_type = unsigned;
        using difference_type = int;

        constexpr Iterator() = default;
        constexpr explicit Iterator(std::uint64_t left) : left_(left) {}
        constexpr unsigned operator*() const { return static_cast<unsigned>(std::countr_zero(left_)); }
        constexpr Iterator& operator++() {
            left_ &= left_ - 1;
            return *this;
        }
        constexpr Iterator operator++(int) {
            const Iterator before = *this;
            ++*this;
            return before;
        }
        friend constexpr bool operator==(const Iterator&, const Iterator&) = default;

    private:
        std::uint64_t left_ = 0;
    };
    constexpr Iterator begin() const { return Iterator{left_}; }
    constexpr Iterator end() const { return Iterator{0}; }

private:
    std::uint64_t left_;
};
constexpr std::uint64_t align_down(std::uint64_t value, std::uint64_t power_of_two) {
    return value & ~(power_of_two - 1);
}
constexpr std::uint64_t align_up(std::uint64_t value, std::uint64_t power_of_two) {
    return (value + power_of_two - 1) & ~(power_of_two - 1);
}

}  // namespace sim
