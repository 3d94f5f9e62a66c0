// Memory for packets and the like: pieces of a few bytes to 64 KiB, taken and given back in any order. The piece of a
// size that was given back last is taken first, so that few of the simulating computer's cache lines serve many pieces,
// one after the other.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "sim/check.h"

namespace sim {

class Pieces final {
public:
    static constexpr std::uint32_t largest_bytes = 64 * 1024;

    // The place of a piece: a multiple of its size, which is a power of two.
    std::uint32_t take(std::uint32_t bytes) {
        const unsigned size = size_of(bytes);
        std::vector<std::uint32_t>& free = free_[size];
        if (free.empty()) add_chunk(size);
        const std::uint32_t place = free.back();
        free.pop_back();
        return place;
    }
    // `place` is anywhere within the piece, `bytes` as when it was taken.
    void give_back(std::uint32_t place, std::uint32_t bytes) {
        const unsigned size = size_of(bytes);
        free_[size].push_back(place & ~((line_bytes << size) - 1));
    }
    std::byte* at(std::uint32_t place) {
        return chunks_[place / largest_bytes][place % largest_bytes / line_bytes].bytes.data() + place % line_bytes;
    }
    std::span<std::byte> span(std::uint32_t place, std::uint32_t bytes) { return {at(place), bytes}; }
    // Nothing is taken.
    void clear() {
        chunks_.clear();
        for (auto& free : free_) free.clear();
    }

    template <class Archive>
    void fields(Archive& archive) {
        std::uint64_t count = chunks_.size();
        archive(count, free_);
        if constexpr (Archive::reading) chunks_.clear();
        for (std::uint64_t i = 0; i < count; ++i) {
            if constexpr (Archive::reading) chunks_.push_back(std::make_unique<Line[]>(lines));
            archive.bytes(std::span{chunks_[i].get()->bytes.data(), largest_bytes});
        }
    }

private:
    static constexpr std::uint32_t line_bytes = 64, lines = largest_bytes / line_bytes;
    static constexpr unsigned sizes = std::bit_width(lines);
    struct alignas(line_bytes) Line {
        std::array<std::byte, line_bytes> bytes;
    };

    static constexpr unsigned size_of(std::uint32_t bytes) {
        return bytes <= line_bytes ? 0 : static_cast<unsigned>(std::bit_width((bytes - 1) / line_bytes));
    }
    // Whoever grows such memory without bound has none: the owners' capacities are bounds.
    void add_chunk(unsigned size) {
        VG_CHECK(size < sizes);
        const auto first = static_cast<std::uint32_t>(chunks_.size()) * largest_bytes;
        chunks_.push_back(std::make_unique<Line[]>(lines));
        for (std::uint32_t place = largest_bytes; place != 0; place -= line_bytes << size) {
            free_[size].push_back(first + place - (line_bytes << size));
        }
    }

    std::vector<std::unique_ptr<Line[]>> chunks_;
    std::array<std::vector<std::uint32_t>, sizes> free_;
};

}  // namespace sim
