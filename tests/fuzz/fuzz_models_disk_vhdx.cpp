// Hostile VHDX files, opened, read, written and checked.
#include "tests/fuzz/disk_inputs.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    return fuzz::disk_vhdx({data, size});
}
