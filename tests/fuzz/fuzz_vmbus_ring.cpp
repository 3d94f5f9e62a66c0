// Rings that a hostile guest changes at any moment.
#include "tests/fuzz/one_input.h"
#include "tests/fuzz/ring_inputs.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    return fuzz::one_input([](auto input) { return fuzz::vmbus_ring(input); }, data, size);
}
