// More than two hundred thousand hypercalls and as many register writes of hostile children: no check of ours fails,
// nothing grows without bound, and the guest's memory comes out from under the hypervisor's pages.
#include <doctest/doctest.h>

#include "sim/random.h"
#include "tests/effort.h"
#include "tests/fuzz/hypercall_inputs.h"

namespace hostile_child_test {

TEST_CASE("hostile children") {
    sim::Random random(1, "hostile children");
    fuzz::HostileChild::Done done;
    std::vector<std::uint8_t> input;
    while (done.writes < effort(200'000u) || done.calls < effort(200'000u)) {
        input.resize(random.between(1, 60'000));
        for (std::size_t at = 0; at < input.size(); at += 8) {
            const std::uint64_t word = random.next_u64();
            std::memcpy(input.data() + at, &word, std::min<std::size_t>(8, input.size() - at));
        }
        CHECK_FALSE(fuzz::hypercall_child(input, &done));
    }
    // Not all of it was nonsense.
    CHECK(done.writes_taken > done.writes / 5);
    CHECK(done.calls_taken > done.calls / 20);
}

}  // namespace hostile_child_test
