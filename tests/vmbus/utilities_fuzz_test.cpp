// Hostile guests of the devices that speak in plain messages: inputs that a long run of the fuzzer kept because each
// reaches code that the others do not, and some random ones.
#include <doctest/doctest.h>

#include <cstdint>
#include <vector>

#include "sim/random.h"
#include "tests/effort.h"
#include "tests/fuzz/kept_seeds.h"
#include "tests/fuzz/utility_inputs.h"

namespace utilities_fuzz_test {

TEST_CASE("kept inputs of the fuzzer for utilities") {
    const auto inputs = fuzz::kept_seeds(VG_SOURCE_DIR, "vmbus_utilities");
    CHECK(inputs.size() >= 300);
    for (const auto& input : inputs) CHECK(fuzz::utilities::run(input) == 0);
    CHECK(fuzz::same_in_any_order(inputs, [](const auto& input) {
        fuzz::utilities::Root root;
        fuzz::utilities::run(input, root);
        return fuzz::end_of(root.simulation);
    }));
}

TEST_CASE("random inputs to every utility") {
    sim::Random random{7, "utilities"};
    for (unsigned n = 0; n < effort(1100u); ++n) {
        std::vector<std::uint8_t> input(40 + random.below(400));
        for (auto& byte : input) byte = static_cast<std::uint8_t>(random.next_u64());
        input[0] = static_cast<std::uint8_t>(n);
        CAPTURE(n);
        fuzz::utilities::run(input);
    }
}

}  // namespace utilities_fuzz_test
