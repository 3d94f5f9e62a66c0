// Hostile guests of the storage controller.
#include "tests/fuzz/one_input.h"
#include "tests/fuzz/storage_inputs.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    return fuzz::one_input([](auto input) { return fuzz::vmbus_storage(input); }, data, size);
}
