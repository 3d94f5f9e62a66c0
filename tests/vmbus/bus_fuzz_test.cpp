// Hostile guests of the bus and its rings: the seeds that the fuzzer found to reach every branch, and random ones. No
// check of ours fails, a reset leaves nothing behind, and only the channel that was attacked ends.
#include <doctest/doctest.h>

#include <vector>

#include "sim/random.h"
#include "tests/effort.h"
#include "tests/fuzz/bus_inputs.h"
#include "tests/fuzz/kept_seeds.h"
#include "tests/fuzz/ring_inputs.h"

namespace bus_fuzz_test {

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
    CHECK(fuzz::same_in_any_order(inputs, [](const auto& input) {
        fuzz::HostileBus run{input};
        run.run();
        return fuzz::end_of(run.simulation());
    }));
}

TEST_CASE("hostile control messages, from random seeds") {
    fuzz::HostileBus::Done done;
    random_inputs("hostile bus", effort(1000u), 2000, [&](const auto& input) { fuzz::vmbus_bus(input, &done); });
    // Not all of it was nonsense.
    CHECK(done.messages > effort(50'000u));
    CHECK(done.answers > effort(10'000u));
    CHECK(done.refused > effort(50'000u));
    CHECK(done.opened > effort(1000u));
    CHECK(done.gpadls > effort(3000u));
    CHECK(done.packets > effort(20u));
}

TEST_CASE("hostile rings, from kept seeds") {
    const auto inputs = fuzz::kept_seeds(VG_SOURCE_DIR, "vmbus_ring");
    CHECK(inputs.size() >= 60);
    for (const auto& input : inputs) CHECK(fuzz::vmbus_ring(input) == 0);
    CHECK(fuzz::same_in_any_order(inputs, [](const auto& input) {
        fuzz::HostileRing run{input};
        run.run();
        return fuzz::end_of(run.simulation());
    }));
}

TEST_CASE("hostile rings, from random seeds") {
    fuzz::HostileRing::Done done;
    random_inputs("hostile rings", effort(3000u), 600, [&](const auto& input) { fuzz::vmbus_ring(input, &done); });
    CHECK(done.packets > effort(20'000u));
    CHECK(done.sent > effort(5000u));
    CHECK(done.ended > effort(1000u));
    CHECK(done.changes > effort(3000u));
}

}  // namespace

}  // namespace bus_fuzz_test
