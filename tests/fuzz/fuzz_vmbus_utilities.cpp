// Hostile guests of the integration services, keyboard, pointer, dynamic memory, video and sockets.
#include "tests/fuzz/utility_inputs.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    return fuzz::utilities::run({data, size});
}
