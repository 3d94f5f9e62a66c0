// A virtual function's registers in the hands of a hostile driver.
#include "tests/fuzz/nic_targets.h"
#include "tests/fuzz/one_input.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    return fuzz::one_input([](auto input) { return fuzz::nic_registers(input); }, data, size);
}
