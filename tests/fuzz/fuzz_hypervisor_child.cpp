// Hostile register writes and hypercalls of a child. The test machine's own requirements become checks here.
#define DOCTEST_CONFIG_DISABLE
#include <doctest/doctest.h>

#include "sim/check.h"
#undef REQUIRE
#undef CHECK
#define REQUIRE(...) VG_CHECK((__VA_ARGS__))
#define CHECK(...) VG_CHECK((__VA_ARGS__))

#include "tests/fuzz/hypercall_inputs.h"
#include "tests/fuzz/one_input.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    return fuzz::one_input([](auto input) { return fuzz::hypercall_child(input); }, data, size);
}
