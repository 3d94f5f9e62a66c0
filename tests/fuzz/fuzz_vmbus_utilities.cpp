// Hostile guests of the integration services, keyboard, pointer, dynamic memory, video and sockets.
#include "tests/fuzz/one_input.h"
#include "tests/fuzz/utility_inputs.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    return fuzz::one_input([](auto input) { return fuzz::utilities::run(input); }, data, size);
}
