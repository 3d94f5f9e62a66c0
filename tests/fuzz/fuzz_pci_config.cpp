// A PCI hierarchy in the hands of hostile software and hostile devices.
#include "tests/fuzz/one_input.h"
#include "tests/fuzz/pci_inputs.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    return fuzz::one_input([](auto input) { return fuzz::pci_config(input); }, data, size);
}
