// Hostile control messages of a guest's.
#include "tests/fuzz/bus_inputs.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    return fuzz::vmbus_bus({data, size});
}
