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

}  // namespace fuzz
