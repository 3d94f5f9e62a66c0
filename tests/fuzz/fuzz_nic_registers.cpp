// A virtual function's registers in the hands of a hostile driver.
#include "tests/fuzz/kept_nic.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    return fuzz::one_input(fuzz::kept_nic<fuzz::nic_registers_target>(), data, size);
}
