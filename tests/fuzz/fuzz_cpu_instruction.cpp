// Hostile instruction bytes for the decoder and the emulator of device accesses.
#include "tests/fuzz/cpu_inputs.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    return fuzz::cpu_instruction({data, size});
}
