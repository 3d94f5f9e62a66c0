// Rings that a hostile guest changes at any moment.
#include "tests/fuzz/ring_inputs.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    return fuzz::vmbus_ring({data, size});
}
