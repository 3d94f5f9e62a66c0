// The NIC's targets for a fuzzer: on a kept machine of the kind that an input asks for.
#pragma once

#include "tests/fuzz/nic_targets.h"
#include "tests/fuzz/one_input.h"

namespace fuzz {

template <const NicTarget& target>
constexpr KeptTarget kept_nic() {
    static_assert(NicUnderTest::kinds <= KeptTarget::most_kinds);
    return {.kind_of = NicTarget::kind_of,
            .make = [](unsigned kind) -> void* { return target.make(kind).release(); },
            .run = [](void* machine,
                      std::span<const std::uint8_t> input) { target.run(*static_cast<NicUnderTest*>(machine), input); },
            .sum = [](void* machine) { return static_cast<NicUnderTest*>(machine)->sum(); },
            .unmake = [](void* machine) { delete static_cast<NicUnderTest*>(machine); }};
}

}  // namespace fuzz
