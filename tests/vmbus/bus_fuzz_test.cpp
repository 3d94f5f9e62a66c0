// Hostile guests of the bus and its rings: the seeds that the fuzzer found to reach every branch, and random ones. No
// check of ours fails, a reset leaves nothing behind, and only the channel that was attacked ends.
#include <doctest/doctest.h>

#include <vector>

#include "sim/random.h"
#include "tests/fuzz/bus_inputs.h"
#include "tests/fuzz/kept_seeds.h"
#include "tests/fuzz/ring_inputs.h"

namespace {

template <class Take>
void random_inputs(const char* name, unsigned count, std::size_t longest, const Take& take) {
    sim::Random random(1, name);
    std::vector<std::uint8_t> input;
    for (unsigned n = 0; n < count; ++n) {
        input.resize(random.between(1, longest));
        for (auto& byte : input) byte = static_cast<std::uint8_t>(random.below(256));
        take(input);
    }
}

TEST_CASE("hostile control messages, from kept seeds") {
    const auto inputs = fuzz::kept_seeds(VG_SOURCE_DIR, "vmbus_bus");
    CHECK(inputs.size() >= 120);
    for (const auto& input : inputs) CHECK(fuzz::vmbus_bus(input) == 0);
}

TEST_CASE("hostile control messages, from random seeds") {
    fuzz::HostileBus::Done done;
    random_inputs("hostile bus", 1000, 2000, [&](const auto& input) { fuzz::vmbus_bus(input, &done); });
    // Not all of it was nonsense.
    CHECK(done.messages > 50'000);
    CHECK(done.answers > 10'000);
    CHECK(done.refused > 50'000);
    CHECK(done.opened > 1000);
    CHECK(done.gpadls > 3000);
    CHECK(done.packets > 20);
}

TEST_CASE("hostile rings, from kept seeds") {
    const auto inputs = fuzz::kept_seeds(VG_SOURCE_DIR, "vmbus_ring");
    CHECK(inputs.size() >= 60);
    for (const auto& input : inputs) CHECK(fuzz::vmbus_ring(input) == 0);
}

TEST_CASE("hostile rings, from random seeds") {
    fuzz::HostileRing::Done done;
    random_inputs("hostile rings", 3000, 600, [&](const auto& input) { fuzz::vmbus_ring(input, &done); });
    CHECK(done.packets > 20'000);
    CHECK(done.sent > 5000);
    CHECK(done.ended > 1000);
    CHECK(done.changes > 3000);
}

}  // namespace
