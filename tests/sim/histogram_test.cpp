// Histograms against sorted samples.
#include "sim/histogram.h"

#include <doctest/doctest.h>
#include <algorithm>
#include <vector>

#include "sim/archive.h"
#include "sim/random.h"

namespace histogram_test {

namespace {

using sim::Histogram;

TEST_CASE("a bucket holds its values to one part in a thousand") {
    struct Row {
        std::uint64_t value;
        std::uint64_t upper;
    };
    constexpr std::uint64_t all = ~std::uint64_t{0};
    const Row rows[] = {{0, 0},       {1, 1},       {2047, 2047}, {2048, 2049},           {2049, 2049}, {2050, 2051},
                        {4095, 4095}, {4096, 4099}, {4099, 4099}, {1'000'000, 1'000'447}, {all, all},   {all - 1, all}};
    for (const Row& row : rows) {
        CAPTURE(row.value);
        CHECK(Histogram::upper_of(Histogram::index_of(row.value)) == row.upper);
    }
    // No value between two buckets, none in two.
    for (std::size_t index = 0; index < 60'000 && Histogram::upper_of(index) != all; ++index) {
        CHECK(Histogram::index_of(Histogram::upper_of(index)) == index);
        CHECK(Histogram::index_of(Histogram::upper_of(index) + 1) == index + 1);
    }
}

TEST_CASE("percentiles are those of the sorted samples, to a bucket's width") {
    sim::Random random{7};
    Histogram histogram;
    std::vector<std::uint64_t> samples;
    std::uint64_t sum = 0;
    for (int n = 0; n < 20'000; ++n) {
        const std::uint64_t value = random.below(std::uint64_t{1} << random.between(1, 40));
        samples.push_back(value);
        histogram.add(value);
        sum += value;
    }
    std::sort(samples.begin(), samples.end());
    CHECK(histogram.count() == 20'000);
    CHECK(histogram.sum() == sum);
    CHECK(histogram.min() == samples.front());
    CHECK(histogram.max() == samples.back());
    CHECK(histogram.mean() == sum / 20'000);
    for (const std::uint64_t part : {0u, 1u, 5000u, 9000u, 9900u, 9990u, 9999u, 10'000u}) {
        CAPTURE(part);
        const std::size_t rank = std::max<std::size_t>(1, (20'000 * part + 9'999) / 10'000);
        const std::uint64_t exact = samples[rank - 1];
        CHECK(histogram.percentile(part, 10'000) ==
              std::min(samples.back(), Histogram::upper_of(Histogram::index_of(exact))));
        CHECK(histogram.percentile(part, 10'000) - exact <= exact / 1000);
    }
    std::uint64_t listed = 0;
    for (const auto& [upper, count] : histogram.buckets()) listed += count;
    CHECK(listed == 20'000);
}

TEST_CASE("histograms add up, and are saved") {
    Histogram one, two, both;
    for (std::uint64_t n = 0; n < 1000; ++n) {
        (n % 3 == 0 ? one : two).add(n * n * n);
        both.add(n * n * n);
    }
    Histogram sum = one;
    sum.merge(two);
    CHECK(sum == both);
    sum.merge(Histogram{});
    CHECK(sum == both);

    Histogram restored;
    sim::Writer writer;
    writer(both);
    sim::Reader reader{writer.data()};
    reader(restored);
    CHECK(restored == both);
    CHECK(Histogram{}.percentile(50) == 0);
    CHECK(Histogram{}.min() == 0);
}

}  // namespace

}  // namespace histogram_test
