// Hostile guests of the network service: the seeds that the fuzzer found to reach every branch, and random ones. No
// check of ours fails, every frame is accounted for, and nothing stays behind.
#include <doctest/doctest.h>

#include "sim/random.h"
#include "tests/fuzz/kept_seeds.h"
#include "tests/fuzz/network_inputs.h"

TEST_CASE("hostile guests of the network service, from kept seeds") {
    const auto inputs = fuzz::kept_seeds(VG_SOURCE_DIR, "vmbus_network");
    CHECK(inputs.size() >= 70);
    for (const auto& input : inputs) CHECK(fuzz::vmbus_network(input) == 0);
}

TEST_CASE("hostile guests of the network service, from random seeds") {
    sim::Random random(1, "hostile network");
    fuzz::HostileNetwork::Done done;
    std::vector<std::uint8_t> input;
    for (int n = 0; n < 400; ++n) {
        input.resize(random.between(1, 3000));
        for (auto& byte : input) byte = static_cast<std::uint8_t>(random.below(256));
        if (n % 4 != 0) input[0] |= 0xb0;  // most are brought up, again and again
        fuzz::vmbus_network(input, &done);
    }
    // Not all of it was nonsense.
    CHECK(done.packets > 20'000);
    CHECK(done.completions > done.packets / 4);
    CHECK(done.replies > 3'000);
    CHECK(done.frames_sent > 200);
    CHECK(done.frames_received > 1'000);
    CHECK(done.faults > 1'000);
}
