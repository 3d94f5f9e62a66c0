// The devices of a Generation 1 machine in the hands of a hostile guest.
#include "tests/fuzz/legacy_inputs.h"
#include "tests/fuzz/one_input.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    return fuzz::one_input([](auto input) { return fuzz::legacy_devices(input); }, data, size);
}
