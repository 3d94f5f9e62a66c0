// SHA-256 (FIPS 180-4) of a stream whose state can be saved in the middle.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace models {

class Sha256 final {
public:
    using Digest = std::array<std::uint8_t, 32>;

    void add(std::span<const std::byte> data);
    // Of everything so far; more may follow.
    Digest digest() const;

    bool operator==(const Sha256&) const = default;
    template <class Archive>
    void fields(Archive& archive) {
        archive(hash_, block_, length_);
    }

private:
    void compress(const std::uint8_t* block);

    std::array<std::uint32_t, 8> hash_{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                       0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    std::array<std::uint8_t, 64> block_{};
    std::uint64_t length_ = 0;  // in bytes
};

std::string to_hex(const Sha256::Digest& digest);

}  // namespace models
