// The fuzz targets' inputs of every test run: seeded, so that each run tries the same ones.
#include <doctest/doctest.h>

#include <cstdint>
#include <vector>

#include "tests/fuzz/cpu_inputs.h"

namespace fuzz_seeds_test {

namespace {

struct Draw {
    std::uint64_t state;
    std::uint8_t operator()() {
        state = state * 6'364'136'223'846'793'005ull + 1'442'695'040'888'963'407ull;
        return static_cast<std::uint8_t>(state >> 56);
    }
};

constexpr std::size_t register_bytes = 1 + 4 + 6 * 10 + 16 * 9 + 4;

}  // namespace

TEST_CASE("hostile instruction bytes") {
    Draw draw{1};
    // Prefixes and the opcodes of what is emulated, so that most inputs come further than the decoder.
    const std::vector<std::uint8_t> openings{0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x64, 0x65, 0x48, 0x41, 0x88,
                                             0x89, 0x8a, 0x8b, 0xa0, 0xa1, 0xa4, 0xa5, 0xa6, 0xaa, 0xab,
                                             0xac, 0xae, 0xc6, 0xc7, 0x00, 0x01, 0x0f, 0x80, 0x81, 0x83,
                                             0x86, 0xf6, 0xf7, 0xfe, 0xff, 0x8f, 0x6c, 0xe4};
    for (int i = 0; i < 200'000; ++i) {
        std::vector<std::uint8_t> input(register_bytes + 2 + draw() % 20);
        for (auto& byte : input) byte = draw();
        for (std::size_t at = register_bytes + 2; at < input.size() && (draw() & 1) != 0; ++at) {
            input[at] = openings[draw() % openings.size()];
        }
        if ((draw() & 31) == 0) input.resize(draw() % input.size());
        CHECK_FALSE(fuzz::cpu_instruction(input));
    }
}

TEST_CASE("hostile tables and stacks") {
    Draw draw{2};
    for (int i = 0; i < 20'000; ++i) {
        std::vector<std::uint8_t> input(register_bytes + 40 + 8 * (1 + draw() % 32));
        for (auto& byte : input) byte = draw();
        // Half of the descriptors and gates are present and of a useful type.
        for (std::size_t at = register_bytes + 40; at + 8 <= input.size(); at += 8) {
            if ((draw() & 1) != 0) input[at + 5] = static_cast<std::uint8_t>(0x8e | (draw() & 0x71));
        }
        CHECK_FALSE(fuzz::cpu_event(input));
    }
}

}  // namespace fuzz_seeds_test
