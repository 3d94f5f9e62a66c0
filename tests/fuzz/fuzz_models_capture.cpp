// Hostile capture files.
#include "tests/fuzz/frame_inputs.h"
#include "tests/fuzz/one_input.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    return fuzz::one_input([](auto input) { return fuzz::hostile_capture(input); }, data, size);
}
