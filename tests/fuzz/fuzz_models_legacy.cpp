// The devices of a Generation 1 machine in the hands of a hostile guest.
#include "tests/fuzz/legacy_inputs.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    return fuzz::legacy_devices({data, size});
}
