// Hostile guests of a Generation 1 machine: the seeds that the fuzzer found to reach different branches, and random
// ones, with a measure of how far they get.
#include <doctest/doctest.h>

#include <fstream>
#include <string>

#include "sim/random.h"
#include "tests/fuzz/legacy_inputs.h"

TEST_CASE("hostile guests of a Generation 1 machine, from kept seeds") {
    std::ifstream file(VG_SOURCE_DIR "/tests/fuzz/seeds/models_legacy.txt");
    std::string line;
    unsigned count = 0;
    const auto digit = [](char c) { return static_cast<std::uint8_t>(c <= '9' ? c - '0' : c - 'a' + 10); };
    while (std::getline(file, line)) {
        std::vector<std::uint8_t> input;
        for (std::size_t at = 0; at + 1 < line.size(); at += 2) {
            input.push_back(static_cast<std::uint8_t>(digit(line[at]) << 4 | digit(line[at + 1])));
        }
        ++count;
        CHECK(fuzz::legacy_devices(input) == 0);
    }
    CHECK(count >= 70);
}

TEST_CASE("hostile guests of a Generation 1 machine, from random seeds: all devices are reached") {
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
