// Hostile guests of the network service: the seeds that the fuzzer found to reach every branch, and random ones. No
// check of ours fails, every frame is accounted for, and nothing stays behind.
#include <doctest/doctest.h>

#include "sim/random.h"
#include "tests/effort.h"
#include "tests/fuzz/kept_seeds.h"
#include "tests/fuzz/network_inputs.h"

namespace network_fuzz_test {

TEST_CASE("hostile guests of the network service, from kept seeds") {
    const auto inputs = fuzz::kept_seeds(VG_SOURCE_DIR, "vmbus_network");
    CHECK(inputs.size() >= 70);
    for (const auto& input : inputs) CHECK(fuzz::vmbus_network(input) == 0);
    CHECK(fuzz::same_in_any_order(inputs, [](const auto& input) {
        fuzz::HostileNetwork run{input};
        run.run();
        return fuzz::end_of(run.simulation());
    }));
}

TEST_CASE("hostile guests of the network service, from random seeds") {
    sim::Random random(1, "hostile network");
    fuzz::HostileNetwork::Done done;
    std::vector<std::uint8_t> input;
    for (int n = 0; n < effort(400); ++n) {
        input.resize(random.between(1, 3000));
        for (auto& byte : input) byte = static_cast<std::uint8_t>(random.below(256));
        if (n % 4 != 0) input[0] |= 0xb0;  // most are brought up, again and again
        fuzz::vmbus_network(input, &done);
    }
    // Not all of it was nonsense.
    CHECK(done.packets > effort(20'000u));
    CHECK(done.completions > done.packets / 4);
    CHECK(done.replies > effort(3'000u));
    CHECK(done.frames_sent > effort(200u));
    CHECK(done.frames_received > effort(1'000u));
    CHECK(done.faults > effort(1'000u));
}

}  // namespace network_fuzz_test
