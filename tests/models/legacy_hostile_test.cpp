// Hostile guests of a Generation 1 machine: the seeds that the fuzzer found to reach different branches, and random
// ones, with a measure of how far they get.
#include <doctest/doctest.h>

#include "sim/random.h"
#include "tests/effort.h"
#include "tests/fuzz/kept_seeds.h"
#include "tests/fuzz/legacy_inputs.h"

namespace legacy_hostile_test {

TEST_CASE("hostile guests of a Generation 1 machine, from kept seeds") {
    const auto inputs = fuzz::kept_seeds(VG_SOURCE_DIR, "models_legacy");
    CHECK(inputs.size() >= 70);
    for (const auto& input : inputs) CHECK(fuzz::legacy_devices(input) == 0);
    CHECK(fuzz::same_in_any_order(inputs, [](const auto& input) {
        fuzz::HostileLegacyGuest guest;
        guest.run(input);
        return fuzz::end_of(guest.simulation());
    }));
}

TEST_CASE("hostile guests of a Generation 1 machine, from random seeds: all devices are reached") {
    fuzz::HostileLegacyGuest::Done done;
    constexpr unsigned inputs = effort(300u);
    for (unsigned seed = 0; seed < inputs; ++seed) {
        sim::Random random{seed, "legacy"};
        std::vector<std::uint8_t> data(random.between(16, 2000));
        for (auto& byte : data) byte = static_cast<std::uint8_t>(random.next_u64());
        fuzz::legacy_devices(data, &done);
    }
    CHECK(done.ports > 500 * inputs);
    CHECK(done.commands > inputs / 2);
    CHECK(done.sent > 2 * inputs);
    CHECK(done.received > inputs);
    CHECK(done.interrupts > inputs);
}

}  // namespace legacy_hostile_test
