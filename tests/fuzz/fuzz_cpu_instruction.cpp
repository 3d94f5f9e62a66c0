// Hostile instruction bytes for the decoder and the emulator of device accesses.
#include "tests/fuzz/cpu_inputs.h"
#include "tests/fuzz/one_input.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    return fuzz::one_input([](auto input) { return fuzz::cpu_instruction(input); }, data, size);
}
