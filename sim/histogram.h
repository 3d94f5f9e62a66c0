// How values are distributed, to three significant digits, in little memory: the log-linear buckets of HdrHistogram
// (Gil Tene). Values below 2048 are exact; above, a power of two has 1024 buckets, so that a value is known to one part
// in a thousand. Count, least, greatest and sum are exact. Integers only; two histograms of the same kind add up.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "sim/working_set.h"

namespace sim {

class Histogram {
public:
    void add(std::uint64_t value, std::uint64_t times = 1);
    void merge(const Histogram& other);
    void clear() { *this = Histogram{}; }

    std::uint64_t count() const { return count_; }
    std::uint64_t min() const { return count_ == 0 ? 0 : min_; }
    std::uint64_t max() const { return max_; }
    std::uint64_t sum() const { return sum_; }
    // Rounded down.
    std::uint64_t mean() const { return count_ == 0 ? 0 : sum_ / count_; }

    // The least value that so much of all is not above: 99.9 % are 999 of 1000. It is the upper end of its bucket, but
    // never above max(). 0 of an empty histogram.
    std::uint64_t percentile(std::uint64_t part, std::uint64_t whole = 100) const;

    // Those that are not empty, in rising order: the greatest value that belongs there, and how many there were.
    std::vector<std::pair<std::uint64_t, std::uint64_t>> buckets() const;

    // What the next value will need if it falls where the last one did. The set ends before this.
    void add_needs(WorkingSet& set) const {
        for (const Hint& hint : last_) set.add_content(hint, sizeof(std::uint64_t));
    }

    friend bool operator==(const Histogram&, const Histogram&) = default;
    template <class Archive>
    void fields(Archive& archive) {
        archive(count_, min_, max_, sum_, blocks_);
    }

    // The bucket of a value, and the greatest value of a bucket.
    static std::size_t index_of(std::uint64_t value);
    static std::uint64_t upper_of(std::size_t index);

private:
    static constexpr unsigned sub_bucket_bits = 11;
    static constexpr std::size_t block_size = 256;

    std::uint64_t count_ = 0;
    std::uint64_t min_ = ~std::uint64_t{0};
    std::uint64_t max_ = 0;
    std::uint64_t sum_ = 0;
    // Counts in blocks, of which only those with something in them have memory.
    std::vector<std::vector<std::uint64_t>> blocks_;
    std::array<Hint, 2> last_;
};

}  // namespace sim
