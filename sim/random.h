// Random streams: one per component, derived from the run's seed and the component's path name, so that a new
// component never shifts the draws of another one.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "sim/bits.h"

namespace sim {

// splitmix64 (Steele, Lea, Flood 2014): spreads a seed over a state.
constexpr std::uint64_t splitmix64(std::uint64_t& state) {
    std::uint64_t z = (state += 0x9e3779b97f4a7c15ull);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

// xoshiro256** 1.0 (Blackman, Vigna 2018). Integers only: no draw depends on a floating-point unit.
class Random {
public:
    explicit constexpr Random(std::uint64_t seed, std::string_view path = {}) {
        std::uint64_t mix = 0xcbf29ce484222325ull;  // FNV-1a over the path
        for (const char c : path) mix = (mix ^ static_cast<unsigned char>(c)) * 0x100000001b3ull;
        mix ^= splitmix64(seed);
        for (auto& word : state_) word = splitmix64(mix);
    }

    constexpr std::uint64_t next_u64() {
        const std::uint64_t result = rotate(state_[1] * 5, 7) * 9;
        const std::uint64_t t = state_[1] << 17;
        state_[2] ^= state_[0];
        state_[3] ^= state_[1];
        state_[1] ^= state_[2];
        state_[0] ^= state_[3];
        state_[2] ^= t;
        state_[3] = rotate(state_[3], 45);
        return result;
    }
    // Uniform in [0, bound) without bias (Lemire 2019).
    constexpr std::uint64_t below(std::uint64_t bound) {
        if (bound <= 1) return 0;
        auto product = static_cast<u128>(next_u64()) * bound;
        if (static_cast<std::uint64_t>(product) < bound) {
            const std::uint64_t threshold = (0 - bound) % bound;
            while (static_cast<std::uint64_t>(product) < threshold) product = static_cast<u128>(next_u64()) * bound;
        }
        return static_cast<std::uint64_t>(product >> 64);
    }
    constexpr std::uint64_t between(std::uint64_t low, std::uint64_t high) { return low + below(high - low + 1); }
    constexpr bool one_in(std::uint64_t n) { return below(n) == 0; }

    template <class Archive>
    void fields(Archive& archive) {
        archive(state_);
    }
    friend bool operator==(const Random&, const Random&) = default;

private:
    static constexpr std::uint64_t rotate(std::uint64_t x, int k) { return (x << k) | (x >> (64 - k)); }
    std::array<std::uint64_t, 4> state_{};
};

}  // namespace sim
