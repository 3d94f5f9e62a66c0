// The fuzzer's entry point with fixed seeds, and a measure of how far such inputs get.
#include <doctest/doctest.h>

#include "sim/random.h"
#include "tests/fuzz/legacy_inputs.h"

TEST_CASE("random guests of a Generation 1 machine: no property fails, and all devices are reached") {
    fuzz::HostileLegacyGuest::Done done;
    constexpr unsigned inputs = 300;
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
