// The fuzzer's entry points with kept and random inputs, and a measure of how far such inputs get.
#include <doctest/doctest.h>

#include "sim/random.h"
#include "tests/effort.h"
#include "tests/fuzz/kept_seeds.h"
#include "tests/fuzz/nic_targets.h"

namespace nic_fuzz_test {

namespace {

using Target = int (*)(std::span<const std::uint8_t>, fuzz::NicDone*);

fuzz::NicDone random_inputs(Target target, const char* name, unsigned inputs) {
    fuzz::NicDone done;
    for (unsigned seed = 0; seed < inputs; ++seed) {
        sim::Random random{seed, name};
        std::vector<std::uint8_t> data(random.between(16, 800));
        for (auto& byte : data) byte = static_cast<std::uint8_t>(random.next_u64());
        target(data, &done);
    }
    return done;
}

TEST_CASE("kept inputs of the NIC's fuzz targets") {
    const auto replay = [](const char* name, const fuzz::NicTarget& target) {
        CAPTURE(name);
        const auto inputs = fuzz::kept_seeds(VG_SOURCE_DIR, name);
        CHECK(inputs.size() >= 100);
        for (const auto& input : inputs) CHECK(target.run(input, nullptr) == 0);
        CHECK(fuzz::same_in_any_order(inputs, [&](const auto& input) {
            const auto test = target.make(target.kind_of(input));
            target.run(*test, input);
            return fuzz::end_of(test->machine.simulation) + " " + std::to_string(test->sum());
        }));
    };
    replay("nic_registers", fuzz::nic_registers_target);
    replay("nic_descriptors", fuzz::nic_descriptors_target);
    replay("nic_mailbox", fuzz::nic_mailbox_target);
}

TEST_CASE("random inputs: the neighbour works, and the acts are carried out") {
    constexpr unsigned inputs = effort(200u);
    const fuzz::NicDone registers = random_inputs(fuzz::nic_registers, "registers", inputs);
    CHECK(registers.acts > 20 * inputs);
    CHECK(registers.reads > 20 * inputs);
    const fuzz::NicDone descriptors = random_inputs(fuzz::nic_descriptors, "descriptors", inputs);
    CHECK(descriptors.acts > 20 * inputs);
    CHECK(descriptors.reads > 50 * inputs);
    CHECK(descriptors.writes > 20 * inputs);
    CHECK(descriptors.frames > 20 * inputs);
    CHECK(descriptors.malformed > inputs);
    CHECK(descriptors.faults > inputs);
    const fuzz::NicDone messages = random_inputs(fuzz::nic_mailbox, "mailbox", inputs);
    CHECK(messages.acts > 20 * inputs);
    CHECK(messages.messages > 10 * inputs);
    CHECK(messages.frames > inputs);
}

}  // namespace

}  // namespace nic_fuzz_test
