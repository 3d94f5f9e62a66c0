// How a libFuzzer target takes an input: on a heap of the input's own, which is empty again when the input ends. Each
// input so meets a machine made from nothing, whatever came before it, and making and unmaking the machine costs a
// fraction of what it costs on the sanitizer's heap.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace fuzz {

using Target = int (*)(std::span<const std::uint8_t>);

// What the target allocates with `new` lies between poisoned bytes, is poisoned when it is deleted, and is not used
// again before the input ends: the sanitizer sees every access beyond or after it. What is left is a leak: the process
// ends. (A report says little of where a block came from; the ordinary tests replay an input on the sanitizer's heap.)
int one_input(Target target, const std::uint8_t* data, std::size_t size);

// A target whose machine takes longer to make than an input to run. Of each kind one machine is made and kept: after an
// input its memory is as it was, byte for byte, whatever the input did. One input in `fresh_each`, chosen by its bytes,
// meets a new machine as well, which is unmade after it: both must come to the same end, and nothing may be left.
struct KeptTarget {
    static constexpr unsigned most_kinds = 64, fresh_each = 64;

    unsigned (*kind_of)(std::span<const std::uint8_t> input);  // below most_kinds
    void* (*make)(unsigned kind);
    void (*run)(void* machine, std::span<const std::uint8_t> input);
    std::uint64_t (*sum)(void* machine);  // of what an input has come to
    void (*unmake)(void* machine);
};
int one_input(const KeptTarget& target, const std::uint8_t* data, std::size_t size);

}  // namespace fuzz
