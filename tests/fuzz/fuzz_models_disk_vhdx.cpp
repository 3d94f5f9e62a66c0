// Hostile VHDX files, opened, read, written and checked.
#include "tests/fuzz/disk_inputs.h"
#include "tests/fuzz/one_input.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    return fuzz::one_input([](auto input) { return fuzz::disk_vhdx(input); }, data, size);
}
