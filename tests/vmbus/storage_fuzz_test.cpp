// Hostile guests of the storage controller: the seeds that the fuzzer found to reach every branch, and random ones. No
// check of ours fails, everything that was taken is answered, and nothing stays behind.
#include <doctest/doctest.h>

#include "sim/random.h"
#include "tests/effort.h"
#include "tests/fuzz/kept_seeds.h"
#include "tests/fuzz/storage_inputs.h"

namespace storage_fuzz_test {

TEST_CASE("hostile guests of the storage controller, from kept seeds") {
    const auto inputs = fuzz::kept_seeds(VG_SOURCE_DIR, "vmbus_storage");
    CHECK(inputs.size() >= 90);
    for (const auto& input : inputs) CHECK(fuzz::vmbus_storage(input) == 0);
    CHECK(fuzz::same_in_any_order(inputs, [](const auto& input) {
        fuzz::HostileStorage run{input};
        run.run();
        return fuzz::end_of(run.simulation());
    }));
}

TEST_CASE("hostile guests of the storage controller, from random seeds") {
    sim::Random random(1, "hostile storage");
    fuzz::HostileStorage::Done done;
    std::vector<std::uint8_t> input;
    for (int n = 0; n < effort(400); ++n) {
        input.resize(random.between(1, 3000));
        for (auto& byte : input) byte = static_cast<std::uint8_t>(random.below(256));
        if (n % 4 != 0) input[0] |= 0x40;  // most are initialized
        fuzz::vmbus_storage(input, &done);
    }
    // Not all of it was nonsense.
    CHECK(done.packets > effort(20'000u));
    CHECK(done.answers > done.packets / 3);
    CHECK(done.succeeded > done.answers / 20);
    CHECK(done.faults > effort(50u));
}

}  // namespace storage_fuzz_test
