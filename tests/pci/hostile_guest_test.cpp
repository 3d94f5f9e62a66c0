// The fuzzer's entry point with fixed seeds, and a measure of how far such inputs get.
#include <doctest/doctest.h>

#include "sim/random.h"
#include "tests/effort.h"
#include "tests/fuzz/pci_inputs.h"

namespace hostile_guest_test {

TEST_CASE("random software and devices: no property fails, and most of what they try is carried out") {
    fuzz::HostilePci::Done done;
    constexpr unsigned inputs = effort(500u);
    for (unsigned seed = 0; seed < inputs; ++seed) {
        sim::Random random{seed, "pci"};
        std::vector<std::uint8_t> data(random.between(16, 1500));
        for (auto& byte : data) byte = static_cast<std::uint8_t>(random.next_u64());
        fuzz::pci_config(data, &done);
    }
    CHECK(done.config > 20 * inputs);
    CHECK(done.cycles_answered > inputs);
    CHECK(done.dma > 5 * inputs);
    CHECK(done.messages > inputs / 10);
}

}  // namespace hostile_guest_test
