// Simulated time: a strong type over integer picoseconds.
#pragma once

#include <compare>
#include <cstdint>
#include <limits>

#include "sim/bits.h"

namespace sim {

// Points in time and durations share one type, as in SystemC; 2^63 ps are 106 days.
class Time {
public:
    constexpr Time() = default;

    static constexpr Time ps(std::int64_t n) { return Time{n}; }
    static constexpr Time ns(std::int64_t n) { return Time{n * 1'000}; }
    static constexpr Time us(std::int64_t n) { return Time{n * 1'000'000}; }
    static constexpr Time ms(std::int64_t n) { return Time{n * 1'000'000'000}; }
    static constexpr Time s(std::int64_t n) { return Time{n * 1'000'000'000'000}; }
    static constexpr Time zero() { return Time{0}; }
    // Later than everything that happens.
    static constexpr Time never() { return Time{std::numeric_limits<std::int64_t>::max()}; }

    constexpr std::int64_t ps() const { return ps_; }
    constexpr bool is_never() const { return *this == never(); }

    friend constexpr auto operator<=>(Time, Time) = default;

    // Sums saturate at never(): a deadline too far away is no deadline.
    friend constexpr Time operator+(Time a, Time b) {
        std::int64_t sum = 0;
        return __builtin_add_overflow(a.ps_, b.ps_, &sum) ? never() : Time{sum};
    }
    friend constexpr Time operator-(Time a, Time b) { return Time{a.ps_ - b.ps_}; }
    friend constexpr Time operator*(Time a, std::int64_t n) {
        std::int64_t product = 0;
        return __builtin_mul_overflow(a.ps_, n, &product) ? never() : Time{product};
    }
    friend constexpr Time operator*(std::int64_t n, Time a) { return a * n; }
    friend constexpr Time operator/(Time a, std::int64_t n) { return Time{a.ps_ / n}; }
    friend constexpr std::int64_t operator/(Time a, Time b) { return a.ps_ / b.ps_; }
    friend constexpr Time operator%(Time a, Time b) { return Time{a.ps_ % b.ps_}; }
    constexpr Time& operator+=(Time b) { return *this = *this + b; }
    constexpr Time& operator-=(Time b) { return *this = *this - b; }

    template <class Archive>
    void fields(Archive& archive) {
        archive(ps_);
    }

private:
    constexpr explicit Time(std::int64_t ps) : ps_(ps) {}
    std::int64_t ps_ = 0;
};

inline constexpr std::int64_t picoseconds_per_second = 1'000'000'000'000;

// The instant at which tick number `ticks` of a clock of `hz` that started at 0 has surely happened (rounded down).
constexpr Time cycles_to_time(std::uint64_t ticks, std::uint64_t hz) {
    const auto ps = static_cast<u128>(ticks) * picoseconds_per_second / hz;
    return ps > static_cast<std::uint64_t>(Time::never().ps()) ? Time::never()
                                                               : Time::ps(static_cast<std::int64_t>(ps));
}

// The first instant at which a clock of `hz` that started at 0 shows `ticks` (rounded up: time_to_cycles inverts it).
constexpr Time first_time_of_cycle(std::uint64_t ticks, std::uint64_t hz) {
    const auto ps = (static_cast<u128>(ticks) * picoseconds_per_second + hz - 1) / hz;
    return ps > static_cast<std::uint64_t>(Time::never().ps()) ? Time::never()
                                                               : Time::ps(static_cast<std::int64_t>(ps));
}

// How many ticks a clock of `hz` that started at 0 shows at time t (rounded down).
constexpr std::uint64_t time_to_cycles(Time t, std::uint64_t hz) {
    return static_cast<std::uint64_t>(static_cast<u128>(t.ps()) * hz / picoseconds_per_second);
}

namespace literals {
constexpr Time operator""_ps(unsigned long long n) {
    return Time::ps(static_cast<std::int64_t>(n));
}
constexpr Time operator""_ns(unsigned long long n) {
    return Time::ns(static_cast<std::int64_t>(n));
}
constexpr Time operator""_us(unsigned long long n) {
    return Time::us(static_cast<std::int64_t>(n));
}
constexpr Time operator""_ms(unsigned long long n) {
    return Time::ms(static_cast<std::int64_t>(n));
}
constexpr Time operator""_s(unsigned long long n) {
    return Time::s(static_cast<std::int64_t>(n));
}
}  // namespace literals

}  // namespace sim
