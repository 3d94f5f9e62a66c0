#include "sim/histogram.h"

#include <algorithm>
#include <bit>

#include "sim/bits.h"
#include "sim/check.h"

namespace sim {

// Power of two number n holds values of n + 11 bits, by their first 11 bits; number 0 holds all shorter ones, too.
std::size_t Histogram::index_of(std::uint64_t value) {
    const unsigned bits = static_cast<unsigned>(std::bit_width(value));
    const unsigned shift = bits > sub_bucket_bits ? bits - sub_bucket_bits : 0;
    return (std::size_t{shift} << (sub_bucket_bits - 1)) + static_cast<std::size_t>(value >> shift);
}

std::uint64_t Histogram::upper_of(std::size_t index) {
    constexpr std::size_t half = std::size_t{1} << (sub_bucket_bits - 1);
    const std::size_t shift = index < 2 * half ? 0 : index / half - 1;
    const std::uint64_t first = index - shift * half;
    return (first << shift) + ((std::uint64_t{1} << shift) - 1);
}

void Histogram::add(std::uint64_t value, std::uint64_t times) {
    if (times == 0) return;
    const std::size_t index = index_of(value);
    const std::size_t block = index / block_size;
    if (block >= blocks_.size()) blocks_.resize(block + 1);
    if (blocks_[block].empty()) blocks_[block].resize(block_size);
    std::uint64_t& bucket = blocks_[block][index % block_size];
    bucket += times;
    last_ = {Hint{&blocks_[block]}, Hint{&bucket}};
    count_ += times;
    min_ = std::min(min_, value);
    max_ = std::max(max_, value);
    sum_ += value * times;
}

void Histogram::merge(const Histogram& other) {
    if (other.blocks_.size() > blocks_.size()) blocks_.resize(other.blocks_.size());
    for (std::size_t block = 0; block < other.blocks_.size(); ++block) {
        if (other.blocks_[block].empty()) continue;
        blocks_[block].resize(block_size);
        for (std::size_t n = 0; n < block_size; ++n) blocks_[block][n] += other.blocks_[block][n];
    }
    count_ += other.count_;
    min_ = std::min(min_, other.min_);
    max_ = std::max(max_, other.max_);
    sum_ += other.sum_;
}

std::uint64_t Histogram::percentile(std::uint64_t part, std::uint64_t whole) const {
    VG_CHECK(whole > 0 && part <= whole);
    if (count_ == 0) return 0;
    const u128 scaled = static_cast<u128>(count_) * part + whole - 1;
    const std::uint64_t rank = std::max<std::uint64_t>(1, static_cast<std::uint64_t>(scaled / whole));
    std::uint64_t seen = 0;
    for (std::size_t block = 0; block < blocks_.size(); ++block) {
        for (std::size_t n = 0; n < blocks_[block].size(); ++n) {
            seen += blocks_[block][n];
            if (seen >= rank) return std::min(max_, upper_of(block * block_size + n));
        }
    }
    return max_;
}

std::vector<std::pair<std::uint64_t, std::uint64_t>> Histogram::buckets() const {
    std::vector<std::pair<std::uint64_t, std::uint64_t>> result;
    for (std::size_t block = 0; block < blocks_.size(); ++block) {
        for (std::size_t n = 0; n < blocks_[block].size(); ++n) {
            if (blocks_[block][n] != 0) result.emplace_back(upper_of(block * block_size + n), blocks_[block][n]);
        }
    }
    return result;
}

}  // namespace sim
