// Hostile guests of the storage controller.
#include "tests/fuzz/storage_inputs.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    return fuzz::vmbus_storage({data, size});
}
